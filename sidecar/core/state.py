"""The folded state: what the journal says, and nothing else.

Owns the fold of valid records into holders, halts and orders. Same journal, same state: it reads no clock and no
configuration, and `digest` is equal on every arbiter at the same position. It must not decide anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.core.bounded import drop_oldest
from sidecar.core.differences import DIFFERENCES_MAX, OPENINGS_MAX, closed, difference_of, opening_of
from sidecar.core.history import History
from sidecar.core.log import Position, Verdict, advance, judge
from sidecar.core.once_table import OnceTable
from sidecar.core.orders import OrderBook
from sidecar.core.standing_since import Opened, note_break, note_time
from sidecar.core.tables import digest_of, pieces_of
from sidecar.messages.base import Token
from sidecar.messages.control import Halt
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakClosed,
    BreakOpened,
    DifferenceClosed,
    DifferenceOpened,
    EvidenceSeen,
    Fact,
    GroupDegraded,
    GroupPaused,
    GroupRegistered,
    GroupRemoved,
    GroupRestored,
    HaltLifted,
    HaltRaised,
    IntegrityResolved,
    LimitsSet,
    MeasuresReported,
    OnceClaimed,
    OnceContradicted,
    OnceFinished,
    OnceLost,
    OnceReleased,
    OrderAdopted,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    OrphanSeen,
    PauseEnded,
    Record,
    ResumeProposed,
    SlotDraining,
    SlotGranted,
    SlotTaken,
    SlotVacated,
    SnapshotDigested,
    SnapshotMarked,
    StandbyStarted,
    StandbyStartFailed,
    StandbyStarting,
    StatementAdopted,
    Ticked,
)
from sidecar.messages.reconcile import StatementLine

_VALID: Final = Verdict.VALID
ORDER_FACTS: Final = frozenset(
    (
        OrderPrecommitted,
        OrderRefused,
        OrderReported,
        OrderNeverSent,
        OrderLost,
        EvidenceSeen,
        AbsenceSeen,
        OrphanSeen,
        OrderAdopted,
    )
)
"""Facts that change an order book and nothing else; by far the most frequent ones beside ticks."""
LIFTED_MAX = 10_000
"""Lifted halts that are remembered, so that a sidecar which missed the lifting can be told."""
LIFTED_MEASURES_MAX = 128
"""Lifted halts whose measures are still followed until they are complete; of older ones nothing more is said."""
RESOLVED_MAX = 1_000
"""Findings that operators have resolved, at about 500 bytes each. The oldest are forgotten first, and halt again."""
MEASURED_MAX = 20_000
"""Components' reports on measures, at about 400 bytes each; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a slot."""

    component: str
    incarnation: str
    token: Token


class State:
    """The fold. Mutable inside, changed by `apply` only."""

    def __init__(self) -> None:
        self.position = Position()
        self.holders: dict[str, Holder] = {}
        self.epochs: dict[str, int] = {}
        self.draining: dict[str, SlotDraining] = {}
        self.last: dict[str, Holder] = {}
        self.starting: dict[str, StandbyStarting] = {}  # By component.
        self.degraded: dict[str, str] = {}
        self.paused: dict[str, GroupPaused] = {}
        self.groups: Mapping[str, GroupRegistered] = {}  # Replaced, never changed: who keeps it sees when it differs.
        self.halts: dict[str, Halt] = {}
        self.lifted: dict[str, None] = {}
        self.halt_versions: dict[str, int] = {}  # The control version with which each halt in force came.
        self.proposed: dict[str, ResumeProposed] = {}
        self.lifted_measures: dict[str, Halt] = {}
        self.measured: dict[str, MeasuresReported] = {}  # By `measured_key`.
        self.limits: dict[str, LimitsSet] = {}  # By scope.
        self.opened: Opened = {}  # Open breaks, by ClOrdID.
        self.dated: dict[str, int] = {}  # When limits were set and differences opened.
        self.control_version = 0
        self.book = OrderBook()
        self.history = History()
        self.once = OnceTable()
        self.openings: dict[str, tuple[StatementLine, ...]] = {}  # By `positions.account_name`.
        self.differences: dict[str, DifferenceOpened] = {}  # By `differences.difference_name`.
        self.resolved: dict[str, IntegrityResolved] = {}  # By the finding's name.

    def apply(self, record: Record, body: bytes | None = None) -> Verdict:
        """Fold one record if it is valid; the verdict says whether it was. `body` as for `log.advance`."""
        verdict = judge(self.position, record)
        if verdict is not _VALID:
            return verdict
        self.position = advance(self.position, record, body)
        self.once.go_on(record)
        fact = record.fact
        if type(fact) in ORDER_FACTS:
            self.book.apply(record)
            return verdict
        match fact:
            case Ticked() | SnapshotMarked() | SnapshotDigested():
                pass  # A tick says only that its author was there; by far the most frequent fact.
            case SlotGranted():
                self.history.apply(record)
                self.holders[fact.slot] = Holder(fact.component, fact.incarnation, fact.token)
                self.epochs[fact.slot] = fact.token.epoch
                self.draining.pop(fact.slot, None)
            case SlotVacated():
                self.history.apply(record)
                self.holders.pop(fact.slot, None)
                self.last[fact.slot] = Holder(fact.component, fact.incarnation, fact.token)
                self.draining.pop(fact.slot, None)
            case SlotTaken():
                self.history.apply(record)
            case SlotDraining():
                holder = self.holders.get(fact.slot)
                self.history.apply(record, holder.component if holder else "")
                self.draining[fact.slot] = fact
            case StandbyStarting():
                self.starting[fact.component] = fact
            case StandbyStarted() | StandbyStartFailed():
                self.starting.pop(fact.component, None)
            case GroupDegraded() | GroupRestored() | GroupPaused() | PauseEnded() | GroupRegistered() | GroupRemoved():
                self._apply_group(fact)
            case HaltRaised() | HaltLifted() | ResumeProposed() | MeasuresReported():
                self._apply_halt(fact)
            case LimitsSet(scope=scope):
                note_time(self.dated, record)
                self.limits.pop(scope, None)
                if fact.limits is not None:
                    self.limits[scope] = fact
            case OnceClaimed() | OnceFinished() | OnceReleased() | OnceLost() | OnceContradicted():
                self.once.apply(fact)
            case StatementAdopted():
                self.openings[opening_of(fact)] = fact.lines
                self.hold(opening_of(fact), *drop_oldest(self.openings, OPENINGS_MAX))
            case DifferenceOpened():
                note_time(self.dated, record)
                self.differences[difference_of(fact)] = fact
                drop_oldest(self.differences, DIFFERENCES_MAX)
            case IntegrityResolved():
                self.resolved[fact.finding] = fact
                drop_oldest(self.resolved, RESOLVED_MAX)
            case DifferenceClosed():
                note_time(self.dated, record)
                self.differences.pop(difference_of(fact), None)
                closed(self.openings, fact)
                self.hold(opening_of(fact))
            case BreakOpened() | BreakClosed():
                note_break(self.opened, record)
                self.book.apply(record)
            case _:
                self.book.apply(record)
        return verdict

    def hold(self, *accounts: str) -> None:
        """Have the book know what these accounts held before their first fill here."""
        for each in accounts:
            if (lines := self.openings.get(each)) is None:
                self.book.exposure.before.pop(each, None)
            else:
                self.book.exposure.before[each] = {line.name: line.qty for line in lines}

    def _apply_group(self, fact: Fact) -> None:
        match fact:
            case GroupDegraded():
                self.degraded[fact.group] = fact.reason
            case GroupRestored():
                self.degraded.pop(fact.group, None)
            case GroupPaused():
                self.paused[fact.group] = fact
            case PauseEnded():
                self.paused.pop(fact.group, None)
            case GroupRegistered():
                self.groups = {**self.groups, fact.group.name: fact}
            case GroupRemoved():
                self.groups = {name: each for name, each in self.groups.items() if name != fact.group}

    def _apply_halt(self, fact: Fact) -> None:
        match fact:
            case HaltRaised():
                self.halts[fact.halt.halt_id] = fact.halt
                self.control_version += 1
                self.halt_versions[fact.halt.halt_id] = self.control_version
            case HaltLifted():
                self._lift(fact.halt_id)
            case ResumeProposed():
                self.proposed[fact.halt_id] = fact
                drop_oldest(self.proposed, LIFTED_MAX)
            case MeasuresReported():
                self._measure(fact)

    def _lift(self, halt_id: str) -> None:
        halt = self.halts.pop(halt_id, None)
        self.lifted[halt_id] = None
        drop_oldest(self.lifted, LIFTED_MAX)
        self.control_version += 1
        self.halt_versions.pop(halt_id, None)
        self.proposed.pop(halt_id, None)
        if halt is not None and halt.measures:
            self.lifted_measures[halt_id] = halt
            forgotten = drop_oldest(self.lifted_measures, LIFTED_MEASURES_MAX)
            gone = [k for k, row in self.measured.items() if row.halt_id in forgotten or _over(row, halt_id)]
            for key in gone:
                del self.measured[key]

    def _measure(self, fact: MeasuresReported) -> None:
        """The latest report of each component; a complete one of a lifted halt needs no remembering."""
        key = measured_key(fact.halt_id, fact.component)
        self.measured.pop(key, None)
        if fact.halt_id in self.halts or not fact.complete:
            self.measured[key] = fact
            drop_oldest(self.measured, MEASURED_MAX)

    def copy(self) -> "State":
        """An independent fold at the same position. Cheap: every value in the tables is immutable."""
        twin = State()
        twin.position, twin.control_version = self.position, self.control_version
        twin.holders, twin.epochs, twin.draining = dict(self.holders), dict(self.epochs), dict(self.draining)
        twin.last, twin.degraded, twin.paused = dict(self.last), dict(self.degraded), dict(self.paused)
        twin.starting, twin.proposed = dict(self.starting), dict(self.proposed)
        twin.halt_versions, twin.lifted_measures = dict(self.halt_versions), dict(self.lifted_measures)
        twin.measured, twin.limits = dict(self.measured), dict(self.limits)
        twin.opened, twin.dated = dict(self.opened), dict(self.dated)
        twin.openings, twin.differences = dict(self.openings), dict(self.differences)
        twin.resolved = dict(self.resolved)
        twin.halts, twin.lifted, twin.groups = dict(self.halts), dict(self.lifted), self.groups
        twin.book, twin.history, twin.once = self.book.copy(), self.history.copy(), self.once.copy()
        return twin

    def digest(self) -> str:
        """A hash over everything folded, equal wherever the same journal was read to the same position.

        It walks over every order: see `core/checkpoints.py` for when it is taken.
        """
        return digest_of(pieces_of(self))


def measured_key(halt_id: str, component: str) -> str:
    """The key of a component's report on one halt; no two pairs of names share one."""
    return f"{len(halt_id)} {halt_id} {component}"


def _over(row: MeasuresReported, halt_id: str) -> bool:
    return row.complete and row.halt_id == halt_id
