"""Who was heard, when, and in which incarnation: one arbiter's own, volatile view of the sidecars.

Owns freshness. Standbys keep it too, so that a new leader knows at once who lives. It must not decide who holds what:
authority moves only on release or on the end of a lease.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from sidecar.core.outputs import Origin
from sidecar.messages.health import Heartbeat

ENDED_MAX = 8
"""Ended incarnations of one component whose late heartbeats are still recognised as late."""
STRANGERS_MAX = 1_000
"""Components of no group that are tracked; heartbeats of further ones are ignored and cannot crowd out ours."""
FRESH_HEARTBEATS = 3
"""A component that was not heard for this many intervals is no candidate for a slot."""


@dataclass(slots=True)
class Member:
    """The last word of one sidecar. `ready_since_ns` is when it last became ready.

    A run that a newer one replaced is heard again only when the newer one has fallen silent.
    """

    heartbeat: Heartbeat
    origin: Origin
    heard_ns: int
    ready_since_ns: int
    ended: deque[str] = field(default_factory=lambda: deque(maxlen=ENDED_MAX))
    past_runs: deque[str] = field(default_factory=lambda: deque(maxlen=ENDED_MAX))


class Roster:
    """All members by component name. `ours` are the components of configured groups; there is room for all of them."""

    def __init__(self, heartbeat_ns: int, ours: Collection[str] = ()) -> None:
        self.members: dict[str, Member] = {}
        self._ours = frozenset(ours)
        self._fresh_ns = FRESH_HEARTBEATS * heartbeat_ns

    def hear(self, heartbeat: Heartbeat, origin: Origin, now_ns: int) -> bool:
        """Note a heartbeat; false when it is late, repeated or one too many and so says nothing new."""
        member = self.members.get(heartbeat.component)
        if member is None:
            if heartbeat.component not in self._ours and len(self.members) >= len(self._ours) + STRANGERS_MAX:
                return False
            self.members[heartbeat.component] = Member(heartbeat, origin, now_ns, now_ns)
            return True
        before = member.heartbeat
        replaced = heartbeat.run in member.past_runs and now_ns - member.heard_ns <= self._fresh_ns
        late = replaced or (heartbeat.run == before.run and heartbeat.seq <= before.seq)
        if late or heartbeat.incarnation in member.ended:
            return False
        if heartbeat.run != before.run:
            member.past_runs.append(before.run)
        if heartbeat.incarnation != before.incarnation or (heartbeat.ready and not before.ready):
            member.ready_since_ns = now_ns
        member.heartbeat, member.origin, member.heard_ns = heartbeat, origin, now_ns
        return True

    def end(self, component: str, incarnation: str) -> None:
        """The incarnation ended: it is no candidate any more, whatever of it still arrives."""
        member = self.members.get(component)
        if member is not None and member.heartbeat.incarnation == incarnation:
            member.ended.append(incarnation)

    def fresh(self, component: str, now_ns: int) -> Member | None:
        """The member if it could act now: heard lately, attached and ready."""
        member = self.members.get(component)
        if member is None or not member.heartbeat.incarnation or not member.heartbeat.ready:
            return None
        if member.heartbeat.incarnation in member.ended:
            return None
        return member if now_ns - member.heard_ns <= self._fresh_ns else None
