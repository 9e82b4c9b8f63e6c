"""What the reconciler tells beside evidence: that it lives, what is open at a venue, what an account holds there.

They travel on `sidecar.orders` under `evidence.#`, as evidence does; an operator's `ResolveDifference` on
`sidecar.commands`. Quantities are decimals in strings.
"""

from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message

LINES_MAX = 1_000
"""Lines of one statement, and ClOrdIDs of one list of open orders; a whole one fits a message."""

Holds = Literal["positions", "balances"]


class VenueCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How one venue stands. `trouble` is a sentence, or empty; `checked_ms_ago` is None where nothing is checked."""

    venue: str
    trouble: str = ""
    checked_ms_ago: int | None = None


class ReconcilerAlive(Message, frozen=True, kw_only=True, tag="reconciler-alive.v1"):
    """The reconciler lives, and so its venues stand. Sent every two seconds."""

    SENDER: ClassVar[str] = "reconciler"
    reconciler: str
    run: str
    venues: tuple[VenueCheck, ...]


class OpenOrdersSeen(Message, frozen=True, kw_only=True, tag="open-orders-seen.v1"):
    """The ClOrdIDs that a venue lists as open. Who is missing is asked for by name; a list proves no absence."""

    SENDER: ClassVar[str] = "reconciler"
    reconciler: str
    venue: str
    account: str
    cl_ord_ids: tuple[str, ...] = msgspec.field(name="ClOrdIDs")


class StatementLine(msgspec.Struct, frozen=True, gc=False):
    """How much of a symbol (negative is short), or of an asset."""

    name: str
    qty: Decimal


class Market(msgspec.Struct, frozen=True, gc=False):
    """In which currency fills of a symbol are paid, and of which asset they are; `base` is empty where it is none."""

    symbol: str
    quote: str
    base: str = ""


class Statement(Message, frozen=True, kw_only=True, tag="statement.v1"):
    """All that an account holds by the venue's word; what is not named is nothing.

    `markets` says, with balances, which currencies fills have moved, as far as the reconciler knows.
    """

    SENDER: ClassVar[str] = "reconciler"
    reconciler: str
    venue: str
    account: str
    holds: Holds
    lines: tuple[StatementLine, ...]
    markets: tuple[Market, ...] = ()


class ReconciliationChanged(Message, frozen=True, kw_only=True, tag="reconciliation-changed.v1"):
    """An alert: why the venues' word is not heard as it should be, each as a sentence; none when all is well again."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    reasons: tuple[str, ...]


class DifferenceChanged(Message, frozen=True, kw_only=True, tag="difference-changed.v1"):
    """An alert: what an account holds is not what its fills say. Closed by evidence, or by an operator."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    venue: str
    account: str
    holds: Holds
    name: str
    ours: Decimal
    theirs: Decimal
    change: Literal["OPENED", "CLOSED"]
    actor: str = ""
    reason: str = ""


class ResolveDifference(Message, frozen=True, kw_only=True, tag="resolve-difference.v1"):
    """An operator takes the venue's word for one difference, with a reason; from then on it is what we begin from."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    venue: str
    account: str
    holds: Holds
    name: str
    actor: str
    reason: str


class DifferenceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One difference that is open, both sides."""

    venue: str
    account: str
    holds: Holds
    name: str
    ours: Decimal
    theirs: Decimal
