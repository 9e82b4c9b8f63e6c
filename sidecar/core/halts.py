"""The arbiter's side of halts: journaled, repeated to whoever has missed them, lifted only by an operator.

Owns DESIGN section 9 at the leader's desk. Heartbeats carry the control version a sidecar has latched, so repeating
until everyone has it needs no list of acknowledgements: whoever is behind is told again with every heartbeat.

A halt is journaled and broadcast at once. Its issuer is told so only when no earlier leader can renew a lease any more,
`leader_wait` after this leadership began: until then one that does not know yet that it was deposed might still renew a
sidecar which missed the halt, and "every gate closes when the lease then held runs out" would come that much late.

Where two operators are needed, the first resume is journaled as a proposal, and another broker user's within the window
lifts. The same user twice lifts nothing; a proposal whose window has passed is none.
"""

from collections import deque
from dataclasses import dataclass

from sidecar.core.chronicle import Chronicle
from sidecar.core.ladder import everything, halt_problem
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Broadcast, Event, Now, Origin, Reply, Settle
from sidecar.core.sanity import TEXT_MAX, clip
from sidecar.core.timing import MS, Timing
from sidecar.messages.codec import encode
from sidecar.messages.control import CommandResult, ControlState, Halt, ResumeRequest
from sidecar.messages.events import ControlChanged, LiftProposed
from sidecar.messages.health import Heartbeat
from sidecar.messages.journal import HaltLifted, HaltRaised, ResumeProposed

HALTS_IN_FORCE_MAX = 128
CONTROL_BYTES_MAX = 40 * 1024
"""Halts in force at once, and their size: a ControlState with all of them must fit one message, or nobody reads it.

A halt beyond that is not refused, because a refused halt is a lost one: everything is halted instead, until an
operator lifts that. Receivers keep naming the halts they have unconfirmed, so those are journaled when there is room.
"""
OVERFLOW = "overflow-of-halts-"
UNANSWERED_MAX = 1_000
"""Answers held back at once; what comes on top is delivered again."""
OPERATORS_NAMED_MAX = 8
"""Operators that are named in a sentence."""
SECOND_NS = 1_000 * MS


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftRule:
    """How many operators must ask before a halt is lifted, 1 or 2, and within which time the second one must."""

    operators: int = 1
    window_ns: int = 900 * SECOND_NS


class Halts:
    """All halts in force, at one leader's desk."""

    def __init__(
        self,
        name: str,
        operators: frozenset[str],
        desk: Desk,
        timing: Timing,
        chronicle: Chronicle,
        lifting: LiftRule,
    ) -> None:
        self._name = name
        self._chronicle = chronicle
        self._lifting = lifting
        self._operators = operators
        self._desk = desk
        self._timing = timing
        self._unanswered: deque[tuple[Halt, Origin]] = deque()

    def raise_halt(self, halt: Halt, origin: Origin, now: Now) -> None:
        """Journal a halt, and answer and settle it, now or from `tick`. Anyone verified may raise; repeating one
        changes nothing."""
        ok, text = self._raise(halt)
        if ok and now.boot_ns < self._answers_from_ns:
            if len(self._unanswered) < UNANSWERED_MAX:
                self._unanswered.append((halt, origin))
            else:
                self._desk.send(Settle(origin.handle, "requeue"))
            return
        self._desk.send(Reply(self._result(halt.halt_id, ok, "HALT", text), origin))
        self._desk.send(Settle(origin.handle, "ack"))

    def tick(self, now: Now) -> None:
        """Answer what was held back, once no earlier leader can renew. A halt lifted meanwhile is answered as such."""
        while self._unanswered and now.boot_ns >= self._answers_from_ns:
            self.raise_halt(*self._unanswered.popleft(), now)

    @property
    def unanswered(self) -> int:
        """How many halts are in force and wait for their answer."""
        return len(self._unanswered)

    def hand_back(self) -> list[Settle]:
        """Deposed: the next leader answers what this one could not."""
        handed = [Settle(origin.handle, "requeue") for _, origin in self._unanswered]
        self._unanswered.clear()
        return handed

    def on_lost(self) -> None:
        """The deliveries' link is gone: they come again by themselves."""
        self._unanswered.clear()

    def resume(self, request: ResumeRequest, origin: Origin, now: Now) -> None:
        """Lift one halt, if an operator asks by its name and says why; where two are needed, if both did."""
        problem = self.operator_problem(origin.user) or self._resume_problem(request)
        halt = self._desk.state.halts.get(request.halt_id)
        if problem or halt is None:
            self._desk.send(Reply(self._result(request.request_id, False, "REFUSED", problem), origin))
            return
        if self._lifting.operators > 1 and self.proposal(halt.halt_id, now)[0] in ("", origin.user):
            self._propose(request, origin, now)
            return
        actor = clip(request.actor)
        proposed_by = self.proposal(halt.halt_id, now)[0]
        self._desk.emit(HaltLifted(halt_id=halt.halt_id, actor=actor, reason=request.reason, proposed_by=proposed_by))
        self._changed(halt, "lifted", actor, request.reason)
        text = f"halt {halt.halt_id} is lifted; {len(self._desk.state.halts)} still in force"
        self._desk.send(Reply(self._result(request.request_id, True, "LIFTED", text), origin))

    def impose(self, halt: Halt) -> None:
        """Journal a halt of this arbiter's own making; nobody waits for an answer."""
        self._raise(halt)

    def catch_up(self, heartbeat: Heartbeat, origin: Origin) -> None:
        """Journal what only this sidecar heard, and tell it what it has missed."""
        for halt in heartbeat.unconfirmed_halts:
            if halt.halt_id not in self._desk.state.lifted:
                self._raise(halt)
        behind = heartbeat.control_version < self._desk.state.control_version
        if behind or heartbeat.unconfirmed_halts:
            lifted = tuple(
                each.halt_id for each in heartbeat.unconfirmed_halts if each.halt_id in self._desk.state.lifted
            )
            self._desk.send(Reply(self._control_state(lifted), origin))

    def operator_problem(self, user: str) -> str:
        """Why this broker user may not lower anything; empty when it may."""
        if user in self._operators:
            return ""
        return f"broker user {user!r} is not an operator: add it to security.operators of the arbiters"

    def proposal(self, halt_id: str, now: Now) -> tuple[str, int]:
        """The broker user whose resume of this halt waits for another's, and for how long still; empty and 0."""
        proposal = self._desk.state.proposed.get(halt_id)
        if proposal is None or self._lifting.operators < 2 or proposal.user not in self._operators:
            return "", 0
        clock_ns = self._chronicle.clock_ns(now)
        left_ns = self._chronicle.proposed_ns.get(halt_id, clock_ns) + self._lifting.window_ns - clock_ns
        return (proposal.user, left_ns) if left_ns > 0 else ("", 0)

    def to_lift(self, halt_id: str, now: Now) -> str:
        """What it would take to lift this halt, as a sentence."""
        operators, needed = sorted(self._operators), self._lifting.operators
        if len(operators) < needed:
            return f"nobody can lift it: security.operators of the arbiters names {len(operators)} of {needed}"
        named = ", ".join(operators[:OPERATORS_NAMED_MAX]) + (", ..." if len(operators) > OPERATORS_NAMED_MAX else "")
        if needed == 1:
            return f"a resume by one of: {named}"
        user, left_ns = self.proposal(halt_id, now)
        if user:
            return f"{user} asked to lift it; a resume by another one of: {named}, within {left_ns // SECOND_NS} s"
        return f"resumes by two of: {named}, within {self._lifting.window_ns // SECOND_NS} s"

    def _propose(self, request: ResumeRequest, origin: Origin, now: Now) -> None:
        """The first of two. Asking again while that stands changes nothing, not its window either."""
        if not self.proposal(request.halt_id, now)[0]:
            actor = clip(request.actor)
            self._desk.emit(
                ResumeProposed(halt_id=request.halt_id, actor=actor, user=origin.user, reason=request.reason)
            )
            self._chronicle.proposed_ns.pop(request.halt_id, None)  # Until it is read back, it began just now.
            event = LiftProposed(
                arbiter=self._name,
                halt_id=request.halt_id,
                actor=actor,
                user=origin.user,
                reason=request.reason,
                window_ns=self._lifting.window_ns,
            )
            self._desk.send(Event(event, "lift-proposed"))
        text = f"halt {request.halt_id} stays in force: {self.to_lift(request.halt_id, now)}"
        self._desk.send(Reply(self._result(request.request_id, True, "PROPOSED", text), origin))

    @property
    def _answers_from_ns(self) -> int:
        return self._desk.led_since_ns + self._timing.leader_wait_ns

    def _raise(self, halt: Halt) -> tuple[bool, str]:
        state = self._desk.state
        if halt.halt_id in state.halts:
            return True, f"halt {halt.halt_id} is in force"
        problem = halt_problem(halt)
        if halt.halt_id in state.lifted:
            problem = f"halt {clip(halt.halt_id)} was lifted before: raise a new one under a new id"
        if problem:
            return False, problem
        if not self._has_room(halt):
            return True, self._overflow(halt)
        self._emit_raised(halt)
        return True, f"halt {halt.halt_id} is journaled"

    def _has_room(self, halt: Halt) -> bool:
        in_force = self._desk.state.halts.values()
        if len(in_force) >= HALTS_IN_FORCE_MAX:
            return False
        return sum(len(encode(each)) for each in in_force) + len(encode(halt)) <= CONTROL_BYTES_MAX

    def _overflow(self, halt: Halt) -> str:
        """Halt everything in place of one halt too many, once."""
        state = self._desk.state
        standing = next((each for each in state.halts if each.startswith(OVERFLOW)), None)
        if standing is None:
            standing = f"{OVERFLOW}{state.control_version + 1}"
            self._emit_raised(everything(standing, halt.actor, f"no room for halt {clip(halt.halt_id)}: lift others"))
        return f"{len(state.halts)} halts leave no room for this one: everything is halted ({standing})"

    def _emit_raised(self, halt: Halt) -> None:
        self._desk.emit(HaltRaised(halt=halt))
        self._changed(halt, "raised", halt.actor, halt.reason)

    def _changed(self, halt: Halt, change: str, actor: str, reason: str) -> None:
        lifted = (halt.halt_id,) if change == "lifted" else ()
        self._desk.send(Broadcast(self._control_state(lifted)))
        event = ControlChanged(
            arbiter=self._name,
            version=self._desk.state.control_version,
            change="lifted" if lifted else "raised",
            halt=halt,
            actor=actor,
            reason=reason,
        )
        self._desk.send(Event(event, f"control-changed.{event.change}"))

    def _resume_problem(self, request: ResumeRequest) -> str:
        if not request.reason.strip() or len(request.reason) > TEXT_MAX:
            return f"a resume needs a reason of 1 to {TEXT_MAX} characters"
        if request.halt_id in self._desk.state.lifted:
            return f"halt {request.halt_id} was lifted already"
        if request.halt_id not in self._desk.state.halts:
            in_force = ", ".join(sorted(self._desk.state.halts)) or "none"
            return f"no halt {clip(request.halt_id)!r} is in force; in force: {in_force}"
        return ""

    def _control_state(self, lifted: tuple[str, ...]) -> ControlState:
        state = self._desk.state
        return ControlState(
            arbiter=self._name,
            term=self._desk.term,
            version=state.control_version,
            halts=tuple(state.halts[each] for each in sorted(state.halts)),
            lifted=lifted,
        )

    def _result(self, request_id: str, ok: bool, code: str, text: str) -> CommandResult:
        return CommandResult(arbiter=self._name, request_id=request_id, ok=ok, code=code, text=text)
