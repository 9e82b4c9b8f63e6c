"""Simulated processes around the real cores: what the shells `agent/` and `arbiter/` do, in virtual time.

Owns crashing, stopping and resuming. A stopped process handles nothing and then everything at once, late; a crashed
one forgets all that is not in the journal (or, for a sidecar, on its disk).
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.ladder import ControlMemory
from sidecar.core.outputs import Append, AskNominee, Broadcast, Now, Origin, Output, Reply, Settle
from sidecar.core.page import Page
from sidecar.core.sidecar import Output as SidecarOutput
from sidecar.core.sidecar import Publish, SaveControl, Sidecar, WritePage
from sidecar.core.timing import Timing
from sidecar.messages.base import Message
from sidecar.messages.control import ControlState, Halt, TradingState
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.journal import Record
from sidecar.simulator.clocks import Agenda, HostClock
from sidecar.simulator.invariants import Referee


class Wires(Protocol):
    """The simulated broker, as processes use it."""

    def to_arbiters(self, message: Heartbeat | Released, sender: str) -> None:
        """To every arbiter's own queue; may be lost, late or repeated."""

    def to_sidecar(self, message: Message, component: str, sender: str) -> None:
        """To one sidecar's queue; may be lost, late or repeated."""

    def append(self, record: Record, sender: str) -> None:
        """To the stream: in its author's order, read by all in one order."""

    def ask_nominee(self, sender: str) -> None:
        """To the arbiters' queue: read by the single active consumer."""


class Host:
    """A process that can be stopped and resumed."""

    def __init__(self, name: str, agenda: Agenda, clock: HostClock) -> None:
        self.name = name
        self.agenda = agenda
        self.clock = clock
        self.alive = True
        self.life = 0
        self.stopped = False
        self._late: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def local_ns(self) -> int:
        """What this host's clock reads now."""
        return self.clock.local_ns(self.agenda.now_ns)

    def run(self, work: Callable[[], None]) -> None:
        """Do it now, or when the process is resumed; never if it has crashed by then."""
        if self.stopped:
            self._late.append((self.life, work))
        elif self.alive:
            work()

    def resume(self) -> None:
        """Go on after SIGSTOP: everything that waited happens now."""
        self.stopped = False
        while self._late and not self.stopped:
            life, work = self._late.popleft()
            if self.alive and life == self.life:
                work()


class SidecarHost(Host):
    """One sidecar with its component."""

    def __init__(self, core: Sidecar, agenda: Agenda, clock: HostClock, wires: Wires, referee: Referee) -> None:
        super().__init__(core.component, agenda, clock)
        self.core = core
        self._wires = wires
        self._referee = referee
        self._shown: frozenset[str] = frozenset()
        self._incarnation_shown = ""
        self._runs = 0
        self.memory = ControlMemory()

    def beat(self, interval_ns: int) -> None:
        """Heartbeats for ever, while the process lives."""
        life = self.life

        def again() -> None:
            if self.life == life:
                self.run(self._heartbeat)
                self.agenda.after(interval_ns, again)

        again()

    def attach(self) -> None:
        """The component starts, as a new incarnation."""
        self._runs += 1
        self._do(self.core.attach(f"{self.name}~{self.life}~{self._runs}", self.local_ns))
        self._heartbeat()

    def detach(self) -> None:
        """The component dies; its sidecar notices."""
        self._do(self.core.detach("killed", self.local_ns))

    def deliver(self, message: Message) -> None:
        """A lease, a control state or a halt arrives."""
        if isinstance(message, Lease):
            self._do(self.core.on_lease(message, self.local_ns))
        elif isinstance(message, ControlState):
            self._do(self.core.on_control(message, self.local_ns))
        elif isinstance(message, Halt):
            self._do(self.core.on_halt(message, self.local_ns))

    def crash(self) -> None:
        """The sidecar is killed: the page it last wrote stays as it is, and closes by its deadline."""
        self.alive, self.stopped = False, False
        self.life += 1

    def restart(self, timing: Timing) -> None:
        """A new sidecar process: it closes the page first, then starts like any other."""
        for slot in self._shown:
            self._referee.closed(slot, self.core.incarnation, self.agenda.now_ns)
        self._shown = frozenset()
        self.core = Sidecar(self.name, self.core.group, timing, self.memory, run=str(self.life))
        self.alive = True
        self.beat(timing.heartbeat_ns)
        self.attach()

    def _heartbeat(self) -> None:
        self._wires.to_arbiters(self.core.heartbeat(self.local_ns), self.name)

    def _do(self, outputs: list[SidecarOutput]) -> None:
        for output in outputs:
            match output:
                case WritePage(page):
                    self._show(page)
                case Publish(Released() as released):
                    self._wires.to_arbiters(released, self.name)
                case SaveControl(memory):
                    self.memory = memory
                case _:
                    pass

    def _show(self, page: Page) -> None:
        now_ns, incarnation = self.agenda.now_ns, page.incarnation
        passing = self.core.slots if page.trading_state is TradingState.ACTIVE else ()
        shown = frozenset(each.slot for each in passing)
        for slot in self._shown - shown:
            self._referee.closed(slot, self._incarnation_shown, now_ns)
        for each in passing:
            until_ns = self.clock.true_ns(page.deadline_ns)
            if until_ns > now_ns:
                self._referee.opened(each.slot, incarnation, each.token, until_ns, now_ns)
        self._shown, self._incarnation_shown = shown, incarnation


class ArbiterHost(Host):
    """One arbiter process; a restart is a new author."""

    def __init__(self, rules: Rules, agenda: Agenda, clock: HostClock, wires: Wires) -> None:
        super().__init__(rules.name, agenda, clock)
        self._rules = rules
        self._wires = wires
        self.read_to = 0
        self.core = self._new_core()

    def tick(self) -> None:
        """Time passes, for ever, while the process lives."""
        life = self.life

        def again() -> None:
            if self.life == life:
                self.run(lambda: self._do(self.core.tick(self._now())))
                self.agenda.after(self._rules.timing.tick_ns // 2, again)

        again()

    def hear(self, message: Heartbeat | Released) -> None:
        """A heartbeat or release arrives."""
        self._do(self.core.on_health(message, Origin(reply_to=message.component), self._now()))

    def read(self, record: Record, offset: int) -> None:
        """The next record of the journal arrives."""
        self._do(self.core.on_record(record, offset, self._now()))

    def take(self, message: Message) -> None:
        """A message was read from the arbiters' queue; whoever sent it sends it again until it is journaled."""
        self._do(self.core.on_queue(message, Origin(user="operator", handle=1), self._now()))

    def crash(self) -> None:
        """kill -9: all that is not in the journal is gone."""
        self.alive, self.stopped = False, False
        self.life += 1

    def restart(self) -> None:
        """A new process reads the journal from its start."""
        self.alive, self.read_to = True, 0
        self.core = self._new_core()
        self.tick()

    def _new_core(self) -> Arbiter:
        return Arbiter(self._rules, f"{self.name}#{self.life}", self._now())

    def _now(self) -> Now:
        return Now(self.local_ns, self.local_ns)

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Append(record):
                    self._wires.append(record, self.name)
                case Reply(message, origin):
                    self._wires.to_sidecar(message, origin.reply_to, self.name)
                case Broadcast(message):
                    self._wires.to_sidecar(message, "", self.name)
                case AskNominee():
                    self._wires.ask_nominee(self.name)
                case Settle():
                    pass
