"""What holds automatic failovers back: pauses, the global brake, block windows, and backoff after failed promotions.

Owns who may not be chosen for a slot, whether a living holder may be asked to step down, and why, in words. It must
not know how slots move. An operator's failover passes pause, brake and window, and backoff for a member it names; none
of them keeps a lease from ending.

| restraint    | a vacant slot                           | a living holder (failback, health)       |
|--------------|-----------------------------------------|------------------------------------------|
| pause        | only its last holder may take it again  | stays                                    |
| brake        | only its last holder may take it again  | stays                                    |
| block window | granted: nobody holds it                | stays, until the window is over          |
| backoff      | not to members that back off            | not moved to members that back off       |

A slot that nobody ever held is not failed over by its first grant, so pause and brake let that pass. A failback is no
failover, and the brake does not count it: else the return of one member of a large sharing group would set the brake.
"""

from sidecar.core.chronicle import Chronicle
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Now
from sidecar.core.timing import MS

HOUR_NS = 3_600_000 * MS
DOUBLINGS_MAX = 30
"""The backoff's exponent stops here, long after any useful `backoff_max`."""


class Brakes:
    """All restraints, at one leader's desk. `failovers_per_hour_max` of 0 is no brake."""

    def __init__(self, desk: Desk, chronicle: Chronicle, failovers_per_hour_max: int) -> None:
        self._desk = desk
        self._chronicle = chronicle
        self._failovers_max = failovers_per_hour_max

    def barred(self, plan: GroupPlan, slot: str, now: Now, *, last: str = "", asked: bool = False) -> frozenset[str]:
        """Members that may not be chosen for the slot now.

        `last` is who is losing it, if that is not folded yet; `asked` says that the move was decided before.
        """
        backing_off = frozenset(each for each in plan.members if self._backoff_left_ns(plan, each, now) > 0)
        known = self._desk.state.last.get(slot)
        before = last or (known.component if known else "")
        if asked or not before or not self._held_back(plan, now):
            return backing_off
        return backing_off | (frozenset(plan.members) - {before})

    def may_move(self, plan: GroupPlan, slot: str, now: Now) -> bool:
        """Whether a living holder of the slot may be asked to step down without an operator."""
        moved_ns = self._chronicle.moved_ns.get(slot)
        blocked = moved_ns is not None and self._chronicle.clock_ns(now) - moved_ns < plan.policy.block_window_ns
        return not blocked and not self._held_back(plan, now)

    def waits_for(self, plan: GroupPlan, slot: str, now: Now) -> str:
        """Why the vacant slot is deliberately not granted now, as a sentence; empty when nothing restrains it."""
        held_back = self._held_back(plan, now)
        known = self._desk.state.last.get(slot)
        if held_back and known is not None:
            return f"{slot} waits: {held_back}; {known.component} may take it again, or an operator fails it over"
        left = {each: self._backoff_left_ns(plan, each, now) for each in plan.members}
        off = [f"{each} for {ns // MS} ms" for each, ns in sorted(left.items()) if ns > 0]
        return f"{slot} waits: backing off after failed promotions: {', '.join(off)}" if off else ""

    # --- inside ---

    def _held_back(self, plan: GroupPlan, now: Now) -> str:
        paused = self._desk.state.paused.get(plan.name)
        if paused is not None:
            return f"{plan.name} is paused by {paused.actor}: {paused.reason}"
        since_ns = self._chronicle.clock_ns(now) - HOUR_NS
        if self._failovers_max and self._chronicle.failovers_since(since_ns) >= self._failovers_max:
            return f"{self._failovers_max} automatic failovers within an hour (arbiter.failovers_per_hour_max)"
        return ""

    def _backoff_left_ns(self, plan: GroupPlan, member: str, now: Now) -> int:
        failures = self._chronicle.failures.get(member)
        if failures is None or not plan.policy.backoff_ns:
            return 0
        doubled_ns = plan.policy.backoff_ns << min(failures.count - 1, DOUBLINGS_MAX)
        return failures.at_ns + min(doubled_ns, plan.policy.backoff_max_ns) - self._chronicle.clock_ns(now)
