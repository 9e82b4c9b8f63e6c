"""Journal records: decided facts, in the past tense, in the order of the log.

A `Record` is what one stream entry holds. `term` and `n` decide whether it is valid (see `core/log.py`); `at_ns`
is the deciding arbiter's CLOCK_REALTIME, for people and audits: the history keeps it, and no promise rests on it.
"""

from decimal import Decimal

import msgspec

from sidecar.messages.base import Token
from sidecar.messages.control import Halt
from sidecar.messages.groups import GroupDeclaration
from sidecar.messages.limits import LimitSet, LimitSource
from sidecar.messages.measures import MeasureOutcome
from sidecar.messages.once import OnceKind
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrdStatus
from sidecar.messages.reconcile import Holds, StatementLine


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
    """An operator lifted a halt. `proposed_by` is the broker user of the first of two, where two were needed."""

    halt_id: str
    actor: str
    reason: str
    proposed_by: str = ""


class ResumeProposed(Fact, frozen=True, kw_only=True, tag="ResumeProposed"):
    """An operator, as the broker user `user`, asked to lift a halt; it stands until another one asks too."""

    halt_id: str
    actor: str
    user: str
    reason: str


class MeasuresReported(Fact, frozen=True, kw_only=True, tag="MeasuresReported"):
    """How a component's measures for a halt stand, by its own word and by the arbiter's order table.

    `still_open` names orders in scope that are open by that table. `complete` is the verdict on both.
    """

    halt_id: str
    component: str
    incarnation: str
    n: int
    completed: bool
    outcomes: tuple[MeasureOutcome, ...]
    still_open: tuple[str, ...] = ()
    still_open_count: int = 0
    complete: bool = False


class OrderPrecommitted(Fact, frozen=True, kw_only=True, tag="OrderPrecommitted"):
    """The order may be sent by this incarnation."""

    intent: OrderIntent


class OrderRefused(Fact, frozen=True, kw_only=True, tag="OrderRefused"):
    """The order was DENIED."""

    intent: OrderIntent
    code: str
    text: str
    scope: str = ""
    asked: Decimal | None = None
    limit: Decimal | None = None
    current: Decimal | None = None


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


class LimitsSet(Fact, frozen=True, kw_only=True, tag="LimitsSet"):
    """A scope has these limits from here on; None is none. `actor` is the operator, or the arbiter so configured."""

    scope: str
    limits: LimitSet | None
    degraded: LimitSet
    source: LimitSource
    actor: str
    reason: str


class OrphanSeen(Fact, frozen=True, kw_only=True, tag="OrphanSeen"):
    """The venue's report without a ClOrdID, for an OrderID that nobody has named yet."""

    report: ExecutionReport
    source: str


class OrderAdopted(Fact, frozen=True, kw_only=True, tag="OrderAdopted"):
    """An order at a venue that was never granted is followed like one of ours; `report` is the first that was seen."""

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


class OnceClaimed(Fact, frozen=True, kw_only=True, tag="OnceClaimed"):
    """A side effect may be done by this claim, or found out about if it `resolves`, within `limit_ns`."""

    kind: OnceKind
    key: str
    component: str
    incarnation: str
    claim_id: str
    fingerprint: str
    limit_ns: int
    resolves: bool


class OnceFinished(Fact, frozen=True, kw_only=True, tag="OnceFinished"):
    """A side effect happened. `result` is its JSON, empty where none could be kept.

    `actor` is the operator who found that out, empty where the claimer itself said so.
    """

    kind: OnceKind
    key: str
    component: str
    claim_id: str
    result: str
    text: str = ""
    actor: str = ""


class OnceReleased(Fact, frozen=True, kw_only=True, tag="OnceReleased"):
    """A claimed side effect certainly did not happen; it may be claimed again. `actor` is as in `OnceFinished`."""

    kind: OnceKind
    key: str
    claim_id: str
    reason: str
    actor: str = ""


class OnceLost(Fact, frozen=True, kw_only=True, tag="OnceLost"):
    """Nobody knows whether a claimed side effect happened."""

    kind: OnceKind
    key: str
    reason: str


class OnceContradicted(Fact, frozen=True, kw_only=True, tag="OnceContradicted"):
    """A second claim says that it did it, too."""

    kind: OnceKind
    key: str
    component: str
    claim_id: str


class StatementAdopted(Fact, frozen=True, kw_only=True, tag="StatementAdopted"):
    """What an account held before its first fill in this journal, by the venue's word; it is compared from now."""

    venue: str
    account: str
    lines: tuple[StatementLine, ...]


class DifferenceOpened(Fact, frozen=True, kw_only=True, tag="DifferenceOpened"):
    """What an account holds is not what its fills say."""

    venue: str
    account: str
    holds: Holds
    name: str
    ours: Decimal
    theirs: Decimal


class DifferenceClosed(Fact, frozen=True, kw_only=True, tag="DifferenceClosed"):
    """Both sides agree again; or `actor`, an operator, takes the venue's word for a reason."""

    venue: str
    account: str
    holds: Holds
    name: str
    ours: Decimal
    theirs: Decimal
    actor: str
    reason: str


class BreakClosed(Fact, frozen=True, kw_only=True, tag="BreakClosed"):
    """An operator closed every break of an order."""

    cl_ord_id: str
    actor: str
    reason: str


class IntegrityResolved(Fact, frozen=True, kw_only=True, tag="IntegrityResolved"):
    """An operator has looked into something that cannot be; as it stands it halts nothing any more."""

    finding: str
    scope: str
    text: str
    actor: str
    reason: str


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
    | ResumeProposed
    | MeasuresReported
    | OrderPrecommitted
    | OrderRefused
    | OrderReported
    | OrderNeverSent
    | OrderLost
    | EvidenceSeen
    | AbsenceSeen
    | LimitsSet
    | OrphanSeen
    | OrderAdopted
    | BreakOpened
    | BreakClosed
    | OnceClaimed
    | OnceFinished
    | OnceReleased
    | OnceLost
    | OnceContradicted
    | StatementAdopted
    | DifferenceOpened
    | DifferenceClosed
    | IntegrityResolved
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
