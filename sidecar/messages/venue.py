"""The simulated venue's socket: JSON lines between order entry sessions, the reconciler and the venue.

Owns the shapes only. These are not broker messages: they travel on a TCP connection of their own, one JSON object
with a `type` per line, and stand in for a venue's FIX session. Field names follow FIX 4.4 volume 6 where it has them.
"""

from decimal import Decimal
from typing import Final, Literal

import msgspec

from sidecar.messages.base import Token
from sidecar.messages.orders import ExecutionReport, Side

VENUE_LINE_BYTES_MAX: Final = 1024 * 1024
"""A longer line ends the connection. Raising it lets one peer hold more of the other's memory."""
AUDIT_PAGE_MAX: Final = 2_000
"""Audit entries in one answer; 2,000 are about 300 KB."""


class VenueLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The base of every line."""


class Logon(VenueLine, frozen=True, kw_only=True, tag="logon"):
    """The first line of an order entry session; `run` names one run of the process. Whoever only asks needs none."""

    component: str
    run: str


class NewOrder(VenueLine, frozen=True, kw_only=True, tag="new"):
    """FIX NewOrderSingle (35=D). `token` is the one it was sent under; `price` None is a market order."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    account: str
    symbol: str
    side: Side
    qty: Decimal
    token: Token
    price: Decimal | None = None


class CancelOrder(VenueLine, frozen=True, kw_only=True, tag="cancel"):
    """FIX OrderCancelRequest (35=F): `OrigClOrdID` is the order to cancel, `ClOrdID` this request's own id."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    orig_cl_ord_id: str = msgspec.field(name="OrigClOrdID")
    account: str
    symbol: str
    side: Side
    qty: Decimal
    token: Token


class ReplaceOrder(VenueLine, frozen=True, kw_only=True, tag="replace"):
    """FIX OrderCancelReplaceRequest (35=G): of the order `OrigClOrdID`, `qty` and `price` are the new ones."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    orig_cl_ord_id: str = msgspec.field(name="OrigClOrdID")
    account: str
    symbol: str
    side: Side
    qty: Decimal
    token: Token
    price: Decimal | None = None


class MassCancel(VenueLine, frozen=True, kw_only=True, tag="mass-cancel"):
    """FIX OrderMassCancelRequest (35=q): every open order of `account`, of one `symbol` unless that is empty."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    account: str
    token: Token
    symbol: str = ""


Quirk = Literal[
    "FILL_BEFORE_ACK",
    "FILL_AFTER_CANCEL",
    "LATE_STATUS",
    "DUPLICATE_EXEC_ID",
    "CORRECT",
    "BUST",
    "OVERFILL",
    "RESEND",
    "HIDE_FILLS",
    "NO_ANSWER",
    "FORGET",
    "KEEP",
    "TWO_ORDERS",
    "REST",
    "INFERRED",
    "ONE_TRADE_ID",
]
"""How the venue can be told to treat one order; see `demo/venue_quirks.py`."""


class Instruct(VenueLine, frozen=True, kw_only=True, tag="instruct"):
    """Treat the order of this ClOrdID, when it comes, in this way and no other. Answered by `Instructed`."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    quirk: Quirk


class OrderQuery(VenueLine, frozen=True, kw_only=True, tag="query"):
    """FIX OrderStatusRequest (35=H): everything about one ClOrdID. The answer is authoritative."""

    query_id: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")


class CancelAllAfter(VenueLine, frozen=True, kw_only=True, tag="cancel-all-after"):
    """Cancel every open order of the account after so long, unless told again; 0 disarms. Needs no logon."""

    query_id: str
    account: str
    after_ms: int


class TimerSet(VenueLine, frozen=True, kw_only=True, tag="timer-set"):
    """The account's timer is armed with this time, or disarmed with 0."""

    query_id: str
    after_ms: int


class AuditQuery(VenueLine, frozen=True, kw_only=True, tag="audit"):
    """The orders received, in order, from the one numbered `start` (the first is 0)."""

    start: int = 0


class LoggedOn(VenueLine, frozen=True, kw_only=True, tag="logged-on"):
    """The session is open."""

    venue: str


class Instructed(VenueLine, frozen=True, kw_only=True, tag="instructed"):
    """The venue will do as it was told."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")


class Executed(VenueLine, frozen=True, kw_only=True, tag="executed"):
    """An execution report, to the session that sent the order."""

    report: ExecutionReport


class Refused(VenueLine, frozen=True, kw_only=True, tag="refused"):
    """A request that changed nothing in the book. It is no execution report: a duplicate says nothing of the first."""

    cl_ord_id: str = msgspec.field(name="ClOrdID", default="")
    code: str
    text: str


class OrderFound(VenueLine, frozen=True, kw_only=True, tag="found"):
    """All execution reports of an order so far, oldest first; at least one."""

    query_id: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    reports: tuple[ExecutionReport, ...]


class OrderNotFound(VenueLine, frozen=True, kw_only=True, tag="not-found"):
    """The venue never received such an order."""

    query_id: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One order as it arrived. `received_ns` is the venue host's CLOCK_BOOTTIME."""

    received_ns: int
    component: str
    run: str
    account: str
    token: Token
    cl_ord_id: str = msgspec.field(name="ClOrdID")


class AuditPage(VenueLine, frozen=True, kw_only=True, tag="audit-page"):
    """Entries from the asked number on, at most `AUDIT_PAGE_MAX`; empty at the end."""

    entries: tuple[AuditEntry, ...]


VenueRequest = (
    Logon | NewOrder | CancelOrder | ReplaceOrder | MassCancel | OrderQuery | AuditQuery | Instruct | CancelAllAfter
)
VenueAnswer = LoggedOn | Instructed | Executed | Refused | OrderFound | OrderNotFound | AuditPage | TimerSet
