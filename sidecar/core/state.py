"""The folded state: what the journal says, and nothing else.

Owns the fold of valid records into holders, halts and orders. Same journal, same state: it reads no clock and no
configuration, and `digest` is equal on every arbiter at the same position. It must not decide anything.
"""

import hashlib
from dataclasses import dataclass

import msgspec

from sidecar.core.bounded import drop_oldest
from sidecar.core.log import Position, Verdict, advance, judge
from sidecar.core.orders import OrderBook
from sidecar.messages.base import Token
from sidecar.messages.control import Halt
from sidecar.messages.journal import HaltLifted, HaltRaised, Record, SlotDraining, SlotGranted, SlotVacated

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
        self.halts: dict[str, Halt] = {}
        self.lifted: dict[str, None] = {}
        self.control_version = 0
        self.book = OrderBook()

    def apply(self, record: Record) -> Verdict:
        """Fold one record if it is valid; the verdict says whether it was."""
        verdict = judge(self.position, record)
        if verdict is not Verdict.VALID:
            return verdict
        self.position = advance(self.position, record)
        fact = record.fact
        match fact:
            case SlotGranted():
                self.holders[fact.slot] = Holder(fact.component, fact.incarnation, fact.token)
                self.epochs[fact.slot] = fact.token.epoch
                self.draining.pop(fact.slot, None)
            case SlotVacated():
                self.holders.pop(fact.slot, None)
                self.draining.pop(fact.slot, None)
            case SlotDraining():
                self.draining[fact.slot] = fact
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
        twin.halts, twin.lifted = dict(self.halts), dict(self.lifted)
        twin.book = self.book.copy()
        return twin

    def digest(self) -> str:
        """A hash over everything folded, equal wherever the same journal was read to the same position."""
        parts = (
            (self.position.term, self.position.author, self.position.n, self.position.chain),
            [(slot, each.component, each.incarnation, each.token) for slot, each in sorted(self.holders.items())],
            sorted(self.epochs.items()),
            sorted(self.draining),
            sorted(self.halts),
            self.control_version,
            self.book.counts(),
        )
        return hashlib.blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()
