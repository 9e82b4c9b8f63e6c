"""The three-phase commit of orders: what is known of each order, and what follows from it.

Owns one order's evidence (`Order`), the derived commit phase, and the book of orders as a fold of facts. It must not
know who may trade (`verifier.py` decides that) or how venues are asked.

Theory. The phase is never stored as an opinion: it is derived from what was journaled about the order, so that the
order in which report and evidence arrive cannot matter (a fill before its ack, a report after the deadline).

| reported | lost | never sent | venue evidence | phase                                          |
|----------|------|------------|----------------|------------------------------------------------|
| no       | no   | no         | any            | PRECOMMITTED (evidence waits for the report)   |
| yes      | any  | no         | no             | COMMITTED                                      |
| no       | yes  | no         | no             | UNKNOWN                                        |
| yes / lost      || no         | yes            | VERIFIED                                       |
| any      | any  | yes        | no             | ABORTED                                        |
| a break was opened                          |||| BREAK                                          |

Contradictions (never sent, yet seen at the venue; other quantity; more filled than ordered) are breaks, opened by
`contradiction`. CumQty never goes down: an older report than one already seen changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from sidecar.core.bounded import drop_oldest
from sidecar.messages.events import OrderCounts
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakOpened,
    EvidenceSeen,
    Fact,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    Record,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrdStatus, Phase

FINISHED_MAX = 100_000
"""Finished orders whose whole story stays in memory, at about 2 KB each."""
REMEMBERED_MAX = 1_000_000
"""ClOrdIDs of older orders that are still refused as duplicates, at about 150 bytes each."""
REFUSED_MAX = 10_000
"""Denials that are still repeated word for word to whoever asks again."""
EXECUTIONS_MAX = 1_000
"""Execution reports of one order that are compared with later ones; older ones count but are not compared."""
ABSENCES_NEEDED = 2
TERMINAL: frozenset[OrdStatus] = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED"})

FillKey = tuple[str, str, str, str, str]
"""(venue, account, ClOrdID, ExecID, side): the key of DESIGN section 8."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that is journaled of one granted order."""

    intent: OrderIntent
    term: int
    n: int
    reported: bool = False
    lost: bool = False
    never_sent: bool = False
    order_id: str = ""
    ord_status: OrdStatus | None = None
    venue_order_id: str = ""
    venue_status: OrdStatus | None = None
    cum_qty: Decimal = Decimal(0)
    executions: dict[FillKey, ExecutionReport] = field(default_factory=dict)
    absences: frozenset[str] = frozenset()
    breaks: tuple[str, ...] = ()

    @property
    def phase(self) -> Phase:
        """The table above."""
        if self.breaks:
            return Phase.BREAK
        if self.never_sent:
            return Phase.ABORTED
        if not (self.reported or self.lost):
            return Phase.PRECOMMITTED
        if self.executions:
            return Phase.VERIFIED
        return Phase.COMMITTED if self.reported else Phase.UNKNOWN

    @property
    def finished(self) -> bool:
        """Nothing more is expected: aborted, or verified and terminal at the venue."""
        phase = self.phase
        return phase is Phase.ABORTED or (phase is Phase.VERIFIED and self.venue_status in TERMINAL)


def fill_key(report: ExecutionReport) -> FillKey:
    """What makes an execution report the same one again."""
    return (report.venue, report.account, report.cl_ord_id, report.exec_id, report.side)


def contradiction(order: Order, report: ExecutionReport) -> tuple[str, str, str] | None:
    """The break that this evidence opens, as (kind, ours, theirs), or None when it agrees."""
    intent = order.intent
    ours = (intent.venue, intent.account, intent.symbol, intent.side)
    theirs = (report.venue, report.account, report.symbol, report.side)
    known = order.executions.get(fill_key(report))
    if known is not None and known != report and report.exec_type != "ORDER_STATUS":
        return "EXECUTION_CHANGED", repr(known), repr(report)
    if ours != theirs:
        return "OTHER_ORDER", " ".join(ours), " ".join(theirs)
    if order.never_sent:
        return "ABORTED_BUT_AT_VENUE", "never sent", f"OrderID {report.order_id} {report.ord_status}"
    if intent.kind == "NEW" and report.order_qty != intent.qty:
        return "OTHER_QUANTITY", str(intent.qty), str(report.order_qty)
    if intent.kind == "NEW" and report.cum_qty > intent.qty:
        return "OVERFILL", str(intent.qty), str(report.cum_qty)
    if order.order_id and report.order_id and report.order_id != order.order_id:
        return "OTHER_ORDER_ID", order.order_id, report.order_id
    return None


@dataclass(slots=True, kw_only=True)
class BookParts:
    """All that an OrderBook is made of; the tables are its own, not copies."""

    orders: dict[str, Order] = field(default_factory=dict)
    refused: dict[str, OrderRefused] = field(default_factory=dict)
    external: dict[str, BreakOpened] = field(default_factory=dict)
    finished: dict[str, None] = field(default_factory=dict)
    remembered: dict[str, None] = field(default_factory=dict)
    granted: int = 0
    denied: int = 0
    phases: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))


class OrderBook:
    """All orders, folded from facts. Deterministic: no clock, bounded by the constants above."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.refused: dict[str, OrderRefused] = {}
        self.external: dict[str, BreakOpened] = {}
        self._finished: dict[str, None] = {}
        self._remembered: dict[str, None] = {}
        self._granted = 0
        self._denied = 0
        self._phases: dict[Phase, int] = dict.fromkeys(Phase, 0)

    def copy(self) -> "OrderBook":
        """An independent book with the same orders."""
        twin = OrderBook()
        twin.orders, twin.refused, twin.external = dict(self.orders), dict(self.refused), dict(self.external)
        twin._finished, twin._remembered = dict(self._finished), dict(self._remembered)
        twin._granted, twin._denied, twin._phases = self._granted, self._denied, dict(self._phases)
        return twin

    def parts(self) -> BookParts:
        """What a snapshot needs, to be read only."""
        return BookParts(
            orders=self.orders,
            refused=self.refused,
            external=self.external,
            finished=self._finished,
            remembered=self._remembered,
            granted=self._granted,
            denied=self._denied,
            phases=self._phases,
        )

    @classmethod
    def of(cls, parts: BookParts) -> "OrderBook":
        """The book of these parts, which it takes over."""
        book = cls()
        book.orders, book.refused, book.external = parts.orders, parts.refused, parts.external
        book._finished, book._remembered = parts.finished, parts.remembered
        book._granted, book._denied = parts.granted, parts.denied
        book._phases.update(parts.phases)
        return book

    def remembers(self, cl_ord_id: str) -> bool:
        """Whether this ClOrdID was granted and has left memory since."""
        return cl_ord_id in self._remembered

    @property
    def size(self) -> int:
        """How many orders are in memory in any form."""
        return len(self.orders) + len(self.refused) + len(self.external) + len(self._remembered)

    @property
    def open_count(self) -> int:
        """How many orders still wait for something."""
        return len(self.orders) - len(self._finished)

    def unfinished(self) -> Iterator[str]:
        """ClOrdIDs of orders that still wait for something."""
        return (each for each in self.orders if each not in self._finished)

    def counts(self) -> OrderCounts:
        """How many orders stand where."""
        return OrderCounts(
            granted=self._granted,
            denied=self._denied,
            precommitted=self._phases[Phase.PRECOMMITTED],
            committed=self._phases[Phase.COMMITTED],
            verified=self._phases[Phase.VERIFIED],
            aborted=self._phases[Phase.ABORTED],
            unknown=self._phases[Phase.UNKNOWN],
            broken=self._phases[Phase.BREAK] + len(self.external),
        )

    def apply(self, record: Record) -> None:
        """Fold one fact about orders; facts of other kinds change nothing."""
        fact = record.fact
        match fact:
            case OrderPrecommitted(intent=intent):
                self._granted += 1
                self._store(None, Order(intent, record.term, record.n))
            case OrderRefused(intent=intent):
                self._denied += 1
                self.refused[intent.cl_ord_id] = fact
                drop_oldest(self.refused, REFUSED_MAX)
            case BreakOpened(cl_ord_id=cl_ord_id) if cl_ord_id not in self.orders:
                self.external[cl_ord_id] = fact
                drop_oldest(self.external, FINISHED_MAX)
            case _:
                order = self.orders.get(getattr(fact, "cl_ord_id", "") or _reported_id(fact))
                if order is not None:
                    self._store(order, _folded(order, fact))

    def _store(self, before: Order | None, after: Order) -> None:
        cl_ord_id = after.intent.cl_ord_id
        if before is not None:
            self._phases[before.phase] -= 1
        self._phases[after.phase] += 1
        self.orders[cl_ord_id] = after
        if not after.finished:
            self._finished.pop(cl_ord_id, None)
        elif cl_ord_id not in self._finished:
            self._finished[cl_ord_id] = None
            self._retire()

    def _retire(self) -> None:
        for oldest in drop_oldest(self._finished, FINISHED_MAX):
            del self.orders[oldest]
            self._remembered[oldest] = None
        drop_oldest(self._remembered, REMEMBERED_MAX)


def _reported_id(fact: Fact) -> str:
    return fact.report.cl_ord_id if isinstance(fact, EvidenceSeen) else ""


def _folded(order: Order, fact: Fact) -> Order:
    match fact:
        case OrderReported(order_id=order_id, ord_status=ord_status):
            return replace(order, reported=True, order_id=order_id, ord_status=ord_status)
        case OrderLost():
            return replace(order, lost=True)
        case OrderNeverSent():
            return replace(order, never_sent=True)
        case AbsenceSeen(query_id=query_id):
            return replace(order, absences=order.absences | {query_id})
        case BreakOpened(kind=kind):
            return replace(order, breaks=(*order.breaks, kind))
        case EvidenceSeen(report=report):
            return _seen(order, report)
        case _:
            return order


def _seen(order: Order, report: ExecutionReport) -> Order:
    # A status that was asked for may be old by now, unless it is one that nothing but a fill can follow.
    says_more = report.exec_type != "ORDER_STATUS" or report.ord_status in TERMINAL
    newer = report.cum_qty > order.cum_qty or (
        report.cum_qty == order.cum_qty and order.venue_status not in TERMINAL and says_more
    )
    if order.venue_status is None:
        newer = True
    executions = {**order.executions, fill_key(report): report}
    if len(executions) > EXECUTIONS_MAX:
        del executions[next(iter(executions))]
    return replace(
        order,
        executions=executions,
        venue_order_id=report.order_id or order.venue_order_id,
        venue_status=report.ord_status if newer else order.venue_status,
        cum_qty=max(order.cum_qty, report.cum_qty),
    )
