"""The bytes that are measured: one order as its question, its answer and its record.

Owns the one example of each, so that ours and the floors carry the same. It must not know how they travel.
"""

from decimal import Decimal
from typing import Final

from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.journal import OrderPrecommitted, Record
from sidecar.messages.local import OrderRequest
from sidecar.messages.orders import OrderGranted, OrderIntent

COMPONENT: Final = "exec"


def request(cl_ord_id: str) -> OrderRequest:
    """What a component asks."""
    return OrderRequest(
        cl_ord_id=cl_ord_id,
        account="ACC-1",
        venue="SIM",
        symbol="XYZ",
        side="BUY",
        qty=Decimal(100),
        price=Decimal("101.25"),
    )


def intent(cl_ord_id: str, component: str = f"{COMPONENT}-0") -> OrderIntent:
    """The same as its sidecar asks it; the lengths of all names are those of a run."""
    return OrderIntent(
        cl_ord_id=cl_ord_id,
        component=component,
        incarnation="0123456789abcdef0123456789abcdef",
        slot="bench-0/0",
        token=Token(1, 1),
        account="ACC-1",
        venue="SIM",
        symbol="XYZ",
        side="BUY",
        qty=Decimal(100),
        price=Decimal("101.25"),
    )


QUESTION: Final = encode(intent("exec-0-r00-12345"))
ANSWER: Final = encode(OrderGranted(arbiter="arbiter-1", cl_ord_id="exec-0-r00-12345", term=1, n=12_345))
RECORD: Final = encode(
    Record(
        term=1,
        n=12_345,
        arbiter="arbiter-1#01234567",
        at_ns=1_790_000_000_000_000_000,
        fact=OrderPrecommitted(intent=intent("exec-0-r00-12345")),
    )
)
