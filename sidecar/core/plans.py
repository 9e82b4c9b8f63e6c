"""Which failover groups there are: those of the configuration and those that the journal says were registered.

Owns every lookup from components and slots to groups, and the judgement whether the two sources contradict each other.
It must not decide anything about slots. The tables are made anew only when the folded groups have changed, which is
seen by identity, because heartbeats ask here.

| configured | registered in the journal                         | the group                                         |
|------------|---------------------------------------------------|---------------------------------------------------|
| yes        | no                                                | as configured                                     |
| no         | yes                                               | as registered                                     |
| yes        | the same                                          | as configured                                     |
| yes        | another one of this name                          | as registered, contradicted                       |
| yes        | one of another name with one of its components    | both stand, both contradicted                     |

A group that is contradicted is frozen: whoever holds its slots keeps them under renewals, by whichever declaration it
was granted them, and nothing of it is granted or moved. The journal goes before the configuration, because all arbiters
read the same journal.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.declared import difference, plan_declared
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.messages.journal import GroupRegistered

MEND: Final = "make the configuration of every arbiter agree, or remove the registered one (`sidecar group remove`)"


@dataclass(slots=True)
class _Tables:
    """Everything that is looked up, for one set of folded groups."""

    registered: Mapping[str, GroupRegistered]
    plans: tuple[GroupPlan, ...] = ()
    by_name: dict[str, GroupPlan] = field(default_factory=dict)
    by_component: dict[str, GroupPlan] = field(default_factory=dict)
    by_slot: dict[str, GroupPlan] = field(default_factory=dict)
    slots_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    claims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    contradictions: dict[str, str] = field(default_factory=dict)


class Plans:
    """All groups, at one arbiter's desk."""

    def __init__(self, configured: tuple[GroupPlan, ...], desk: Desk) -> None:
        self.configured = {each.name: each for each in configured}
        self.registered_ns: dict[str, int] = {}
        self._desk = desk
        self._tables = _tables(self.configured, desk.state.groups)

    def __iter__(self) -> Iterator[GroupPlan]:
        """Every group once, by name where any is registered, else as configured."""
        return iter(self._now().plans)

    def named(self, group: str) -> GroupPlan | None:
        """The group of this name."""
        return self._now().by_name.get(group)

    def of(self, component: str) -> GroupPlan | None:
        """The group of a component."""
        return self._now().by_component.get(component)

    def of_slot(self, slot: str) -> GroupPlan | None:
        """The group of a slot."""
        return self._now().by_slot.get(slot)

    def slots_of(self, component: str) -> tuple[str, ...]:
        """The slots that this component may hold: its group's, or those of all groups that claim it."""
        return self._now().slots_of.get(component, ())

    def group_of(self, component: str) -> str:
        """The name of a component's group; empty when it is in none."""
        return self._now().groups.get(component, "")

    def claims(self, component: str) -> tuple[str, ...]:
        """The names of all groups that claim this component: one, unless they are contradicted."""
        return self._now().claims.get(component, ("",))

    @property
    def groups(self) -> Mapping[str, str]:
        """Every component with its group, in order of the components. The same object until a group changes."""
        return self._now().groups

    @property
    def members(self) -> Collection[str]:
        """Every component of a group, now and at any later time it is asked."""
        return _Members(self)

    @property
    def contradictions(self) -> Mapping[str, str]:
        """The groups that are frozen, each with a sentence that says why. The same object until a group changes."""
        return self._now().contradictions

    @property
    def names(self) -> str:
        """The names of all groups, for a refusal."""
        return ", ".join(each.name for each in self) or "none"

    def known(self, group: str) -> str:
        """Where the group of this name stands, in words; empty when there is none."""
        registered = self._now().registered.get(group)
        if registered is not None:
            return f"registered by {registered.actor}"
        return "configured" if group in self.configured else ""

    def taker(self, component: str, *, but: str = "") -> str:
        """The group, other than `but`, that has this component; empty when there is none."""
        found = (each.name for each in (*self, *self.configured.values()) if component in each.members)
        return next((each for each in found if each != but), "")

    def _now(self) -> _Tables:
        if self._desk.state.groups is not self._tables.registered:
            self._tables = _tables(self.configured, self._desk.state.groups)
        return self._tables


class _Members(Collection[str]):
    """A view, for whoever only asks whether a component is ours and how many are."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def __contains__(self, component: object) -> bool:
        return component in self._plans.groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans.groups)

    def __len__(self) -> int:
        return len(self._plans.groups)


def _tables(configured: Mapping[str, GroupPlan], registered: Mapping[str, GroupRegistered]) -> _Tables:
    tables = _Tables(registered)
    journaled = {name: plan_declared(each.group) for name, each in sorted(registered.items())}
    for plan in journaled.values():
        _contradict(tables.contradictions, plan, registered[plan.name], configured)
    tables.by_name = {**configured, **journaled}
    names = sorted(tables.by_name) if journaled else list(configured)
    tables.plans = tuple(tables.by_name[name] for name in names)
    for plan in (*tables.plans, *(each for name, each in configured.items() if journaled.get(name, each) != each)):
        for slot in plan.slots:
            tables.by_slot.setdefault(slot, plan)
        for member in plan.members:
            tables.by_component.setdefault(member, plan)
            before = tables.slots_of.get(member, ())
            more = tuple(each for each in plan.slots if each not in before) if before else plan.slots
            tables.slots_of[member] = (*before, *more) if before else more
            claims = tables.claims.get(member, ())
            tables.claims[member] = claims if plan.name in claims else (*claims, plan.name)
    tables.groups = {member: plan.name for member, plan in sorted(tables.by_component.items())}
    return tables


def _contradict(
    found: dict[str, str], plan: GroupPlan, registered: GroupRegistered, configured: Mapping[str, GroupPlan]
) -> None:
    by = f"as registered by {registered.actor} against as configured here"
    same = configured.get(plan.name)
    if same is not None and same != plan:
        found[plan.name] = f"{plan.name} is frozen: {difference(plan, same)}, {by}; {MEND}"
    for other in configured.values():
        shared = sorted(set(plan.members) & set(other.members)) if other.name != plan.name else []
        if shared:
            text = f"{shared[0]} is in {plan.name} (registered by {registered.actor}) and in {other.name} (configured)"
            for name in (plan.name, other.name):
                found.setdefault(name, f"{name} is frozen: {text}; {MEND}")
