"""A model venue's book: the truth of all orders, and every word that it says of them.

Owns orders, executions and positions as they are, by ClOrdID and, along a chain of replaced orders, by OrderID. It must
not know time, dice, or how its words travel (`venue.py`). It is honest: it takes a ClOrdID once and forgets none.

| request     | is taken when                        | what is then said                                     |
|-------------|--------------------------------------|-------------------------------------------------------|
| NEW, CLOSE  | always                               | NEW                                                   |
| REPLACE     | its order is open, with less filled  | REPLACED or NEW of the request, REPLACED of its order |
| CANCEL      | its order is open                    | CANCELED of the request, and of its order             |
| MASS_CANCEL | always                               | CANCELED of the request, and of each open order       |
| TRANSFER    | always                               | FILLED                                                |
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from sidecar.messages.orders import ExecType, ExecutionReport, OrderIntent, OrdStatus

ZERO = Decimal(0)
OPEN: tuple[OrdStatus, ...] = ("NEW", "PARTIALLY_FILLED")
RESTING = ("NEW", "CLOSE_POSITION", "REPLACE")


@dataclass(slots=True)
class Booked:
    """One request and all that was said of it. `heir` is the order that goes on with its OrderID."""

    intent: OrderIntent
    order_id: str
    order_qty: Decimal
    status: OrdStatus = "NEW"
    cum_qty: Decimal = ZERO
    traded: Decimal = ZERO
    reports: list[ExecutionReport] = field(default_factory=list)
    heir: "Booked | None" = None

    @property
    def open(self) -> bool:
        """Whether it can be filled."""
        return self.status in OPEN and self.intent.kind in RESTING

    @property
    def head(self) -> "Booked":
        """Whoever goes on under this OrderID."""
        return self if self.heir is None else self.heir.head


class Exchange:
    """The book. Each method returns what the venue says, in order."""

    def __init__(self) -> None:
        self.booked: dict[str, Booked] = {}
        self._open: dict[str, Booked] = {}

    def open_orders(self) -> tuple[Booked, ...]:
        """What rests here, the oldest first."""
        return tuple(self._open.values())

    def positions(self) -> dict[tuple[str, str], Decimal]:
        """What was bought less what was sold, by account and symbol; those that are nothing left out."""
        found: dict[tuple[str, str], Decimal] = {}
        for each in self.booked.values():
            if each.intent.kind in RESTING:
                name = (each.intent.account, each.intent.symbol)
                sign = 1 if each.intent.side == "BUY" else -1
                found[name] = found.get(name, ZERO) + sign * each.traded
        return {name: qty for name, qty in found.items() if qty}

    # --- requests ---

    def reject(self, intent: OrderIntent) -> list[ExecutionReport]:
        """Take nothing."""
        return [self._say(self._book(intent), "REJECTED", "REJECTED")]

    def take(self, intent: OrderIntent, *, same_id: bool = True) -> list[ExecutionReport]:
        """Do what is asked, if it can be; `same_id` says that a REPLACE keeps its order's OrderID."""
        match intent.kind:
            case "CANCEL":
                return self._cancel(intent)
            case "MASS_CANCEL":
                found = [each for each in self._open.values() if _meant(intent, each)]
                done = self._say(self._book(intent), "CANCELED", "CANCELED")
                return [done, *(self._say(each, "CANCELED", "CANCELED") for each in found)]
            case "REPLACE":
                return self._replace(intent, same_id)
            case "TRANSFER":
                booked = self._book(intent)
                booked.cum_qty = intent.qty
                return [self._say(booked, "TRADE", "FILLED", intent.qty)]
            case _:
                return [self._say(self._book(intent), "NEW", "NEW")]

    def _cancel(self, intent: OrderIntent) -> list[ExecutionReport]:
        target = self.booked.get(intent.orig_cl_ord_id)
        if target is None or not target.open:
            return self.reject(intent)
        booked = self._book(intent, target.order_qty, target.order_id, target.cum_qty)
        return [self._say(booked, "CANCELED", "CANCELED"), self._say(target, "CANCELED", "CANCELED")]

    def _replace(self, intent: OrderIntent, same_id: bool) -> list[ExecutionReport]:
        target = self.booked.get(intent.orig_cl_ord_id)
        if target is None or not target.open or intent.qty <= target.cum_qty:
            return self.reject(intent)
        if not same_id:
            gone = self._say(target, "REPLACED", "REPLACED")
            return [self._say(self._book(intent), "NEW", "NEW"), gone]
        target.heir = booked = self._book(intent, intent.qty, target.order_id, target.cum_qty)
        status: OrdStatus = "PARTIALLY_FILLED" if booked.cum_qty else "NEW"
        return [self._say(booked, "REPLACED", status), self._say(target, "REPLACED", "REPLACED")]

    # --- what happens by itself ---

    def fill(self, cl_ord_id: str, qty: Decimal, *, late: bool = False) -> list[ExecutionReport]:
        """Trade up to `qty` of whoever goes on with this order; `late` is a trade of before its cancel, told after."""
        booked = self.booked[cl_ord_id].head
        qty = min(qty, booked.order_qty - booked.cum_qty)
        if qty <= 0 or not (booked.open or (late and booked.status == "CANCELED")):
            return []
        booked.cum_qty += qty
        booked.traded += qty
        status: OrdStatus = "FILLED" if booked.cum_qty == booked.order_qty else "PARTIALLY_FILLED"
        return [self._say(booked, "TRADE", booked.status if late else status, qty)]

    def end(self, cl_ord_id: str, status: OrdStatus) -> list[ExecutionReport]:
        """Cancel or expire whoever goes on with this order, if it is open."""
        booked = self.booked[cl_ord_id].head
        return [self._say(booked, "EXPIRED" if status == "EXPIRED" else "CANCELED", status)] if booked.open else []

    def revise(self, trade: ExecutionReport, qty: Decimal) -> list[ExecutionReport]:
        """Correct a trade to less; to nothing is a bust. An order that was filled is open again."""
        booked, lost = self.booked[trade.cl_ord_id].head, trade.last_qty - qty
        self.booked[trade.cl_ord_id].traded -= lost
        booked.cum_qty -= lost
        status = booked.status
        if status in (*OPEN, "FILLED"):
            status = "PARTIALLY_FILLED" if booked.cum_qty else "NEW"
        return [self._say(booked, "TRADE_CORRECT" if qty else "TRADE_CANCEL", status, qty or trade.last_qty, trade)]

    def status_of(self, cl_ord_id: str) -> Iterator[ExecutionReport]:
        """How an order stands, as a venue answers that tells of no single executions."""
        booked = self.booked[cl_ord_id]
        exec_id = f"status.{booked.order_id}.{booked.status}.{booked.cum_qty}"
        yield self._report(booked, "ORDER_STATUS", exec_id)

    # --- inside ---

    def _book(
        self, intent: OrderIntent, qty: Decimal | None = None, order_id: str = "", cum_qty: Decimal = ZERO
    ) -> Booked:
        booked = Booked(intent, order_id or f"v-{intent.cl_ord_id}", intent.qty if qty is None else qty)
        booked.cum_qty = cum_qty
        self.booked[intent.cl_ord_id] = booked
        return booked

    def _say(
        self,
        booked: Booked,
        exec_type: ExecType,
        status: OrdStatus,
        last_qty: Decimal = ZERO,
        revised: ExecutionReport | None = None,
    ) -> ExecutionReport:
        booked.status = status
        cl_ord_id = booked.intent.cl_ord_id
        if booked.open:
            self._open[cl_ord_id] = booked
        else:
            self._open.pop(cl_ord_id, None)
        exec_id = f"{cl_ord_id}-{len(booked.reports)}"
        report = self._report(booked, exec_type, exec_id, last_qty, revised.exec_id if revised is not None else "")
        booked.reports.append(report)
        return report

    def _report(
        self,
        booked: Booked,
        exec_type: ExecType,
        exec_id: str,
        last_qty: Decimal = ZERO,
        exec_ref_id: str = "",
    ) -> ExecutionReport:
        intent = booked.intent
        price = intent.price if intent.price is not None else Decimal(1)
        return ExecutionReport(
            venue=intent.venue,
            account=intent.account,
            cl_ord_id=intent.cl_ord_id,
            order_id=booked.order_id,
            exec_id=exec_id,
            exec_type=exec_type,
            ord_status=booked.status,
            symbol=intent.symbol,
            side=intent.side,
            order_qty=booked.order_qty,
            cum_qty=booked.cum_qty,
            leaves_qty=booked.order_qty - booked.cum_qty if booked.open else ZERO,
            avg_px=price if booked.cum_qty else ZERO,
            last_qty=last_qty,
            last_px=price if last_qty else ZERO,
            exec_ref_id=exec_ref_id,
            orig_cl_ord_id=intent.orig_cl_ord_id if intent.kind == "REPLACE" else "",
        )


def _meant(request: OrderIntent, each: Booked) -> bool:
    return each.intent.account == request.account and request.symbol in ("", each.intent.symbol)
