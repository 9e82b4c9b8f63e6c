"""Who was heard, when, and in which incarnation: one arbiter's own, volatile view of the sidecars.

Owns freshness. Standbys keep it too, so that a new leader knows at once who lives. It must not decide who holds what:
authority moves only on release or on the end of a lease.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from sidecar.core.outputs import Origin
from sidecar.core.suspicion import Detection, Detector
from sidecar.core.timing import Timing
from sidecar.messages.health import Heartbeat

ENDED_MAX = 8
"""Ended incarnations of one component whose late heartbeats are still recognised as late."""
STRANGERS_MAX = 1_000
"""Components of no group that are tracked; heartbeats of further ones are ignored and cannot crowd out ours."""
FRESH_HEARTBEATS = 3
"""Whatever was not heard for this many intervals counts as silent, where nobody's own rhythm is at stake."""


@dataclass(slots=True)
class Member:
    """The last word of one sidecar. `ready_since_ns` is when it last became ready.

    A run that a newer one replaced is heard again only when the newer one has fallen silent.
    """

    heartbeat: Heartbeat
    origin: Origin
    heard_ns: int
    ready_since_ns: int
    detector: Detector
    suspected_ns: int | None = None
    ended: deque[str] = field(default_factory=lambda: deque(maxlen=ENDED_MAX))
    past_runs: deque[str] = field(default_factory=lambda: deque(maxlen=ENDED_MAX))


class Roster:
    """All members by component name. `ours` are the components of groups, now; there is room for all of them."""

    def __init__(self, timing: Timing, ours: Collection[str] = (), detection: Detection | None = None) -> None:
        self.members: dict[str, Member] = {}
        self._ours = ours
        self._timing = timing
        self._detection = detection or Detection()

    def hear(self, heartbeat: Heartbeat, origin: Origin, now_ns: int) -> bool:
        """Note a heartbeat; false when it is late, repeated or one too many and so says nothing new."""
        member = self.members.get(heartbeat.component)
        if member is None:
            if heartbeat.component not in self._ours and len(self.members) >= len(self._ours) + STRANGERS_MAX:
                return False
            detector = self._detection.detector(self._timing)
            self.members[heartbeat.component] = Member(heartbeat, origin, now_ns, now_ns, detector)
            return True
        before, same_run = member.heartbeat, heartbeat.run == member.heartbeat.run
        if same_run and heartbeat.seq <= before.seq:
            return False
        if member.past_runs and heartbeat.run in member.past_runs and not self._suspects(member, now_ns):
            return False  # Of a run that was replaced by one that still lives.
        if member.ended and heartbeat.incarnation in member.ended:
            return False
        if not same_run:
            member.past_runs.append(before.run)
            member.detector = self._detection.detector(self._timing)  # A new process has a rhythm of its own.
        elif now_ns - member.heard_ns < self._timing.holder_wait_ns:
            member.detector.learn(now_ns - member.heard_ns)  # A longer gap was an outage, not a rhythm.
        if heartbeat.incarnation != before.incarnation or (heartbeat.ready and not before.ready):
            member.ready_since_ns = now_ns
        member.heartbeat, member.origin, member.heard_ns, member.suspected_ns = heartbeat, origin, now_ns, None
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
        return None if self._suspects(member, now_ns) else member

    def suspected(self, component: str, now_ns: int) -> bool:
        """Whether a member that was heard once is suspected now; one that never was is missing, not suspected."""
        member = self.members.get(component)
        return member is not None and self._suspects(member, now_ns)

    def level(self, component: str, now_ns: int) -> float:
        """How doubtful the member's present silence is: phi, or intervals; 0 for one that was never heard."""
        member = self.members.get(component)
        return 0.0 if member is None else member.detector.level(now_ns - member.heard_ns)

    def last_heard(self, components: Collection[str]) -> dict[str, int]:
        """When each of these was last heard, without those that were not, or whose last word was their end."""
        found = ((each, self.members.get(each)) for each in components)
        return {
            each: member.heard_ns
            for each, member in found
            if member is not None and member.heartbeat.incarnation not in member.ended
        }

    def _suspects(self, member: Member, now_ns: int) -> bool:
        """However shaky its rhythm was: whoever was silent for L cannot hold a lease any more, and is suspected."""
        age_ns = now_ns - member.heard_ns
        return age_ns >= self._timing.holder_wait_ns or member.detector.suspects(age_ns)
