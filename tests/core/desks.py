"""One arbiter's core over a journal that is a list, for the tests of what a leader decides."""

from decimal import Decimal
from typing import Any, TypeVar

from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.checkpoints import SnapshotRule
from sidecar.core.groups import GroupPlan, Mode, plan_group
from sidecar.core.halts import LiftRule
from sidecar.core.leadership import Standing
from sidecar.core.limit_desk import Configured
from sidecar.core.outputs import Append, AskNominee, Broadcast, Event, Now, Origin, Output, Reply, Settle
from sidecar.core.state import State
from sidecar.core.timing import MS, Timing
from sidecar.core.waits import Deadlines
from sidecar.messages.base import Message, SlotToken, Token
from sidecar.messages.codec import Malformed, decode_record, encode
from sidecar.messages.control import Halt, Probe, TradingState
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.journal import Record, TermStarted
from sidecar.messages.orders import Evidence, ExecutionReport, OrderIntent, OrdStatus

PAIR = (plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b")),)
START_NS = 10**15
T = TypeVar("T", bound=Message)


class Desk:
    """A leader by default. `reading` off: appended records stay in flight until `read_back()`."""

    def __init__(
        self,
        plans: tuple[GroupPlan, ...] = PAIR,
        *,
        name: str = "arbiter-1",
        journal: list[Record] | None = None,
        lead: bool = True,
        timing: Timing | None = None,
        snapshots: SnapshotRule | None = None,
        lifting: LiftRule | None = None,
        limits: Configured | None = None,
    ) -> None:
        self.timing = timing or Timing()
        rules = Rules(
            name=name,
            plans=plans,
            timing=self.timing,
            deadlines=Deadlines(),
            operators=frozenset({"operator", "second"}),
            lifting=lifting or LiftRule(),
            snapshots=snapshots or SnapshotRule(),
            limits=limits or {},
        )
        self.now_ns = START_NS
        self.wall_ahead_ns = 0
        self.journal = [] if journal is None else journal
        self.read_to = 0
        self.reading = True
        self.sent: list[Output] = []
        self.seqs: dict[str, int] = {}
        self.core = Arbiter(rules, f"{name}#1", self.now)
        self.read_back()
        if lead:
            self.queue(Probe(arbiter=""))
            self.sent.clear()

    @property
    def now(self) -> Now:
        """This moment."""
        return Now(self.now_ns, self.now_ns + self.wall_ahead_ns)

    def queue(self, message: Message, *, user: str = "exec-a", handle: int = 1) -> None:
        """A delivery of the arbiters' queue."""
        self.do(self.core.on_queue(message, Origin(user=user, reply_to="asker", handle=handle), self.now))

    def hear(self, component: str, incarnation: str = "", **fields: Any) -> None:
        """The next heartbeat of a component; its incarnation is `component~1` unless given."""
        self.seqs[component] = seq = self.seqs.get(component, 0) + 1
        beat = Heartbeat(
            component=component,
            incarnation=incarnation or f"{component}~1",
            **{"ready": True, "seq": seq, **fields},
        )
        self.do(self.core.on_health(beat, Origin(reply_to=component), self.now))

    def release(self, component: str, held: SlotToken, *, ended: bool = True) -> None:
        """The component's word that it gave this slot back."""
        released = Released(
            component=component, incarnation=f"{component}~1", slots=(held,), reason="killed", ended=ended
        )
        self.do(self.core.on_health(released, Origin(), self.now))

    def tick(self, ms: int = 0) -> None:
        """Time passes in steps of half a tick, as in the shell."""
        end_ns = self.now_ns + ms * MS
        while True:
            self.do(self.core.tick(self.now))
            if self.now_ns >= end_ns:
                return
            self.now_ns = min(end_ns, self.now_ns + self.timing.tick_ns // 2)

    def live(self, ms: int, *components: str) -> None:
        """Time passes while these components' heartbeats keep coming."""
        for _ in range(ms // 250):
            for each in components:
                self.hear(each)
            self.tick(250)

    def read_back(self) -> None:
        """Everything in the journal reaches this arbiter."""
        while self.read_to < len(self.journal):
            self.read_to += 1
            self.do(self.core.on_record(self.journal[self.read_to - 1], self.read_to - 1, self.now))

    def do(self, outputs: list[Output]) -> None:
        """The shell: append first, keep the rest for the test to look at."""
        for output in outputs:
            if isinstance(output, Append):
                record = decode_record(encode(output.record))  # What others read is bytes.
                if isinstance(record, Malformed):
                    raise TypeError(record.text)
                self.journal.append(record)
            else:
                self.sent.append(output)
        if self.reading:
            self.read_back()

    # --- what came out ---

    def replies(self, kind: type[T]) -> list[T]:
        """Replies of a kind, oldest first."""
        return [each.message for each in self.sent if isinstance(each, Reply) and isinstance(each.message, kind)]

    def events(self, kind: type[T]) -> list[T]:
        """Events of a kind, oldest first."""
        return [each.message for each in self.sent if isinstance(each, Event) and isinstance(each.message, kind)]

    def broadcasts(self) -> list[Message]:
        """Broadcasts, oldest first."""
        return [each.message for each in self.sent if isinstance(each, Broadcast)]

    def settled(self) -> list[str]:
        """Verdicts on deliveries, oldest first."""
        return [each.verdict for each in self.sent if isinstance(each, Settle)]

    def asked_nominee(self) -> bool:
        """Whether a probe was put into the arbiters' queue."""
        return any(isinstance(each, AskNominee) for each in self.sent)

    @property
    def standing(self) -> Standing:
        """The role of this arbiter."""
        return self.core.desk.standing

    def lease_of(self, component: str) -> Lease:
        """The last lease answer to a component."""
        found = [
            each.message
            for each in self.sent
            if isinstance(each, Reply) and isinstance(each.message, Lease) and each.origin.reply_to == component
        ]
        return found[-1]

    def holder(self, slot: str = "execution/0") -> str:
        """Who holds a slot by the decided state, or nothing."""
        held = self.core.state.holders.get(slot)
        return held.component if held else ""

    def facts(self) -> list[str]:
        """The names of the journaled facts that say something."""
        return [type(each.fact).__name__ for each in self.journal if type(each.fact).__name__ != "Ticked"]


def serving(plans: tuple[GroupPlan, ...] = PAIR) -> Desk:
    """A leader whose group's first member holds the first slot."""
    desk = Desk(plans)
    desk.live(1000, *plans[0].members)
    return desk


def settled_in(plans: tuple[GroupPlan, ...] = PAIR) -> Desk:
    """A leader that nobody heard yet, for so long that no earlier one can renew any more."""
    desk = Desk(plans)
    desk.tick(desk.timing.leader_wait_ns // MS + 1)
    desk.sent.clear()
    return desk


def fold(journal: list[Record]) -> State:
    """What a fresh reader makes of the journal."""
    state = State()
    for record in journal:
        state.apply(record)
    return state


def started(term: int, author: str = "arbiter-2#1") -> Record:
    """Another arbiter's start of a term."""
    return Record(term=term, n=0, arbiter=author, at_ns=0, fact=TermStarted(reason=""))


def halt(halt_id: str = "h1", *scopes: str, level: TradingState = TradingState.HALTED, **fields: Any) -> Halt:
    """A halt; of everything unless scopes are given."""
    return Halt(
        halt_id=halt_id, scopes=scopes or ("all",), level=level, **{"reason": "a test", "actor": "dana", **fields}
    )


def intent(cl_ord_id: str = "o1", **fields: Any) -> OrderIntent:
    """An order of the first holder under its first token."""
    values: dict[str, Any] = {
        "component": "exec-a",
        "incarnation": "exec-a~1",
        "slot": "execution/0",
        "token": Token(1, 1),
        "account": "ACC",
        "venue": "SIM",
        "symbol": "XYZ",
        "side": "BUY",
        "qty": Decimal(100),
        "price": Decimal(10),
    }
    return OrderIntent(cl_ord_id=cl_ord_id, **{**values, **fields})


def report(
    cl_ord_id: str = "o1", *, cum: str = "0", status: OrdStatus = "NEW", exec_id: str = "x1", **fields: Any
) -> ExecutionReport:
    """The venue's word on that order."""
    values: dict[str, Any] = {
        "venue": "SIM",
        "account": "ACC",
        "order_id": "V1",
        "exec_type": "TRADE" if Decimal(cum) else "NEW",
        "symbol": "XYZ",
        "side": "BUY",
        "order_qty": Decimal(100),
        "cum_qty": Decimal(cum),
        "leaves_qty": Decimal(100) - Decimal(cum),
    }
    return ExecutionReport(cl_ord_id=cl_ord_id, exec_id=exec_id, ord_status=status, **{**values, **fields})


def evidence(cl_ord_id: str = "o1", **fields: Any) -> Evidence:
    """That word, as the reconciler hands it over."""
    return Evidence(reconciler="reconciler-1", source="drop_copy", report=report(cl_ord_id, **fields))
