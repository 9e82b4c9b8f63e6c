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
from sidecar.core.breaks import Breaks
from sidecar.core.caught_up import CaughtUp
from sidecar.core.checkpoints import Checkpoints, SnapshotRule
from sidecar.core.chronicle import Chronicle
from sidecar.core.cold import Cold
from sidecar.core.commands import GroupCommands
from sidecar.core.completion import Completion
from sidecar.core.declared import plans_digest
from sidecar.core.degraded import Degraded
from sidecar.core.explain import explain, history
from sidecar.core.groups import GroupPlan
from sidecar.core.halts import Halts, LiftRule
from sidecar.core.integrity import Integrity
from sidecar.core.leadership import Desk, Standing
from sidecar.core.limit_desk import Configured, LimitDesk
from sidecar.core.log_tail import LogTail
from sidecar.core.milestones import Milestones
from sidecar.core.once import Once
from sidecar.core.order_queries import answered
from sidecar.core.outputs import Event, Now, Origin, Output, Reply, Settle
from sidecar.core.overview import status_report
from sidecar.core.pauses import Pauses
from sidecar.core.peers import Peers
from sidecar.core.plans import Plans
from sidecar.core.predecessors import Predecessors
from sidecar.core.reconciliation import ReconcileRule, Reconciliation
from sidecar.core.registry import Registry
from sidecar.core.roster import Roster
from sidecar.core.silence import Silence
from sidecar.core.slots import Slots
from sidecar.core.snapshot import Taken
from sidecar.core.state import State
from sidecar.core.suspicion import Detection
from sidecar.core.timing import Timing
from sidecar.core.verifier import Verifier
from sidecar.core.violations import Violation
from sidecar.core.waits import Deadlines
from sidecar.messages.arbiters import CompareRequest
from sidecar.messages.base import Message
from sidecar.messages.control import (
    CommandResult,
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
from sidecar.messages.groups import RegisterGroup, RemoveGroup
from sidecar.messages.health import Heartbeat, Released, StartFailed
from sidecar.messages.integrity import IntegrityQuery, ResolveIntegrity
from sidecar.messages.journal import Record
from sidecar.messages.limits import LimitsQuery, LimitsRequest
from sidecar.messages.measures import MeasuresReport
from sidecar.messages.once import OnceClaim, OnceReport
from sidecar.messages.once_queries import OnceQuery, ResolveOnce
from sidecar.messages.order_queries import BreaksQuery, OrderQuery, OrdersQuery
from sidecar.messages.orders import (
    Absence,
    Evidence,
    OrderAborted,
    OrderCommitted,
    OrderIntent,
    OrderUnknown,
    ResolveBreak,
)
from sidecar.messages.reconcile import OpenOrdersSeen, ReconcilerAlive, ResolveDifference, Statement

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
    lifting: LiftRule = field(default_factory=LiftRule)
    failovers_per_hour_max: int = 0
    detection: Detection = field(default_factory=Detection)
    snapshots: SnapshotRule = field(default_factory=SnapshotRule)
    limits: Configured = field(default_factory=dict)
    reconciling: ReconcileRule = field(default_factory=ReconcileRule)


class Arbiter:
    """One arbiter. `author` is its name and run, unique for ever."""

    def __init__(self, rules: Rules, author: str, now: Now) -> None:
        self.rules = rules
        self.desk = Desk(author, rules.timing, now)
        self.plans = Plans(rules.plans, self.desk)
        self.roster = Roster(rules.timing, self.plans.members, rules.detection)
        self.chronicle = Chronicle()
        self.milestones = Milestones()
        self.brakes = Brakes(self.desk, self.chronicle, rules.failovers_per_hour_max)
        self.pauses = Pauses(rules.name, self.desk, self.chronicle)
        self.caught_up = CaughtUp(self.plans, self.desk, self.roster)
        self.slots = Slots(rules.name, self.plans, self.desk, self.roster, rules.timing, self.brakes, self.caught_up)
        self.degraded = Degraded(rules.name, self.plans, self.desk, self.roster)
        self.halts = Halts(rules.name, rules.operators, self.desk, rules.timing, self.chronicle, rules.lifting)
        self.cold = Cold(
            rules.name,
            self.plans,
            self.desk,
            self.roster,
            self.slots,
            self.brakes,
            self.chronicle,
            rules.detection.first_heartbeat_ns,
        )
        self.commands = GroupCommands(
            rules.name, self.plans, self.desk, self.slots, self.cold, self.pauses, self.halts.operator_problem
        )
        self.registry = Registry(rules.name, self.plans, self.desk, self.halts.operator_problem)
        self.silence = Silence(rules.name, rules.detection, rules.timing, self.desk, self.roster, self.plans, now)
        self.limits = LimitDesk(rules.name, rules.limits, self.plans, self.desk, self.halts.operator_problem)
        self.predecessors = Predecessors(self.desk, self.slots, rules.timing.effect_wait_ns())
        self.verifier = Verifier(
            rules.name,
            self.desk,
            self.plans,
            rules.deadlines,
            self.limits,
            Breaks(rules.name, self.desk, self.limits, self.halts.impose),
            self.predecessors,
            self.halts.operator_problem,
        )
        self.integrity = Integrity(rules.name, self.desk, self.halts.impose, self.halts.operator_problem)
        self.tail = LogTail()
        self.once = Once(rules.name, self.desk, self.roster, self.halts.operator_problem)
        self.reconciliation = Reconciliation(
            rules.name, self.desk, rules.reconciling, self.halts.impose, self.halts.operator_problem
        )
        self.completion = Completion(rules.name, self.desk, self.plans)
        self.checkpoints = Checkpoints(rules.name, self.desk, rules.snapshots, now)
        self.peers = Peers(plans_digest(rules.plans))
        self.warning = ""
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
        last = self.checkpoints.last
        return Canary(
            arbiter=self.rules.name,
            author=self.desk.author,
            seq=self.silence.next_canary(now.boot_ns),
            standing=self.desk.standing.value,
            term=self.desk.log_state.position.term,
            offset=self.offset,
            digest=last.digest,
            digest_offset=last.offset,
            warning=self.warning,
            groups=self.peers.groups,
        )

    def on_health(self, message: Heartbeat | Released | StartFailed | Canary, origin: Origin, now: Now) -> list[Output]:
        """A heartbeat, a release or a canary; every arbiter hears them, the leader acts."""
        if isinstance(message, Heartbeat):
            return self._hear(message, origin, now)
        self.desk.begin(now)
        if isinstance(message, Canary):
            self.silence.hear_canary(message)
            self.peers.hear(message, self.offset, now)
        elif isinstance(message, StartFailed):
            if self.leading:
                self.cold.failed(message, now)
        else:
            if message.ended:
                self.roster.end(message.component, message.incarnation)
            self.slots.overhear(message)
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

    def on_record(self, record: Record, offset: int, now: Now, body: bytes | None = None) -> list[Output]:
        """One record of the journal, in the log's order; `body` as for `log.advance`."""
        led = self.desk.leading
        read_to = self.desk.log_state.position
        outputs = self.desk.read(record, now, body)
        self.offset = offset
        if self.desk.log_state.position is not read_to:
            self.chronicle.note(record, self.desk.log_state.last, now)
            self.milestones.note(record, offset)
            outputs = [*outputs, *self.checkpoints.read(record, offset, self.chronicle, now)]
        self._judge_entry(record, offset, body, counts=self.desk.log_state.position is not read_to)
        if self.desk.leading and not led:
            outputs = [*outputs, *self._begin_term(now)]
        return self._handing_back(outputs)

    def on_digest(self, taken: Taken, digest: str, now: Now) -> list[Output]:
        """The digest that a TakeSnapshot asked for."""
        self.desk.begin(now)
        outputs = self.checkpoints.digested(taken, digest)
        return [*outputs, *self.desk.finish()]

    def restore(self, taken: Taken, digest: str, now: Now) -> None:
        """Stand on a snapshot, before anything was read; the next record to be read is the one behind it."""
        self.desk.restore(taken.state)
        self.chronicle.restore(taken.times, now)
        self.checkpoints.restored(taken, digest, now)
        self.offset = taken.offset

    def on_lost(self) -> None:
        """The arbiters' queue was lost with its link: what was held from it comes again by itself."""
        self._waiting.clear()
        self.halts.on_lost()
        self.predecessors.on_lost()

    def tick(self, now: Now) -> list[Output]:
        """Time passes. To be called at least each tick_ns, after everything that has arrived was handed in.

        Silence is judged only by a leader that was awake and could grant and hear all along; see core/silence.py.
        """
        outputs = self.desk.tick(now, served=self.silence.served(now))
        judging = self.silence.tick(now)
        if self.desk.leading:
            self.desk.begin(now)
            self.slots.tick(now, judging=judging)
            self.cold.tick(now, judging=judging)
            self.registry.tick()
            self.pauses.tick(now)
            if judging and self.slots.settled(now):
                self.degraded.tick(now)
            self.verifier.tick(now)
            self.integrity.tick(now)
            self.once.tick(now)
            self.reconciliation.tick(now)
            self.completion.tick(now)
            self.checkpoints.tick(self.offset, now)
            self.halts.tick(now)
            outputs = [*outputs, *self.desk.finish()]
        self.peers.tick(self.offset, now)
        return self._handing_back(outputs)

    # --- inside ---

    def _hear(self, heartbeat: Heartbeat, origin: Origin, now: Now) -> list[Output]:
        if not self.roster.hear(heartbeat, origin, now.boot_ns):
            return []
        self.caught_up.hear(heartbeat, now.boot_ns)
        if not self.desk.leading:
            return []
        self.desk.begin(now)
        self.halts.catch_up(heartbeat, origin)
        self.slots.answer(heartbeat, now)
        if heartbeat.component in self.desk.state.starting:
            self.cold.hear(heartbeat, now)
        return self.desk.finish()

    def _begin_term(self, now: Now) -> list[Output]:
        self.desk.begin(now)
        self.slots.begin_term()
        self.cold.begin_term()
        self.registry.begin_term()
        self.silence.begin_term(now)
        self.limits.begin_term()
        self.integrity.begin_term(now)
        self.verifier.begin_term(now)
        self.completion.begin_term()
        self.once.begin_term(now)
        self.reconciliation.begin_term()
        began = TermBegan(arbiter=self.rules.name, term=self.desk.term, reason="its TermStarted was first in the log")
        self.desk.send(Event(began, "term-began"))
        self.slots.take_up(now)
        for member in sorted(self.roster.members):  # Who lives is answered at once: no lease is lost to a takeover.
            if self.roster.fresh(member, now.boot_ns):
                self.slots.answer(self.roster.members[member].heartbeat, now)
        while self._waiting:
            self._decide(*self._waiting.popleft(), now)
        return self.desk.finish()

    def _judge_entry(self, record: Record, offset: int, body: bytes | None, *, counts: bool) -> None:
        """Note what is wrong with the journal itself; `body` is None where there is none."""
        if self.checkpoints.disorder:
            self.integrity.note(Violation("all", self.checkpoints.disorder, f"journal offset {offset}"))
            self.checkpoints.disorder = ""
        if body is None:
            return
        if counts:
            self.tail.read(record, body)
        elif (found := self.tail.contradicted(self.desk.log_state.position, record, body, offset)) is not None:
            self.integrity.note(found)

    def _compare(self, request: CompareRequest, origin: Origin, now: Now) -> CommandResult:
        problem = self.halts.operator_problem(origin.user)
        if not problem and not self.checkpoints.asked(now):
            problem = "the last comparison has only just begun: ask again in a few seconds"
        return CommandResult(
            arbiter=self.rules.name,
            request_id=request.request_id,
            ok=not problem,
            code="REFUSED" if problem else "MARKED",
            text=problem or f"every arbiter hashes the state behind the next mark, after offset {self.offset}",
        )

    def _handing_back(self, outputs: list[Output]) -> list[Output]:
        """These outputs, and from a follower all that it still holds from the arbiters' queue: mostly nothing."""
        nothing = not (self._waiting or self.halts.unanswered or self.predecessors.held)
        if nothing or self.desk.standing is not Standing.FOLLOWING:
            return outputs
        handed = [Settle(origin.handle, "requeue") for _, origin in self._waiting]
        self._waiting.clear()
        return [*outputs, *handed, *self.halts.hand_back(), *self.predecessors.hand_back()]

    def _decide(self, message: Message, origin: Origin, now: Now) -> None:
        """Route one input of the arbiters' queue, then acknowledge it when what it caused was read back."""
        match message:
            case OrderIntent():
                self.verifier.intent(message, origin, now)
                return  # It is settled when it is answered, which may be later.
            case OrderCommitted() | OrderAborted() | OrderUnknown():
                self.verifier.report(message, origin, now)
            case Evidence():
                self.verifier.evidence(message, now)
            case Absence():
                self.verifier.absence(message, now)
            case OnceClaim():
                self.once.claim(message, origin, now)
            case OnceReport():
                self.once.report(message, origin)
            case OnceQuery():
                self.once.show(message, origin)
            case ResolveOnce():
                self.once.resolve(message, origin)
            case ReconcilerAlive():
                self.reconciliation.alive(message, now)
            case OpenOrdersSeen():
                self.reconciliation.open_orders(message)
            case Statement():
                self.reconciliation.statement(message, now)
            case ResolveDifference():
                self.reconciliation.resolve(message, origin)
            case MeasuresReport():
                self.completion.report(message, origin)
            case Halt():
                self.halts.raise_halt(message, origin, now)
                return  # It is settled when it is answered, which may be later.
            case ResumeRequest():
                self.halts.resume(message, origin, now)
            case FailoverRequest() | PauseRequest() | UnpauseRequest():
                self.commands.decide(message, origin, now)
            case RegisterGroup() | RemoveGroup():
                self.registry.decide(message, origin, now)
            case ResolveBreak():
                self.verifier.resolve(message, origin, now)
            case IntegrityQuery():
                self.integrity.report(message, origin, now)
            case ResolveIntegrity():
                self.integrity.resolve(message, origin)
            case LimitsRequest():
                self.limits.decide(message, origin)
            case LimitsQuery():
                self.limits.report(message, origin, now)
            case StatusRequest():
                report = status_report(self, message.request_id, now)
                self.desk.send(Reply(report, origin))
            case CompareRequest():
                self.desk.send(Reply(self._compare(message, origin, now), origin))
            case ExplainRequest():
                self.desk.send(Reply(explain(self, message, now), origin))
            case HistoryRequest():
                self.desk.send(Reply(history(self, message), origin))
            case OrdersQuery() | OrderQuery() | BreaksQuery():
                self.desk.send(Reply(answered(self, message, now), origin))
            case Probe():
                pass  # It has nominated whoever read it; a leader needs no nomination.
            case _:
                pass  # Of a known type, but not for this queue: acknowledged and forgotten.
        self.desk.send(Settle(origin.handle, "ack"))
