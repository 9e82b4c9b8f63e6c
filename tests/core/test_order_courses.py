"""Any course of orders, reports, evidence, halts and time, with a leader that dies anywhere: what must hold always."""

import msgspec
from desks import Desk, evidence, fold, halt, intent, serving
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from order_desks import committed, told, trade

from sidecar.core.exact import ZERO, add
from sidecar.core.order import Order
from sidecar.core.violations import checks
from sidecar.core.waits import wait_of
from sidecar.core.working import Working
from sidecar.messages.base import Message
from sidecar.messages.control import Probe
from sidecar.messages.journal import OrderPrecommitted, Record
from sidecar.messages.orders import (
    Absence,
    OrderAborted,
    OrderGranted,
    OrderUnknown,
    Phase,
    ResolveBreak,
)

NAMES = st.sampled_from(["o1", "o2", "r1", "c1", "m1", "t1", "p1"])
NUMBERS = st.sampled_from(["0", "40", "60", "100", "130"])
KINDS = {"r1": "REPLACE", "c1": "CANCEL", "m1": "MASS_CANCEL", "t1": "TRANSFER", "p1": "CLOSE_POSITION"}
STATUSES = ["PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "PENDING_CANCEL", "REPLACED"]


class Course(RuleBasedStateMachine):
    """One leader after another over one journal; what each had answered stays true for the next."""

    @initialize()
    def begin(self) -> None:
        """A leader with a holder."""
        self.desk = serving()
        self.leaders = 1
        self.grants: dict[str, set[tuple[int, int]]] = {}
        self.halted = False

    def queue(self, message: Message, *, user: str = "exec-a") -> None:
        """One delivery, and what is always true of its answers."""
        self.desk.sent.clear()
        self.desk.queue(message, user=user)
        for each in self.desk.replies(OrderGranted):
            self.grants.setdefault(each.cl_ord_id, set()).add((each.term, each.n))
            if self.halted:
                assert KINDS.get(each.cl_ord_id) in ("CANCEL", "MASS_CANCEL", "CLOSE_POSITION")

    # --- what happens ---

    @rule(name=NAMES, orig=st.sampled_from(["o1", "o2", "r1"]))
    def ask(self, name: str, orig: str) -> None:
        """A question, or the same one again."""
        kind = KINDS.get(name, "NEW")
        named = {"orig_cl_ord_id": orig} if kind in ("REPLACE", "CANCEL") else {}
        side = "SELL" if kind in ("TRANSFER", "CLOSE_POSITION") else "BUY"
        self.queue(intent(name, kind=kind, side=side, to_account="B" if kind == "TRANSFER" else "", **named))

    @rule(name=NAMES, what=st.sampled_from(["committed", "aborted", "unknown"]), order_id=st.sampled_from(["V1", "V2"]))
    def report(self, name: str, what: str, order_id: str) -> None:
        """The component's word, whatever the venue says."""
        words: dict[str, Message] = {
            "committed": committed(name, order_id),
            "aborted": OrderAborted(component="exec-a", cl_ord_id=name, reason="x"),
            "unknown": OrderUnknown(component="exec-a", cl_ord_id=name, reason="x"),
        }
        self.queue(words[what])

    @rule(
        name=st.one_of(NAMES, st.sampled_from(["", "theirs"])),
        status=st.sampled_from(STATUSES),
        cum=NUMBERS,
        order_id=st.sampled_from(["V1", "V2", "V3"]),
        query=st.booleans(),
        account=st.sampled_from(["ACC", "ACC", "OTHER"]),
    )
    def venue(self, name: str, status: str, cum: str, order_id: str, query: bool, account: str) -> None:
        """The venue's word on a status, to the drop copy or as an answer."""
        said = evidence(
            name,
            status=status,
            cum=cum,
            exec_id=f"{status}.{cum}",
            order_id=order_id,
            account=account,
            exec_type="ORDER_STATUS" if query else "NEW",
        )
        self.queue(msgspec.structs.replace(said, source="query") if query else said)

    @rule(
        name=st.one_of(NAMES, st.sampled_from(["", "theirs"])),
        number=st.integers(1, 4),
        kind=st.sampled_from(["TRADE", "TRADE", "TRADE_CANCEL", "TRADE_CORRECT"]),
        cum=NUMBERS,
        qty=NUMBERS,
    )
    def fill(self, name: str, number: int, kind: str, cum: str, qty: str) -> None:
        """A fill, a bust or a correction, in any order."""
        about = {} if kind == "TRADE" else {"exec_ref_id": f"f{number % 4 + 1}"}
        self.queue(trade(name, qty=qty, cum=cum, exec_id=f"f{number}", exec_type=kind, **about))

    @rule(name=NAMES, query=st.integers(1, 9), targeted=st.booleans())
    def absent(self, name: str, query: int, targeted: bool) -> None:
        """A query that found nothing."""
        self.queue(Absence(reconciler="r", venue="SIM", cl_ord_id=name, query_id=f"q{query}", targeted=targeted))

    @rule(name=st.one_of(NAMES, st.sampled_from(["theirs", "~SIM/V3"])))
    def resolve(self, name: str) -> None:
        """An operator closes what is open."""
        self.queue(ResolveBreak(request_id="q", cl_ord_id=name, actor="dana", reason="x"), user="operator")

    @rule()
    def halt(self) -> None:
        """Everything is halted from now on."""
        self.queue(halt("all"))
        self.halted = True

    @rule(ms=st.sampled_from([100, 2_000, 11_000]))
    def wait(self, ms: int) -> None:
        """Time passes; the sidecar goes on beating."""
        self.desk.live(ms, "exec-a", "exec-b")
        self.desk.tick(ms % 250)

    @rule(lost=st.integers(0, 2))
    def die(self, lost: int) -> None:
        """The leader dies, and the last records that it appended without answering yet are not in the log."""
        desk = self.desk
        desk.reading = False
        desk.queue(intent(f"x{self.leaders}"))
        desk.queue(told(f"x{self.leaders}", "NEW"))
        journal = desk.journal[: max(desk.read_to, len(desk.journal) - lost)]
        self.leaders += 1
        heir = Desk(journal=list(journal), name=f"arbiter-{self.leaders}", lead=False)
        heir.now_ns = desk.now_ns
        heir.queue(Probe(arbiter=""))
        heir.seqs = dict(desk.seqs)
        self.desk = heir
        heir.live(250, "exec-a", "exec-b")

    # --- what must hold ---

    @invariant()
    def each_is_granted_once(self) -> None:
        """However often it is asked, a ClOrdID has one grant, the same for every leader."""
        assert all(len(each) == 1 for each in self.grants.values())
        facts = [each.fact.intent.cl_ord_id for each in self._valid() if isinstance(each.fact, OrderPrecommitted)]
        assert len(facts) == len(set(facts))
        assert set(self.grants) <= set(facts)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Every order that is not over is waited for, or is a break that somebody was told about."""
        waits = self.desk.core.verifier._waits
        for name, order in self.desk.core.state.book.orders.items():
            if wait_of(order) is not None:
                assert name in waits._live, (name, order.phase)
            else:
                assert order.finished or order.phase is Phase.BREAK or _over(order), (name, order.phase)

    @invariant()
    def the_sums_are_those_of_the_orders(self) -> None:
        """Open quantities, counts, prices and positions kept along the way are what the orders say, added anew."""
        book, anew = self.desk.core.state.book, Working()
        for order in book.orders.values():
            anew.change(None, order.work)
        kept = book.working
        assert (kept.counts, kept.leaves, kept.prices) == (anew.counts, anew.leaves, anew.prices)
        held = ZERO
        for each in book.orders.values():
            if each.intent.kind in ("NEW", "REPLACE", "CLOSE_POSITION") and each.intent.account == "ACC":
                sign = 1 if each.intent.side == "BUY" else -1
                held = add(held, sign * each.fills.quantity)
        assert book.exposure.position("SIM", "ACC", "XYZ") == held

    @invariant()
    def nothing_cannot_be(self) -> None:
        """Whatever happens to orders, what is folded of it is no violation of integrity: those are for defects."""
        assert [each for each in checks(self.desk.core.state) if each is not None] == []

    @invariant()
    def all_fold_the_same(self) -> None:
        """The journal alone gives this leader's state, to the bit."""
        assert fold(self.desk.journal[: self.desk.read_to]).digest() == self.desk.core.state.digest()

    def _valid(self) -> list[Record]:
        return self.desk.journal[: self.desk.read_to]


def _over(order: Order) -> bool:
    """A request whose phase says that nothing more is expected though the venue's last word was no end."""
    return order.ended


Course.TestCase.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
TestCourse = Course.TestCase
