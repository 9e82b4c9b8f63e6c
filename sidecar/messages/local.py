"""What crosses the local interface between a component and its own sidecar (HTTP on a Unix socket)."""

from decimal import Decimal
from typing import Literal

import msgspec

from sidecar.messages.base import Message, SlotToken
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.health import HealthStatus, Role
from sidecar.messages.orders import OrderKind, OrdStatus, Side


class GateStatus(Message, frozen=True, kw_only=True, tag="gate-status.v1"):
    """The gate as the sidecar last wrote it. `deadline_ns` is CLOCK_BOOTTIME; the gate is closed after it.

    `reason` says in a sentence why the gate is closed, and is empty while it is open.
    """

    component: str
    incarnation: str
    open: bool
    role: Role
    trading_state: TradingState
    slots: tuple[SlotToken, ...]
    deadline_ns: int
    control_version: int
    reason: str = ""


class SessionOpened(Message, frozen=True, kw_only=True, tag="session-opened.v1"):
    """The first line of a session: this run of the component has this incarnation. The session's end is its death."""

    component: str
    incarnation: str
    gate_path: str


class SessionAlive(Message, frozen=True, kw_only=True, tag="session-alive.v1"):
    """A line that says nothing but that the sidecar lives."""

    component: str


class SessionEnded(Message, frozen=True, kw_only=True, tag="session-ended.v1"):
    """The last line of a session that the sidecar ends: a newer one took over, it was not read, or we stop."""

    component: str
    reason: str


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/orders. `slot` may be left empty by a component that holds exactly one."""

    cl_ord_id: str = msgspec.field(name="ClOrdID")
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
    slot: str = ""


class CommitReport(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/orders/{ClOrdID}/report. `outcome` committed needs OrderID and OrdStatus, the others a reason."""

    outcome: Literal["committed", "aborted", "unknown"]
    order_id: str = msgspec.field(name="OrderID", default="")
    ord_status: OrdStatus = msgspec.field(name="OrdStatus", default="NEW")
    reason: str = ""


class HealthPush(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/health: the component's own word on itself."""

    ready: bool = True
    status: HealthStatus = "HEALTHY"
    reasons: tuple[str, ...] = ()
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class HaltPush(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/halt: a component stops itself or others; it can never lift."""

    scopes: tuple[str, ...]
    reason: str
    level: TradingState = TradingState.HALTED


class LocalStatus(Message, frozen=True, kw_only=True, tag="local-status.v1"):
    """GET /v1/status: the sidecar's own view of itself and of its component.

    `trouble` is one sentence on the broker, empty while all is well; `broker` its product and version, empty before
    the first connection. `halts` are all latched ones, whether they concern this component or not.
    """

    component: str
    group: str
    run: str
    version: str
    gate: GateStatus
    broker: str
    trouble: str
    healthy: bool
    reasons: tuple[str, ...]
    halts: tuple[Halt, ...]
    orders_waiting: int
    reports_unrecorded: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every 4xx and 5xx: what is wrong and how to mend it."""

    code: str
    text: str
    mend: str = ""
