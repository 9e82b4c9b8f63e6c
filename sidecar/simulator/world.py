"""One simulated run: the real cores, a broker that loses, delays and repeats, and faults drawn from a seed.

Owns the model of the broker and the fault schedule. The model: heartbeats and answers may be lost, repeated and
reordered; the stream keeps each author's order, is read by all in one order, and loses what a cut-off author sends;
the arbiters' queue is read by one active consumer, which changes when that process dies, is stopped for long, or for no
reason. Single links may be cut in one direction, and single readers of the stream may lag.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sidecar.core.arbiter import Rules
from sidecar.core.groups import GroupPlan
from sidecar.core.ladder import ControlMemory
from sidecar.core.log import Verdict
from sidecar.core.sidecar import Sidecar
from sidecar.core.state import State
from sidecar.core.timing import MS, Timing
from sidecar.core.verifier import Deadlines
from sidecar.messages.base import Message
from sidecar.messages.control import Halt, Probe, ResumeRequest, TradingState
from sidecar.messages.health import Heartbeat, Released
from sidecar.messages.journal import HaltLifted, HaltRaised, Record, SlotGranted
from sidecar.simulator.clocks import Agenda, HostClock
from sidecar.simulator.hosts import ArbiterHost, Host, SidecarHost
from sidecar.simulator.invariants import Referee

S = 1_000 * MS
ASK_AGAIN_NS = 500 * MS
REPAIR_NS = 100 * MS
FAULTS = (
    *("component", "component", "sidecar", "stop", "stop", "cut", "arbiter", "arbiter"),
    *("deaf", "deaf", "lag", "handover", "halt"),
)
OPERATORS = frozenset({"operator"})
HEAL_S = 12
"""The end of each run has no faults, so that liveness can be required: longer than the longest takeover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated. `believed` is the timing the arbiters use; another than `timing` is a mutation."""

    plans: tuple[GroupPlan, ...]
    arbiters: int = 2
    timing: Timing = field(default_factory=Timing)
    believed: Timing | None = None
    seconds: int = 60
    faults_per_minute: int = 12
    loss: float = 0.02


class World:
    """The wires, the hosts and the dice of one run."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.agenda = Agenda()
        stops_ns = -int(-scenario.timing.holder_stops_by_ns())
        self.referee = Referee(seed, scenario.timing.effect_ns, stops_ns + 1 - scenario.timing.effect_ns)
        self.journal: list[Record] = []
        self.truth = State()
        self.failovers = 0
        self.faults: list[tuple[int, str]] = []
        self._dice = random.Random(seed)
        self._cut: set[str] = set()
        self._deaf: set[tuple[str, str]] = set()
        self._lagging: set[str] = set()
        self._consumers: list[str] = []
        self._last_append_ns: dict[str, int] = {}
        self._reading: set[str] = set()
        self._repairing: set[str] = set()
        self._healing = False
        self.sidecars = {member: self._sidecar(member, plan.name) for plan in scenario.plans for member in plan.members}
        self.arbiters = {f"arbiter-{n + 1}": self._arbiter(f"arbiter-{n + 1}") for n in range(scenario.arbiters)}

    def run(self) -> None:
        """Start everything, break things, heal, and require what must hold."""
        for arbiter in self.arbiters.values():
            self._consumers.append(arbiter.name)
            arbiter.tick()
        for sidecar in self.sidecars.values():
            sidecar.beat(self.scenario.timing.heartbeat_ns)
            self.agenda.after(self._dice.randrange(S), sidecar.attach)
        end_ns = self.scenario.seconds * S
        self._schedule_faults(end_ns - HEAL_S * S)
        self.agenda.run_until(end_ns - HEAL_S * S)
        self._heal()
        self.agenda.run_until(end_ns)
        for plan in self.scenario.plans:
            for slot in plan.slots:
                self.referee.healed(slot, self.agenda.now_ns)

    # --- the broker ---

    def to_arbiters(self, message: Heartbeat | Released, sender: str) -> None:
        for arbiter in self.arbiters.values():
            self._send(sender, arbiter, lambda to=arbiter: to.hear(message))  # type: ignore[misc]  # Binds each.

    def to_sidecar(self, message: Message, component: str, sender: str) -> None:
        for sidecar in self.sidecars.values():
            if component in ("", sidecar.name):
                self._send(sender, sidecar, lambda to=sidecar: to.deliver(message))  # type: ignore[misc]  # Binds each.

    def append(self, record: Record, sender: str) -> None:
        """Append, in the author's order; once its link is back a cut-off author appends all that it has not read."""
        if not self.arbiters[sender].alive or sender in self._repairing:
            return
        if sender in self._cut:
            self._repairing.add(sender)
            self.agenda.after(REPAIR_NS, lambda: self._repair(sender))
            return
        at_ns = max(self.agenda.now_ns + self._delay_ns(), self._last_append_ns.get(sender, 0) + 1)
        self._last_append_ns[sender] = at_ns
        self.agenda.after(at_ns - self.agenda.now_ns, lambda: self._stored(record))

    def ask_nominee(self, sender: str) -> None:
        if sender not in self._cut:
            self._put(Probe(arbiter=sender))

    # --- inside the broker ---

    def _put(self, message: Message) -> None:
        """Into the arbiters' queue, to whoever is its active consumer by then."""

        def arrive() -> None:
            active = next((each for each in self._consumers if each not in self._cut), None)
            if active is not None:
                arbiter = self.arbiters[active]
                arbiter.run(lambda: arbiter.take(message))

        self.agenda.after(self._delay_ns(), arrive)

    def _repair(self, sender: str) -> None:
        if sender in self._cut:
            self.agenda.after(REPAIR_NS, lambda: self._repair(sender))
            return
        self._repairing.discard(sender)
        for record in self.arbiters[sender].core.desk.in_flight:
            self.append(record, sender)

    def _stored(self, record: Record) -> None:
        self.journal.append(record)
        if self.truth.apply(record) is Verdict.VALID:
            self._note(record)
        for arbiter in self.arbiters.values():
            self._pump(arbiter)

    def _note(self, record: Record) -> None:
        match record.fact:
            case SlotGranted() as fact:
                self.failovers += fact.cause != "vacant"
                self.referee.granted(fact.slot, fact.incarnation, fact.token)
            case HaltRaised():
                self.referee.halted(self.agenda.now_ns)
            case HaltLifted() if not self.truth.halts:
                self.referee.lifted()
            case _:
                pass

    def _pump(self, arbiter: ArbiterHost) -> None:
        """Let an arbiter read on, in order, each record a moment after the one before."""
        if arbiter.name in self._reading or arbiter.name in self._cut or arbiter.read_to >= len(self.journal):
            return
        self._reading.add(arbiter.name)

        def arrive() -> None:
            self._reading.discard(arbiter.name)
            if arbiter.alive and arbiter.name not in self._cut:
                self._deliver(arbiter, lambda: self._read(arbiter))
                if not arbiter.stopped:
                    self._pump(arbiter)

        lag_ns = self._dice.randrange(5 * S) if arbiter.name in self._lagging else 0
        self.agenda.after(self._delay_ns() // 4 + lag_ns, arrive)

    def _read(self, arbiter: ArbiterHost) -> None:
        while arbiter.read_to < len(self.journal):
            arbiter.read_to += 1
            arbiter.read(self.journal[arbiter.read_to - 1], arbiter.read_to - 1)

    def _send(self, sender: str, to: Host, arrive: Callable[[], None]) -> None:
        copies = self._dice.choices(
            (0, 1, 2), (self.scenario.loss, 1 - 1.5 * self.scenario.loss, self.scenario.loss / 2)
        )
        if sender in self._cut or (sender, to.name) in self._deaf:
            return
        for _ in range(copies[0]):
            life = to.life

            def deliver(life: int = life) -> None:
                if to.life == life and to.name not in self._cut:
                    self._deliver(to, arrive)

            self.agenda.after(self._delay_ns(), deliver)

    def _deliver(self, to: Host, work: Callable[[], None]) -> None:
        to.run(work)

    def _delay_ns(self) -> int:
        """Mostly under a few milliseconds, now and then hundreds: a tail like that of a busy broker."""
        if self._dice.random() < 0.01:
            return self._dice.randrange(800 * MS)
        return int(self._dice.expovariate(1 / (2 * MS)))

    # --- hosts and faults ---

    def _sidecar(self, member: str, group: str) -> SidecarHost:
        core = Sidecar(member, group, self.scenario.timing, ControlMemory())
        return SidecarHost(core, self.agenda, self._clock(), self, self.referee)

    def _arbiter(self, name: str) -> ArbiterHost:
        timing = self.scenario.believed or self.scenario.timing
        rules = Rules(name=name, plans=self.scenario.plans, timing=timing, deadlines=Deadlines(), operators=OPERATORS)
        return ArbiterHost(rules, self.agenda, self._clock(), self)

    def _clock(self) -> HostClock:
        bound = self.scenario.timing.clock_error_ppm
        return HostClock(self._dice.randrange(10**15), self._dice.randint(-bound, bound))

    def _schedule_faults(self, until_ns: int) -> None:
        count = self.scenario.faults_per_minute * self.scenario.seconds // 60
        for at_ns in sorted(self._dice.randrange(3 * S, until_ns) for _ in range(count)):
            self.agenda.after(at_ns, self._fault)

    def _fault(self) -> None:
        kind = self._dice.choice(FAULTS)
        sidecar = self._dice.choice(list(self.sidecars.values()))
        arbiter = self._dice.choice(list(self.arbiters.values()))
        lasting_ns = self._dice.randrange(50 * MS, 6 * S)
        victim: Host = sidecar if kind in ("component", "sidecar") else arbiter
        if kind in ("stop", "cut"):
            victim = self._dice.choice((sidecar, arbiter))
        self.faults.append((self.agenda.now_ns, f"{kind} {victim.name} for {lasting_ns // MS} ms"))
        match kind:
            case "component":
                sidecar.run(sidecar.detach)
                self.agenda.after(lasting_ns, lambda: sidecar.run(sidecar.attach))
            case "sidecar" if sidecar.alive:
                sidecar.crash()
                self.agenda.after(lasting_ns, lambda: self._restart(sidecar))
            case "arbiter" if arbiter.alive:
                self._crash_arbiter(arbiter, lasting_ns)
            case "stop" if victim.alive and not victim.stopped:
                self._stop(victim, lasting_ns)
            case "cut":
                self._cut_off(victim, lasting_ns)
            case "deaf":
                link = (sidecar.name, arbiter.name)
                self._deafen(self._dice.choice((link, link[::-1])), lasting_ns)
            case "lag":
                self._lagging.add(arbiter.name)
                self.agenda.after(lasting_ns, lambda: self._lagging.discard(arbiter.name))
            case "handover":
                self._move_last(self._consumers[0] if self._consumers else "")
                self._put(Probe(arbiter=""))
            case "halt":
                self._halt(lasting_ns)

    def _deafen(self, link: tuple[str, str], lasting_ns: int) -> None:
        """Cut one direction between two processes."""
        self._deaf.add(link)
        self.agenda.after(lasting_ns, lambda: self._deaf.discard(link))

    def _halt(self, lasting_ns: int) -> None:
        """An operator halts everything, on the fast path and through the arbiter, and later lifts it."""
        name = f"halt-{len(self.faults)}"
        halt = Halt(halt_id=name, scopes=("all",), level=TradingState.HALTED, reason="a drill", actor="operator")
        resume = ResumeRequest(request_id=name, halt_id=name, actor="operator", reason="the drill is over")
        self.to_sidecar(halt, "", "operator")
        self._ask(halt, lambda: name in self.truth.halts or name in self.truth.lifted)
        self.agenda.after(lasting_ns, lambda: self._ask(resume, lambda: name in self.truth.lifted))

    def _ask(self, message: Message, done: Callable[[], bool]) -> None:
        """As an operator does: again and again until the journal says it."""
        if not done():
            self._put(message)
            self.agenda.after(ASK_AGAIN_NS, lambda: self._ask(message, done))

    def _restart(self, host: SidecarHost | ArbiterHost) -> None:
        if host.alive:
            return
        if isinstance(host, SidecarHost):
            host.restart(self.scenario.timing)
        else:
            host.restart()
            self._consumers.append(host.name)
            self._pump(host)

    def _crash_arbiter(self, arbiter: ArbiterHost, lasting_ns: int) -> None:
        arbiter.crash()
        self._leave_queue(arbiter.name)
        self.agenda.after(lasting_ns, lambda: self._restart(arbiter))

    def _stop(self, victim: Host, lasting_ns: int) -> None:
        victim.stopped = True
        life = victim.life
        self.agenda.after(lasting_ns, lambda: self._resume(victim, life))
        if victim.name in self.arbiters and self._dice.random() < 0.5:
            self.agenda.after(lasting_ns // 2, lambda: self._move_last(victim.name))

    def _resume(self, victim: Host, life: int) -> None:
        if victim.life == life and victim.stopped:
            victim.resume()
            if isinstance(victim, ArbiterHost):
                self._pump(victim)

    def _cut_off(self, victim: Host, lasting_ns: int) -> None:
        self._cut.add(victim.name)
        self._move_last(victim.name)

        def mend() -> None:
            self._cut.discard(victim.name)
            if isinstance(victim, ArbiterHost):
                self._pump(victim)

        self.agenda.after(lasting_ns, mend)

    def _leave_queue(self, name: str) -> None:
        if name in self._consumers:
            self._consumers.remove(name)

    def _move_last(self, name: str) -> None:
        if name in self._consumers:
            self._consumers.remove(name)
            self._consumers.append(name)

    def _heal(self) -> None:
        self._cut.clear()
        self._deaf.clear()
        self._lagging.clear()
        for sidecar in self.sidecars.values():
            if sidecar.stopped:
                sidecar.resume()
            if not sidecar.alive:
                sidecar.restart(self.scenario.timing)
            elif not sidecar.core.incarnation:
                sidecar.attach()
        for arbiter in self.arbiters.values():
            if arbiter.stopped:
                arbiter.resume()
            self._restart(arbiter)
            self._pump(arbiter)


def without_faults(scenario: Scenario) -> Scenario:
    """The same, on a good day."""
    return replace(scenario, faults_per_minute=0, loss=0.0)
