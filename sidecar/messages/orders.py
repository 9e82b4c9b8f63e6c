"""Order intents, reports and venue evidence: the exchange `sidecar.orders`.

Fields that FIX names carry FIX's own names on the wire (`ClOrdID`, `OrderID`, `CumQty`, FIX 4.4 volume 6).
Prices and quantities are decimals in strings.
"""

import enum
from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message, Token

Side = Literal["BUY", "SELL"]
OrderKind = Literal["CANCEL", "REPLACE", "MASS_CANCEL", "CLOSE_POSITION", "TRANSFER", "NEW"]
"""What an intent asks for; the table of docs/orders.md says which fields each kind reads."""
OrdStatus = Literal[
    "PENDING_NEW",
    "NEW",
    "PARTIALLY_FILLED",
    "FILLED",
    "CANCELED",
    "REJECTED",
    "EXPIRED",
    "PENDING_CANCEL",
    "PENDING_REPLACE",
    "REPLACED",
]
ExecType = Literal[
    "NEW", "TRADE", "CANCELED", "REJECTED", "EXPIRED", "REPLACED", "TRADE_CORRECT", "TRADE_CANCEL", "ORDER_STATUS"
]
"""FIX 4.4 ExecType (150). TRADE_CORRECT and TRADE_CANCEL name the execution they revise in ExecRefID."""


class Phase(enum.StrEnum):
    """The commit phase of an order; DENIED is ours, REJECTED the venue's.

    OrdStatus is another field: a REJECTED order can be VERIFIED.
    """

    PRECOMMITTED = "PRECOMMITTED"
    COMMITTED = "COMMITTED"
    UNKNOWN = "UNKNOWN"
    VERIFIED = "VERIFIED"
    ABORTED = "ABORTED"
    BREAK = "BREAK"
    DENIED = "DENIED"


class OrderIntent(Message, frozen=True, gc=False, kw_only=True, tag="order-intent.v1"):
    """Phase one: may this order be sent? `price` None is a market order.

    `reduces_risk` is the component's claim that the order can only shrink a position. CANCEL and REPLACE name their
    order in `OrigClOrdID`; of a REPLACE, `qty` and `price` are the new ones in full. MASS_CANCEL concerns every open
    order of `account` at `venue`, of one `symbol` unless that is empty. CLOSE_POSITION trades `side` and `qty` out of a
    position. TRANSFER moves `qty` of the asset `symbol` from `account` to `to_account`; its `side` is SELL.
    """

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    component: str
    incarnation: str
    slot: str
    token: Token
    account: str
    venue: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal | None = None
    kind: OrderKind = "NEW"
    strategy: str = ""
    reduces_risk: bool = False
    orig_cl_ord_id: str = msgspec.field(name="OrigClOrdID", default="")
    to_account: str = ""


class OrderGranted(Message, frozen=True, kw_only=True, tag="order-granted.v1"):
    """Journaled: this order may be sent, once, by this incarnation. `term` and `n` name the record."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    term: int
    n: int


class OrderDenied(Message, frozen=True, kw_only=True, tag="order-denied.v1"):
    """We say no (DENIED); a venue's no is REJECTED. `code` is for programs, `text` for people.

    A limit's denial says in numbers what was asked, what the limit is and where it stood, and whose limit it is.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    code: str
    text: str
    scope: str = ""
    asked: Decimal | None = None
    limit: Decimal | None = None
    current: Decimal | None = None


class OrderCommitted(Message, frozen=True, kw_only=True, tag="order-committed.v1"):
    """Phase two: it was sent, and the venue answered."""

    component: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    order_id: str = msgspec.field(name="OrderID")
    ord_status: OrdStatus = msgspec.field(name="OrdStatus")


class OrderAborted(Message, frozen=True, kw_only=True, tag="order-aborted.v1"):
    """Phase two: it was certainly never sent."""

    component: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    reason: str


class OrderUnknown(Message, frozen=True, kw_only=True, tag="order-unknown.v1"):
    """Phase two: it may or may not have reached the venue. Never guessed; evidence decides."""

    component: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    reason: str


class ReportRecorded(Message, frozen=True, kw_only=True, tag="report-recorded.v1"):
    """The report is journaled; the order now stands in `phase`."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    phase: Phase
    text: str = ""


class ExecutionReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a venue says of one order at one moment (FIX ExecutionReport, 35=8).

    `ClOrdID` is empty where the venue knows none. `ExecRefID` names the execution that a TRADE_CORRECT replaces or a
    TRADE_CANCEL takes back; their CumQty is the one after it.
    """

    venue: str
    account: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    order_id: str = msgspec.field(name="OrderID")
    exec_id: str = msgspec.field(name="ExecID")
    exec_type: ExecType = msgspec.field(name="ExecType")
    ord_status: OrdStatus = msgspec.field(name="OrdStatus")
    symbol: str
    side: Side
    order_qty: Decimal = msgspec.field(name="OrderQty")
    cum_qty: Decimal = msgspec.field(name="CumQty")
    leaves_qty: Decimal = msgspec.field(name="LeavesQty")
    avg_px: Decimal = msgspec.field(name="AvgPx", default=Decimal(0))
    last_qty: Decimal = msgspec.field(name="LastQty", default=Decimal(0))
    last_px: Decimal = msgspec.field(name="LastPx", default=Decimal(0))
    exec_ref_id: str = msgspec.field(name="ExecRefID", default="")
    orig_cl_ord_id: str = msgspec.field(name="OrigClOrdID", default="")


class DropCopy(Message, frozen=True, kw_only=True, tag="drop-copy.v1"):
    """The venue's own copy of an execution report, published by the venue side, not by the component."""

    SENDER: ClassVar[str] = "venue"
    venue: str
    report: ExecutionReport


class Evidence(Message, frozen=True, kw_only=True, tag="evidence.v1"):
    """Phase three: the reconciler hands venue evidence to the arbiter. `source` says how it was got."""

    SENDER: ClassVar[str] = "reconciler"
    reconciler: str
    source: Literal["drop_copy", "query"]
    report: ExecutionReport


class Absence(Message, frozen=True, kw_only=True, tag="absence.v1"):
    """An authoritative, targeted query by ClOrdID found nothing. Two of them, apart in time, prove absence.

    With `targeted` false the order was only missing from a list: that proves nothing, and the order is asked for.
    """

    SENDER: ClassVar[str] = "reconciler"
    reconciler: str
    venue: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    query_id: str
    targeted: bool = True


class ResolveBreak(Message, frozen=True, kw_only=True, tag="resolve-break.v1"):
    """An operator has looked into every break of one order, and says why nothing more is to be done about them."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    actor: str
    reason: str


class EvidenceWanted(Message, frozen=True, kw_only=True, tag="evidence-wanted.v1"):
    """The leader asks the reconciler to query the venue for this order by ClOrdID.

    `symbol` and OrderID are as far as we know them: some venues find no order without.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    venue: str
    account: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    phase: Phase
    symbol: str = ""
    order_id: str = msgspec.field(name="OrderID", default="")
