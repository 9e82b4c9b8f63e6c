"""A leader with orders at a venue, and the venue's and the component's words on them, for tests."""

from decimal import Decimal
from typing import Any

from desks import Desk, evidence, intent, serving

from sidecar.messages.events import BreakFound
from sidecar.messages.orders import Evidence, EvidenceWanted, OrderCommitted


def committed(cl_ord_id: str = "o1", order_id: str = "V1") -> OrderCommitted:
    """The component's word that the venue answered."""
    return OrderCommitted(component="exec-a", cl_ord_id=cl_ord_id, order_id=order_id, ord_status="NEW")


def trade(cl_ord_id: str = "o1", qty: str = "40", *, cum: str, exec_id: str = "f1", **fields: Any) -> Evidence:
    """A fill of so much, after which so much is filled."""
    status = "FILLED" if Decimal(cum) >= 100 else "PARTIALLY_FILLED"
    filled = {"status": status, "last_qty": Decimal(qty), "last_px": Decimal(10), "exec_type": "TRADE", **fields}
    return evidence(cl_ord_id, cum=cum, exec_id=exec_id, **filled)


def told(cl_ord_id: str, status: str, **fields: Any) -> Evidence:
    """The venue's word on an order's status."""
    return evidence(
        cl_ord_id, status=status, exec_id=f"{cl_ord_id}.{status}", exec_type=fields.pop("exec_type", status), **fields
    )


def resting(*names: str) -> Desk:
    """A leader whose first holder has these orders open at the venue, which calls o1 V1, and so on."""
    desk = serving()
    for name in names:
        order_id = name.replace("o", "V")
        for message in (intent(name), committed(name, order_id), told(name, "NEW", order_id=order_id)):
            desk.queue(message)
    desk.sent.clear()
    return desk


def order(desk: Desk, cl_ord_id: str = "o1") -> Any:
    """What is known of an order."""
    return desk.core.state.book.orders[cl_ord_id]


def position(desk: Desk) -> Any:
    """The net position in the symbol that these tests trade."""
    return desk.core.state.book.exposure.position("SIM", "ACC", "XYZ")


def breaks(desk: Desk) -> list[str]:
    """The kinds of breaks that were told, oldest first."""
    return [each.kind for each in desk.events(BreakFound)]


def wanted(desk: Desk) -> list[str]:
    """The orders that the venue was to be asked about."""
    return [each.cl_ord_id for each in desk.events(EvidenceWanted)]
