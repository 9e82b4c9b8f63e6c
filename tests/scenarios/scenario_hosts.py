"""The processes of a scenario: arbiters and sidecars around the real core, each with what can happen to it.

Owns what a shell would do with one core: numbering of runs, queues while it is stopped, which of its messages are held
or lost. It must not know the other processes; `scenario_world.py` joins them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.core.arbiter import Arbiter
from sidecar.core.ladder import ControlMemory
from sidecar.core.sidecar import Sidecar
from sidecar.core.timing import Timing
from sidecar.messages.base import Message
from sidecar.messages.journal import Record

Due = Callable[[], None]


@dataclass
class Delivery:
    """A message of the arbiters' queue, with who sent it."""

    message: Message
    user: str
    reply_to: str


@dataclass
class ArbiterHost:
    """One arbiter process. A stopped one (SIGSTOP) keeps what arrives; a crashed one is gone with all it knew."""

    name: str
    core: Arbiter
    beats_ns: int
    run: int = 1
    stopped: bool = False
    crashed: bool = False
    deaf_to_journal: bool = False
    holds_appends: bool = False
    loses_appends: bool = False
    read_to: int = 0
    inbox: deque[Due] = field(default_factory=deque)
    held: list[Record] = field(default_factory=list)
    deliveries: dict[int, Delivery] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether it can do anything now."""
        return not self.stopped and not self.crashed


@dataclass
class SidecarHost:
    """One sidecar process with its component. `cut` is its link; `told` what was last said about its gate."""

    component: str
    group: str
    timing: Timing
    core: Sidecar
    runs: int = 0
    cut: bool = False
    stopped: bool = False
    answers_after_ns: int = 0
    answers_lost: bool = False
    control_lost: bool = False
    inbox: deque[Due] = field(default_factory=deque)
    told: object = None


def new_sidecar(component: str, group: str, timing: Timing, run: str, memory: ControlMemory | None = None) -> Sidecar:
    """A sidecar process that has just started."""
    return Sidecar(component, group, timing, memory or ControlMemory(), run)
