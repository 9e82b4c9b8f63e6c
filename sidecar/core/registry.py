"""Groups that operators register and remove at run time, at the leader's desk.

Owns the requests and what they are refused for, journaled as GroupRegistered and GroupRemoved, and the alert when the
configuration contradicts what was registered. How the two sources make one set of groups is in `plans.py`.

| the group is                   | register                               | remove                                     |
|--------------------------------|----------------------------------------|--------------------------------------------|
| unknown                        | GroupRegistered, unless a component is | refused                                    |
|                                | in another group or a bound is reached |                                            |
| configured or registered, same | accepted, nothing changes              |                                            |
| configured or registered, else | refused with the difference            |                                            |
| registered                     |                                        | GroupRemoved, unless somebody would lose a |
|                                |                                        | slot by it                                 |
| configured only                |                                        | refused: the configuration must change     |
"""

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.core.declared import declaration_problem, difference, plan_declared
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.plans import Plans
from sidecar.core.sanity import clip, reason_problem
from sidecar.messages.control import CommandResult
from sidecar.messages.groups import GroupContradicted, RegisterGroup, RemoveGroup
from sidecar.messages.journal import GroupRegistered, GroupRemoved

GROUPS_MAX: Final = 128
"""Groups registered at once. Higher makes each arbiter's state, its snapshots and its status report larger."""
COMPONENTS_MAX: Final = 4_096
"""Components of all registered groups together."""
SLOTS_MAX: Final = 4_096
"""Slots of all registered groups together."""
SLOTS_EVER_MAX: Final = 100_000
"""Slots that ever had a holder: their tokens must never begin again, so they are remembered when a group is removed."""
REFUSED: Final = "REFUSED"


class Registry:
    """Registrations at one leader's desk. `operator_problem` says why a user may not ask."""

    def __init__(self, name: str, plans: Plans, desk: Desk, operator_problem: Callable[[str], str]) -> None:
        self._name = name
        self._plans = plans
        self._desk = desk
        self._operator_problem = operator_problem
        self._told: dict[str, str] = {}
        self._judged: Mapping[str, GroupRegistered] | None = None

    def begin_term(self) -> None:
        """A new leader has a configuration of its own, and tells its contradictions anew."""
        self._told.clear()
        self._judged = None

    def tick(self) -> None:
        """Tell each contradiction once, and its end. To be called by a leader only."""
        if self._desk.state.groups is self._judged:
            return  # Contradictions follow from these, and from a configuration that does not change.
        self._judged, found = self._desk.state.groups, self._plans.contradictions
        for group in sorted(self._told.keys() - found.keys()):
            self._tell(GroupContradicted(arbiter=self._name, change="ENDED", group=group))
        for group, text in sorted(found.items()):
            if self._told.get(group) != text:
                self._tell(GroupContradicted(arbiter=self._name, change="BEGAN", group=group, text=text))
        self._told = dict(found)

    def decide(self, request: RegisterGroup | RemoveGroup, origin: Origin, now: Now) -> None:
        """Do what is asked, or say why not; one answer in either case."""
        code, text = self._decide(request, origin, now)
        result = CommandResult(
            arbiter=self._name, request_id=request.request_id, ok=code != REFUSED, code=code, text=text
        )
        self._desk.send(Reply(result, origin))

    # --- inside ---

    def _decide(self, request: RegisterGroup | RemoveGroup, origin: Origin, now: Now) -> tuple[str, str]:
        what = "register" if isinstance(request, RegisterGroup) else "remove"
        if problem := self._operator_problem(origin.user) or reason_problem(what, request.reason):
            return REFUSED, problem
        return self._register(request, now) if isinstance(request, RegisterGroup) else self._remove(request)

    def _register(self, request: RegisterGroup, now: Now) -> tuple[str, str]:
        group = request.group
        if problem := declaration_problem(group):
            return REFUSED, f"group {clip(group.name)!r}: {problem}"
        plan, known = plan_declared(group), self._plans.named(group.name)
        where = self._plans.known(plan.name)
        if known == plan:
            return "UNCHANGED", f"group {plan.name} is {where}, and the same: nothing changes"
        if known is not None:
            differs = difference(plan, known)
            return (
                REFUSED,
                f"group {plan.name} as given differs from {plan.name} as {where}: {differs}; give it as it is",
            )
        if problem := self._taken(plan) or self._full(plan):
            return REFUSED, problem
        told = f"{plan.name} ({plan.mode}): {', '.join(plan.members)}; slots {', '.join(plan.slots)}"
        if request.dry_run:
            return "DRY_RUN", clip(f"would register {told}")
        self._desk.emit(GroupRegistered(group=group, actor=clip(request.actor), reason=request.reason))
        self._plans.registered_ns[plan.name] = now.boot_ns
        return "REGISTERED", clip(f"registered {told}")

    def _taken(self, plan: GroupPlan) -> str:
        for component in plan.members:
            other = self._plans.taker(component)
            if other:
                where = self._plans.known(other)
                return (
                    f"{component} is in group {other} ({where}), and {plan.name} as given names it as well: "
                    f"a component is in one group at most; take it out of one of them"
                )
        return ""

    def _full(self, plan: GroupPlan) -> str:
        plans = [each for name in self._desk.state.groups if (each := self._plans.named(name))]
        if len(plans) >= GROUPS_MAX:
            return f"{GROUPS_MAX} groups are registered, and there is no room for more: remove one, or configure them"
        for what, most, count in (
            ("components", COMPONENTS_MAX, sum(len(each.members) for each in (*plans, plan))),
            ("slots", SLOTS_MAX, sum(len(each.slots) for each in (*plans, plan))),
            ("slots ever granted", SLOTS_EVER_MAX, len(self._desk.state.epochs) + len(plan.slots)),
        ):
            if count > most:
                return f"with {plan.name} there would be {count} {what}, at most {most} are kept: configure it instead"
        return ""

    def _remove(self, request: RemoveGroup) -> tuple[str, str]:
        group, configured = request.group, self._plans.configured.get(request.group)
        if group not in self._desk.state.groups:
            if configured is None:
                return REFUSED, f"no group {clip(group)!r}; known: {self._plans.names}"
            return REFUSED, f"group {group} is configured, not registered: take it out of every arbiter's configuration"
        losers = self._losers(group, configured)
        if losers:
            held = ", ".join(f"{slot} by {component}" for slot, component in losers)
            mend = f"`sidecar pause {group}`, stop its holders, and remove it then"
            return REFUSED, clip(f"somebody would lose a slot of {group}: {mend}; held: {held}")
        stays = "; it stays as it is configured" if configured is not None else ""
        if request.dry_run:
            return "DRY_RUN", f"would remove group {group}{stays}"
        self._desk.emit(GroupRemoved(group=group, actor=clip(request.actor), reason=request.reason))
        self._plans.registered_ns.pop(group, None)
        return "REMOVED", f"group {group} is not registered any more{stays}"

    def _losers(self, group: str, configured: GroupPlan | None) -> list[tuple[str, str]]:
        """Slots, each with its holder, that no group would have for that holder without the registered one."""
        found = []
        for slot, holder in sorted(self._desk.state.holders.items()):
            if slot.partition("/")[0] != group:
                continue
            if configured is None or slot not in configured.slots or holder.component not in configured.members:
                found.append((slot, holder.component))
        return found

    def _tell(self, event: GroupContradicted) -> None:
        self._desk.send(Event(event, f"group-contradicted.{event.group}"))
