"""Chains of replaced orders: who stands in one, and whose a report of it is.

Owns walking along a chain and telling its members apart. It must not change anything: what one order's news means for
others of its chain is in `orders.py`.
"""

from collections.abc import Iterable, Mapping

from sidecar.core.exact import ZERO, subtract
from sidecar.core.order import Order
from sidecar.messages.orders import ExecutionReport

CHAIN_MAX = 64
"""Replaced orders that are looked at from one of their chain."""


def along(orders: Mapping[str, Order], order: Order, *, forward: bool) -> list[Order]:
    """Those that this one replaced, or was replaced by, the nearest first."""
    found: list[Order] = []
    at = order
    while len(found) < CHAIN_MAX and (forward or at.intent.kind == "REPLACE"):
        following = orders.get(at.replaced_by if forward else at.intent.orig_cl_ord_id)
        if following is None or following is order:
            break
        found.append(following)
        at = following
    return found


def meant(orders: Mapping[str, Order], first: Order, report: ExecutionReport) -> Order:
    """The order of a chain that a report without a ClOrdID is of; `first` is one that has its OrderID.

    It is whoever had this execution or heard of its bust, else the last one that was of this quantity, best of those
    that miss the trade; it may be a replacement of which nothing was heard yet.
    """
    chain = [first]
    for each in along(orders, first, forward=True):
        if chain[-1].superseded:
            chain.append(each)
    had = [each for each in chain if each.execution(report.exec_id) or report.exec_id in each.fills.voided]
    pending = orders.get(chain[-1].replacing)
    likely = chain if pending is None else [pending, *chain]
    likely = [each for each in likely if each.intent.qty == report.order_qty and _names(report, each)]
    missing = [each for each in likely if ZERO < report.last_qty <= subtract(each.fills.quantity, each.fills.trades)]
    return (had or missing or likely or chain)[-1]


def _names(report: ExecutionReport, order: Order) -> bool:
    """Whether a report that names an OrigClOrdID names this order's."""
    return report.orig_cl_ord_id in ("", order.intent.orig_cl_ord_id)


def counting(exec_id: str, chain: Iterable[Order]) -> Order | None:
    """The one of a chain under which this execution is counted: venues may tell it again under later ClOrdIDs."""
    told = [each for each in chain if each.execution(exec_id) is not None]
    return next((each for each in told if not each.uncounted), told[-1]) if told else None
