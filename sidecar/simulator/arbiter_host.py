"""A simulated arbiter around its real core: what `arbiter/` does, in virtual time.

Owns one arbiter's ticks, its place in the journal, and its starts from snapshots. It must not decide anything.
"""

from typing import Any

from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.outputs import (
    Append,
    AskNominee,
    Broadcast,
    Event,
    Now,
    Origin,
    Reply,
    Resubscribe,
    Settle,
    TakeSnapshot,
)
from sidecar.core.snapshot import Taken
from sidecar.core.timing import MS, PPM
from sidecar.messages.arbiters import StateDiffers
from sidecar.messages.base import Message
from sidecar.messages.orders import EvidenceWanted
from sidecar.simulator.clocks import Agenda, HostClock
from sidecar.simulator.hosts import Host, Wires
from sidecar.simulator.invariants import Referee
from sidecar.simulator.shelf import snapshot_of, taken_from

NOBODY = Origin()
DIGEST_NS = 20 * MS
"""How long an arbiter is busy beside its loop with the digest of a state, and with its snapshot."""


class ArbiterHost(Host):
    """One arbiter process; a restart is a new author."""

    def __init__(self, rules: Rules, agenda: Agenda, clock: HostClock, wires: Wires, referee: Referee) -> None:
        super().__init__(rules.name, agenda, clock)
        self._rules = rules
        self._referee = referee
        self._offset_ns, self._parts = clock.offset_ns, clock.parts
        self._origins: dict[str, Origin] = {}
        self._tick_ns = rules.timing.tick_ns * 9 // 10  # The shell's come a half to a whole apart.
        self._wires = wires
        self.read_to = 0
        self.stood_on = -1
        """The journal's offset of the snapshot that the present process began with; -1 is none."""
        self.wall_ahead_ns = 0
        self._next_canary_ns = 0
        self.core = self._new_core()

    def tick(self) -> None:
        """Time passes, for ever, while the process lives."""
        self._tick_again(self.life)

    def _tick_again(self, life: int) -> None:
        if self.life == life:
            if self.stopped:
                self.run(self._tick)
            else:
                self._tick()
            self.agenda.after(self._tick_ns, self._tick_again, life)

    def _tick(self) -> None:
        now = self._now()
        outputs = self.core.tick(now)
        if outputs:
            self.perform(outputs)
        if now.boot_ns >= self._next_canary_ns and not self.stopped and self.alive:
            self._next_canary_ns = now.boot_ns + self._rules.timing.heartbeat_ns
            self._wires.to_itself(self.core.canary(now), self.name)

    def hear_canary(self, canary: Any) -> None:
        """Its own canary arrives."""
        self.core.on_health(canary, NOBODY, self._now())

    def hear(self, message: Any) -> None:
        """A heartbeat or release arrives."""
        origin = self._origins.get(message.component)
        if origin is None:
            origin = self._origins[message.component] = Origin(reply_to=message.component)
        outputs = self.core.on_health(message, origin, self._now())
        if outputs:
            self.perform(outputs)

    def read(self, stored: Append, offset: int) -> None:
        """The next record of the journal arrives."""
        outputs = self.core.on_record(stored.record, offset, self._now(), stored.body)
        if outputs:
            self.perform(outputs)

    def take(self, message: Message, origin: Origin) -> None:
        """A message was read from the arbiters' queue."""
        self.perform(self.core.on_queue(message, origin, self._now()))

    def lose_queue(self) -> None:
        """Its place at the arbiters' queue is lost: what it has not settled comes again, to whoever reads there."""
        self.core.on_lost()

    def restart(self) -> None:
        """A new process: it stands on the newest snapshot, or on nothing, and reads the journal from there."""
        self.alive, self.read_to, self._next_canary_ns = True, 0, 0
        self.core, self.stood_on = self._new_core(), -1
        stored = self._wires.newest_snapshot()
        if stored is not None:
            self.stood_on = stored.offset
            taken = taken_from(stored)
            self.core.restore(taken, stored.digest, self._now())
            self.read_to = taken.offset + 1
        self.tick()

    def effect(self, output: object) -> None:
        """Append, send, or settle."""
        if isinstance(output, Reply):
            if output.origin.reply_to:
                self._wires.to_sidecar(output.message, output.origin.reply_to, self.name)
            else:
                self._wires.to_operator(output.message)
        elif isinstance(output, Append):
            self._wires.append(output, self.name)
        elif isinstance(output, Settle):
            self._wires.settle(output.handle, output.verdict, self.name)
        elif isinstance(output, Broadcast):
            self._wires.to_all_sidecars(output.message, self.name)
        elif isinstance(output, AskNominee):
            self._wires.ask_nominee(self.name)
        elif isinstance(output, Resubscribe):
            self._wires.subscribe(self.name)
        elif isinstance(output, TakeSnapshot):
            self.agenda.after(DIGEST_NS, self.run, self._digested, self.life, output.taken)
        elif isinstance(output, Event):
            self._tell(output.message)

    def _tell(self, message: Message) -> None:
        """Most events are nobody's here."""
        if isinstance(message, EvidenceWanted):
            self._wires.to_reconciler(message, self.name)
        elif isinstance(message, StateDiffers):
            self._referee.differs(self.name, self.core.checkpoints.differs, self.agenda.now_ns)

    def _digested(self, life: int, taken: Taken) -> None:
        """The digest is told first, and then the snapshot is written, by its author."""
        if life != self.life:
            return
        stored = snapshot_of(taken)
        self.perform(self.core.on_digest(taken, stored.digest, self._now()))
        if taken.write and self.life == life:
            self.run(self._wires.store, stored, self.name)

    def _new_core(self) -> Arbiter:
        return Arbiter(self._rules, f"{self.name}#{self.life}", self._now())

    def _now(self) -> Now:
        """Wall clocks agree until a fault makes one jump; nothing may rest on them."""
        true_ns = self.agenda.now_ns
        return Now(self._offset_ns + true_ns * self._parts // PPM, true_ns + self.wall_ahead_ns)  # As `clock` would.
