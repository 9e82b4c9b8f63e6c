"""The folded state: what the journal says, and nothing else.

Owns the fold of valid records into holders, halts and orders. Same journal, same state: it reads no clock and no
configuration, and `digest` is equal on every arbiter at the same position. It must not decide anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.core.bounded import drop_oldest
from sidecar.core.history import History
from sidecar.core.log import Position, Verdict, advance, judge
from sidecar.core.orders import OrderBook
from sidecar.core.tables import digest_of, pieces_of
from sidecar.messages.base import Token
from sidecar.messages.control import Halt
from sidecar.messages.journal import (
    GroupDegraded,
    GroupPaused,
    GroupRegistered,
    GroupRemoved,
    GroupRestored,
    HaltLifted,
    HaltRaised,
    PauseEnded,
    Record,
    SlotDraining,
    SlotGranted,
    SlotTaken,
    SlotVacated,
    SnapshotDigested,
    SnapshotMarked,
    StandbyStarted,
    StandbyStartFailed,
    StandbyStarting,
    Ticked,
)

_VALID: Final = Verdict.VALID
LIFTED_MAX = 10_000
"""Lifted halts that are remembered, so that a sidecar which missed the lifting can be told."""


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
        self.control_version = 0
        self.book = OrderBook()
        self.history = History()

    def apply(self, record: Record, body: bytes | None = None) -> Verdict:
        """Fold one record if it is valid; the verdict says whether it was. `body` as for `log.advance`."""
        verdict = judge(self.position, record)
        if verdict is not _VALID:
            return verdict
        self.position = advance(self.position, record, body)
        fact = record.fact
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
            case HaltRaised():
                self.halts[fact.halt.halt_id] = fact.halt
                self.control_version += 1
            case HaltLifted():
                self.halts.pop(fact.halt_id, None)
                self.lifted[fact.halt_id] = None
                drop_oldest(self.lifted, LIFTED_MAX)
                self.control_version += 1
            case _:
                self.book.apply(record)
        return verdict

    def copy(self) -> "State":
        """An independent fold at the same position. Cheap: every value in the tables is immutable."""
        twin = State()
        twin.position, twin.control_version = self.position, self.control_version
        twin.holders, twin.epochs, twin.draining = dict(self.holders), dict(self.epochs), dict(self.draining)
        twin.last, twin.degraded, twin.paused = dict(self.last), dict(self.degraded), dict(self.paused)
        twin.starting = dict(self.starting)
        twin.halts, twin.lifted, twin.groups = dict(self.halts), dict(self.lifted), self.groups
        twin.book, twin.history = self.book.copy(), self.history.copy()
        return twin

    def digest(self) -> str:
        """A hash over everything folded, equal wherever the same journal was read to the same position.

        It walks over every order: see `core/checkpoints.py` for when it is taken.
        """
        return digest_of(pieces_of(self))
