"""Simulated processes: what the shells `agent/` and `arbiter/` have in common, in virtual time.

Owns crashing, stopping and resuming, also between two outputs of one decision. A stopped process handles nothing and
then everything at once, late; a crashed one forgets all that is not in the journal or in a snapshot (or, for a sidecar,
on its disk, which may have become unreadable). What the two kinds do is in `sidecar_host.py` and `arbiter_host.py`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sidecar.core.outputs import Append
from sidecar.core.timing import PPM
from sidecar.messages.base import Message
from sidecar.messages.orders import EvidenceWanted
from sidecar.simulator.clocks import Agenda, HostClock
from sidecar.simulator.shelf import Stored


class Wires(Protocol):
    """The simulated broker, as processes use it."""

    def to_arbiters(self, message: Message, sender: str) -> None:
        """To every arbiter's own queue; may be lost, late or repeated."""

    def to_itself(self, message: Message, sender: str) -> None:
        """An arbiter's canary, through the broker and back: all but its author ignore it."""

    def to_sidecar(self, message: Message, component: str, sender: str) -> None:
        """To one sidecar's queue; may be lost, late or repeated."""

    def to_all_sidecars(self, message: Message, sender: str) -> None:
        """To every sidecar's queue; may be lost, late or repeated."""

    def to_operator(self, message: Message) -> None:
        """The answer to an operator's request."""

    def to_reconciler(self, message: EvidenceWanted, sender: str) -> None:
        """A leader's question about an order."""

    def put(self, message: Message, user: str) -> None:
        """Into the arbiters' queue, by whom the broker knows as `user`."""

    def settle(self, handle: int, verdict: str, name: str) -> None:
        """What an arbiter says of one delivery of the arbiters' queue."""

    def store(self, stored: Stored, sender: str) -> None:
        """To the stream of snapshots."""

    def newest_snapshot(self) -> Stored | None:
        """The newest that is found whole."""

    def append(self, append: Append, sender: str) -> None:
        """To the stream: in its author's order, read by all in one order."""

    def subscribe(self, name: str) -> None:
        """An arbiter consumes the journal anew, from where it stands."""

    def ask_nominee(self, sender: str) -> None:
        """To the arbiters' queue: read by the single active consumer."""


class Host:
    """A process that can be stopped, resumed and killed, and tripped at an effect.

    `trip` is a pair of an output's type and what then happens to this process, just before that output or, with
    `trip_after`, just after it.
    """

    def __init__(self, name: str, agenda: Agenda, clock: HostClock) -> None:
        self.name = name
        self.agenda = agenda
        self.clock = clock
        self.alive = True
        self.life = 0
        self.stopped = False
        self.trip: tuple[type, Callable[[], None]] | None = None
        self.trip_after = False
        self._late: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()

    @property
    def local_ns(self) -> int:
        """What this host's clock reads now."""
        clock = self.clock  # As `clock.local_ns`: every heartbeat and lease asks.
        return clock.offset_ns + self.agenda.now_ns * clock.parts // PPM

    def run(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do it now, or when the process is resumed; never if it has crashed by then."""
        if self.stopped:
            self._late.append((self.life, work, arguments))
        elif self.alive:
            work(*arguments)

    def resume(self) -> None:
        """Go on after SIGSTOP: everything that waited happens now."""
        self.stopped = False
        while self._late and not self.stopped:
            life, work, arguments = self._late.popleft()
            if self.alive and life == self.life:
                work(*arguments)

    def crash(self) -> None:
        """kill -9: what is neither in the journal nor on disk nor in the gate page is gone."""
        self.alive, self.stopped, self.trip = False, False, None
        self.life += 1
        self._late.clear()

    def perform(self, outputs: Sequence[object]) -> None:
        """Do what a decision asks for, in order, unless the process is stopped or killed in between."""
        if self.trip is None:
            for output in outputs:
                self.effect(output)
            return
        for done, output in enumerate(outputs):
            if not self.trip_after and self._tripped(output, outputs[done:]):
                return
            self.effect(output)
            if self.trip_after and self._tripped(output, outputs[done + 1 :]):
                return

    def effect(self, output: object) -> None:
        """Do one output."""
        raise NotImplementedError

    def _tripped(self, output: object, rest: Sequence[object]) -> bool:
        if self.trip is None or type(output) is not self.trip[0]:
            return False
        happen, self.trip, life = self.trip[1], None, self.life
        happen()
        if self.stopped:
            self._late.appendleft((life, self.perform, (rest,)))
        return self.stopped or self.life != life
