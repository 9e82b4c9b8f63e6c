"""Journal records: decided facts, in the past tense, in the order of the log.

A `Record` is what one stream entry holds. `term` and `n` decide whether it is valid (see `core/log.py`); `at_ns`
is the deciding arbiter's CLOCK_REALTIME, for people and audits: the history keeps it, and no promise rests on it.
"""

import msgspec

from sidecar.messages.base import Token
from sidecar.messages.control import Halt
from sidecar.messages.groups import GroupDeclaration
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrdStatus


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="fact"):
    """The base of all decided facts."""


class TermStarted(Fact, frozen=True, kw_only=True, tag="TermStarted"):
    """An arbiter began a leadership. The first one of a term in the log wins."""

    reason: str


class Ticked(Fact, frozen=True, kw_only=True, tag="Ticked"):
    """The leader lives; appended when nothing else was."""


class SlotGranted(Fact, frozen=True, kw_only=True, tag="SlotGranted"):
    """A slot went to an incarnation. Renewals are not journaled; a new holder or token is.

    `actor` is who asked for it, an operator or `failback`; empty for a failover.
    """

    slot: str
    component: str
    incarnation: str
    token: Token
    cause: str
    actor: str = ""


class SlotVacated(Fact, frozen=True, kw_only=True, tag="SlotVacated"):
    """A slot lost its holder: released by it, or its lease ran out.

    `last_heard_ms_ago` is when the leader last heard that incarnation, None if it never did, `suspected_ms_ago` when it
    began to suspect it, None if it did not; for people.
    """

    slot: str
    component: str
    incarnation: str
    token: Token
    cause: str
    last_heard_ms_ago: int | None = None
    suspected_ms_ago: int | None = None


class SlotTaken(Fact, frozen=True, kw_only=True, tag="SlotTaken"):
    """The new holder was heard to act for the first time. Written once a token; it gives no right."""

    slot: str
    token: Token


class SlotDraining(Fact, frozen=True, kw_only=True, tag="SlotDraining"):
    """The holder is asked to step down; nobody renews it. `to` is the wanted successor, or empty."""

    slot: str
    to: str
    actor: str
    reason: str


class StandbyStarting(Fact, frozen=True, kw_only=True, tag="StandbyStarting"):
    """A cold standby's sidecar, in its run `run`, is asked to start its component for `slot`.

    `order` is this record's own (term, n). The start has failed when `limit_ns` have passed without a ready component.
    With an `actor` an operator asked for it: the slots of `holder`, or those of the group, are then moved to it.
    """

    slot: str
    component: str
    run: str
    order: Token
    limit_ns: int
    actor: str = ""
    reason: str = ""
    holder: str = ""


class StandbyStarted(Fact, frozen=True, kw_only=True, tag="StandbyStarted"):
    """The component that was to be started is attached and ready. It gives no right."""

    slot: str
    component: str
    incarnation: str


class StandbyStartFailed(Fact, frozen=True, kw_only=True, tag="StandbyStartFailed"):
    """The start failed or took too long; it counts as a failed promotion."""

    slot: str
    component: str
    reason: str


class GroupDegraded(Fact, frozen=True, kw_only=True, tag="GroupDegraded"):
    """Fewer than `min_active` slots of a group are held by live holders: its new-risk orders are denied."""

    group: str
    reason: str


class GroupRestored(Fact, frozen=True, kw_only=True, tag="GroupRestored"):
    """Enough slots of the group are held again."""

    group: str


class GroupPaused(Fact, frozen=True, kw_only=True, tag="GroupPaused"):
    """An operator stopped automatic failovers of a group for this long."""

    group: str
    actor: str
    reason: str
    duration_ns: int


class PauseEnded(Fact, frozen=True, kw_only=True, tag="PauseEnded"):
    """The pause ran out, or an operator ended it."""

    group: str
    actor: str
    reason: str


class GroupRegistered(Fact, frozen=True, kw_only=True, tag="GroupRegistered"):
    """An operator registered a failover group at run time."""

    group: GroupDeclaration
    actor: str
    reason: str


class GroupRemoved(Fact, frozen=True, kw_only=True, tag="GroupRemoved"):
    """An operator removed a registered group; nobody held a slot that went with it."""

    group: str
    actor: str
    reason: str


class HaltRaised(Fact, frozen=True, kw_only=True, tag="HaltRaised"):
    """A halt is in force."""

    halt: Halt


class HaltLifted(Fact, frozen=True, kw_only=True, tag="HaltLifted"):
    """An operator lifted a halt."""

    halt_id: str
    actor: str
    reason: str


class OrderPrecommitted(Fact, frozen=True, kw_only=True, tag="OrderPrecommitted"):
    """The order may be sent by this incarnation."""

    intent: OrderIntent


class OrderRefused(Fact, frozen=True, kw_only=True, tag="OrderRefused"):
    """The order was DENIED."""

    intent: OrderIntent
    code: str
    text: str


class OrderReported(Fact, frozen=True, kw_only=True, tag="OrderReported"):
    """The component says the venue answered."""

    cl_ord_id: str
    order_id: str
    ord_status: OrdStatus


class OrderNeverSent(Fact, frozen=True, kw_only=True, tag="OrderNeverSent"):
    """The component says it never sent the order, or absence was proven."""

    cl_ord_id: str
    reason: str


class OrderLost(Fact, frozen=True, kw_only=True, tag="OrderLost"):
    """Nobody knows: reported so, or no report came by the deadline."""

    cl_ord_id: str
    reason: str


class EvidenceSeen(Fact, frozen=True, kw_only=True, tag="EvidenceSeen"):
    """The venue's evidence for an order."""

    report: ExecutionReport
    source: str


class AbsenceSeen(Fact, frozen=True, kw_only=True, tag="AbsenceSeen"):
    """One authoritative query found no such order."""

    cl_ord_id: str
    query_id: str


class BreakOpened(Fact, frozen=True, kw_only=True, tag="BreakOpened"):
    """A difference between what we believed and what the venue says."""

    cl_ord_id: str
    kind: str
    ours: str
    theirs: str


class SnapshotMarked(Fact, frozen=True, kw_only=True, tag="SnapshotMarked"):
    """Every arbiter takes the state as it stands behind this record: for a snapshot, and to compare."""


class SnapshotDigested(Fact, frozen=True, kw_only=True, tag="SnapshotDigested"):
    """The digest of its author's state behind its `SnapshotMarked` of this term and n.

    `form` names the fields that it is over: digests of versions with other fields cannot be compared.
    """

    term: int
    n: int
    digest: str
    form: str = ""


AnyFact = (
    TermStarted
    | Ticked
    | SlotGranted
    | SlotVacated
    | SlotTaken
    | SlotDraining
    | StandbyStarting
    | StandbyStarted
    | StandbyStartFailed
    | GroupDegraded
    | GroupRestored
    | GroupPaused
    | PauseEnded
    | GroupRegistered
    | GroupRemoved
    | HaltRaised
    | HaltLifted
    | OrderPrecommitted
    | OrderRefused
    | OrderReported
    | OrderNeverSent
    | OrderLost
    | EvidenceSeen
    | AbsenceSeen
    | BreakOpened
    | SnapshotMarked
    | SnapshotDigested
)


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the journal. `arbiter` is its author's name and run, `arbiter-1#5f3c`: a restart is another."""

    term: int
    n: int
    arbiter: str
    at_ns: int
    fact: AnyFact
