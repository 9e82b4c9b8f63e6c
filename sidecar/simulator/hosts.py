"""Simulated processes around the real cores: what the shells `agent/` and `arbiter/` do, in virtual time.

Owns crashing, stopping and resuming, also between two outputs of one decision. A stopped process handles nothing and
then everything at once, late; a crashed one forgets all that is not in the journal (or, for a sidecar, on its disk).
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.ladder import ControlMemory
from sidecar.core.outputs import Append, AskNominee, Broadcast, Now, Origin, Reply, Resubscribe
from sidecar.core.page import Page
from sidecar.core.sidecar import Publish, SaveControl, Sidecar, WritePage
from sidecar.core.starter import Starter
from sidecar.core.timing import Timing
from sidecar.messages.base import Message
from sidecar.messages.control import ControlState, Halt, TradingState
from sidecar.messages.health import Lease, StartComponent, StartFailed
from sidecar.simulator.clocks import Agenda, HostClock
from sidecar.simulator.invariants import Referee

OPERATOR = Origin(user="operator", handle=1)
NOBODY = Origin()


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
        return self.clock.local_ns(self.agenda.now_ns)

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


class SidecarHost(Host):
    """One sidecar with its component.

    `start_takes` makes it a cold standby: asked at each start for how long it takes, None for one that fails.
    """

    def __init__(
        self,
        core: Sidecar,
        agenda: Agenda,
        clock: HostClock,
        wires: Wires,
        referee: Referee,
        start_takes: Callable[[], int | None] | None = None,
    ) -> None:
        super().__init__(core.component, agenda, clock)
        self.core = core
        self._wires = wires
        self._referee = referee
        self._shown: frozenset[str] = frozenset()
        self._incarnation_shown = ""
        self._runs = 0
        self.memory = ControlMemory()
        self._start_takes = start_takes
        self._new_starter()

    def beat(self, interval_ns: int) -> None:
        """Heartbeats for ever, while the process lives."""
        self._beat_again(self.life, interval_ns)

    def _beat_again(self, life: int, interval_ns: int) -> None:
        if self.life == life:
            if self.stopped:
                self.run(self._heartbeat)
            else:
                self._heartbeat()
            self.agenda.after(interval_ns, self._beat_again, life, interval_ns)

    def attach(self) -> None:
        """The component starts, as a new incarnation."""
        self._runs += 1
        self.perform(self.core.attach(f"{self.name}~{self.life}~{self._runs}", self.local_ns))
        self.run(self._heartbeat)

    def come_up(self) -> None:
        """The component starts by itself; a cold standby's does not."""
        if self._start_takes is None:
            self.attach()

    def detach(self) -> None:
        """The component dies; its sidecar notices."""
        self.perform(self.core.detach("killed", self.local_ns))

    def say_ready(self, ready: bool) -> None:
        """The component says whether it could act."""
        self.core.set_health(ready, () if ready else ("a drill",))

    def deliver(self, message: Message) -> None:
        """A lease, a control state or a halt arrives."""
        kind = type(message)
        if kind is Lease:
            self.perform(self.core.on_lease(message, self.local_ns))  # type: ignore[arg-type]  # By its exact type.
        elif isinstance(message, ControlState):
            self.perform(self.core.on_control(message, self.local_ns))
        elif isinstance(message, Halt):
            self.perform(self.core.on_halt(message, self.local_ns))
        elif isinstance(message, StartComponent):
            self._start(message)

    def restart(self, timing: Timing) -> None:
        """A new sidecar process: it closes the page first, then starts like any other."""
        for slot in self._shown:
            self._referee.closed(slot, self._incarnation_shown, self.agenda.now_ns)
        self._shown = frozenset()
        self.core = Sidecar(self.name, self.core.group, timing, self.memory, run=str(self.life))
        self.alive = True
        self._new_starter()
        self.beat(timing.heartbeat_ns)
        self.come_up()

    def effect(self, output: object) -> None:
        """Write the page, publish, or keep the halts on disk."""
        if isinstance(output, WritePage):
            self._show(output.page)
        elif isinstance(output, Publish):
            self._wires.to_arbiters(output.message, self.name)
        elif isinstance(output, SaveControl):
            self.memory = output.memory

    def _new_starter(self) -> None:
        run = str(self.life) if self.life else ""
        self._starter = Starter(self.name, run, able=self._start_takes is not None)
        self.core.startable = self._starter.startable

    def _start(self, message: StartComponent) -> None:
        verdict = self._starter.ordered(message, attached=bool(self.core.incarnation))
        if isinstance(verdict, StartFailed):
            self.perform([Publish(verdict)])
        elif verdict and self._start_takes is not None:
            takes_ns = self._start_takes()
            self.agenda.after(takes_ns or 0, self.run, self._started, self.life, takes_ns is not None)
        self.core.startable = self._starter.startable

    def _started(self, life: int, up: bool) -> None:
        """The start action ends; one whose sidecar was killed meanwhile is none of the new one's."""
        if life != self.life:
            return
        failed = None if up else self._starter.failed("the start action exited with code 1")
        self._starter.came_up(running=False)
        self.core.startable = self._starter.startable
        if failed is not None:
            self.perform([Publish(failed)])
        elif not self.core.incarnation:
            self.attach()

    def _heartbeat(self) -> None:
        heartbeat = self.core.heartbeat(self.local_ns)
        if self.trip is None:
            self._wires.to_arbiters(heartbeat, self.name)
        else:
            self.perform([Publish(heartbeat)])

    def _show(self, page: Page) -> None:
        now_ns, incarnation = self.agenda.now_ns, page.incarnation
        slots = self.core.slots if incarnation == self.core.incarnation else ()
        passing = slots if page.trading_state is TradingState.ACTIVE and page.deadline_ns else ()
        shown = frozenset([each.slot for each in passing])
        if shown != self._shown or incarnation != self._incarnation_shown:
            for slot in self._shown:
                if slot not in shown or incarnation != self._incarnation_shown:
                    self._referee.closed(slot, self._incarnation_shown, now_ns)
            self._shown, self._incarnation_shown = shown, incarnation
        if passing:
            until_ns = self.clock.true_ns(page.deadline_ns)
            if until_ns > now_ns:
                for each in passing:
                    self._referee.opened(each.slot, incarnation, each.token, until_ns, now_ns)


class ArbiterHost(Host):
    """One arbiter process; a restart is a new author."""

    def __init__(self, rules: Rules, agenda: Agenda, clock: HostClock, wires: Wires) -> None:
        super().__init__(rules.name, agenda, clock)
        self._rules = rules
        self._local_ns = clock.local_ns
        self._origins: dict[str, Origin] = {}
        self._tick_ns = rules.timing.tick_ns * 3 // 4  # The shell's come a half to a whole apart.
        self._wires = wires
        self.read_to = 0
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

    def take(self, message: Message) -> None:
        """A message was read from the arbiters' queue; whoever sent it sends it again until it is journaled."""
        self.perform(self.core.on_queue(message, OPERATOR, self._now()))

    def restart(self) -> None:
        """A new process reads the journal from its start."""
        self.alive, self.read_to, self._next_canary_ns = True, 0, 0
        self.core = self._new_core()
        self.tick()

    def effect(self, output: object) -> None:
        """Append, or send; the simulation settles nothing and has nobody who listens to events."""
        if isinstance(output, Reply):
            if output.origin.reply_to:
                self._wires.to_sidecar(output.message, output.origin.reply_to, self.name)
            else:
                self._wires.to_operator(output.message)
        elif isinstance(output, Append):
            self._wires.append(output, self.name)
        elif isinstance(output, Broadcast):
            self._wires.to_all_sidecars(output.message, self.name)
        elif isinstance(output, AskNominee):
            self._wires.ask_nominee(self.name)
        elif isinstance(output, Resubscribe):
            self._wires.subscribe(self.name)

    def _new_core(self) -> Arbiter:
        return Arbiter(self._rules, f"{self.name}#{self.life}", self._now())

    def _now(self) -> Now:
        """Wall clocks agree until a fault makes one jump; nothing may rest on them."""
        true_ns = self.agenda.now_ns
        return Now(self._local_ns(true_ns), true_ns + self.wall_ahead_ns)
