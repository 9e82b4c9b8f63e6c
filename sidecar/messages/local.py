"""What crosses the local interface between a component and its own sidecar (HTTP on a Unix socket)."""

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

from sidecar.messages.base import Message, SlotToken, Token
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.health import HealthReport, HealthStatus, Role
from sidecar.messages.measures import Measure, MeasuresReport
from sidecar.messages.once import OnceKind, OnceOutcome
from sidecar.messages.orders import OrderKind, OrdStatus, Side

QueueState = Literal["idle", "processing", "stalled"]
StrategyState = Literal["INITIALIZING", "READY", "RUNNING", "PAUSED", "STOPPING", "STOPPED", "FAILED"]
TEXT_MAX: Final = 256
REASONS_MAX: Final = 16
METRICS_MAX: Final = 64
STRATEGIES_PUSHED_MAX: Final = 64
ERRORS_MAX: Final = 1_000_000_000
"""In one push."""
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
MetricName = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}$")]
"""Printable ASCII without space: a health report must hold 200 of them within the bound of a message."""
Number = Annotated[Decimal, msgspec.Meta(extra_json_schema={"pattern": r"^[0-9]{1,12}(\.[0-9]{1,12})?$"})]
"""As it is always understood; other spellings of a number are, too."""
SCOPES_MAX: Final = 64
ScopeName = Annotated[
    str,
    msgspec.Meta(extra_json_schema={"pattern": "^(all|(group|component|venue|account|symbol|strategy):.{1,256})$"}),
]
Metrics = Annotated[dict[MetricName, float], msgspec.Meta(max_length=METRICS_MAX)]
StrategyName = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
StrategyStates = Annotated[dict[StrategyName, StrategyState], msgspec.Meta(max_length=STRATEGIES_PUSHED_MAX)]
ClOrdID = Annotated[str, msgspec.Meta(pattern=r"^[!-.0-~]{1,128}$")]
"""Printable ASCII without space and slash: it is a path here and a correlation id (255 bytes at most) on the wire."""


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
    """The first line of a session: this run of the component has this incarnation. The session's end is its death.

    `state_version` is that of the one state that is kept here, for GET /v1/state; 0 for none or several.
    """

    component: str
    incarnation: str
    gate_path: str
    state_version: int = 0


class SessionAlive(Message, frozen=True, kw_only=True, tag="session-alive.v1"):
    """A line that says nothing but that the sidecar lives."""

    component: str


class SessionEnded(Message, frozen=True, kw_only=True, tag="session-ended.v1"):
    """The last line of a session that the sidecar ends: a newer one took over, it was not read, or we stop."""

    component: str
    reason: str


class HaltsInForce(Message, frozen=True, kw_only=True, tag="halts-in-force.v1"):
    """A line of the session and of the events: all latched halts, whether they concern this component or not.

    Told at each change; a halt that is no longer named was lifted.
    """

    component: str
    control_version: int
    halts: tuple[Halt, ...]


class MeasureAsked(Message, frozen=True, kw_only=True, tag="measure-asked.v1"):
    """A line of the session: do this measure now, for these scopes, and answer with `MeasureAnswer`.

    Repeated, with a higher `attempt`, until the answer says that it is done. `limit_ms` is what is left of its time
    limit; 0 when that has passed.
    """

    component: str
    halt_id: str
    measure: Measure
    scopes: tuple[str, ...]
    attempt: int
    limit_ms: int
    reason: str = ""


class MeasureAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/measures/{halt_id}/{measure}: what came of it. What remains is asked for again, whatever `outcome` says.

    `remaining` names what is still there: ClOrdIDs for cancel, symbols for flatten.
    """

    outcome: Literal["done", "failed"]
    remaining: tuple[str, ...] = ()
    text: str = ""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/orders. `slot` may be left empty by a component that holds exactly one."""

    cl_ord_id: ClOrdID = msgspec.field(name="ClOrdID")
    account: Text
    venue: Text
    symbol: Text
    side: Side
    qty: Number
    price: Number | None = None
    kind: OrderKind = "NEW"
    strategy: Text = ""
    reduces_risk: bool = False
    orig_cl_ord_id: Text = msgspec.field(name="OrigClOrdID", default="")
    slot: Text = ""
    to_account: Text = ""


class CommitReport(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/orders/{ClOrdID}/report. `outcome` committed needs OrderID and OrdStatus, the others a reason."""

    outcome: Literal["committed", "aborted", "unknown"]
    order_id: Text = msgspec.field(name="OrderID", default="")
    ord_status: OrdStatus = msgspec.field(name="OrdStatus", default="NEW")
    reason: Text = ""


class OnceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/once/claim. `fingerprint` stands for the arguments; see `once-claim.v1` for the rest."""

    kind: OnceKind
    key: str
    limit_ms: int = 60_000
    fingerprint: str = ""
    resolves: bool = False


class OncePush(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/once/report: what became of the claim `claim_id`. DONE carries the result's JSON, the others a text."""

    claim_id: str
    kind: OnceKind
    key: str
    outcome: OnceOutcome
    result: str = ""
    text: str = ""


class StateKept(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to PUT /v1/state: this version of the component's state, of `size` bytes, is on disk.

    `token` is that under which the component held `slot` then, `at_ns` CLOCK_REALTIME for people. `replicas` are the
    standbys that had it on their disks, too, by the time of this answer.
    """

    component: str
    version: int
    size: int
    token: Token
    incarnation: str
    at_ns: int = 0
    slot: str = ""
    replicas: tuple[str, ...] = ()


class StateArrived(Message, frozen=True, kw_only=True, tag="state-arrived.v1"):
    """A line of the session and of the events: a newer state of `slot` is kept here, for GET /v1/state.

    A standby's component may apply it at once. `author` made it under `token`; `size` is in bytes.
    """

    component: str
    slot: str
    version: int
    author: str
    token: Token
    size: int
    at_ns: int = 0


class SlotStateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One slot's state at this sidecar, in its status.

    `known_version` is the newest that was heard of, `lag_ns` for how long it has been known and lacked. `last` is
    whether the kept one is known to be the newest; None while no arbiter has said. While the slot is held here,
    `replicas` are the standbys that have it on disk, and `unreplicated_ns` for how long the newest has been on none.
    """

    slot: str
    version: int
    token: Token
    author: str
    size: int
    at_ns: int
    known_version: int
    lag_ns: int
    last: bool | None = None
    held: bool = False
    replicas: tuple[str, ...] = ()
    unreplicated_ns: int = 0


class HealthPush(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/health: the component's own word on itself.

    `metrics` are named figures; those whose names end in `_age_s` go on growing until they are pushed again. `errors`
    counts what went wrong since the push before; the sidecar makes `errors_per_minute` of it. `strategies` names the
    states of strategies, those that changed at least: each step is held to the table of docs/health.md.
    """

    ready: bool = True
    status: HealthStatus = "HEALTHY"
    reasons: Annotated[tuple[Text, ...], msgspec.Meta(max_length=REASONS_MAX)] = ()
    metrics: Metrics = msgspec.field(default_factory=dict)
    errors: Annotated[int, msgspec.Meta(ge=0, le=ERRORS_MAX)] = 0
    execution_queue: QueueState | None = None
    strategies: StrategyStates = msgspec.field(default_factory=dict)


class HaltPush(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/halt: a component stops itself or others; it can never lift."""

    scopes: Annotated[tuple[ScopeName, ...], msgspec.Meta(min_length=1, max_length=SCOPES_MAX)]
    reason: Text
    level: TradingState = TradingState.HALTED


class LocalStatus(Message, frozen=True, kw_only=True, tag="local-status.v1"):
    """GET /v1/status: the sidecar's own view of itself and of its component.

    `trouble` is one sentence on the broker, empty while all is well; `broker` its product and version, empty before
    the first connection. `halts` are all latched ones, whether they concern this component or not. `healthy` and
    `reasons` are of the sidecar itself; `states` are those of its group's slots, and `state_trouble` is one sentence on
    the way by which they come and go, empty while it stands; `health` is of its component, with every figure.
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
    up_ns: int = 0
    health: HealthReport | None = None
    measures: tuple[MeasuresReport, ...] = ()
    states: tuple[SlotStateStatus, ...] = ()
    state_trouble: str = ""
    strategies: dict[str, StrategyState] = msgspec.field(default_factory=dict)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every 4xx and 5xx: what is wrong and how to mend it."""

    code: str
    text: str
    mend: str = ""
