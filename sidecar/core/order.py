"""The three-phase commit of one order: what is known of it, and what follows.

Owns one order's evidence (`Order`), the derived commit phase and the contradictions between the two sides. It must not
know other orders (`orders.py`), who may trade (`verifier.py`) or how venues are asked.

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
`contradiction`. CumQty never goes down but by a bust or a correction (`fills.py`); OrdStatus moves as `_newer` says.
"""

from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from sidecar.core.exact import ZERO, add, subtract, total
from sidecar.core.fills import NONE, REVISIONS, Fills, filled, stood, without_trades
from sidecar.core.working import Work
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakClosed,
    BreakOpened,
    Fact,
    OrderLost,
    OrderNeverSent,
    OrderReported,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrderKind, OrdStatus, Phase

EXECUTIONS_MAX = 1_000
"""Execution reports of one order that are compared with later ones; beyond those its CumQty alone counts."""
ABSENCES_NEEDED = 2
NO_ABSENCES: Final[frozenset[str]] = frozenset()
"""One for all orders: Python makes each empty set anew, at 200 bytes, and its collector walks over all of them."""
TERMINAL: frozenset[OrdStatus] = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED"})
GONE: frozenset[OrdStatus] = TERMINAL - {"FILLED"}
"""What no bust opens again."""
TRADING: frozenset[OrderKind] = frozenset({"NEW", "REPLACE", "CLOSE_POSITION"})
"""Kinds that can rest at a venue and be filled."""
NOT_TAKEN: frozenset[OrdStatus] = frozenset({"REJECTED", "PENDING_NEW", "PENDING_REPLACE"})
"""What a venue says of a REPLACE that did not, or does not yet, replace anything."""
CANCELS: frozenset[OrderKind] = frozenset({"CANCEL", "MASS_CANCEL"})
RANKS: dict[OrdStatus, int] = {
    "PENDING_NEW": 0,
    "NEW": 1,
    "PENDING_CANCEL": 2,
    "PENDING_REPLACE": 2,
    "PARTIALLY_FILLED": 2,
}
"""How far an open order is; at the same CumQty its status never goes back, and nothing but fills follow the others."""

FillKey = tuple[str, str, str, str, str]
"""(venue, account, ClOrdID, ExecID, side): the key of DESIGN section 8."""


_PRECOMMITTED: Final = Phase.PRECOMMITTED
_COMMITTED: Final = Phase.COMMITTED
_UNKNOWN: Final = Phase.UNKNOWN
_VERIFIED: Final = Phase.VERIFIED
_ABORTED: Final = Phase.ABORTED
_BREAK: Final = Phase.BREAK
"""Python 3.11 looks an enumeration's members up slowly, and these are asked for with every fact."""


class Order(msgspec.Struct, frozen=True, gc=False):
    """All that is journaled of one granted order. `granted_ns` is the `at_ns` of its record, for people."""

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
    fills: Fills = NONE
    executions: dict[FillKey, ExecutionReport] = {}  # msgspec copies an empty default for each value.
    absences: frozenset[str] = NO_ABSENCES
    breaks: tuple[str, ...] = ()
    cancel_by: str = ""
    replacing: str = ""
    replaced_by: str = ""
    superseded: bool = False
    adopted: bool = False
    closed: bool = False
    granted_ns: int = 0

    @property
    def phase(self) -> Phase:
        """The table above."""
        if self.breaks:
            return _BREAK
        if self.never_sent:
            return _ABORTED
        if not (self.reported or self.lost or self.adopted):
            return _PRECOMMITTED
        if self.executions or self.superseded:
            return _VERIFIED
        return _COMMITTED if self.reported else _UNKNOWN

    @property
    def cum_qty(self) -> Decimal:
        """The venue's CumQty."""
        return self.fills.cum_qty

    @property
    def ended(self) -> bool:
        """Whether it is at the venue no more under this ClOrdID, or an operator says so; fills may still come."""
        return self.venue_status in TERMINAL or self.superseded or self.closed

    @property
    def resting(self) -> bool:
        """Whether it may rest at the venue, for all that is known, and so be filled."""
        return self.intent.kind in TRADING and not self.ended and not self._unsent

    @property
    def _unsent(self) -> bool:
        """Whether it never reached the venue; while that is disputed it may be there."""
        return self.never_sent and not (self.breaks and (self.reported or self.executions))

    @property
    def ending(self) -> bool:
        """Whether it should be gone from the venue: cancelled, or replaced by another order there."""
        return self.resting and bool(self.cancel_by or self.replaced_by)

    @property
    def uncounted(self) -> Decimal:
        """How much its executions tell that is counted under other ClOrdIDs of its chain."""
        stand = (each.last_qty for each in self.executions.values() if stood(each, self.fills.voided))
        return subtract(total(stand), self.fills.trades)

    @property
    def finished(self) -> bool:
        """Nothing more is expected: aborted, or verified and ended at the venue."""
        phase = self.phase
        return phase is _ABORTED or (phase is _VERIFIED and self.ended)

    @property
    def work(self) -> Work | None:
        """What it may still trade."""
        if not self.resting:
            return None
        return Work(self.intent, max(subtract(self.intent.qty, self.fills.cum_qty), ZERO))

    def execution(self, exec_id: str) -> ExecutionReport | None:
        """The execution of this ExecID, if it was seen and is remembered."""
        intent = self.intent
        return self.executions.get((intent.venue, intent.account, intent.cl_ord_id, exec_id, intent.side))


def fill_key(report: ExecutionReport) -> FillKey:
    """What makes an execution report the same one again."""
    return (report.venue, report.account, report.cl_ord_id, report.exec_id, report.side)


def contradiction(order: Order, report: ExecutionReport, counted: bool = False) -> tuple[str, str, str] | None:
    """The break that this evidence opens, as (kind, ours, theirs), or None when it agrees.

    `counted` says that this execution was seen, or taken back, under another ClOrdID of its chain.
    """
    intent = order.intent
    ours, theirs = [intent.venue, intent.account], [report.venue, report.account]
    if intent.kind != "MASS_CANCEL":  # Its report is of no one symbol or side.
        ours, theirs = [*ours, intent.symbol, intent.side], [*theirs, report.symbol, report.side]
    known = order.executions.get(fill_key(report))
    if known is not None and known != report and report.exec_type != "ORDER_STATUS":
        return "EXECUTION_CHANGED", repr(known), repr(report)
    if ours != theirs:
        return "OTHER_ORDER", " ".join(ours), " ".join(theirs)
    if order.never_sent:
        return "ABORTED_BUT_AT_VENUE", "never sent", f"OrderID {report.order_id} {report.ord_status}"
    if intent.kind not in CANCELS and report.order_qty != intent.qty and not order.adopted:
        return "OTHER_QUANTITY", str(intent.qty), str(report.order_qty)
    total_qty = report.cum_qty if counted or known is not None else _total(order, report)
    if intent.kind in TRADING and total_qty > max(intent.qty, report.order_qty):
        return "OVERFILL", str(intent.qty), str(total_qty)
    if order.order_id and report.order_id and report.order_id != order.order_id:
        return "OTHER_ORDER_ID", order.order_id, report.order_id
    return None


def _total(order: Order, report: ExecutionReport) -> Decimal:
    """How much was filled by this report, which is new: by its CumQty, or by all executions that stand."""
    fills = order.fills
    if report.exec_type != "TRADE" or report.exec_id in fills.voided or fills.uncounted:
        return report.cum_qty
    return max(report.cum_qty, add(add(fills.trades, fills.carried), report.last_qty))


def said_before(order: Order, report: ExecutionReport) -> bool:
    """Whether an order with more executions than are remembered learns nothing from this one."""
    if len(order.executions) < EXECUTIONS_MAX or report.exec_type in REVISIONS:
        return False
    return report.cum_qty <= order.cum_qty and (order.ended or report.ord_status == order.venue_status)


def folded(order: Order, fact: Fact) -> Order:
    """The order after one fact about it; facts of other kinds change nothing."""
    match fact:
        case OrderReported(order_id=order_id, ord_status=ord_status):
            return replace(order, reported=True, order_id=order_id, ord_status=ord_status)
        case OrderLost():
            return replace(order, lost=True)
        case OrderNeverSent():
            return replace(order, never_sent=True)
        case AbsenceSeen(query_id=query_id):
            return replace(order, absences=order.absences | {query_id})
        case BreakOpened(kind=kind) if kind not in order.breaks:
            return replace(order, breaks=(*order.breaks, kind))
        case BreakClosed():
            return _looked_into(order)
        case _:
            return order


def _looked_into(order: Order) -> Order:
    """The order once an operator has closed its breaks: the venue's word stands, and what it does not know is over."""
    told, missing = bool(order.executions), "MISSING_AT_VENUE" in order.breaks
    return replace(
        order,
        breaks=(),
        absences=NO_ABSENCES,
        lost=order.lost or told,
        never_sent=(order.never_sent or missing) and not told,
        closed=order.closed or (missing and told),
    )


def seen(order: Order, report: ExecutionReport, *, counted: bool, elsewhere: bool = False) -> Order:
    """The order after evidence; `counted` says that this execution was seen under another ClOrdID of its chain.

    `elsewhere` says that what a bust or a correction revises is counted there.
    """
    key = fill_key(report)
    known = key in order.executions
    fills = filled(order.fills, report, order.execution, counted=counted or known, elsewhere=elsewhere)
    executions = {**order.executions, key: report}
    if known:
        executions[key] = _kept(order.executions[key], report)
    if len(executions) > EXECUTIONS_MAX:
        del executions[next(iter(executions))]
        fills = without_trades(fills)
    return replace(
        order,
        executions=executions,
        absences=NO_ABSENCES,
        venue_order_id=report.order_id or order.venue_order_id,
        venue_status=_status(order, report, fills),
        fills=fills,
    )


def _kept(known: ExecutionReport, report: ExecutionReport) -> ExecutionReport:
    """What is remembered under one ExecID: what was counted under it first, and of statuses the last."""
    return report if known.exec_type == report.exec_type == "ORDER_STATUS" else known


def _status(order: Order, report: ExecutionReport, fills: Fills) -> OrdStatus | None:
    """The OrdStatus after this report; `fills` are those after it.

    Once anything was busted or corrected, reports of before and after it cannot be told apart by their CumQty. Then
    what has gone is gone, for no bust opens it again, and else what stands of the executions says how full it is.
    """
    if fills.voided and order.intent.kind in TRADING:
        told = (order.venue_status, report.ord_status, *(each.ord_status for each in order.executions.values()))
        gone = next((each for each in told if each in GONE), None)
        return gone or (
            "FILLED" if fills.cum_qty >= report.order_qty else "PARTIALLY_FILLED" if fills.cum_qty else "NEW"
        )
    return report.ord_status if _newer(order, report) else order.venue_status


def _newer(order: Order, report: ExecutionReport) -> bool:
    """Whether this report's OrdStatus replaces the one that is known, of an order without a bust.

    More filled is newer, but only a fill opens what is gone; and what is cancelled is not open any more, however little
    it says was filled. At the same CumQty a status moves forward by RANKS only, an ended order's does not move, and one
    that was asked for may be old by now, unless only a fill can follow it.
    """
    if order.venue_status is None:
        return True
    if report.cum_qty > order.cum_qty:
        return order.venue_status not in GONE or report.exec_type == "TRADE" or report.ord_status in TERMINAL
    if order.venue_status in TERMINAL:
        return False
    if report.ord_status in GONE:
        return True
    if report.cum_qty < order.cum_qty:
        return False
    if report.ord_status in TERMINAL:
        return True
    return report.exec_type != "ORDER_STATUS" and RANKS[report.ord_status] >= RANKS[order.venue_status]


def failed(request: Order) -> bool:
    """Whether it is known that this cancel or replacement changed nothing at the venue."""
    return request.never_sent or request.venue_status == "REJECTED"
