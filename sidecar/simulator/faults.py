"""What goes wrong, drawn from the dice.

Owns the fault schedule and what each kind of fault does to hosts and links (DESIGN section 12). It must not know what
follows from it: the cores answer, and the referee judges.

| kind       | what happens                                                                                     |
|------------|--------------------------------------------------------------------------------------------------|
| component  | the component dies; its sidecar notices; a new run starts later                                  |
| sidecar    | kill -9 of a sidecar; a new one starts later, now and then with an unreadable memory of halts    |
| arbiter    | kill -9 of an arbiter; `takeover`: of the one that leads. The next run of it stands on the       |
|            | newest snapshot, the one before, or none                                                         |
| stop       | SIGSTOP of a sidecar or arbiter, SIGCONT later; `nap`: of the leader, not for long. Half of the  |
|            | arbiters keep their place at the arbiters' queue and what was delivered to them; the others lose |
|            | both half-way, as when the broker misses their AMQP heartbeats                                   |
| cut        | a host loses its link; what it sends and is sent is lost                                         |
| deaf       | one direction between a sidecar and an arbiter is cut; `mute`: all that one host sends           |
| pause at   | a process stops between two effects: see EDGES                                                   |
| crash at   | a process is killed there                                                                        |
| unheard    | a sidecar is heard and hears nothing: all that is sent to it is lost                             |
| unready    | a component says that it could not act, and later that it could                                  |
| lag        | an arbiter reads the journal seconds late while it hears everything else                         |
| hung       | an arbiter's consumer of the journal gets nothing, until it ends or is subscribed again          |
| wall       | an arbiter's CLOCK_REALTIME jumps, to the past or to the future, and stays there                 |
| handover   | the arbiters' queue gets another active consumer, for no reason                                  |
| blocked    | an alarm: everything published waits, and then goes on, or half of it fails                      |
| restart    | the broker restarts: all links down, exclusive queues gone, appends under way stored or not      |
| switchover | an operator moves a group                                                                        |
"""

import random
from collections.abc import Callable, Mapping

from sidecar.core.outputs import Append, Broadcast, Reply, TakeSnapshot
from sidecar.core.sidecar import Accept, Publish, SaveControl, WritePage
from sidecar.core.timing import MS, Timing
from sidecar.messages.control import Probe
from sidecar.simulator.arbiter_host import ArbiterHost
from sidecar.simulator.broker import Broker
from sidecar.simulator.clocks import Agenda, S
from sidecar.simulator.hosts import Host
from sidecar.simulator.latches import Latches
from sidecar.simulator.operators import LONGEST_NS, OPERATOR, SHORTEST_NS, Operators
from sidecar.simulator.sidecar_host import SidecarHost

KINDS = (
    *("component", "component", "sidecar", "arbiter", "takeover", "stop", "stop", "nap", "cut", "deaf", "deaf", "mute"),
    *("pause at", "pause at", "crash at", "lag", "handover", "blocked", "restart", "switchover"),
    *("unheard", "unready", "hung", "wall"),
)
EDGES: tuple[tuple[str, type, bool], ...] = (
    ("between a heartbeat's time and its sending, or a closed page and the release", Publish, False),
    ("between receiving a lease and writing the page", WritePage, False),
    ("after writing the page", WritePage, True),
    ("between closing the page and saving a halt", SaveControl, False),
    ("between saving a halt and acknowledging it", Accept, False),
    ("between deciding and appending", Append, False),
    ("between appending and reading back", Append, True),
    ("between reading back and sending", Reply, False),
    ("after sending", Reply, True),
    ("between reading back and telling all sidecars", Broadcast, False),
    ("after taking a snapshot", TakeSnapshot, True),
)
"""Where a process may be stopped or killed: in words, the output, whether after it. The first five are a sidecar's."""
SIDECAR_EDGES = 5
UNREADABLE = 0.2
"""Of so many killed sidecars the memory of halts cannot be read again."""
RECONNECT_NS = 1 * S
WALL_NS = 86_400 * S
"""How far a CLOCK_REALTIME may jump, either way: much further than anything is remembered by its age."""


class Faults:
    """The schedule of one run. `say` is told each fault as it happens."""

    def __init__(
        self,
        agenda: Agenda,
        dice: random.Random,
        broker: Broker,
        timing: Timing,
        latches: Latches,
        groups: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self.happened: list[tuple[int, str]] = []
        self._agenda = agenda
        self._dice = dice
        self._broker = broker
        self._timing = timing
        self._say = say
        self.operators = Operators(agenda, dice, broker, latches, groups, say)

    def schedule(self, count: int, from_ns: int, until_ns: int) -> None:
        """Spread `count` faults evenly at random."""
        for at_ns in sorted(self._dice.randrange(from_ns, until_ns) for _ in range(count)):
            self._agenda.after(at_ns, self.happen, self._dice.choice(KINDS))

    def note(self, kind: str, who: str, lasting_ns: int) -> None:
        """Something happens to somebody, for so long; 0 is at once."""
        text = f"{kind} {who}" + (f" for {lasting_ns // MS} ms" if lasting_ns else "")
        self.happened.append((self._agenda.now_ns, text))
        self._say(f"fault  {text}")

    def happen(self, kind: str) -> None:
        """One fault of this kind, now; to whom and for how long say the dice."""
        dice = self._dice
        sidecar = dice.choice(list(self._broker.sidecars.values()))
        arbiter = self.leader() if kind in ("takeover", "nap") else dice.choice(list(self._broker.arbiters.values()))
        either: Host = dice.choice((sidecar, arbiter))
        lasting_ns = dice.randrange(SHORTEST_NS, LONGEST_NS)
        match kind:
            case "component":
                self.note(kind, sidecar.name, lasting_ns)
                sidecar.run(sidecar.detach)
                self._agenda.after(lasting_ns, sidecar.run, sidecar.come_up)
            case "sidecar":
                self.kill(sidecar, lasting_ns, kind)
            case "arbiter" | "takeover":
                self.kill(arbiter, lasting_ns, kind)
            case "stop":
                self.stop(either, lasting_ns, kind)
            case "nap":
                self.stop(arbiter, lasting_ns // 4, kind)
            case "cut":
                self.note(kind, either.name, lasting_ns)
                self._cut_off(either, lasting_ns)
            case "deaf" | "mute" | "unheard":
                self._deafen_some(kind, sidecar, arbiter, lasting_ns)
            case "unready":
                self.note(kind, sidecar.name, lasting_ns)
                sidecar.run(sidecar.say_ready, False)
                self._agenda.after(lasting_ns, sidecar.run, sidecar.say_ready, True)
            case "pause at" | "crash at":
                self._arm(kind, sidecar, arbiter, lasting_ns)
            case "lag":
                self.note(kind, arbiter.name, lasting_ns)
                self._broker.lagging.add(arbiter.name)
                self._agenda.after(lasting_ns, self._broker.lagging.discard, arbiter.name)
            case "hung":
                self.note(kind, arbiter.name, lasting_ns)
                self._broker.hung.add(arbiter.name)
                self._agenda.after(lasting_ns, self._broker.subscribe, arbiter.name)
            case "wall":
                arbiter.wall_ahead_ns = dice.randrange(-WALL_NS, WALL_NS)
                self.note(f"{kind} by {arbiter.wall_ahead_ns // S} s", arbiter.name, 0)
            case "blocked":
                self.note(kind, "all publishers", lasting_ns)
                self._broker.alarmed = True
                self._agenda.after(lasting_ns, self._broker.unblock, dice.choice((0.5, 1.0)))
            case "restart":
                self._restart_broker(lasting_ns // 2)
            case "handover":
                self.note(kind, "the arbiters' queue", 0)
                self._broker.move_last(self._broker.consumers[0] if self._broker.consumers else "")
                self._broker.put(Probe(arbiter=""), OPERATOR)
            case _:
                self.note(kind, self.operators.switch_over(), 0)

    def heal(self) -> None:
        """Everything runs and reaches everything."""
        self._broker.heal()
        for sidecar in self._broker.sidecars.values():
            sidecar.trip = None
            if sidecar.stopped:
                sidecar.resume()
            sidecar.say_ready(True)
            if not sidecar.alive:
                sidecar.restart(self._timing)
            elif not sidecar.core.incarnation:
                sidecar.come_up()
        for arbiter in self._broker.arbiters.values():
            arbiter.trip = None
            if arbiter.stopped:
                arbiter.resume()
            self._restart(arbiter)
            self._broker.pump(arbiter)
        self.operators.go_on_duty()

    def deafen(self, sender: str, receiver: str, lasting_ns: int) -> None:
        """Cut one direction between two processes."""
        self._broker.deaf.add((sender, receiver))
        self._agenda.after(lasting_ns, self._broker.deaf.discard, (sender, receiver))

    def leader(self) -> ArbiterHost:
        """Who leads, as far as it knows itself; anybody when nobody does."""
        arbiters = list(self._broker.arbiters.values())
        return next((each for each in arbiters if each.alive and each.core.leading), arbiters[0])

    # --- processes ---

    def kill(self, host: Host, lasting_ns: int, kind: str) -> None:
        """kill -9, and a new process later."""
        if host.alive:
            self.note(kind, host.name, lasting_ns)
            host.crash()
            self._broker.leave(host.name)
            self._agenda.after(lasting_ns, self._restart, host)

    def _restart(self, host: Host) -> None:
        if host.alive:
            return
        self._say(f"back   {host.name} starts again")
        if isinstance(host, SidecarHost):
            host.restart(self._timing, readable=self._dice.random() >= UNREADABLE)
        elif isinstance(host, ArbiterHost):
            host.restart()
            self._broker.consumers.append(host.name)
            self._broker.subscribe(host.name)

    def stop(self, host: Host, lasting_ns: int, kind: str) -> None:
        """SIGSTOP, and SIGCONT later."""
        if not host.alive or host.stopped:
            return
        self.note(kind, host.name, lasting_ns)
        host.stopped = True
        self._agenda.after(lasting_ns, self._resume, host, host.life)
        if isinstance(host, ArbiterHost) and self._dice.random() < 0.5:
            self._agenda.after(lasting_ns // 2, self._broker.move_last, host.name)

    def _resume(self, host: Host, life: int) -> None:
        if host.life == life and host.stopped:
            self._say(f"back   {host.name} goes on")
            host.resume()
            if isinstance(host, ArbiterHost):
                self._broker.pump(host)

    def _arm(self, kind: str, sidecar: SidecarHost, arbiter: ArbiterHost, lasting_ns: int) -> None:
        """Stop or kill a process when it next comes to one of the edges."""
        edge = self._dice.randrange(len(EDGES))
        words, output, after = EDGES[edge]
        host: Host = sidecar if edge < SIDECAR_EDGES else arbiter
        strike = self.kill if kind == "crash at" else self.stop
        host.trip = (output, lambda: strike(host, lasting_ns, f"{kind.split()[0]} {words}:"))
        host.trip_after = after
        self.note("trap", f"{host.name} {words}", 0)

    # --- links ---

    def _cut_off(self, host: Host, lasting_ns: int) -> None:
        self._broker.cut.add(host.name)
        self._broker.move_last(host.name)
        self._agenda.after(lasting_ns, self._mend, host)

    def _mend(self, host: Host) -> None:
        self._broker.cut.discard(host.name)
        if isinstance(host, ArbiterHost):
            self._broker.subscribe(host.name)

    def _deafen_some(self, kind: str, sidecar: SidecarHost, arbiter: ArbiterHost, lasting_ns: int) -> None:
        if kind == "deaf":
            links = [self._dice.choice(((sidecar.name, arbiter.name), (arbiter.name, sidecar.name)))]
        elif kind == "unheard":
            links = [(each, sidecar.name) for each in (*self._broker.arbiters, OPERATOR)]
        elif self._dice.random() < 0.5:
            links = [(sidecar.name, each) for each in self._broker.arbiters]
        else:
            links = [(arbiter.name, each) for each in self._broker.sidecars]
        self.note(kind, f"{links[0][0]} to {', '.join(to for _, to in links)}", lasting_ns)
        for sender, receiver in links:
            self.deafen(sender, receiver, lasting_ns)

    def _restart_broker(self, lasting_ns: int) -> None:
        self.note("restart", "the broker", lasting_ns)
        self._broker.restarted()
        for host in (*self._broker.sidecars.values(), *self._broker.arbiters.values()):
            self._cut_off(host, lasting_ns + self._dice.randrange(RECONNECT_NS))
