"""The world of a scenario: real cores, virtual time, a journal that is a list, and a broker that does as it is told.

Owns the order in which things happen, and `lines`, what a reader is told of them. Messages take no time unless a
scenario says so, so that every line's time is that of the decision. It must not decide anything that a core decides;
it only checks, after each step, that no two open gates hold one slot.
"""

import heapq
from collections import deque
from functools import partial
from itertools import count

from scenario_hosts import ArbiterHost, Delivery, Due, SidecarHost, new_sidecar
from scenario_words import answer_words, event_words, fact_words, gate_words, held_words, ms

from sidecar.core import sidecar as holder_side
from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.log import Verdict
from sidecar.core.outputs import Append, AskNominee, Broadcast, Event, Now, Origin, Output, Reply, Settle
from sidecar.core.state import State
from sidecar.core.timing import MS
from sidecar.messages.base import Message
from sidecar.messages.codec import Malformed, decode_record, encode
from sidecar.messages.control import ControlState, Halt, Probe
from sidecar.messages.detection import Canary
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.journal import Record, Ticked

START_NS = 10**15
STEPS_MAX = 100_000
"""Messages within one moment; a scenario that needs more goes round in a circle."""


class ScenarioBroken(Exception):
    """The scenario cannot be told: a word that is not known, or a promise that did not hold."""


class World:
    """All processes of one scenario. `rules` are every arbiter's; its name in them is replaced by each one's own."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.timing = rules.timing
        self.now_ns = START_NS
        self.arbiters: dict[str, ArbiterHost] = {}
        self.sidecars: dict[str, SidecarHost] = {}
        self.journal: list[Record] = []
        self.queue: deque[Delivery] = deque()
        self.nominee = ""
        self.lines: list[str] = []
        self._audit = State()
        self._mail: list[tuple[int, int, Due]] = []
        self._numbers = count(1)

    # --- what a scenario can do ---

    def say(self, who: str, text: str) -> None:
        """One line: when, who, what."""
        if text:
            self.lines.append(f"{(self.now_ns - START_NS) // MS:>6} ms  {who}: {text}")

    def start_arbiter(self, name: str) -> None:
        """An arbiter process starts and reads the journal from its beginning."""
        before = self.arbiters.get(name)
        run = before.run + 1 if before else 1
        core = Arbiter(_named(self.rules, name), f"{name}#{run}", self._now())
        self.arbiters[name] = ArbiterHost(name, core, self.now_ns, run)

    def crash_arbiter(self, name: str) -> None:
        """An arbiter process is killed. The broker gives what it had not settled to the next one."""
        host = self.arbiters[name]
        host.crashed = True
        self.queue.extendleft(reversed(host.deliveries.values()))
        host.inbox.clear()
        if self.nominee == name:
            self.nominee = next((each.name for each in self.arbiters.values() if each.running), "")

    def attach(self, component: str, group: str) -> None:
        """A component starts: its session opens at its sidecar, which starts now if it is not there yet."""
        host = self.sidecars.get(component)
        if host is None:
            core = new_sidecar(component, group, self.timing, f"{component}!1")
            host = self.sidecars[component] = SidecarHost(component, group, self.timing, core)
        host.runs += 1
        self.act(host, host.core.attach(f"{component}~{host.runs}", self.now_ns))
        self.beat(host)

    def beat(self, host: SidecarHost) -> None:
        """The sidecar sends a heartbeat now."""
        heartbeat = host.core.heartbeat(self.now_ns)
        self.post(partial(self._to_arbiters, host, heartbeat))

    def ask(self, message: Message, user: str = "operator") -> None:
        """A message is put into the arbiters' queue."""
        self.queue.append(Delivery(message, user, f"reply.{user}"))

    def broadcast(self, message: ControlState | Halt) -> None:
        """A message is sent to every sidecar."""
        for host in self.sidecars.values():
            if not host.cut and not host.control_lost:
                self.post(partial(self._control, host, message), host)

    def append_again(self, host: ArbiterHost) -> None:
        """The link came back without the confirms: everything not read back is appended once more."""
        for record in host.core.desk.in_flight:
            self._log(host, record)

    def let_go(self, host: ArbiterHost) -> None:
        """The appends that were held under way reach the log."""
        host.holds_appends = False
        for record in host.held:
            self._log(host, record)
        host.held.clear()

    def wake(self, host: ArbiterHost | SidecarHost) -> None:
        """A stopped process goes on, and finds everything that arrived meanwhile."""
        host.stopped = False
        while host.inbox:
            self.post(host.inbox.popleft())

    def post(self, due: Due, host: ArbiterHost | SidecarHost | None = None, after_ns: int = 0) -> None:
        """Something happens, now or later; to a stopped process once it goes on."""

        def arrive() -> None:
            if host is not None and host.stopped:
                host.inbox.append(due)
            elif not (isinstance(host, ArbiterHost) and host.crashed):
                due()

        heapq.heappush(self._mail, (self.now_ns + after_ns, next(self._numbers), arrive))

    # --- time ---

    def run_until(self, end_ns: int) -> None:
        """Time passes, from one thing that happens to the next."""
        self.settle()
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, self._next_ns())
            for host in self.sidecars.values():
                if not host.stopped and (self.now_ns - START_NS) % self.timing.heartbeat_ns == 0:
                    self.beat(host)
            self.settle()
            if (self.now_ns - START_NS) % (self.timing.tick_ns // 2) == 0:
                for arbiter in [each for each in self.arbiters.values() if each.running]:
                    self._canary(arbiter)
                    self._do(arbiter, arbiter.core.tick(self._now()))
                    self.settle()

    def settle(self) -> None:
        """Everything that can happen at this moment happens."""
        for _ in range(STEPS_MAX):
            if not (self._deliver() or self._read() or self._nominate()):
                self._look_at_gates()
                return
        raise ScenarioBroken("one moment does not end")

    def _next_ns(self) -> int:
        """When something can happen next: a tick, a heartbeat, a message, a gate that closes by itself."""
        half_ns = self.timing.tick_ns // 2
        deadlines = [host.core.deadline_ns for host in self.sidecars.values() if host.core.deadline_ns > self.now_ns]
        mail = [self._mail[0][0]] if self._mail else []
        return min([self.now_ns - (self.now_ns - START_NS) % half_ns + half_ns, *deadlines, *mail])

    def _now(self) -> Now:
        return Now(self.now_ns, self.now_ns)

    # --- the broker ---

    def _deliver(self) -> bool:
        if not self._mail or self._mail[0][0] > self.now_ns:
            return False
        heapq.heappop(self._mail)[2]()
        return True

    def _read(self) -> bool:
        """One arbiter reads one record."""
        for host in self.arbiters.values():
            if host.running and not host.deaf_to_journal and host.read_to < len(self.journal):
                record, offset = self.journal[host.read_to], host.read_to
                host.read_to += 1
                led = host.core.leading
                outputs = host.core.on_record(record, offset, self._now())
                if host.core.leading is not led:
                    self.say(host.name, f"leads term {record.term}" if host.core.leading else "is deposed")
                self._do(host, outputs)
                return True
        return False

    def _nominate(self) -> bool:
        """The nominee reads the next message of the arbiters' queue."""
        host = self.arbiters.get(self.nominee)
        if host is None or not host.running or not self.queue:
            return False
        delivery, handle = self.queue.popleft(), next(self._numbers)
        host.deliveries[handle] = delivery
        origin = Origin(user=delivery.user, reply_to=delivery.reply_to, handle=handle)
        self._do(host, host.core.on_queue(delivery.message, origin, self._now()))
        return True

    def _canary(self, host: ArbiterHost) -> None:
        if (self.now_ns - START_NS) % self.timing.heartbeat_ns == 0:
            canary = host.core.canary(self._now())
            self.post(partial(self._hear, host, canary, Origin()), host)
            self.settle()

    def _log(self, host: ArbiterHost, record: Record) -> None:
        """The record stands in the log; what it is worth there is the same for every reader."""
        read = decode_record(encode(record))  # What others read is bytes.
        if isinstance(read, Malformed):
            raise ScenarioBroken(read.text)
        self.journal.append(read)
        verdict = self._audit.apply(read)
        words = fact_words(read.fact, read.term)
        if verdict is Verdict.DUPLICATE:
            words = f"(a repetition, skipped) {words}" if words else ""
        elif verdict is Verdict.VOID:
            words = f"(void, term {self._audit.position.term} stands before it) {words or 'a tick'}"
        self.say(f"{host.name} journals", words)

    # --- an arbiter's outputs ---

    def _do(self, host: ArbiterHost, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Append(record):
                    self._append(host, record)
                case Reply(message, origin):
                    self._reply(host, message, origin)
                case Broadcast(message):
                    if isinstance(message, ControlState | Halt):
                        self.say(host.name, _control_words(message))
                        self.broadcast(message)
                case Event(message, _):
                    self.say(host.name, event_words(message))
                case Settle(handle, verdict):
                    delivery = host.deliveries.pop(handle, None)
                    if delivery is not None and verdict == "requeue":
                        self.queue.appendleft(delivery)
                case AskNominee():
                    self.ask(Probe(arbiter=host.name), host.name)
                case _:
                    pass  # A new subscription: a list has nothing to subscribe to.

    def _append(self, host: ArbiterHost, record: Record) -> None:
        words = "" if isinstance(record.fact, Ticked) else fact_words(record.fact, record.term)
        if host.loses_appends:
            self.say(f"{host.name} decides, and the append is lost", words)
        elif host.holds_appends:
            host.held.append(record)
            self.say(f"{host.name} decides, still under way to the log", words)
        else:
            self._log(host, record)

    def _reply(self, host: ArbiterHost, message: Message, origin: Origin) -> None:
        sidecar = self.sidecars.get(origin.reply_to)
        if sidecar is None:
            for line in answer_words(message):
                self.say(host.name, line)
        elif isinstance(message, Lease):
            if not sidecar.cut and not sidecar.answers_lost:
                self.post(partial(self._lease, sidecar, message), sidecar, sidecar.answers_after_ns)
        elif isinstance(message, ControlState) and not sidecar.cut:
            self.say(host.name, f"repeats the control state to {sidecar.component}: version {message.version}")
            self.post(partial(self._control, sidecar, message), sidecar)

    # --- a sidecar ---

    def _to_arbiters(self, host: SidecarHost, message: Heartbeat | Released) -> None:
        if host.cut:
            return
        for arbiter in self.arbiters.values():
            origin = Origin(user=host.component, reply_to=host.component)
            self.post(partial(self._hear, arbiter, message, origin), arbiter)

    def _hear(self, host: ArbiterHost, message: Heartbeat | Released | Canary, origin: Origin) -> None:
        self._do(host, host.core.on_health(message, origin, self._now()))

    def _lease(self, host: SidecarHost, lease: Lease) -> None:
        held = host.core.slots
        self.act(host, host.core.on_lease(lease, self.now_ns))
        if set(host.core.slots) - set(held):
            self.beat(host)  # As the agent does: the arbiters hear at once that it acts.

    def _control(self, host: SidecarHost, message: ControlState | Halt) -> None:
        if isinstance(message, Halt):
            self.act(host, host.core.on_halt(message, self.now_ns))
        else:
            self.act(host, host.core.on_control(message, self.now_ns))

    def act(self, host: SidecarHost, outputs: list[holder_side.Output]) -> None:
        """Do what a sidecar's core asks for, in its order."""
        for output in outputs:
            match output:
                case holder_side.WritePage():
                    self._look_at_gate(host)
                case holder_side.Publish(message):
                    if isinstance(message, Released):
                        lost = " (nobody hears it)" if host.cut else ""
                        self.say(host.component, f"gives back {held_words(message.slots)}{lost}")
                        self.post(partial(self._to_arbiters, host, message))
                case holder_side.Accept(halt):
                    self.say(host.component, f"acknowledges halt {halt.halt_id}")
                case _:
                    pass

    def _look_at_gate(self, host: SidecarHost) -> None:
        """Say how the gate stands if that has changed in more than its deadline."""
        why = host.core.why_closed(self.now_ns)
        stands = (why, host.core.slots if not why else ())
        if stands != host.told:
            host.told = stands
            self.say(host.component, gate_words(host.core, self.now_ns, START_NS))

    def _look_at_gates(self) -> None:
        held: dict[str, str] = {}
        for host in self.sidecars.values():
            self._look_at_gate(host)
            for each in host.core.slots if host.core.holding(self.now_ns) else ():
                other = held.setdefault(each.slot, host.component)
                if other != host.component:
                    raise ScenarioBroken(f"{ms(self.now_ns - START_NS)}: {other} and {host.component} hold {each.slot}")

    def leader(self) -> str:
        """Who leads, by what each arbiter believes; for people."""
        found = [each.name for each in self.arbiters.values() if not each.crashed and each.core.leading]
        return ", ".join(found) or "nobody"


def _control_words(message: ControlState | Halt) -> str:
    if isinstance(message, Halt):
        return f"sends halt {message.halt_id} to every sidecar"
    in_force = ", ".join(each.halt_id for each in message.halts) or "none"
    return f"tells every sidecar control version {message.version}, halts in force: {in_force}"


def _named(rules: Rules, name: str) -> Rules:
    return Rules(
        name=name,
        plans=rules.plans,
        timing=rules.timing,
        deadlines=rules.deadlines,
        operators=rules.operators,
        failovers_per_hour_max=rules.failovers_per_hour_max,
        detection=rules.detection,
    )
