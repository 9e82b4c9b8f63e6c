"""What operators ask about groups: failover, dry run, pause, unpause.

Owns who may ask, which groups exist, and the answer. How slots move is in `slots.py`, what a pause is in `pauses.py`.
"""

from collections.abc import Callable

from sidecar.core.cold import Cold
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Now, Origin, Reply
from sidecar.core.pauses import Pauses
from sidecar.core.plans import Plans
from sidecar.core.sanity import clip
from sidecar.core.slots import Move, Slots
from sidecar.messages.control import CommandResult, FailoverRequest, PauseRequest, UnpauseRequest

GroupRequest = FailoverRequest | PauseRequest | UnpauseRequest
REFUSED = "REFUSED"
MOVES_TOLD_MAX = 32
"""Moves of a dry run that are told one by one; the rest is counted."""


class GroupCommands:
    """Operators' requests about groups, at one leader's desk. `operator_problem` says why a user may not ask."""

    def __init__(
        self,
        name: str,
        plans: Plans,
        desk: Desk,
        slots: Slots,
        cold: Cold,
        pauses: Pauses,
        operator_problem: Callable[[str], str],
    ) -> None:
        self._name = name
        self._plans = plans
        self._desk = desk
        self._slots = slots
        self._cold = cold
        self._pauses = pauses
        self._operator_problem = operator_problem

    def decide(self, request: GroupRequest, origin: Origin, now: Now) -> None:
        """Do what is asked, or say why not; one answer in either case."""
        code, text = self._decide(request, origin, now)
        result = CommandResult(
            arbiter=self._name, request_id=request.request_id, ok=code != REFUSED, code=code, text=text
        )
        self._desk.send(Reply(result, origin))

    def _decide(self, request: GroupRequest, origin: Origin, now: Now) -> tuple[str, str]:
        plan = self._plans.named(request.group)
        problem = self._operator_problem(origin.user)
        if problem:
            return REFUSED, problem
        if plan is None:
            return REFUSED, f"no group {clip(request.group)!r}; known: {self._plans.names}"
        match request:
            case FailoverRequest():
                return self._fail_over(plan, request, now)
            case PauseRequest():
                done = f"{plan.name} has no automatic failovers until the pause ends or is ended"
                problem = self._pauses.pause(request)
                return (REFUSED, problem) if problem else ("PAUSED", done)
            case UnpauseRequest():
                problem = self._pauses.unpause(request)
                return (REFUSED, problem) if problem else ("UNPAUSED", f"{plan.name} fails over by itself again")

    def _fail_over(self, plan: GroupPlan, request: FailoverRequest, now: Now) -> tuple[str, str]:
        moves, problem = self._slots.planned(plan, to=request.to, now=now, only=request.holder)
        if problem:
            return self._cold.operate(plan, request, now) or (REFUSED, problem)
        if request.dry_run:
            return "DRY_RUN", _in_words(moves)
        draining = self._slots.move(moves, request.to, request.actor, request.reason or "manual failover", now)
        if draining:
            return "DRAINING", f"the holder of {plan.name} is asked to step down"
        return "GRANTED", f"the vacant slots of {plan.name} are granted"


def _in_words(moves: tuple[Move, ...]) -> str:
    told = "; ".join(each.sentence for each in moves[:MOVES_TOLD_MAX])
    more = len(moves) - MOVES_TOLD_MAX
    return f"{told}; and {more} more" if more > 0 else told
