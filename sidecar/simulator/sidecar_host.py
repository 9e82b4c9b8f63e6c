"""A simulated sidecar around its real core: what `agent/` does, in virtual time.

Owns the page, the disk and the component's runs. It must not judge what it shows: the referee does.
"""

from collections.abc import Callable

from sidecar.core import ladder
from sidecar.core.ladder import ControlMemory
from sidecar.core.page import CLOSED, Page
from sidecar.core.sidecar import Accept, Publish, SaveControl, Sidecar, WritePage
from sidecar.core.starter import Starter
from sidecar.core.timing import Timing
from sidecar.messages.base import Message
from sidecar.messages.control import ControlState, Halt
from sidecar.messages.health import Lease, StartComponent, StartFailed
from sidecar.messages.once import OnceAnswer, OnceRecorded
from sidecar.simulator.clocks import Agenda, HostClock
from sidecar.simulator.hosts import Host, Wires
from sidecar.simulator.invariants import Referee


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
        self._group = core.group
        self._wires = wires
        self._referee = referee
        self._shown: frozenset[str] = frozenset()
        self._incarnation_shown = ""
        self._runs = 0
        self.memory = ControlMemory()
        self.page, self.open_until_ns = CLOSED, 0
        self._halts_binding = referee.latches.watch(self.name, lambda: (self.page, self.open_until_ns))
        self.on_order: Callable[[Message], None] = lambda message: None
        self.on_opened: Callable[[], None] = lambda: None
        self.on_once: Callable[[Message], None] = lambda message: None
        self.deaths = 0
        """How often the component has died."""
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
        self.deaths += 1
        self.perform(self.core.detach("killed", self.local_ns))

    def say_ready(self, ready: bool) -> None:
        """The component says whether it could act."""
        self.core.set_health(ready, () if ready else ("a drill",))

    def raise_halt(self, halt: Halt) -> None:
        """The component halts: here at once, then everywhere, then in the journal."""
        self.perform(self.core.on_halt(halt, self.local_ns))
        if self.alive and not self.stopped:
            self._wires.to_all_sidecars(halt, self.name)
            self._wires.put(halt, self.name)

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
        elif isinstance(message, OnceAnswer | OnceRecorded):
            self.on_once(message)
        else:
            self.on_order(message)

    def restart(self, timing: Timing, *, readable: bool = True) -> None:
        """A new sidecar process: it closes the page first, then starts like any other, with the halts of its disk."""
        run, now_ns = str(self.life), self.agenda.now_ns
        for slot in self._shown:
            self._referee.closed(slot, self._incarnation_shown, now_ns)
        self._shown, self.page, self.open_until_ns = frozenset(), CLOSED, 0
        if not readable:
            self.memory = ladder.unreadable(self.name, run, "a drill")
            self._referee.latches.forgotten(self.name, f"unreadable-{self.name}-{run}", now_ns)
        self.core = Sidecar(self.name, self._group, timing, self.memory, run=run)
        self.alive = True
        self._new_starter()
        self.beat(timing.heartbeat_ns)
        self.come_up()

    def effect(self, output: object) -> None:
        """Write the page, publish, keep the halts on disk, or acknowledge one."""
        if isinstance(output, WritePage):
            self._show(output.page)
        elif isinstance(output, Publish):
            self._wires.to_arbiters(output.message, self.name)
        elif isinstance(output, SaveControl):
            self.memory = output.memory
        elif isinstance(output, Accept):
            now_ns = self.agenda.now_ns
            if self.core.accepted(output.halt, self.local_ns).in_scope:
                self._referee.latches.acknowledged(self.name, output.halt, now_ns)

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
        now_ns, incarnation, self.page = self.agenda.now_ns, page.incarnation, page
        passing = self.core.slots if page.deadline_ns and incarnation == self.core.incarnation else ()
        self.open_until_ns = until_ns = self.clock.true_ns(page.deadline_ns) if passing else 0
        if self._halts_binding:
            self._referee.latches.shown(self.name, now_ns)
        shown = frozenset([each.slot for each in passing])
        if shown != self._shown or incarnation != self._incarnation_shown:
            for slot in self._shown:
                if slot not in shown or incarnation != self._incarnation_shown:
                    self._referee.closed(slot, self._incarnation_shown, now_ns)
            if not shown <= self._shown or incarnation != self._incarnation_shown:
                self.on_opened()
            self._shown, self._incarnation_shown = shown, incarnation
        if until_ns > now_ns:
            for each in passing:
                self._referee.opened(each.slot, incarnation, each.token, until_ns, now_ns)
