"""Living holders that should step down without an operator: failback, and health that stays bad.

Owns when each is due and to whom the slot should go. It must not move anything: `slots.py` drains, with zero overlap,
as for an operator. Neither ever takes a slot whose holder is silent; that is the lease's business.

| cause    | due when                                                                   | to                      |
|----------|----------------------------------------------------------------------------|-------------------------|
| failback | a more preferred member has been steady for failback_ns                    | that member             |
| the same | in a sharing mode: the member that rendezvous hashing names, of those that | that member             |
|          | have been steady for failback_ns and the holder, is not the holder         |                         |
| health   | the holder is heard and has said for unready_ns that it is not ready       | whom the choice names   |

Steady is who is heard, attached, ready, and hears our answers. Both causes wait for the block window, a pause and the
brake (`brakes.py`), and for a drain of the group that is under way: so a group's partitions go home one at a time, and
never more than one of them is without a holder for it.
"""

from collections.abc import Callable, Iterator, Mapping

from sidecar.core.bounded import drop_oldest
from sidecar.core.brakes import Brakes
from sidecar.core.groups import GroupPlan, choose
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Now
from sidecar.core.roster import Roster
from sidecar.core.sanity import clip
from sidecar.core.timing import MS
from sidecar.messages.health import Heartbeat

HOMES_MAX = 1_000
"""Groups of which it is remembered where their slots belong; of others it is hashed anew at each look."""


class Stepping:
    """Which living holders are due to step down, at one leader's desk.

    `deaf_ns` says for how long a member that is heard has heard no answer, 0 for one that hears.
    """

    def __init__(self, desk: Desk, roster: Roster, brakes: Brakes, deaf_ns: Callable[[str, Now], int]) -> None:
        self._deaf_ns = deaf_ns
        self._homes: dict[str, tuple[GroupPlan, frozenset[str], Mapping[str, str | None]]] = {}
        self._desk = desk
        self._roster = roster
        self._brakes = brakes
        self._unready_ns: dict[str, tuple[str, int]] = {}

    def begin_term(self) -> None:
        """A new leader counts afresh for how long holders have been unready."""
        self._unready_ns.clear()

    def hear(self, heartbeat: Heartbeat, now: Now) -> None:
        """Note since when an incarnation of a group's member says that it is not ready."""
        known = self._unready_ns.get(heartbeat.component)
        if heartbeat.ready:
            self._unready_ns.pop(heartbeat.component, None)
        elif known is None or known[0] != heartbeat.incarnation:
            self._unready_ns[heartbeat.component] = heartbeat.incarnation, now.boot_ns

    def failback(self, plan: GroupPlan, now: Now) -> tuple[str, str] | None:
        """The slot that is due to go back, and the member to which."""
        if plan.failback_ns is None or self._draining(plan):
            return None
        if plan.shares:
            return self._homecoming(plan, now)
        holders, ranked = self._desk.state.holders, plan.ranked
        held = {slot: holders[slot].component for slot in plan.slots if slot in holders}
        for slot, component in held.items():
            barred = self._brakes.barred(plan, slot, now)
            for better in ranked[: ranked.index(component)] if component in ranked else ranked:
                if better in held.values() or better in barred:
                    continue
                if self._steady(plan, better, now) and self._brakes.may_move(plan, slot, now):
                    return slot, better
        return None

    def unhealthy(self, plan: GroupPlan, now: Now) -> Iterator[tuple[str, str]]:
        """Slots whose holder has been unready for too long, and why in words; one at a time where members hold one."""
        if not plan.policy.unready_ns or (self._draining(plan) and not plan.shares):
            return
        for slot in plan.slots:
            reason = self._sick(plan, slot, now)
            if reason and self._brakes.may_move(plan, slot, now):
                yield slot, reason

    # --- inside ---

    def _homecoming(self, plan: GroupPlan, now: Now) -> tuple[str, str] | None:
        """The first slot of a sharing group that is not where it belongs, and where that is."""
        steady = frozenset(each for each in plan.ranked if self._steady(plan, each, now))
        homes, holders = self._homes_of(plan, steady), self._desk.state.holders
        for slot in plan.slots:
            holder, home = holders.get(slot), homes[slot]
            if holder is None or home is None or holder.component == home:
                continue
            if choose(plan, slot, steady | {holder.component}, {}) != home:
                continue  # It is not steady for long enough yet, but the slot is where it belongs.
            if home not in self._brakes.barred(plan, slot, now) and self._brakes.may_move(plan, slot, now):
                return slot, home
        return None

    def _homes_of(self, plan: GroupPlan, steady: frozenset[str]) -> Mapping[str, str | None]:
        """Where each slot belongs; hashed anew only when the group or its steady members have changed."""
        known = self._homes.get(plan.name)
        if known is None or known[0] != plan or known[1] != steady:
            known = plan, steady, {slot: choose(plan, slot, steady, {}) for slot in plan.slots}
            self._homes[plan.name] = known
            drop_oldest(self._homes, HOMES_MAX)
        return known[2]

    def _steady(self, plan: GroupPlan, component: str, now: Now) -> bool:
        member = self._roster.fresh(component, now.boot_ns)
        if member is None or self._deaf_ns(component, now):
            return False
        return now.boot_ns - member.ready_since_ns >= (plan.failback_ns or 0)

    def _draining(self, plan: GroupPlan) -> bool:
        return any(slot in self._desk.state.draining for slot in plan.slots)

    def _sick(self, plan: GroupPlan, slot: str, now: Now) -> str:
        holder = self._desk.state.holders.get(slot)
        if holder is None or slot in self._desk.state.draining:
            return ""
        incarnation, since_ns = self._unready_ns.get(holder.component, ("", now.boot_ns))
        if incarnation != holder.incarnation or now.boot_ns - since_ns < plan.policy.unready_ns:
            return ""
        said = self._roster.members[holder.component].heartbeat.reasons[:1]
        why = f": {said[0]}" if said else ""
        return clip(f"{holder.component} is not ready since {(now.boot_ns - since_ns) // MS} ms{why}")
