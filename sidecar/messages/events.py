"""Decided facts for everyone else (exchange `sidecar.events`) and the leader's status report.

Events are published after their record was read back, so an event that was seen is in the journal.
"""

from typing import ClassVar, Literal

import msgspec

from sidecar.messages.arbiters import ArbiterStatus
from sidecar.messages.base import Message, Token
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.measures import Measure, MeasuresStatus
from sidecar.messages.orders import Phase
from sidecar.messages.reconcile import DifferenceStatus


class TermBegan(Message, frozen=True, kw_only=True, tag="term-began.v1"):
    """An arbiter leads."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    term: int
    reason: str


class SlotMoved(Message, frozen=True, kw_only=True, tag="slot-moved.v1"):
    """A slot has a new holder. `previous` is empty when nobody held it before."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    slot: str
    component: str
    incarnation: str
    token: Token
    previous: str
    cause: str


class SlotEmptied(Message, frozen=True, kw_only=True, tag="slot-emptied.v1"):
    """A slot has no holder now."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    slot: str
    component: str
    token: Token
    cause: str


class StandbyStart(Message, frozen=True, kw_only=True, tag="standby-start.v1"):
    """A cold standby is being started for a slot, has been, or could not be; `reason` says why, or for whom."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    slot: str
    component: str
    change: Literal["BEGAN", "READY", "FAILED"]
    reason: str


class ControlChanged(Message, frozen=True, kw_only=True, tag="control-changed.v1"):
    """A halt was raised or lifted, as journaled."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    version: int
    change: Literal["raised", "lifted"]
    halt: Halt
    actor: str
    reason: str


class LiftProposed(Message, frozen=True, kw_only=True, tag="lift-proposed.v1"):
    """One operator, as the broker user `user`, asked to lift a halt; within `window_ns` another one must ask too."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    halt_id: str
    actor: str
    user: str
    reason: str
    window_ns: int


class DegradationChanged(Message, frozen=True, kw_only=True, tag="degradation-changed.v1"):
    """A group was degraded to REDUCING, because too few of its slots are held, or restored; `reason` says how few."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    group: str
    change: Literal["DEGRADED", "RESTORED"]
    reason: str = ""


class PauseChanged(Message, frozen=True, kw_only=True, tag="pause-changed.v1"):
    """A group's automatic failovers were paused, for `duration_ns`, or are no longer.

    `actor` is the operator; empty for a pause whose time is over.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    group: str
    change: Literal["BEGAN", "ENDED"]
    actor: str
    reason: str
    duration_ns: int = 0


class OrderChanged(Message, frozen=True, kw_only=True, tag="order-changed.v1"):
    """An order entered a commit phase, or was denied (`phase` DENIED; `code` and `text` say why)."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    component: str
    venue: str
    phase: Phase
    code: str = ""
    text: str = ""


class BreakFound(Message, frozen=True, kw_only=True, tag="break-found.v1"):
    """An alert: ours and the venue's word differ."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    kind: str
    ours: str
    theirs: str


class BreakResolved(Message, frozen=True, kw_only=True, tag="break-resolved.v1"):
    """An operator closed the breaks of an order, as journaled."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    cl_ord_id: str = msgspec.field(name="ClOrdID")
    kinds: tuple[str, ...]
    actor: str
    reason: str


class SlotStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a slot. `lease_left_ns` is the leader's upper bound: how long the holder may still act."""

    slot: str
    component: str = ""
    incarnation: str = ""
    token: Token | None = None
    lease_left_ns: int = 0
    draining: bool = False


class PauseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Why a group has no automatic failovers now, by whom, and for how long still."""

    actor: str
    reason: str
    left_ns: int


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One failover group.

    `degraded` says that its trading state is REDUCING because too few slots are held, `degraded_reason` how few.
    `waits` says for each vacant slot that is deliberately not granted now what it waits for. `origin` says where the
    group stands, `contradiction` why it is frozen, as a sentence, or empty.
    """

    group: str
    mode: str
    slots: tuple[SlotStatus, ...]
    degraded: bool = False
    degraded_reason: str = ""
    pause: PauseStatus | None = None
    waits: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    origin: str = ""
    registered: bool = False
    contradiction: str = ""


class SidecarStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One sidecar as the leader hears it. `silent_ns` is the age of its last heartbeat.

    `suspected` says that this silence is longer than its rhythm explains; `phi` how much (0 with the fixed detector).
    """

    component: str
    group: str
    incarnation: str
    ready: bool
    role: str
    control_version: int
    silent_ns: int
    lease_left_ns: int
    reasons: tuple[str, ...] = ()
    suspected: bool = False
    phi: float = 0.0


class OrderCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Orders since the journal began, by where they stand now. `granted` counts all ever granted."""

    granted: int = 0
    denied: int = 0
    precommitted: int = 0
    committed: int = 0
    verified: int = 0
    aborted: int = 0
    unknown: int = 0
    broken: int = 0


class HaltStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One halt in force, or one that was lifted while measures of it are not complete (`in_force` is false).

    `age_ns` is since it was journaled. `unlatched` are sidecars that have not latched it, `unlatched_count` how many.
    `components` are those that its measures concern, incomplete ones first; `incomplete_count` how many of all are.
    `to_lift` says in a sentence what it would take; `proposed_by` is the broker user whose resume waits for another's,
    for `proposed_left_ns` still, or empty.
    """

    halt_id: str
    level: TradingState
    scopes: tuple[str, ...]
    reason: str
    actor: str
    age_ns: int
    in_force: bool = True
    unlatched: tuple[str, ...] = ()
    unlatched_count: int = 0
    measures: tuple[Measure, ...] = ()
    components: tuple[MeasuresStatus, ...] = ()
    concerned_count: int = 0
    incomplete_count: int = 0
    proposed_by: str = ""
    proposed_left_ns: int = 0
    to_lift: str = ""


class StatusReport(Message, frozen=True, kw_only=True, tag="status-report.v1"):
    """The leader's view of everything, at one applied offset of the journal.

    It grows with the number of sidecars, at about 300 bytes each, and goes to whoever asked for it only. `missing` are
    configured components that were not heard by their first deadline; `silence_unjudged` says why silent holders keep
    their slots for now, and is empty when silence is judged. `digest` is over the whole folded state behind the record
    at `digest_offset`: that of now while few orders are in memory, else that of the last mark. `arbiters` are all that
    are heard. `halt_status` is one for each of `halts`, and for each lifted one whose measures are not complete.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 4 * 1024 * 1024
    arbiter: str
    request_id: str
    term: int
    offset: int
    digest: str
    trading_state: TradingState
    control_version: int
    halts: tuple[Halt, ...]
    groups: tuple[GroupStatus, ...]
    sidecars: tuple[SidecarStatus, ...]
    orders: OrderCounts
    missing: tuple[str, ...] = ()
    silence_unjudged: str = ""
    arbiters: tuple[ArbiterStatus, ...] = ()
    digest_offset: int = -1
    reconciliation: tuple[str, ...] = ()
    differences: tuple[DifferenceStatus, ...] = ()
    halt_status: tuple[HaltStatus, ...] = ()
