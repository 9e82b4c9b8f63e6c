"""The simulated venue's book: its orders and every execution report it made, by ClOrdID.

Owns the venue's truth. Pure: it must not know time, sockets or how an order's fate is chosen. Reports are made once
and kept, so that a session, the drop copy and a query can never say different things.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from sidecar.messages.orders import ExecType, ExecutionReport, OrdStatus
from sidecar.messages.venue import CancelOrder, NewOrder

MARKET_PRICE = Decimal(100)
"""What market orders are filled at."""


@dataclass(slots=True)
class _Booked:
    """One request and all that was said of it."""

    request: NewOrder | CancelOrder
    order_id: str
    order_qty: Decimal
    status: OrdStatus = "NEW"
    cum_qty: Decimal = Decimal(0)
    reports: list[ExecutionReport] = field(default_factory=list)


class Book:
    """Orders of one venue. `orders_max` bounds it: a full book takes nothing more."""

    def __init__(self, venue: str, orders_max: int = 100_000) -> None:
        self._venue = venue
        self._orders_max = orders_max
        self._booked: dict[str, _Booked] = {}

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return len(self._booked) >= self._orders_max

    def knows(self, cl_ord_id: str) -> bool:
        """Whether this ClOrdID was ever received."""
        return cl_ord_id in self._booked

    def reports(self, cl_ord_id: str) -> tuple[ExecutionReport, ...]:
        """Everything ever said of it, oldest first; empty when it was never received."""
        booked = self._booked.get(cl_ord_id)
        return tuple(booked.reports) if booked is not None else ()

    def accept(self, order: NewOrder) -> ExecutionReport:
        """Take an order and acknowledge it. The caller has checked that its ClOrdID is new."""
        return self._report(self._book(order, order.qty), "NEW", "NEW")

    def reject(self, order: NewOrder) -> ExecutionReport:
        """Take an order and reject it."""
        return self._report(self._book(order, order.qty), "REJECTED", "REJECTED")

    def fill(self, cl_ord_id: str, qty: Decimal) -> ExecutionReport | None:
        """Fill an open order by up to `qty`; None when it is open no more."""
        booked = self._booked[cl_ord_id]
        last_qty = min(qty, booked.order_qty - booked.cum_qty)
        if booked.status not in ("NEW", "PARTIALLY_FILLED") or last_qty <= 0:
            return None
        booked.cum_qty += last_qty
        status: OrdStatus = "FILLED" if booked.cum_qty == booked.order_qty else "PARTIALLY_FILLED"
        return self._report(booked, "TRADE", status, last_qty)

    def cancel(self, request: CancelOrder) -> list[ExecutionReport]:
        """Cancel an open order: a report on the request and one on the order, or one that rejects the request.

        FIX has a single report with both ids, or an OrderCancelReject; two reports keep evidence keyed by ClOrdID.
        """
        target = self._booked.get(request.orig_cl_ord_id)
        if target is None or target.request.account != request.account:
            return [self._report(self._book(request, request.qty), "REJECTED", "REJECTED")]
        booked = self._book(request, target.order_qty, order_id=target.order_id, cum_qty=target.cum_qty)
        if target.status not in ("NEW", "PARTIALLY_FILLED"):
            return [self._report(booked, "REJECTED", "REJECTED")]
        return [self._report(booked, "CANCELED", "CANCELED"), self._report(target, "CANCELED", "CANCELED")]

    def _book(
        self, request: NewOrder | CancelOrder, qty: Decimal, *, order_id: str = "", cum_qty: Decimal = Decimal(0)
    ) -> _Booked:
        number = len(self._booked) + 1
        booked = _Booked(request, order_id or f"{self._venue}-{number}", qty, cum_qty=cum_qty)
        self._booked[request.cl_ord_id] = booked
        return booked

    def _report(
        self, booked: _Booked, exec_type: ExecType, status: OrdStatus, last_qty: Decimal = Decimal(0)
    ) -> ExecutionReport:
        request = booked.request
        price = (request.price if isinstance(request, NewOrder) else None) or MARKET_PRICE
        booked.status = status
        open_qty = booked.order_qty - booked.cum_qty if status in ("NEW", "PARTIALLY_FILLED") else Decimal(0)
        report = ExecutionReport(
            venue=self._venue,
            account=request.account,
            cl_ord_id=request.cl_ord_id,
            order_id=booked.order_id,
            exec_id=f"{request.cl_ord_id}.{len(booked.reports) + 1}",
            exec_type=exec_type,
            ord_status=status,
            symbol=request.symbol,
            side=request.side,
            order_qty=booked.order_qty,
            cum_qty=booked.cum_qty,
            leaves_qty=open_qty,
            avg_px=price if booked.cum_qty else Decimal(0),
            last_qty=last_qty,
            last_px=price if last_qty else Decimal(0),
        )
        booked.reports.append(report)
        return report
