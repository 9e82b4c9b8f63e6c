"""Rules of DESIGN section 7.6, each with a way to break it, for the simulator to catch."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from fleets import SCENARIOS
from mutations import BUSY, Mutation, Patch

from sidecar.core import snapshot
from sidecar.core.checkpoints import Checkpoints
from sidecar.core.chronicle import Chronicle
from sidecar.core.outputs import TakeSnapshot
from sidecar.core.state import State

RESTARTS = replace(BUSY, faults_per_minute=60, halts_per_minute=30)
BRAKED = replace(SCENARIOS["braked"], faults_per_minute=40)


def without(*tables: str) -> Patch:
    """A state that is made of a snapshot has these tables empty."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        original = snapshot._small

        def small(tables_read: Any) -> State:
            state = original(tables_read)
            for each in tables:
                setattr(state, each, getattr(State(), each))
            return state

        patch.setattr(snapshot, "_small", small)

    return patched


def moved(records: int) -> Patch:
    """A snapshot says of itself that it was taken so many records later than it was."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        original = Checkpoints.read

        def read(self: Checkpoints, *arguments: Any) -> list[Any]:
            return [
                TakeSnapshot(msgspec.structs.replace(each.taken, offset=each.taken.offset + records))
                if isinstance(each, TakeSnapshot)
                else each
                for each in original(self, *arguments)
            ]

        patch.setattr(Checkpoints, "read", read)

    return patched


def times_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Who stands on a snapshot does not know when anything happened."""
    patch.setattr(Chronicle, "restore", lambda self, times, now: None)


SNAPSHOT_MUTATIONS = (
    Mutation("a snapshot forgets the halts", "halt wins", 10, without("halts"), RESTARTS),
    Mutation("a snapshot forgets the control version", "liveness", 3, without("control_version"), RESTARTS),
    Mutation("a snapshot forgets the holders", "same state", 11, without("holders"), RESTARTS),
    Mutation("a snapshot is read one record too far", "same state", 1, moved(1), RESTARTS),
    Mutation("a snapshot forgets the times", "failover limit", 24, times_forgotten, BRAKED),
)
