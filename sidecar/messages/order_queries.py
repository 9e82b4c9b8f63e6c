"""Questions to the leader about orders and breaks, and its answers: what is in its memory, a page at a time.

Asked under `sidecar.commands` by anyone whom the broker verified; nothing is decided by asking. Each answer is bounded
by the number of its rows, and each row by the bounds of the names and numbers that a journal carries. Times are the
deciding arbiters' CLOCK_REALTIME in nanoseconds, 0 where it is not known.
"""

from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrderKind, OrdStatus, Phase, Side
from sidecar.messages.reconcile import Holds

LINES_MAX = 200
"""Rows of one page. Higher holds the leader's loop and the asker's memory for longer."""
PAGE_BYTES_MAX = 1024 * 1024
"""Bytes of the rows of one page. Names may be long; with usual ones a whole page is a tenth of it."""
SIDE_MAX = 1_000
"""Characters of either side of a break in an answer; the journal has all of them."""
REPORTS_MAX = 100
"""Executions of one order in one report, the newest of them; all are in the journal."""
CHAIN_MAX = 128
"""Other orders that one report names."""


class OrdersQuery(Message, frozen=True, kw_only=True, tag="orders-query.v1"):
    """Anyone asks the leader for an `OrdersPage`, the newest orders first. What is empty or false matches every order.

    `phases` with DENIED in it lists denials, and nothing else. `open_only` is what may rest at a venue. `after` is the
    `next` of the page before.
    """

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    phases: tuple[Phase, ...] = ()
    statuses: tuple[OrdStatus, ...] = ()
    account: str = ""
    venue: str = ""
    symbol: str = ""
    component: str = ""
    strategy: str = ""
    slot: str = ""
    open_only: bool = False
    limit: int = LINES_MAX
    after: str = ""


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """One order in a list. `ord_status` is the venue's, or before its first word the one that the component reported.

    `waits` is what it waits for (`core/waits.py`), or empty; `code` and `text` are those of a denial.
    """

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    kind: OrderKind
    component: str
    slot: str
    account: str
    venue: str
    symbol: str
    side: Side
    qty: Decimal
    phase: Phase
    price: Decimal | None = None
    strategy: str = ""
    ord_status: OrdStatus | None = msgspec.field(name="OrdStatus", default=None)
    order_id: str = msgspec.field(name="OrderID", default="")
    cum_qty: Decimal = msgspec.field(name="CumQty", default=Decimal(0))
    granted_ns: int = 0
    open: bool = False
    waits: str = ""
    breaks: tuple[str, ...] = ()
    code: str = ""
    text: str = ""


class OrdersPage(Message, frozen=True, kw_only=True, tag="orders-page.v1"):
    """Orders in the leader's memory. `next` asks for the following page and is empty behind the last one.

    A page may be short, or empty, before the last: the leader looks at a bounded number of orders for each.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 2 * 1024 * 1024
    arbiter: str
    request_id: str
    orders: tuple[OrderLine, ...]
    next: str = ""


class OrderQuery(Message, frozen=True, kw_only=True, tag="order-query.v1"):
    """Anyone asks the leader for an `OrderReport`. `order` is a ClOrdID, or the venue, a slash and its OrderID."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    order: str


class OpenBreak(msgspec.Struct, frozen=True, gc=False):
    """A break of an order that nobody has closed yet, both sides, and when it was opened."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    kind: str
    ours: str
    theirs: str
    at_ns: int = 0


Remembered = Literal["WHOLE", "DENIED", "EXTERNAL", "NAME", "NOT"]
"""What the leader knows of an order: all, its denial, its break, that it was granted once, or nothing."""


class OrderReport(Message, frozen=True, kw_only=True, tag="order-report.v1"):
    """One order as the leader has it in memory, at one offset of the journal.

    `granted_term` and `granted_n` name the record that granted it. `line.waits` is what it waits for, `wait_left_ns`
    how long still. `reports` are the newest of `reports_count` execution reports. `replaces`, `replaced_by`,
    `replacing` (asked for, its outcome not yet known) and `cancelled_by` are ClOrdIDs. Its story begins in the journal
    at the offset `begins` or behind it.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 1024 * 1024
    arbiter: str
    request_id: str
    term: int
    offset: int
    remembered: Remembered
    cl_ord_id: str = msgspec.field(name="ClOrdID", default="")
    line: OrderLine | None = None
    intent: OrderIntent | None = None
    granted_term: int = 0
    granted_n: int = 0
    begins: int = 0
    adopted: bool = False
    reports: tuple[ExecutionReport, ...] = ()
    reports_count: int = 0
    absences: tuple[str, ...] = ()
    breaks: tuple[OpenBreak, ...] = ()
    halts: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    replaced_by: tuple[str, ...] = ()
    replacing: str = ""
    cancelled_by: str = ""
    wait_left_ns: int = 0


class BreaksQuery(Message, frozen=True, kw_only=True, tag="breaks-query.v1"):
    """Anyone asks the leader for a `BreaksPage`, the oldest first. `after` is the `next` of the page before."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    after: str = ""


class BreakLine(msgspec.Struct, frozen=True, kw_only=True):
    """The open breaks of one order. `line` is the order as far as it is known, `evidence` the venue's last word on it.

    `halts` are the ids of halts in force that came with a break.
    """

    cl_ord_id: str = msgspec.field(name="ClOrdID")
    breaks: tuple[OpenBreak, ...]
    line: OrderLine | None = None
    evidence: ExecutionReport | None = None
    halts: tuple[str, ...] = ()


class DifferenceLine(msgspec.Struct, frozen=True, kw_only=True):
    """An open difference between what an account holds and what its fills say, and the halt that came with it."""

    venue: str
    account: str
    holds: Holds
    name: str
    ours: Decimal
    theirs: Decimal
    at_ns: int = 0
    halts: tuple[str, ...] = ()


class BreaksPage(Message, frozen=True, kw_only=True, tag="breaks-page.v1"):
    """Orders with open breaks; the first page has the open differences too. `next` as in an `OrdersPage`."""

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 4 * 1024 * 1024
    arbiter: str
    request_id: str
    breaks: tuple[BreakLine, ...]
    breaks_count: int
    differences: tuple[DifferenceLine, ...] = ()
    differences_count: int = 0
    next: str = ""
