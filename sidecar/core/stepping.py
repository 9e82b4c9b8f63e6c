"""Living holders that should step down without an operator: failback, and health that stays bad.

Owns when each is due and to whom the slot should go. It must not move anything: `slots.py` drains, with zero overlap,
as for an operator. Neither ever takes a slot whose holder is silent; that is the lease's business.

| cause    | due when                                                                   | to                      |
|----------|----------------------------------------------------------------------------|-------------------------|
| failback | a more preferred member has been ready for failback_ns                     | that member             |
| health   | the holder is heard and has said for unready_ns that it is not ready       | whom the choice names   |

Both wait for the block window, a pause and the brake (`brakes.py`), and for a drain of the group that is under way.
"""

from collections.abc import Iterator

from sidecar.core.brakes import Brakes
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Now
from sidecar.core.roster import Roster
from sidecar.core.sanity import clip
from sidecar.core.timing import MS
from sidecar.messages.health import Heartbeat


class Stepping:
    """Which living holders are due to step down, at one leader's desk."""

    def __init__(self, desk: Desk, roster: Roster, brakes: Brakes) -> None:
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
        if plan.failback_ns is None or plan.shares or self._draining(plan):
            return None
        holders, ranked = self._desk.state.holders, plan.ranked
        held = {slot: holders[slot].component for slot in plan.slots if slot in holders}
        for slot, component in held.items():
            barred = self._brakes.barred(plan, slot, now)
            for better in ranked[: ranked.index(component)] if component in ranked else ranked:
                member = self._roster.fresh(better, now.boot_ns)
                if better in held.values() or better in barred or member is None:
                    continue
                if now.boot_ns - member.ready_since_ns >= plan.failback_ns and self._brakes.may_move(plan, slot, now):
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
