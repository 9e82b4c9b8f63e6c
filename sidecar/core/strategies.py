"""The states of a component's strategies, as it reports them, and which may follow which.

Owns the table and what is known of one run of a component. It must not know what a strategy does, nor what follows from
an illegal step: the sidecar halts that strategy (`agent/strategies.py`).

| from         | to                                  |
|--------------|-------------------------------------|
| not known    | any: a run may be joined half-way   |
| INITIALIZING | READY, STOPPING, STOPPED, FAILED    |
| READY        | RUNNING, STOPPING, STOPPED, FAILED  |
| RUNNING      | PAUSED, STOPPING, FAILED            |
| PAUSED       | RUNNING, STOPPING, FAILED           |
| STOPPING     | STOPPED, FAILED                     |
| STOPPED      | INITIALIZING, FAILED                |
| FAILED       | INITIALIZING, STOPPING, STOPPED     |

The same state again is always legal. RUNNING says nothing of the gate: a strategy may run on a standby, whose orders no
gate lets pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.core.bounded import drop_oldest
from sidecar.messages.local import StrategyState

STRATEGIES_MAX: Final = 256
"""Strategies whose state is remembered; of those that were told longest ago the next state is a first one again."""
LEGAL: Final[Mapping[StrategyState, frozenset[StrategyState]]] = {
    "INITIALIZING": frozenset({"READY", "STOPPING", "STOPPED", "FAILED"}),
    "READY": frozenset({"RUNNING", "STOPPING", "STOPPED", "FAILED"}),
    "RUNNING": frozenset({"PAUSED", "STOPPING", "FAILED"}),
    "PAUSED": frozenset({"RUNNING", "STOPPING", "FAILED"}),
    "STOPPING": frozenset({"STOPPED", "FAILED"}),
    "STOPPED": frozenset({"INITIALIZING", "FAILED"}),
    "FAILED": frozenset({"INITIALIZING", "STOPPING", "STOPPED"}),
}


@dataclass(frozen=True, slots=True)
class IllegalStep:
    """A strategy that went where nothing legal leads."""

    strategy: str
    before: StrategyState
    after: StrategyState

    @property
    def text(self) -> str:
        """The same as a sentence."""
        legal = ", ".join(sorted(LEGAL[self.before]))
        return f"strategy {self.strategy} went from {self.before} to {self.after}; legal are {legal}"


class Strategies:
    """All strategies of one run of a component."""

    def __init__(self) -> None:
        self.states: dict[str, StrategyState] = {}

    def told(self, states: Mapping[str, StrategyState]) -> tuple[IllegalStep, ...]:
        """Take these states in; what is not named stays as it was. Returns the steps that no table allows."""
        steps = []
        for name, after in states.items():
            before = self.states.pop(name, after)
            self.states[name] = after
            if after != before and after not in LEGAL[before]:
                steps.append(IllegalStep(name, before, after))
        drop_oldest(self.states, STRATEGIES_MAX)
        return tuple(steps)
