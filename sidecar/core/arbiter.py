"""The arbiter's core: one input in, outputs out; leader and standby alike.

Owns the routing of inputs to the desk's sections (slots, halts, orders) and what an arbiter does with the arbiters'
queue before it leads. It must not know transport, clocks or files: `arbiter/` is its shell, `simulator/` another.

Inputs from the arbiters' queue are held while this arbiter campaigns and are decided once it leads; if it does not
come to lead they are handed back, unanswered. Everything else (heartbeats, releases) is heard by all arbiters and
acted upon by the leader only.
"""

from collections import deque
from dataclasses import dataclass

from sidecar.core.groups import GroupPlan
from sidecar.core.halts import Halts
from sidecar.core.leadership import Desk, Standing
from sidecar.core.outputs import Event, Now, Origin, Output, Reply, Settle
from sidecar.core.overview import status_report
from sidecar.core.roster import Roster
from sidecar.core.sanity import clip
from sidecar.core.slots import Slots
from sidecar.core.state import State
from sidecar.core.timing import Timing
from sidecar.core.verifier import Deadlines, Verifier
from sidecar.messages.base import Message
from sidecar.messages.control import CommandResult, FailoverRequest, Halt, Probe, ResumeRequest, StatusRequest
from sidecar.messages.events import TermBegan
from sidecar.messages.health import Heartbeat, Released
from sidecar.messages.journal import Record
from sidecar.messages.orders import Absence, Evidence, OrderAborted, OrderCommitted, OrderIntent, OrderUnknown

WAITING_MAX = 5_000
"""Inputs held during a campaign; further ones are handed back to the queue."""
LAG_TICKS = 5
"""An arbiter whose own ticks came this far apart was stopped or starved, and distrusts what it has not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an arbiter is configured with. `operators` are broker users that may lower a level or move a slot."""

    name: str
    plans: tuple[GroupPlan, ...]
    timing: Timing
    deadlines: Deadlines
    operators: frozenset[str] = frozenset()


class Arbiter:
    """One arbiter. `author` is its name and run, unique for ever."""

    def __init__(self, rules: Rules, author: str, now: Now) -> None:
        self.rules = rules
        self.roster = Roster(rules.timing.heartbeat_ns, [member for plan in rules.plans for member in plan.members])
        self.desk = Desk(author, rules.timing, now)
        self.slots = Slots(rules.name, rules.plans, self.desk, self.roster, rules.timing)
        self.halts = Halts(rules.name, rules.operators, self.desk)
        groups = {member: plan.name for plan in rules.plans for member in plan.members}
        self.verifier = Verifier(rules.name, self.desk, groups, rules.deadlines)
        self.offset = -1
        self._ticked_ns = now.boot_ns
        self._judges_from_ns = now.boot_ns
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

    def on_health(self, message: Heartbeat | Released, origin: Origin, now: Now) -> list[Output]:
        """A heartbeat or a release; every arbiter hears them, the leader acts."""
        self.desk.begin(now)
        if isinstance(message, Heartbeat):
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
        outputs = self.desk.read(record, now)
        self.offset = offset
        if self.leading and before is not Standing.LEADING:
            outputs = [*outputs, *self._begin_term(now)]
        return [*outputs, *self._hand_back()]

    def on_lost(self) -> None:
        """The arbiters' queue was lost with its link: what was held from it comes again by itself."""
        self._waiting.clear()

    def tick(self, now: Now) -> list[Output]:
        """Time passes. To be called at least each tick_ns, after everything that has arrived was handed in.

        Silence is judged only by a leader that was awake and could grant all along: one that lagged, or whose journal
        stalled, gives everyone a whole holder's wait to be heard again.
        """
        outputs = self.desk.tick(now)
        lagged = now.boot_ns - self._ticked_ns > LAG_TICKS * self.rules.timing.tick_ns
        if lagged or not self.desk.may_grant(now):
            self._judges_from_ns = now.boot_ns + self.rules.timing.holder_wait_ns
        self._ticked_ns = now.boot_ns
        if self.leading:
            self.desk.begin(now)
            self.slots.tick(now, judging=now.boot_ns >= self._judges_from_ns)
            self.verifier.tick(now)
        return [*outputs, *self.desk.finish(), *self._hand_back()]

    # --- inside ---

    def _begin_term(self, now: Now) -> list[Output]:
        self.desk.begin(now)
        self.slots.begin_term()
        self._judges_from_ns = now.boot_ns  # The takeover's own, longer wait is in Slots.ends_ns.
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
            case FailoverRequest():
                self._fail_over(message, origin, now)
            case StatusRequest():
                report = status_report(self, message.request_id, now)
                self.desk.send(Reply(report, origin))
            case Probe():
                pass  # It has nominated whoever read it; a leader needs no nomination.
            case _:
                pass  # Of a known type, but not for this queue: acknowledged and forgotten.
        self.desk.send(Settle(origin.handle, "ack"))

    def _fail_over(self, request: FailoverRequest, origin: Origin, now: Now) -> None:
        plan = next((each for each in self.rules.plans if each.name == request.group), None)
        problem = self.halts.operator_problem(origin.user)
        if not problem and plan is None:
            known = ", ".join(each.name for each in self.rules.plans) or "none"
            problem = f"no group {clip(request.group)!r}; configured: {known}"
        if not problem and plan is not None:
            problem = self.slots.drain(
                plan, to=request.to, actor=request.actor, reason=request.reason or "manual failover", now=now
            )
        result = CommandResult(
            arbiter=self.rules.name,
            request_id=request.request_id,
            ok=not problem,
            code="REFUSED" if problem else "DRAINING",
            text=problem or f"the holder of {request.group} is asked to step down",
        )
        self.desk.send(Reply(result, origin))
