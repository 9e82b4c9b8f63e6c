"""How each group stands, in numbers for whoever watches from outside. Owns what is counted; it decides nothing."""

from collections import Counter
from typing import TYPE_CHECKING, Final

from sidecar.core.groups import GroupPlan
from sidecar.core.marks import NOTHING
from sidecar.core.outputs import Now

FIGURES: Final = ("vacant", "unheld", "degraded", "paused", "suspected", "missing", "state_behind")
"""Slots without a holder; 1 while no slot has one; 1 while degraded; 1 while paused; members suspected; never heard;
members that lag in a slot's state by more than their group bears."""

if TYPE_CHECKING:
    from sidecar.core.arbiter import Arbiter


def group_figures(arbiter: "Arbiter", now: Now) -> dict[str, dict[str, int]]:
    """The figures of every group as the leader knows them; none from an arbiter that does not lead."""
    if not arbiter.leading:
        return {}
    state, roster = arbiter.state, arbiter.roster
    missing = Counter(arbiter.plans.group_of(each) for each in arbiter.silence.missing(now))
    found = {}
    for plan in arbiter.plans:
        vacant = sum(slot not in state.holders for slot in plan.slots)
        suspected = sum(roster.suspected(each, now.boot_ns) for each in plan.members)
        values = (
            vacant,
            vacant == len(plan.slots),
            plan.name in state.degraded,
            plan.name in state.paused,
            suspected,
            missing[plan.name],
            _behind(arbiter, plan),
        )
        found[plan.name] = dict(zip(FIGURES, map(int, values), strict=True))
    return found


def _behind(arbiter: "Arbiter", plan: GroupPlan) -> int:
    """Living members only: of the others nothing new is heard, and that they are missing is said already."""
    caught_up, roster = arbiter.caught_up, arbiter.roster
    slots = [each for each in plan.slots if caught_up.newest(each) != NOTHING]
    return sum(
        any(caught_up.lags(plan, slot, each) for slot in slots)
        for each in (plan.members if slots else ())
        if each in roster.members
    )
