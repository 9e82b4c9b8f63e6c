"""The answers of phase one, and the event that tells where an order stands.

Owns their making. It must not decide or send any: `verifier.py` does.
"""

from sidecar.core.limits import Breach
from sidecar.core.order import Order
from sidecar.core.outputs import Event
from sidecar.messages.events import OrderChanged
from sidecar.messages.journal import OrderRefused
from sidecar.messages.orders import OrderDenied, OrderGranted, OrderIntent, Phase


def granted(arbiter: str, order: Order) -> OrderGranted:
    """It may be sent, by the record that grants it."""
    return OrderGranted(arbiter=arbiter, cl_ord_id=order.intent.cl_ord_id, term=order.term, n=order.n)


def denied(arbiter: str, intent: OrderIntent, why: Breach | OrderRefused) -> OrderDenied:
    """It may not, with the numbers where there are any."""
    return OrderDenied(
        arbiter=arbiter,
        cl_ord_id=intent.cl_ord_id,
        code=why.code,
        text=why.text,
        scope=why.scope,
        asked=why.asked,
        limit=why.limit,
        current=why.current,
    )


def refused(intent: OrderIntent, why: Breach) -> OrderRefused:
    """The record of a denial."""
    return OrderRefused(
        intent=intent,
        code=why.code,
        text=why.text,
        scope=why.scope,
        asked=why.asked,
        limit=why.limit,
        current=why.current,
    )


def changed(arbiter: str, intent: OrderIntent, phase: Phase, why: Breach | None = None) -> Event:
    """Where the order stands now; a denial says why."""
    event = OrderChanged(
        arbiter=arbiter,
        cl_ord_id=intent.cl_ord_id,
        component=intent.component,
        venue=intent.venue,
        phase=phase,
        code=why.code if why is not None else "",
        text=why.text if why is not None else "",
    )
    return Event(event, f"order-changed.{phase.lower()}")
