"""Rules of execute-once, each with a way to break it, for the simulator to catch."""

from dataclasses import replace
from typing import Any

import pytest
from mutations import BUSY, Mutation

from sidecar.core.leadership import Desk
from sidecar.core.once import Once
from sidecar.core.once_table import Effect, OnceTable
from sidecar.core.outputs import Now
from sidecar.messages.journal import OnceLost, OnceReleased

ERRANDS = replace(BUSY, errands_per_minute=60)


def lost_is_free(patch: pytest.MonkeyPatch) -> None:
    """What nobody knows the end of may be claimed again."""
    original = Desk.emit

    def emit(self: Desk, fact: Any) -> Any:
        if isinstance(fact, OnceLost):
            effect = self.state.once.get(fact.kind, fact.key)
            claim_id = effect.claim_id if effect is not None else ""
            fact = OnceReleased(kind=fact.kind, key=fact.key, claim_id=claim_id, reason=fact.reason)
        return original(self, fact)

    patch.setattr(Desk, "emit", emit)


def all_have_ended(patch: pytest.MonkeyPatch) -> None:
    """Whoever runs something is taken for dead as soon as another wants it."""
    patch.setattr(Once, "_ended", lambda self, effect: True)


def nothing_lasts(patch: pytest.MonkeyPatch) -> None:
    """The time limit of a claim counts for nothing: it is over with the next tick."""

    def schedule(self: Once, effect: Effect, now: Now) -> None:
        self._due.append((0, effect.kind, effect.key, effect.claim_id))

    patch.setattr(Once, "_schedule", schedule)


def next_one_forgets(patch: pytest.MonkeyPatch) -> None:
    """A new leader knows of no side effects."""
    original = Desk._win

    def win(self: Desk, now: Now) -> None:
        original(self, now)
        self.state.once = OnceTable()

    patch.setattr(Desk, "_win", win)


ONCE_MUTATIONS = (
    Mutation("what is lost is free", "run once", 0, lost_is_free, ERRANDS),
    Mutation("whoever runs it is taken for dead", "run once", 5, all_have_ended, ERRANDS),
    Mutation("time limits are over at once", "run once", 13, nothing_lasts, ERRANDS),
    Mutation("a new leader forgets what was done", "run once", 1, next_one_forgets, ERRANDS),
)
