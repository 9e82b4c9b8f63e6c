"""The arbiter's core: one input in, outputs out; leader and standby alike.

Owns the routing of inputs to the desk's sections (slots, halts, orders) and what an arbiter does with the arbiters'
queue before it leads. It must not know transport, clocks or files: `arbiter/` is its shell, `simulator/` another.

Inputs from the arbiters' queue are held while this arbiter campaigns and are decided once it leads; if it does not
come to lead they are handed back, unanswered. Everything else (heartbeats, releases) is heard by all arbiters and
acted upon by the leader only.
"""

from collections import deque
from dataclasses import dataclass, field

from sidecar.core.brakes import Brakes
from sidecar.core.chronicle import Chronicle
from sidecar.core.commands import GroupCommands
from sidecar.core.degraded import Degraded
from sidecar.core.explain import explain, history
from sidecar.core.groups import GroupPlan
from sidecar.core.halts import Halts
from sidecar.core.leadership import Desk, Standing
from sidecar.core.outputs import Event, Now, Origin, Output, Reply, Settle
from sidecar.core.overview import status_report
from sidecar.core.pauses import Pauses
from sidecar.core.roster import Roster
from sidecar.core.silence import Silence
from sidecar.core.slots import Slots
from sidecar.core.state import State
from sidecar.core.suspicion import Detection
from sidecar.core.timing import Timing
from sidecar.core.verifier import Deadlines, Verifier
from sidecar.messages.base import Message
from sidecar.messages.control import (
    FailoverRequest,
    Halt,
    PauseRequest,
    Probe,
    ResumeRequest,
    StatusRequest,
    UnpauseRequest,
)
from sidecar.messages.detection import Canary
from sidecar.messages.events import TermBegan
from sidecar.messages.explain import ExplainRequest, HistoryRequest
from sidecar.messages.health import Heartbeat, Released
from sidecar.messages.journal import Record
from sidecar.messages.orders import Absence, Evidence, OrderAborted, OrderCommitted, OrderIntent, OrderUnknown

WAITING_MAX = 5_000
"""Inputs held during a campaign; further ones are handed back to the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an arbiter is configured with. `operators` are broker users that may lower a level or move a slot.

    `failovers_per_hour_max` is the global brake; 0 is none.
    """

    name: str
    plans: tuple[GroupPlan, ...]
    timing: Timing
    deadlines: Deadlines
    operators: frozenset[str] = frozenset()
    failovers_per_hour_max: int = 0
    detection: Detection = field(default_factory=Detection)


class Arbiter:
    """One arbiter. `author` is its name and run, unique for ever."""

    def __init__(self, rules: Rules, author: str, now: Now) -> None:
        self.rules = rules
        groups = {member: plan.name for plan in rules.plans for member in plan.members}
        self.roster = Roster(rules.timing, groups, rules.detection)
        self.desk = Desk(author, rules.timing, now)
        self.chronicle = Chronicle()
        self.brakes = Brakes(self.desk, self.chronicle, rules.failovers_per_hour_max)
        self.pauses = Pauses(self.desk, self.chronicle)
        self.slots = Slots(rules.name, rules.plans, self.desk, self.roster, rules.timing, self.brakes)
        self.degraded = Degraded(rules.plans, self.desk, self.roster)
        self.halts = Halts(rules.name, rules.operators, self.desk)
        self.commands = GroupCommands(
            rules.name, rules.plans, self.desk, self.slots, self.pauses, self.halts.operator_problem
        )
        self.silence = Silence(rules.name, rules.detection, rules.timing, self.desk, self.roster, groups, now)
        self.verifier = Verifier(rules.name, self.desk, groups, rules.deadlines)
        self.offset = -1
        self._waiting: deque[tuple[Message, Origin]] = deque()

    @property
    def state(self) -> State:
        """What is decided upon; a leader's runs ahead of the log."""
        return self.desk.state

    @property
    def leading(self) -> bool:
        """Whether this arbiter leads."""
        return self.desk.leading

    # --- inputs ---

    def canary(self, now: Now) -> Canary:
        """This arbiter's heartbeat to itself, to be sent now and heard by `on_health`; see core/silence.py."""
        return self.silence.canary(now.boot_ns)

    def on_health(self, message: Heartbeat | Released | Canary, origin: Origin, now: Now) -> list[Output]:
        """A heartbeat, a release or a canary; every arbiter hears them, the leader acts."""
        self.desk.begin(now)
        if isinstance(message, Canary):
            self.silence.hear_canary(message)
        elif isinstance(message, Heartbeat):
            if self.roster.hear(message, origin, now.boot_ns) and self.leading:
                self.halts.catch_up(message, origin)
                self.slots.answer(message, now)
        else:
            if message.ended:
                self.roster.end(message.component, message.incarnation)
            if self.leading:
                self.slots.released(message, now)
        return self.desk.finish()

    def on_queue(self, message: Message, origin: Origin, now: Now) -> list[Output]:
        """A delivery of the arbiters' queue: reading it at all is the nomination."""
        if self.leading:
            self.desk.begin(now)
            self._decide(message, origin, now)
            return self.desk.finish()
        if len(self._waiting) >= WAITING_MAX:
            return [Settle(origin.handle, "requeue")]
        self._waiting.append((message, origin))
        self.desk.nominate(now, f"nominated by {type(message).__name__}")
        return self.desk.finish()

    def on_record(self, record: Record, offset: int, now: Now) -> list[Output]:
        """One record of the journal, in the log's order."""
        before = self.desk.standing
        read_to = self.desk.log_state.position
        outputs = self.desk.read(record, now)
        self.offset = offset
        if self.desk.log_state.position is not read_to:
            self.chronicle.note(record, self.desk.log_state.last, now)
        if self.leading and before is not Standing.LEADING:
            outputs = [*outputs, *self._begin_term(now)]
        return [*outputs, *self._hand_back()]

    def on_lost(self) -> None:
        """The arbiters' queue was lost with its link: what was held from it comes again by itself."""
        self._waiting.clear()

    def tick(self, now: Now) -> list[Output]:
        """Time passes. To be called at least each tick_ns, after everything that has arrived was handed in.

        Silence is judged only by a leader that was awake and could grant and hear all along; see core/silence.py.
        """
        outputs = self.desk.tick(now)
        self.desk.begin(now)
        judging = self.silence.tick(now)
        if self.leading:
            self.slots.tick(now, judging=judging)
            self.pauses.tick(now)
            if judging and self.slots.settled(now):
                self.degraded.tick(now)
            self.verifier.tick(now)
        return [*outputs, *self.desk.finish(), *self._hand_back()]

    # --- inside ---

    def _begin_term(self, now: Now) -> list[Output]:
        self.desk.begin(now)
        self.slots.begin_term()
        self.silence.begin_term(now)
        self.verifier.begin_term(now)
        began = TermBegan(arbiter=self.rules.name, term=self.desk.term, reason="its TermStarted was first in the log")
        self.desk.send(Event(began, "term-began"))
        for member in sorted(self.roster.members):  # Who lives is answered at once: no lease is lost to a takeover.
            if self.roster.fresh(member, now.boot_ns):
                self.slots.answer(self.roster.members[member].heartbeat, now)
        while self._waiting:
            self._decide(*self._waiting.popleft(), now)
        return self.desk.finish()

    def _hand_back(self) -> list[Output]:
        if self.desk.standing is not Standing.FOLLOWING or not self._waiting:
            return []
        handed = [Settle(origin.handle, "requeue") for _, origin in self._waiting]
        self._waiting.clear()
        return list(handed)

    def _decide(self, message: Message, origin: Origin, now: Now) -> None:
        """Route one input of the arbiters' queue, then acknowledge it when what it caused was read back."""
        match message:
            case OrderIntent():
                self.verifier.intent(message, origin, now)
            case OrderCommitted() | OrderAborted() | OrderUnknown():
                self.verifier.report(message, origin, now)
            case Evidence():
                self.verifier.evidence(message, now)
            case Absence():
                self.verifier.absence(message, now)
            case Halt():
                self.halts.raise_halt(message, origin)
            case ResumeRequest():
                self.halts.resume(message, origin)
            case FailoverRequest() | PauseRequest() | UnpauseRequest():
                self.commands.decide(message, origin, now)
            case StatusRequest():
                report = status_report(self, message.request_id, now)
                self.desk.send(Reply(report, origin))
            case ExplainRequest():
                self.desk.send(Reply(explain(self, message, now), origin))
            case HistoryRequest():
                self.desk.send(Reply(history(self, message), origin))
            case Probe():
                pass  # It has nominated whoever read it; a leader needs no nomination.
            case _:
                pass  # Of a known type, but not for this queue: acknowledged and forgotten.
        self.desk.send(Settle(origin.handle, "ack"))
