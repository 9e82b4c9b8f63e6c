"""The language of the scenario files: each command is a method, its words are the method's arguments.

Owns what a command means in terms of the world, and what it says when it is misspelt. README.md explains the language
to its readers; a test holds the two together.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from scenario_hosts import ArbiterHost, SidecarHost
from scenario_words import gate_words
from scenario_world import START_NS, ScenarioBroken, World

from sidecar.core.arbiter import Rules
from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.timing import MS, Timing
from sidecar.core.waits import Deadlines
from sidecar.messages.base import Message
from sidecar.messages.control import (
    FailoverRequest,
    Halt,
    PauseRequest,
    Probe,
    ResumeRequest,
    StatusRequest,
    TradingState,
    UnpauseRequest,
)
from sidecar.messages.explain import ExplainRequest, HistoryRequest
from sidecar.messages.local import OrderRequest

TIME = re.compile(r"(\d+)(ms|s|min)")
UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000}
ACTOR = "dana"


@dataclass
class Teller:
    """Does the commands of one file, one after the other."""

    plans: tuple[GroupPlan, ...] = ()
    brake: int = 0
    world: World | None = None
    halts: int = 0
    commands: dict[str, Callable[[list[str]], None]] = field(init=False)

    def __post_init__(self) -> None:
        """Every method called `do_something` is the command `something`."""
        names = [each for each in dir(self) if each.startswith("do_")]
        self.commands = {each.removeprefix("do_").replace("_", "-"): getattr(self, each) for each in names}

    def tell(self, line: str) -> list[str]:
        """What happens at this command, line by line."""
        name, *words = line.split()
        command = self.commands.get(name)
        if command is None:
            raise ScenarioBroken(f"no command {name!r}; there are: {', '.join(sorted(self.commands))}")
        before = len(self.world.lines) if self.world else 0
        command(words)
        if self.world is None:
            return []
        self.world.settle()
        return self.world.lines[before:]

    # --- who there is ---

    def do_group(self, words: list[str]) -> None:
        """group NAME mode=MODE members=a,b [policy=value ...]: a failover group."""
        name, *said = words
        options = dict(each.split("=", 1) for each in said)
        mode, members = Mode(options.pop("mode")), tuple(options.pop("members").split(","))
        active, failback = options.pop("active", ""), options.pop("failback", "")
        partitions = tuple(filter(None, options.pop("partitions", "").split(",")))
        plan = plan_group(
            name,
            mode,
            members,
            active=int(active) if active else None,
            partitions=partitions,
            failback_ns=_time_ns(failback) if failback else None,
            policy=_policy(options),
        )
        self.plans = (*self.plans, plan)

    def do_brake(self, words: list[str]) -> None:
        """brake N: at most N automatic failovers an hour."""
        self.brake = int(words[0])

    def do_arbiters(self, words: list[str]) -> None:
        """arbiters NAME ...: they start; the first is nominated by the broker and asked to lead."""
        rules = Rules(
            name="",
            plans=self.plans,
            timing=Timing(),
            deadlines=Deadlines(),
            operators=frozenset({"operator"}),
            failovers_per_hour_max=self.brake,
        )
        self.world = World(rules)
        for name in words:
            self.world.start_arbiter(name)
        self.do_nominate(words[:1])

    def do_attach(self, words: list[str]) -> None:
        """attach COMPONENT ...: the component starts, a new run each time, and opens its session."""
        for component in words:
            group = next((each.name for each in self.plans if component in each.members), "")
            self._world.attach(component, group)
            self._world.settle()

    # --- time ---

    def do_run(self, words: list[str]) -> None:
        """run TIME: so much time passes."""
        self._world.run_until(self._world.now_ns + _time_ns(words[0]))

    def do_at(self, words: list[str]) -> None:
        """at TIME: time passes until then, counted from the beginning."""
        if START_NS + _time_ns(words[0]) < self._world.now_ns:
            raise ScenarioBroken(f"{words[0]} is over already")
        self._world.run_until(START_NS + _time_ns(words[0]))

    # --- what befalls components and sidecars ---

    def do_die(self, words: list[str]) -> None:
        """die COMPONENT: its process ends; its sidecar sees that at once."""
        host = self._sidecar(words[0])
        self._world.act(host, host.core.detach("the component died", self._world.now_ns))
        self._world.beat(host)

    def do_unready(self, words: list[str]) -> None:
        """unready COMPONENT REASON: the component says that it could not act now."""
        host = self._sidecar(words[0])
        host.core.set_health(False, (" ".join(words[1:]),))
        self._world.beat(host)

    def do_ready(self, words: list[str]) -> None:
        """ready COMPONENT: it could act again."""
        host = self._sidecar(words[0])
        host.core.set_health(True, ())
        self._world.beat(host)

    def do_cut(self, words: list[str]) -> None:
        """cut COMPONENT ...: the links of these sidecars are cut, both ways."""
        for component in words:
            self._sidecar(component).cut = True

    def do_mend(self, words: list[str]) -> None:
        """mend COMPONENT ...: the links work again, both ways."""
        for component in words:
            host = self._sidecar(component)
            host.cut = host.answers_lost = host.control_lost = False
            host.answers_after_ns = 0

    def do_delay_answers(self, words: list[str]) -> None:
        """delay-answers COMPONENT TIME: each lease answer to it takes so long from now on."""
        self._sidecar(words[0]).answers_after_ns = _time_ns(words[1])

    def do_lose_answers(self, words: list[str]) -> None:
        """lose-answers COMPONENT: it is heard, but no answer reaches it."""
        self._sidecar(words[0]).answers_lost = True

    def do_lose_control(self, words: list[str]) -> None:
        """lose-control COMPONENT: what is sent to every sidecar does not reach it until its link is mended."""
        self._sidecar(words[0]).control_lost = True

    # --- what befalls arbiters ---

    def do_nominate(self, words: list[str]) -> None:
        """nominate ARBITER: the broker makes it the active consumer of the arbiters' queue, and it reads a probe."""
        self._world.nominee = self._arbiter(words[0]).name
        self._world.ask(Probe(arbiter=words[0]), words[0])

    def do_crash(self, words: list[str]) -> None:
        """crash ARBITER: kill -9; the broker nominates the next one."""
        self._arbiter(words[0])
        self._world.crash_arbiter(words[0])

    def do_start(self, words: list[str]) -> None:
        """start ARBITER: a crashed one starts again and reads the journal."""
        self._arbiter(words[0])
        self._world.start_arbiter(words[0])

    def do_stop(self, words: list[str]) -> None:
        """stop NAME: SIGSTOP for an arbiter or a sidecar; what arrives waits for it."""
        self._process(words[0]).stopped = True

    def do_continue(self, words: list[str]) -> None:
        """continue NAME: SIGCONT."""
        self._world.wake(self._process(words[0]))

    def do_hold_appends(self, words: list[str]) -> None:
        """hold-appends ARBITER: what it appends from now on stays under way."""
        self._arbiter(words[0]).holds_appends = True

    def do_let_go_appends(self, words: list[str]) -> None:
        """let-go-appends ARBITER: what was under way reaches the log."""
        self._world.let_go(self._arbiter(words[0]))

    def do_lose_appends(self, words: list[str]) -> None:
        """lose-appends ARBITER: what it appends from now on never reaches the log."""
        self._arbiter(words[0]).loses_appends = True

    def do_append_again(self, words: list[str]) -> None:
        """append-again ARBITER: its link works again; what it has not read back is appended once more."""
        host = self._arbiter(words[0])
        host.loses_appends = False
        self._world.append_again(host)

    def do_stall_journal(self, words: list[str]) -> None:
        """stall-journal ARBITER: it reads no record from now on."""
        self._arbiter(words[0]).deaf_to_journal = True

    def do_read_journal(self, words: list[str]) -> None:
        """read-journal ARBITER: it reads on."""
        self._arbiter(words[0]).deaf_to_journal = False

    # --- what operators and components ask ---

    def do_failover(self, words: list[str]) -> None:
        """failover GROUP [to=MEMBER] [dry-run]: an operator's planned switchover."""
        to = next((each.removeprefix("to=") for each in words if each.startswith("to=")), "")
        self._ask(
            FailoverRequest(
                request_id="f", group=words[0], actor=ACTOR, reason="drill", to=to, dry_run="dry-run" in words
            )
        )

    def do_pause(self, words: list[str]) -> None:
        """pause GROUP TIME: no automatic failovers for so long."""
        request = PauseRequest(
            request_id="p", group=words[0], actor=ACTOR, reason="maintenance", duration_ns=_time_ns(words[1])
        )
        self._ask(request)

    def do_unpause(self, words: list[str]) -> None:
        """unpause GROUP: the pause ends before its time."""
        self._ask(UnpauseRequest(request_id="u", group=words[0], actor=ACTOR, reason="done"))

    def do_halt(self, words: list[str]) -> None:
        """halt SCOPE ...: raised on the fast path, to every sidecar and to the arbiters at once."""
        self.halts += 1
        halt = Halt(
            halt_id=f"h{self.halts}", scopes=tuple(words), level=TradingState.HALTED, reason="stop", actor=ACTOR
        )
        self._world.broadcast(halt)
        self._ask(halt)

    def do_resume(self, words: list[str]) -> None:
        """resume HALT: an operator lifts it."""
        self._ask(ResumeRequest(request_id="r", halt_id=words[0], actor=ACTOR, reason="all is well"))

    def do_order(self, words: list[str]) -> None:
        """order COMPONENT ClOrdID [reducing]: the component asks for an order's pre-commit."""
        host, now_ns = self._sidecar(words[0]), self._world.now_ns
        request = OrderRequest(
            cl_ord_id=words[1],
            account="ACC",
            venue="SIM",
            symbol="XYZ",
            side="BUY",
            qty=Decimal(100),
            price=Decimal(10),
            reduces_risk="reducing" in words,
        )
        denial, intent = host.core.deny(request, now_ns), host.core.intent(request)
        if denial is not None or intent is None:
            said = f"{denial.code}: {denial.text}" if denial else "it holds no slot"
            self._world.say(host.component, f"order {words[1]} is denied by its own sidecar, {said}")
        elif not host.cut:
            self._world.ask(intent, host.component)

    def do_explain(self, words: list[str]) -> None:
        """explain GROUP: who holds what until when, and why others are no candidates."""
        self._ask(ExplainRequest(request_id="e", actor=ACTOR, group=words[0]))

    def do_history(self, words: list[str]) -> None:
        """history GROUP: its past failovers."""
        self._ask(HistoryRequest(request_id="h", actor=ACTOR, group=words[0], last=20))

    def do_status(self, words: list[str]) -> None:
        """status: every slot, as the leader sees it."""
        self._ask(StatusRequest(request_id="s", actor=ACTOR))

    def do_gates(self, words: list[str]) -> None:
        """gates: every gate as its component reads it now."""
        for host in self._world.sidecars.values():
            self._world.say(host.component, gate_words(host.core, self._world.now_ns, START_NS))

    def do_leader(self, words: list[str]) -> None:
        """leader: which arbiters believe that they lead."""
        self._world.say("leads", self._world.leader())

    # --- inside ---

    @property
    def _world(self) -> World:
        if self.world is None:
            raise ScenarioBroken("nobody is there yet: say `group` and `arbiters` first")
        return self.world

    def _ask(self, message: Message) -> None:
        self._world.ask(message)

    def _sidecar(self, name: str) -> SidecarHost:
        host = self._world.sidecars.get(name)
        if host is None:
            raise ScenarioBroken(f"no component {name!r} was attached")
        return host

    def _arbiter(self, name: str) -> ArbiterHost:
        host = self._world.arbiters.get(name)
        if host is None:
            raise ScenarioBroken(f"no arbiter {name!r}")
        return host

    def _process(self, name: str) -> ArbiterHost | SidecarHost:
        return self._arbiter(name) if name in self._world.arbiters else self._sidecar(name)


def told(text: str) -> Iterator[str]:
    """A whole file with the output that its commands have now."""
    teller, commands, expected = Teller(), list[str](), False
    for number, line in enumerate(text.splitlines(), 1):
        if expected and line:
            continue  # Made anew below the dashes.
        expected = False
        if line == "----":
            yield line
            yield from _output(teller, commands, number)
            commands, expected = [], True
            continue
        if line and not line.startswith("#"):
            commands.append(line)
        yield line
    if commands:
        raise ScenarioBroken(f"the last commands have no output: end them with a line of ----: {commands}")


def _output(teller: Teller, commands: list[str], number: int) -> list[str]:
    try:
        lines = [line for each in commands for line in teller.tell(each)]
    except (ScenarioBroken, ValueError, KeyError, IndexError) as error:
        raise ScenarioBroken(f"line {number}, after {commands}: {error!r}") from error
    return lines or ["nothing to tell"]


def _policy(options: dict[str, str]) -> Policy:
    policy = Policy(
        prefer=frozenset(filter(None, options.pop("prefer", "").split(","))),
        never=frozenset(filter(None, options.pop("never", "").split(","))),
        min_active=int(options.pop("min_active", "0")),
        block_window_ns=_time_ns(options.pop("block_window", "0s")),
        backoff_ns=_time_ns(options.pop("backoff", "0s")),
        backoff_max_ns=_time_ns(options.pop("backoff_max", "0s")),
        unready_ns=_time_ns(options.pop("unready", "0s")),
    )
    if options:
        raise ScenarioBroken(f"a group has no {', '.join(options)}")
    return policy


def _time_ns(text: str) -> int:
    found = TIME.fullmatch(text)
    if found is None:
        raise ScenarioBroken(f"{text!r} is no time: say 250ms, 2s or 1min")
    return int(found[1]) * UNITS_MS[found[2]] * MS
