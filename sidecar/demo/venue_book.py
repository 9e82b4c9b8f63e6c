"""The simulated venue's book: its orders and every execution report it made, by ClOrdID.

Owns the venue's truth. Pure: it must not know time, sockets or how an order's fate is chosen. Reports are made once
and kept, so that a session, the drop copy and a query can never say different things.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from msgspec.structs import replace

from sidecar.messages.orders import ExecType, ExecutionReport, OrdStatus
from sidecar.messages.venue import CancelOrder, MassCancel, NewOrder, ReplaceOrder

Request = NewOrder | CancelOrder | ReplaceOrder | MassCancel

MARKET_PRICE = Decimal(100)
"""What market orders are filled at."""


@dataclass(slots=True)
class _Booked:
    """One request and all that was said of it."""

    request: Request
    order_id: str
    order_qty: Decimal
    status: OrdStatus = "NEW"
    cum_qty: Decimal = Decimal(0)
    reports: list[ExecutionReport] = field(default_factory=list)
    kept: bool = False
    doubled: bool = False

    @property
    def open(self) -> bool:
        """Whether it can be filled."""
        return self.status in ("NEW", "PARTIALLY_FILLED") and isinstance(self.request, NewOrder | ReplaceOrder)


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

    def keep(self, cl_ord_id: str, *, doubled: bool = False) -> None:
        """Let no cancel end this order; `doubled` instead makes a replacement a second order beside it."""
        booked = self._booked[cl_ord_id]
        booked.kept, booked.doubled = not doubled, doubled

    def forget(self, cl_ord_id: str) -> None:
        """Know nothing of this order any more; its ClOrdID stays used."""
        self._booked[cl_ord_id].reports.clear()

    def fill(self, cl_ord_id: str, qty: Decimal, *, beyond: bool = False) -> ExecutionReport | None:
        """Fill an open order by up to `qty`; None when it is open no more. `beyond` fills whatever its state is."""
        booked = self._booked[cl_ord_id]
        last_qty = qty if beyond else min(qty, booked.order_qty - booked.cum_qty)
        if not beyond and (not booked.open or last_qty <= 0):
            return None
        booked.cum_qty += last_qty
        status: OrdStatus = "FILLED" if booked.cum_qty >= booked.order_qty else "PARTIALLY_FILLED"
        if booked.status == "CANCELED":
            status = "CANCELED"
        return self._report(booked, "TRADE", status, last_qty)

    def infer(self, cl_ord_id: str, qty: Decimal) -> ExecutionReport:
        """Fill an order, and show it by CumQty alone."""
        booked = self._booked[cl_ord_id]
        booked.cum_qty += qty
        return self._report(booked, "ORDER_STATUS", "PARTIALLY_FILLED")

    def execute_inferred(self, cl_ord_id: str, qty: Decimal) -> ExecutionReport:
        """Tell of the execution that CumQty has shown before."""
        return self._report(self._booked[cl_ord_id], "TRADE", "PARTIALLY_FILLED", qty)

    def rename_last(self, cl_ord_id: str, exec_id: str) -> ExecutionReport:
        """Give the last report of an order another ExecID."""
        reports = self._booked[cl_ord_id].reports
        reports[-1] = replace(reports[-1], exec_id=exec_id)
        return reports[-1]

    def revise(self, cl_ord_id: str, exec_id: str, qty: Decimal) -> ExecutionReport:
        """Correct an execution to `qty`; zero takes it back."""
        booked = self._booked[cl_ord_id]
        original = next(each for each in booked.reports if each.exec_id == exec_id)
        booked.cum_qty += qty - original.last_qty
        kind: ExecType = "TRADE_CORRECT" if qty else "TRADE_CANCEL"
        status: OrdStatus = "PARTIALLY_FILLED" if booked.cum_qty else "NEW"
        return self._report(booked, kind, status, qty or original.last_qty, exec_ref_id=exec_id)

    def cancel(self, request: CancelOrder) -> list[ExecutionReport]:
        """Cancel an open order: a report on the request and one on the order, or one that rejects the request.

        FIX has a single report with both ids, or an OrderCancelReject; two reports keep evidence keyed by ClOrdID.
        """
        target = self._booked.get(request.orig_cl_ord_id)
        if target is None or target.request.account != request.account:
            return [self._report(self._book(request, request.qty), "REJECTED", "REJECTED")]
        booked = self._book(request, target.order_qty, order_id=target.order_id, cum_qty=target.cum_qty)
        if not target.open:
            return [self._report(booked, "REJECTED", "REJECTED")]
        done = self._report(booked, "CANCELED", "CANCELED")
        return [done] if target.kept else [done, self._report(target, "CANCELED", "CANCELED")]

    def mass_cancel(self, request: MassCancel) -> list[ExecutionReport]:
        """Cancel every open order in question: a report on the request and one on each."""
        found = [
            each
            for each in self._booked.values()
            if each.open
            and not each.kept
            and each.request.account == request.account
            and request.symbol in ("", each.request.symbol)
        ]
        done = self._report(self._book(request, Decimal(0)), "CANCELED", "CANCELED")
        return [done, *(self._report(each, "CANCELED", "CANCELED") for each in found)]

    def cancel_account(self, account: str) -> list[ExecutionReport]:
        """Cancel every open order of an account without being asked: a report on each."""
        found = [each for each in self._booked.values() if each.open and each.request.account == account]
        return [self._report(each, "CANCELED", "CANCELED") for each in found]

    def replace(self, request: ReplaceOrder) -> list[ExecutionReport]:
        """Change an open order: it goes on under the new ClOrdID and its own OrderID, or the request is rejected."""
        target = self._booked.get(request.orig_cl_ord_id)
        if target is None or not target.open or request.qty <= target.cum_qty:
            return [self._report(self._book(request, request.qty), "REJECTED", "REJECTED")]
        if target.doubled:
            return [self._report(self._book(request, request.qty), "NEW", "NEW")]
        booked = self._book(request, request.qty, order_id=target.order_id, cum_qty=target.cum_qty)
        status: OrdStatus = "PARTIALLY_FILLED" if booked.cum_qty else "NEW"
        return [self._report(booked, "REPLACED", status), self._report(target, "REPLACED", "REPLACED")]

    def refuse_cancel(self, request: CancelOrder) -> list[ExecutionReport]:
        """Reject the request, and leave the order as it is."""
        target = self._booked.get(request.orig_cl_ord_id)
        qty = target.order_qty if target is not None else request.qty
        return [self._report(self._book(request, qty), "REJECTED", "REJECTED")]

    def _book(self, request: Request, qty: Decimal, *, order_id: str = "", cum_qty: Decimal = Decimal(0)) -> _Booked:
        number = len(self._booked) + 1
        booked = _Booked(request, order_id or f"{self._venue}-{number}", qty, cum_qty=cum_qty)
        self._booked[request.cl_ord_id] = booked
        return booked

    def _report(
        self,
        booked: _Booked,
        exec_type: ExecType,
        status: OrdStatus,
        last_qty: Decimal = Decimal(0),
        exec_ref_id: str = "",
    ) -> ExecutionReport:
        request = booked.request
        price = (request.price if isinstance(request, NewOrder | ReplaceOrder) else None) or MARKET_PRICE
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
            side="BUY" if isinstance(request, MassCancel) else request.side,
            order_qty=booked.order_qty,
            cum_qty=booked.cum_qty,
            leaves_qty=open_qty,
            avg_px=price if booked.cum_qty else Decimal(0),
            last_qty=last_qty,
            last_px=price if last_qty else Decimal(0),
            exec_ref_id=exec_ref_id,
            orig_cl_ord_id=request.orig_cl_ord_id if isinstance(request, ReplaceOrder) else "",
        )
        booked.reports.append(report)
        return report
