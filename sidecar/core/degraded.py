"""Groups with too few active members: degraded to REDUCING until enough are active again.

Owns the judgement of FEATURES F9 at the leader's desk, journaled as GroupDegraded and GroupRestored, so that every
reader folds the same and history shows it. It must not know orders: the verifier reads the fold.

| group    | live holders, at a tick that may judge silence | next     | fact          |
|----------|------------------------------------------------|----------|---------------|
| normal   | fewer than min_active                          | degraded | GroupDegraded |
| degraded | fewer than min_active                          | degraded | none          |
| degraded | min_active or more                             | normal   | GroupRestored |

A holder is live while it is heard, attached and ready in the incarnation that holds. Being degraded is no halt: it is
derived from who lives, nobody raised it, and it ends by itself. A halt in force stays in force whatever happens here.
"""

from typing import Literal

from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now
from sidecar.core.plans import Plans
from sidecar.core.roster import Roster
from sidecar.messages.events import DegradationChanged
from sidecar.messages.journal import GroupDegraded, GroupRestored


class Degraded:
    """The groups that ask for a least number of active slots, at one leader's desk."""

    def __init__(self, name: str, plans: Plans, desk: Desk, roster: Roster) -> None:
        self._name = name
        self._plans = plans
        self._desk = desk
        self._roster = roster

    def tick(self, now: Now) -> None:
        """Judge each group; to be called only when silence may be judged, by a leader that has settled."""
        for plan in self._plans:
            least, degraded = plan.policy.min_active, plan.name in self._desk.state.degraded
            if not (least or degraded):
                continue
            active = self._active(plan, now)
            if active < least and not degraded:
                reason = f"{active} of at least {least} slots are held by a member that is heard and ready"
                self._desk.emit(GroupDegraded(group=plan.name, reason=reason))
                self._tell(plan.name, "DEGRADED", reason)
            elif active >= least and degraded:
                self._desk.emit(GroupRestored(group=plan.name))
                self._tell(plan.name, "RESTORED", f"{active} of at least {least} slots are held again")

    def _tell(self, group: str, change: Literal["DEGRADED", "RESTORED"], reason: str) -> None:
        event = DegradationChanged(arbiter=self._name, group=group, change=change, reason=reason)
        self._desk.send(Event(event, f"degradation-changed.{group}"))

    def _active(self, plan: GroupPlan, now: Now) -> int:
        return sum(self._live(slot, now) for slot in plan.slots)

    def _live(self, slot: str, now: Now) -> bool:
        holder = self._desk.state.holders.get(slot)
        if holder is None or slot in self._desk.state.draining:
            return False
        member = self._roster.fresh(holder.component, now.boot_ns)
        return member is not None and member.heartbeat.incarnation == holder.incarnation
