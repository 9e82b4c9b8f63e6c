"""Whether an arbiter may judge silence at all, and what its leader tells others about it.

Owns the local-health correction of DESIGN section 6.4: an arbiter blames itself, and what it stands on, before it
blames a member. It must not move slots: it only answers whether a lease that ran out may be acted upon now. A doubt
costs waiting, never safety: leases end on their holders' own clocks.

| doubt                                                  | silence is judged again                                 |
|--------------------------------------------------------|---------------------------------------------------------|
| own ticks came far apart: it was stopped or starved    | `learning` later: everyone gets time to be heard again  |
| it may not grant: its journal stalled                  | the same                                                |
| its own canary is lost or late: the broker, or its     | the same                                                |
| backlog, delays heartbeats                             |                                                         |
| many fell silent together                              | `learning` after that ended, or after `correlated_max`  |
"""

from collections.abc import Mapping
from typing import Final, Literal

from sidecar.core.correlated import fell_together
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now
from sidecar.core.plans import Plans
from sidecar.core.roster import FRESH_HEARTBEATS, Roster
from sidecar.core.suspicion import Detection
from sidecar.core.timing import MS, Timing
from sidecar.messages.detection import Canary, CorrelatedSilence, MemberHeard, MemberMissing, MemberSuspected

LAG_TICKS = 5
"""An arbiter whose own ticks came this far apart was stopped or starved, and distrusts what it has not heard."""
CANARIES_MAX = 64
"""Canaries under way whose send time is remembered; one that is older than these is late in any case."""
NAMED_MAX = 100
"""Components that one CorrelatedSilence names."""
_HEARD: Final = ""
_SUSPECTED: Final = "suspected"
_MISSING: Final = "missing"
_Doubt = Literal["", "suspected", "missing"]


class Silence:
    """One arbiter's view of silence, of the components of its `plans`."""

    def __init__(
        self,
        name: str,
        detection: Detection,
        timing: Timing,
        desk: Desk,
        roster: Roster,
        plans: Plans,
        now: Now,
    ) -> None:
        self._name = name
        self._detection = detection
        self._timing = timing
        self._desk = desk
        self._roster = roster
        self._plans = plans
        self._ticked_ns = now.boot_ns
        self._judges_from_ns = now.boot_ns
        self._distrust = ""
        self._seq = 0
        self._canaries: dict[int, int] = {}
        silent_ns = min(FRESH_HEARTBEATS * timing.heartbeat_ns, timing.holder_wait_ns)
        self._trusted_ns = min(detection.trusted_ns(timing), silent_ns)
        """Nobody who was heard within this time is looked at: no judgement here concerns a younger silence."""
        self._canary_ns: int | None = None
        self._canary_late_ns = detection.canary_late_ns or FRESH_HEARTBEATS * timing.heartbeat_ns
        self._told: dict[str, _Doubt] = {}
        self._together: tuple[str, ...] = ()
        self._together_ns = 0
        self._overdue = False

    # --- inputs ---

    def next_canary(self, now_ns: int) -> int:
        """The `seq` of the next canary, to be sent now. An arbiter that never sends one is not held to hearing it."""
        self._seq += 1
        self._canaries[self._seq] = now_ns
        self._canaries.pop(self._seq - CANARIES_MAX, None)
        if self._canary_ns is None:
            self._canary_ns = now_ns
        return self._seq

    def hear_canary(self, canary: Canary) -> None:
        """A canary came round. What counts is when it was sent: a late one says as much as a lost one."""
        if canary.author != self._desk.author or canary.seq not in self._canaries:
            return
        self._canary_ns = self._canaries[canary.seq]
        self._canaries = {seq: sent_ns for seq, sent_ns in self._canaries.items() if seq > canary.seq}

    def begin_term(self, now: Now) -> None:
        """A new leader tells everything anew. Its first judgement waits for the takeover's own, longer time."""
        self._judges_from_ns = now.boot_ns
        self._told.clear()
        self._together, self._overdue = (), False

    def tick(self, now: Now) -> bool:
        """Whether silence may be judged now; a leader also says who is silent. Between `begin` and `finish`."""
        if not self._desk.leading:  # It begins to judge with its term, whatever it doubted before.
            self._ticked_ns = now.boot_ns
            return False
        doubt = self._doubt_of_itself(now)
        self._ticked_ns = now.boot_ns
        if doubt:
            self._learn(now, doubt)
        trusting = now.boot_ns >= self._judges_from_ns
        if not self._told and not self._together and self._all_heard(now.boot_ns):
            return trusting  # Nearly every tick of a good day: nothing to look at.
        spared = self._spares(now, trusting)
        self._alert(now, trusting)
        return trusting and not spared

    # --- what others ask ---

    def served(self, now: Now) -> bool:
        """Whether the broker serves this arbiter: it was not stopped itself, and its canary came round lately.

        To be asked before `tick` notes the time.
        """
        if self._canary_ns is None or now.boot_ns - self._ticked_ns > LAG_TICKS * self._timing.tick_ns:
            return False
        return now.boot_ns - self._canary_ns <= self._canary_late_ns

    def unjudged(self, now: Now) -> str:
        """Why silent holders keep their slots now, as a sentence; empty when silence is judged."""
        if self._together and not self._overdue:
            return f"{len(self._together)} sidecars fell silent together: {', '.join(self._together[:NAMED_MAX])}"
        left_ns = self._judges_from_ns - now.boot_ns
        return f"{self._distrust}; learning for {left_ns // MS} ms more" if left_ns > 0 else ""

    def missing(self, now: Now) -> tuple[str, ...]:
        """Configured members that were never heard, once the deadline for their first heartbeat has passed."""
        if not self._desk.leading or self._waited_ns(now) < self._detection.first_heartbeat_ns:
            return ()
        unheard = [each for each in self._groups if each not in self._roster.members]
        return tuple(
            each for each in unheard if self._waited_ns(now, self._groups[each]) >= self._detection.first_heartbeat_ns
        )

    # --- inside ---

    @property
    def _groups(self) -> Mapping[str, str]:
        return self._plans.groups

    def _doubt_of_itself(self, now: Now) -> str:
        if now.boot_ns - self._ticked_ns > LAG_TICKS * self._timing.tick_ns:
            return "this arbiter was stopped or starved"
        if not self._desk.may_grant(now):
            return "this arbiter could not grant: its journal stalled"
        if self._canary_ns is not None and now.boot_ns - self._canary_ns > self._canary_late_ns:
            return "this arbiter's own canary is late: the broker or its backlog delays heartbeats"
        return ""

    def _all_heard(self, now_ns: int) -> bool:
        """Whether every member was heard so lately that no detector could suspect it."""
        members, since_ns = self._roster.members, now_ns - self._trusted_ns
        for each in self._plans.groups:
            member = members.get(each)
            if member is None or member.heard_ns < since_ns:
                return False
        return True

    def _believes(self, heard_ns: int) -> bool:
        """Whether a silence is the member's: a canary of later than its next heartbeat has come round."""
        return self._canary_ns is None or self._canary_ns > heard_ns + self._timing.heartbeat_ns

    def _learn(self, now: Now, why: str) -> None:
        """Give everyone time to be heard again before silence is judged."""
        learning_ns = self._detection.learning_ns or self._timing.holder_wait_ns
        self._judges_from_ns, self._distrust = now.boot_ns + learning_ns, why

    def _spares(self, now: Now, trusting: bool) -> bool:
        """Whether a correlated silence holds judgement back. None begins while the arbiter distrusts itself."""
        together = self._fell_together(now.boot_ns) if trusting or self._together else ()
        if not together:
            if self._together:
                self._tell_together("ENDED", now)
                self._together, self._overdue = (), False
                self._learn(now, "a correlated silence has just ended")
                return True
            return False
        if not self._together:
            self._together, self._together_ns = together, now.boot_ns
            self._tell_together("BEGAN", now)
        self._together = together
        if not self._overdue and now.boot_ns - self._together_ns >= self._detection.correlated_max_ns:
            self._overdue = True
            self._tell_together("OVERDUE", now)
        return not self._overdue

    def _fell_together(self, now_ns: int) -> tuple[str, ...]:
        """Silences that began within an interval, and half of one more for the wire's own jitter."""
        heartbeat_ns = self._timing.heartbeat_ns
        silent_from_ns = now_ns - FRESH_HEARTBEATS * heartbeat_ns
        of_min, percent = self._detection.correlated_min, self._detection.correlated_percent
        quiet = [each for each in self._roster.members.values() if each.heard_ns < silent_from_ns]
        if len(quiet) * 100 <= percent * of_min:
            return ()  # Too few to be most of the fewest that count.
        heard_ns = self._roster.last_heard(self._groups)
        silent = [each for each, at_ns in heard_ns.items() if at_ns < silent_from_ns and self._believes(at_ns)]
        return fell_together(heard_ns, silent, within_ns=heartbeat_ns * 3 // 2, of_min=of_min, percent=percent)

    def _tell_together(self, change: Literal["BEGAN", "OVERDUE", "ENDED"], now: Now) -> None:
        told = CorrelatedSilence(
            arbiter=self._name,
            change=change,
            components=self._together[:NAMED_MAX],
            silent=len(self._together),
            lasted_ns=now.boot_ns - self._together_ns,
        )
        self._desk.send(Event(told, "correlated-silence"))

    def _alert(self, now: Now, trusting: bool) -> None:
        """Say each change once: suspected, missing, heard. New doubts only while the arbiter trusts itself."""
        missing, groups = frozenset(self.missing(now)), self._groups
        for gone in self._told.keys() - groups.keys():
            del self._told[gone]  # Its group was removed: nobody is to be told of it any more.
        members, since_ns = self._roster.members, now.boot_ns - self._trusted_ns
        heard = {each for each in groups if each in members and members[each].heard_ns >= since_ns}
        for component in [each for each in groups if each in self._told or each not in heard]:
            doubt: _Doubt = _MISSING if component in missing else _HEARD
            if self._roster.suspected(component, now.boot_ns):
                doubt = _SUSPECTED
            if doubt == self._told.get(component, _HEARD) or (doubt and not trusting):
                continue
            if doubt == _SUSPECTED and not self._believes(self._roster.members[component].heard_ns):
                continue
            if doubt:
                self._told[component] = doubt
            else:
                del self._told[component]
            if doubt == _SUSPECTED:
                self._roster.members[component].suspected_ns = now.boot_ns
            self._desk.send(self._event(component, doubt, now))

    def _event(self, component: str, doubt: _Doubt, now: Now) -> Event:
        group = self._groups[component]
        if doubt == _HEARD:
            return Event(MemberHeard(arbiter=self._name, component=component, group=group), f"member-heard.{group}")
        if doubt == _MISSING:
            waited_ns = self._waited_ns(now, group)
            missing = MemberMissing(arbiter=self._name, component=component, group=group, waited_ns=waited_ns)
            return Event(missing, f"member-missing.{group}")
        suspected = MemberSuspected(
            arbiter=self._name,
            component=component,
            group=group,
            method=self._detection.method,
            level=self._roster.level(component, now.boot_ns),
            silent_ns=now.boot_ns - self._roster.members[component].heard_ns,
        )
        return Event(suspected, f"member-suspected.{group}")

    def _waited_ns(self, now: Now, group: str = "") -> int:
        """Since this leader could hear the group: since it leads, or since the group was registered with it."""
        return now.boot_ns - max(self._desk.led_since_ns, self._plans.registered_ns.get(group, 0))
