"""People at work, drawn from the dice: halts and resumes, right ones and wrong ones, and switchovers.

Owns who asks for what, on which way, and how long they insist. It must not know what follows from it.

A halt names everything, a group, a component or orders of one kind, at any level. It goes out on the fast path, through
the arbiters, or both, from an operator or from a component, and is asked for until the journal has it. Before it is
lifted, people that may not, or that do not say which or why, try to. Once all faults are over an operator lifts
whatever is in force, as somebody would who reads `sidecar status`.
"""

import random
from collections.abc import Callable, Mapping

from sidecar.core.timing import MS
from sidecar.messages.base import Message
from sidecar.messages.control import FailoverRequest, Halt, ResumeRequest, TradingState
from sidecar.simulator.broker import Broker
from sidecar.simulator.clocks import Agenda, S
from sidecar.simulator.latches import Latches

OPERATORS = ("operator", "another operator")
OPERATOR = OPERATORS[0]
STRANGER = "stranger"
"""A broker user that may halt and may not resume."""
ASK_AGAIN_NS = 500 * MS
SHORTEST_NS, LONGEST_NS = 50 * MS, 6 * S
LEVELS = (TradingState.HALTED, TradingState.HALTED, TradingState.CANCEL_ONLY, TradingState.REDUCING)
ORDER_SCOPES = ("venue:paper", "account:main", "symbol:XYZ", "strategy:basis")
REDUCING_ALLOWED = 0.7
WRONG_RESUMES = 0.5
"""So many halts see somebody try to lift them who may not, or not like that."""
WAYS = ("both", "both", "both", "fast", "arbiters", "component", "component alone")


class Operators:
    """The people of one run. `groups` says which group each component is in; `say` is told what they do."""

    def __init__(
        self,
        agenda: Agenda,
        dice: random.Random,
        broker: Broker,
        latches: Latches,
        groups: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._agenda = agenda
        self._dice = dice
        self._broker = broker
        self._latches = latches
        self._components = tuple(groups)
        self._groups = tuple(dict.fromkeys(groups.values()))
        self._say = say
        self.halted = 0
        """How many halts were raised so far."""
        self._asked = 0
        self._on_duty = False

    def schedule(self, count: int, from_ns: int, until_ns: int) -> None:
        """Spread `count` halts evenly at random."""
        for at_ns in sorted(self._dice.randrange(from_ns, until_ns) for _ in range(count)):
            self._agenda.after(at_ns, self.halt)

    def halt(self) -> None:
        """One halt, now, and its lifting later."""
        self.halted += 1
        dice = self._dice
        halt = Halt(
            halt_id=self._name("halt"),
            scopes=self._scopes(),
            level=dice.choice(LEVELS),
            reason="a drill",
            actor=OPERATOR,
            reducing_allowed=dice.random() < REDUCING_ALLOWED,
        )
        lasting_ns = dice.randrange(SHORTEST_NS, LONGEST_NS)
        way = dice.choice(WAYS)
        words = f"{halt.level.name} of {', '.join(halt.scopes)} by {way} for {lasting_ns // MS} ms"
        self._say(f"halt   {halt.halt_id}: {words}")
        self._raise(halt, way)
        if dice.random() < WRONG_RESUMES:
            self._agenda.after(dice.randrange(lasting_ns), self._resume_wrongly, halt.halt_id)
        self._agenda.after(lasting_ns, self._lift, halt.halt_id)

    def switch_over(self) -> str:
        """One group is moved; its name."""
        group = self._dice.choice(self._groups)
        request = FailoverRequest(request_id=self._name("move"), group=group, actor=OPERATOR, reason="a drill")
        self._broker.put(request, OPERATOR)
        return group

    def go_on_duty(self) -> None:
        """All faults are over: from now on lift whatever the journal says is in force."""
        self._on_duty = True
        self._lift_all()

    # --- inside ---

    def _name(self, kind: str) -> str:
        self._asked += 1
        return f"{kind}-{self._asked}"

    def _scopes(self) -> tuple[str, ...]:
        dice = self._dice
        kinds = (
            lambda: "all",
            lambda: f"group:{dice.choice(self._groups)}",
            lambda: f"component:{dice.choice(self._components)}",
            lambda: dice.choice(ORDER_SCOPES),
        )
        return tuple(dict.fromkeys(dice.choice(kinds)() for _ in range(dice.choice((1, 1, 1, 2)))))

    def _raise(self, halt: Halt, way: str) -> None:
        truth = self._broker.truth
        if way.startswith("component"):
            sidecar = self._broker.sidecars[self._dice.choice(self._components)]
            if way == "component":
                sidecar.run(sidecar.raise_halt, halt)
            else:  # Its link is gone: nobody else hears of it, until its heartbeats say so.
                sidecar.run(sidecar.deliver, halt)
            return
        if way != "arbiters":
            self._broker.to_all_sidecars(halt, OPERATOR)
        if way != "fast":
            self._ask(halt, lambda: halt.halt_id in truth.halts or halt.halt_id in truth.lifted)

    def _ask(self, message: Message, done: Callable[[], bool]) -> None:
        """As a person does: again and again until the journal says it."""
        if not done() and not self._on_duty:
            self._broker.put(message, OPERATOR)
            self._agenda.after(ASK_AGAIN_NS, self._ask, message, done)

    def _lift(self, halt_id: str) -> None:
        """Until it is lifted, by one operator and the other in turn; afterwards once more, which changes nothing."""
        if self._on_duty:
            return
        for user in OPERATORS:
            self._resume(halt_id, user, "the drill is over")
        if halt_id not in self._broker.truth.lifted:
            self._agenda.after(ASK_AGAIN_NS, self._lift, halt_id)

    def _lift_all(self) -> None:
        for halt_id in sorted(self._broker.truth.halts):
            for user in OPERATORS:
                self._resume(halt_id, user, "all drills are over")
        self._agenda.after(ASK_AGAIN_NS, self._lift_all)

    def _resume_wrongly(self, halt_id: str) -> None:
        """By somebody who may not, without a reason, by another name, or alone."""
        match self._dice.choice(("stranger", "component", "silent", "unknown", "alone")):
            case "stranger":
                self._resume(halt_id, STRANGER, "I want to trade")
            case "component":
                self._resume(halt_id, self._dice.choice(self._components), "I want to trade")
            case "alone":  # Enough where one is; where two are needed, the same one twice is not.
                self._resume(halt_id, OPERATOR, "I think so")
                self._resume(halt_id, OPERATOR, "I still think so")
            case "silent":
                self._resume(halt_id, OPERATOR, " ")
            case _:
                self._resume(f"{halt_id}0", OPERATOR, "the wrong one")

    def _resume(self, halt_id: str, user: str, reason: str) -> None:
        self._say(f"resume of {halt_id} by {user}: {reason}")
        request = ResumeRequest(request_id=self._name("resume"), halt_id=halt_id, actor=user, reason=reason)
        self._latches.asked(request, user)
        self._broker.put(request, user)
