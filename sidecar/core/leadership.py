"""Leadership by log order, and the desk at which a leader decides.

Owns DESIGN section 7, rules 1 to 5: terms, act on read-back only, the leader's own lease. It must not know what is
decided. An arbiter is in one of three roles:

| role        | input                                             | next        | what happens                      |
|-------------|---------------------------------------------------|-------------|-----------------------------------|
| FOLLOWING   | nominated (it reads the arbiters' queue)          | CAMPAIGNING | Append TermStarted(term + 1)      |
| FOLLOWING   | no record for probe_ns                            | FOLLOWING   | AskNominee                        |
| FOLLOWING   | none for twice that, though the broker serves us  | CAMPAIGNING | Append TermStarted(term + 1)      |
| CAMPAIGNING | own TermStarted read back, valid                  | LEADING     | held inputs are decided           |
| CAMPAIGNING | the same, void; another's term read; or no answer | FOLLOWING   | held inputs are requeued          |
| LEADING     | own next record read back                         | LEADING     | what rested on it is released     |
| LEADING     | a higher term read                                | FOLLOWING   | held outputs dropped, deliveries  |
|             |                                                   |             | requeued, state as the log has it |
| LEADING     | anything else read                                | LEADING     | nothing: void for every reader    |
| any         | no record for 1.5 probe_ns, though the broker     | same        | Resubscribe                       |
|             | serves us                                         |             |                                   |

The leader's lease runs from the *sending* of the record last read back: reading it proves that no higher term stood
in the log before it, and so none before that moment.

A leader decides on `state`, which runs ahead of the log; `log_state` is the fold of what was read and of nothing else.
Followers have one object for both, and a deposed leader returns to its `log_state`.

The single active consumer only nominates. A leader whose ticks are not read back stops granting by itself. The
broker hands the nomination on when a nominee's connection goes; of one that is merely stopped it learns after two or
three AMQP heartbeats, long after the leases have ended. So a standby that nobody answers campaigns by itself: the order
of the log decides between it and a leader that was only slow, and whoever reads the queue next is nominated again.

A journal consumer can hang while all else works (docs/broker.md). Hence a silence that a probe did not end is first met
with a new subscription; both that and a campaign of one's own only while the own canary shows that the broker serves
this arbiter.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sidecar.core.log import InvariantBroken, Verdict
from sidecar.core.outputs import Append, AskNominee, Now, Output, Resubscribe, Settle
from sidecar.core.state import State
from sidecar.core.timing import Timing
from sidecar.messages.codec import encode
from sidecar.messages.journal import AnyFact, Record, TermStarted, Ticked

CAMPAIGN_PROBES = 5
"""A campaign whose record is not read back within this many probe times is given up."""
UNANSWERED_PROBES = 2
"""A standby campaigns by itself when it has read nothing for this many probe times."""
RESUBSCRIBE_PROBES = 5
"""At least this many probe times lie between two new subscriptions: each costs the broker a walk to the place."""


class Standing(Enum):
    """The role of one arbiter."""

    FOLLOWING = "following"
    CAMPAIGNING = "campaigning"
    LEADING = "leading"


_FOLLOWING: Final = Standing.FOLLOWING
_CAMPAIGNING: Final = Standing.CAMPAIGNING
_VALID: Final = Verdict.VALID
"""Python 3.11 looks an enumeration's members up slowly, and these are asked for every heartbeat and record."""


@dataclass(slots=True)
class _InFlight:
    """A record that was appended and not yet read back, and what waits for it."""

    record: Record
    body: bytes
    sent_ns: int
    outputs: list[Output] = field(default_factory=list)


class Desk:
    """One arbiter's leadership: facts go in, records go out, outputs come out when their records are valid."""

    def __init__(self, author: str, timing: Timing, now: Now) -> None:
        self.author = author
        self.state = self.log_state = State()
        self.standing = Standing.FOLLOWING
        self.leading = False
        """Whether this arbiter's term is the log's and was read back. Asked often, so kept beside `standing`."""
        self.term = 0
        self.led_since_ns = 0
        self._timing = timing
        self._n = 0
        self._in_flight: deque[_InFlight] = deque()
        self._pending: list[Output] = []
        self._appends: list[Output] = []
        self._now = now
        self._last_read_ns = now.boot_ns
        self._last_probe_ns = now.boot_ns
        self._last_append_ns = now.boot_ns
        self._last_subscribed_ns = now.boot_ns
        self._unserved_ns = now.boot_ns
        self._may_grant_until_ns = 0

    @property
    def decided(self) -> int:
        """How many facts this leadership has decided."""
        return self._n

    @property
    def in_flight(self) -> tuple[Record, ...]:
        """Records to append again after a lost link, oldest first."""
        return tuple(each.record for each in self._in_flight)

    @property
    def unread(self) -> tuple[bytes, ...]:
        """The same as bytes, encoded once: the chain is over what stands in the log."""
        return tuple(each.body for each in self._in_flight)

    @property
    def unread_count(self) -> int:
        """How many records were decided and not read back."""
        return len(self._in_flight)

    def may_grant(self, now: Now) -> bool:
        """The leader's lease: only while a recently *sent* record has been read back."""
        return self.leading and now.boot_ns < self._may_grant_until_ns

    def restore(self, state: State) -> None:
        """Stand on a snapshot instead of on the journal's beginning. Before anything was read."""
        self.state = self.log_state = state

    # --- deciding ---

    def begin(self, now: Now) -> None:
        """Start one decision at this moment."""
        self._now = now

    def emit(self, fact: AnyFact) -> Record:
        """Decide a fact: applied at once, appended when the decision ends, valid only when read back."""
        self._n += 1
        record = Record(term=self.term, n=self._n, arbiter=self.author, at_ns=self._now.wall_ns, fact=fact)
        body = encode(record)
        if self.state.apply(record, body) is not _VALID:
            raise InvariantBroken(f"decided {record!r} while the state stands at {self.state.position!r}")
        self._enqueue(record, body)
        return record

    def send(self, output: Output) -> None:
        """Hold an output until every record decided so far was read back."""
        self._pending.append(output)

    def finish(self) -> list[Output]:
        """End the decision: what must go out now, appends first."""
        if not self._appends and not self._pending:
            return []
        appends, self._appends = self._appends, []
        pending, self._pending = self._pending, []
        if self._in_flight:
            self._in_flight[-1].outputs.extend(pending)
            return appends
        return [*appends, *pending]

    # --- the journal ---

    def nominate(self, now: Now, reason: str) -> None:
        """Campaign for the next term, unless that is under way."""
        if self.standing is not Standing.FOLLOWING:
            return
        self.standing = Standing.CAMPAIGNING
        self.term, self._n = self.state.position.term + 1, 0
        record = Record(term=self.term, n=0, arbiter=self.author, at_ns=now.wall_ns, fact=TermStarted(reason=reason))
        self._enqueue(record, encode(record), now)

    def read(self, record: Record, now: Now, body: bytes | None = None) -> list[Output]:
        """One record as the log has it; folds what others wrote and releases what rested on our own."""
        if self.leading:
            return self._read_leading(record, now, body)
        verdict = self.state.apply(record, body)
        if verdict is _VALID:
            self._last_read_ns = now.boot_ns
        if self.standing is _CAMPAIGNING:
            own = self._in_flight[0]
            if _same(own.record, record) and verdict is _VALID:
                self._win(now)
                return self._release(own, now)
            if _same(own.record, record) or (verdict is _VALID and isinstance(record.fact, TermStarted)):
                self._lose()
        return []

    def tick(self, now: Now, *, served: bool = False) -> list[Output]:
        """Time passes: the leader ticks, the follower probes and then campaigns, the campaigner gives up.

        `served` says that the broker serves this arbiter, as far as its canary shows. A leader with a record in flight
        needs no tick: reading that record back renews its lease as well, and a stalled journal is not filled with
        ticks.
        """
        if not served:
            self._unserved_ns = now.boot_ns
        if self.leading and not self._in_flight and self._since_append(now) >= self._timing.tick_ns:
            self.begin(now)
            self.emit(Ticked())
        if self.standing is not _CAMPAIGNING and now.boot_ns - self._last_read_ns < self._timing.probe_ns:
            return []  # The journal is read as it should be: nearly every tick.
        return [*self._advance(now), *self._subscribe_again(now)]

    # --- inside ---

    def _advance(self, now: Now) -> list[Output]:
        match self.standing:
            case Standing.CAMPAIGNING if self._since_append(now) >= CAMPAIGN_PROBES * self._timing.probe_ns:
                self._lose()
                self._last_read_ns = now.boot_ns  # The next try of its own comes no sooner than the first one did.
            case Standing.FOLLOWING if self._unanswered(now):
                self.begin(now)
                self.nominate(now, "no record came and nobody answered a probe")
                return self.finish()
            case Standing.FOLLOWING if self._silent(now):
                self._last_probe_ns = now.boot_ns
                return [AskNominee()]
            case _:
                pass
        return []

    def _enqueue(self, record: Record, body: bytes, now: Now | None = None) -> None:
        sent_ns = (now or self._now).boot_ns
        self._in_flight.append(_InFlight(record, body, sent_ns))
        self._appends.append(Append(record, body))
        self._last_append_ns = sent_ns

    def _since_append(self, now: Now) -> int:
        return now.boot_ns - self._last_append_ns

    def _silent(self, now: Now) -> bool:
        return now.boot_ns - max(self._last_read_ns, self._last_probe_ns) >= self._timing.probe_ns

    def _unanswered(self, now: Now) -> bool:
        return self._unread_ns(now) >= UNANSWERED_PROBES * self._timing.probe_ns

    def _unread_ns(self, now: Now) -> int:
        """For how long the journal has been silent although the broker served us all that time."""
        return now.boot_ns - max(self._last_read_ns, self._unserved_ns)

    def _subscribe_again(self, now: Now) -> list[Output]:
        """Mend a hung tail, if it is one."""
        if 2 * self._unread_ns(now) < 3 * self._timing.probe_ns:
            return []
        if now.boot_ns - self._last_subscribed_ns < RESUBSCRIBE_PROBES * self._timing.probe_ns:
            return []
        self._last_subscribed_ns = now.boot_ns
        return [Resubscribe()]

    def _win(self, now: Now) -> None:
        self.standing, self.leading = Standing.LEADING, True
        self.led_since_ns = now.boot_ns
        self.state = self.log_state.copy()

    def _release(self, own: _InFlight, now: Now) -> list[Output]:
        self._in_flight.popleft()
        self._last_read_ns = now.boot_ns
        self._may_grant_until_ns = own.sent_ns + self._timing.leader_lease_ns
        return own.outputs

    def _read_leading(self, record: Record, now: Now, body: bytes | None) -> list[Output]:
        own = self._in_flight[0] if self._in_flight else None
        if own is not None and own.body == body:
            record = own.record  # The same bytes: both folds share what they keep of it, as long as they keep it.
        if self.log_state.apply(record, body) is not _VALID:
            return []
        if own is not None and _same(own.record, record):
            return self._release(own, now)
        held = [each for entry in self._in_flight for each in entry.outputs]
        self._lose()
        self._last_read_ns = now.boot_ns
        return [Settle(each.handle, "requeue") for each in held if isinstance(each, Settle)]

    def _lose(self) -> None:
        self.standing, self.leading = Standing.FOLLOWING, False
        self.state = self.log_state
        self._in_flight.clear()
        self._may_grant_until_ns = 0


def _same(ours: Record, read: Record) -> bool:
    """Whether our own append came back. Not by equality: a quantity that is not a number equals nothing."""
    return (ours.term, ours.n, ours.arbiter, ours.at_ns) == (read.term, read.n, read.arbiter, read.at_ns)
