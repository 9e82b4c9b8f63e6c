"""When this arbiter read what restrains later moves: failovers, failed promotions, pauses, halts.

Owns the times of these facts, noted by standbys too, so that a takeover forgets none. The facts are the fold's; only
their age is this arbiter's own, and no promise rests on it. It must not decide.

Its clock is this arbiter's CLOCK_BOOTTIME for what it reads as it happens. What it replays is older than its reading,
by as much as its author's clock went on since, from record to record: never backwards, never more than STEP_MAX_NS at
once, and nothing between one author and the next. So a wall clock that is wrong, or jumps, makes nothing older than it
is by more than a step; what errors remain make it look younger, and a restraint last longer.

A promotion has failed when its holder lost the slot before it was ever heard to act under it, and nobody asked for
that; so has a cold standby's start that brought up nobody. One that is heard to act is forgiven all failures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from sidecar.core.bounded import drop_oldest
from sidecar.core.outputs import Now
from sidecar.core.state import ORDER_FACTS, Holder
from sidecar.core.timing import MS
from sidecar.messages.journal import (
    GroupPaused,
    HaltLifted,
    HaltRaised,
    Record,
    ResumeProposed,
    SlotDraining,
    SlotGranted,
    SlotTaken,
    SlotVacated,
    StandbyStartFailed,
    StandbyStarting,
    Ticked,
)

FAILOVERS_MAX = 10_000
"""Failovers whose time is remembered for the brake."""
STEP_MAX_NS = 10_000 * MS
"""Between two records of one author no more time passed than this: a leader ticks many times a second."""


@dataclass(frozen=True, slots=True)
class Failures:
    """How often in a row a member was granted a slot and never acted, and when it last happened."""

    count: int
    at_ns: int


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """A chronicle for a snapshot. `clock_ns` is what its clock showed, `author` and `at_ns` are of the last record."""

    clock_ns: int
    author: str
    at_ns: int
    moved_ns: dict[str, int]
    paused_ns: dict[str, int]
    failures: dict[str, Failures]
    automatic: dict[str, int]
    untaken: dict[str, str]
    asked: tuple[str, ...]
    starting_ns: dict[str, int] = {}  # msgspec copies an empty default for each value.
    raised_ns: dict[str, int] = {}
    proposed_ns: dict[str, int] = {}


class Chronicle:
    """Times by slot, member and group, all on its own clock (`clock_ns`)."""

    def __init__(self) -> None:
        self.moved_ns: dict[str, int] = {}
        self.paused_ns: dict[str, int] = {}
        self.starting_ns: dict[str, int] = {}
        self.raised_ns: dict[str, int] = {}
        self.proposed_ns: dict[str, int] = {}
        self.failures: dict[str, Failures] = {}
        self._automatic: dict[str, int] = {}
        self._untaken: dict[str, str] = {}
        self._asked: set[str] = set()
        self._author = ""
        self._at_ns = 0
        self._log_ns = 0
        self._ahead_ns = 0

    def clock_ns(self, now: Now) -> int:
        """What its clock shows now."""
        return now.boot_ns + self._ahead_ns

    def boot_ns(self, at_ns: int) -> int:
        """When that was, on this arbiter's CLOCK_BOOTTIME."""
        return at_ns - self._ahead_ns

    def times(self, now: Now) -> Times:
        """All of it, for a snapshot."""
        return Times(
            clock_ns=self.clock_ns(now),
            author=self._author,
            at_ns=self._at_ns,
            moved_ns=dict(self.moved_ns),
            paused_ns=dict(self.paused_ns),
            starting_ns=dict(self.starting_ns),
            raised_ns=dict(self.raised_ns),
            proposed_ns=dict(self.proposed_ns),
            failures=dict(self.failures),
            automatic=dict(self._automatic),
            untaken=dict(self._untaken),
            asked=tuple(sorted(self._asked)),
        )

    def restore(self, times: Times, now: Now) -> None:
        """Know what a snapshot knew, as if it had been taken now."""
        self._log_ns, self._author, self._at_ns = times.clock_ns, times.author, times.at_ns
        self._ahead_ns = times.clock_ns - now.boot_ns
        self.moved_ns, self.paused_ns = dict(times.moved_ns), dict(times.paused_ns)
        self.starting_ns, self.failures = dict(times.starting_ns), dict(times.failures)
        self.raised_ns, self.proposed_ns = dict(times.raised_ns), dict(times.proposed_ns)
        self._automatic = dict(times.automatic)
        self._untaken, self._asked = dict(times.untaken), set(times.asked)

    def note(self, record: Record, last: Mapping[str, Holder], now: Now) -> None:
        """Note one valid record as it is read; `last` are the slots' last holders by the fold."""
        self._go_on(record, now)
        if isinstance(record.fact, Ticked) or type(record.fact) in ORDER_FACTS:
            return
        at_ns = self.clock_ns(now)
        match record.fact:
            case SlotGranted() as fact:
                self._untaken[fact.slot] = fact.component
                previous = last.get(fact.slot)
                if previous is not None and previous.component != fact.component:
                    self._moved(fact, previous, at_ns)
            case SlotTaken() as fact:
                self.failures.pop(self._untaken.pop(fact.slot, ""), None)
            case SlotDraining() as fact:
                self._asked.add(fact.slot)
            case SlotVacated() as fact:
                failed = self._untaken.pop(fact.slot, "") == fact.component and fact.slot not in self._asked
                self._asked.discard(fact.slot)
                if failed:
                    self._failed(fact.component, at_ns)
            case StandbyStarting() as fact:
                self.starting_ns[fact.component] = at_ns
            case StandbyStartFailed() as fact:
                self._failed(fact.component, at_ns)
            case GroupPaused() as fact:
                self.paused_ns[fact.group] = at_ns
            case _:
                self._note_halt(record, at_ns)

    def _note_halt(self, record: Record, at_ns: int) -> None:
        match record.fact:
            case HaltRaised() as fact:
                self.raised_ns.setdefault(fact.halt.halt_id, at_ns)
            case ResumeProposed() as fact if fact.halt_id in self.raised_ns:
                self.proposed_ns[fact.halt_id] = at_ns
            case HaltLifted() as fact:
                self.raised_ns.pop(fact.halt_id, None)
                self.proposed_ns.pop(fact.halt_id, None)
            case _:
                pass

    def _go_on(self, record: Record, now: Now) -> None:
        """Let the clock run on to this record: as far as ours did, or as its author's did if we only read it now."""
        step_ns = record.at_ns - self._at_ns
        if record.arbiter == self._author:
            if step_ns > 0:
                self._log_ns += step_ns if step_ns < STEP_MAX_NS else STEP_MAX_NS
        elif not self._author:
            self._log_ns = now.boot_ns
        self._author, self._at_ns = record.arbiter, record.at_ns
        ahead_ns = self._log_ns - now.boot_ns
        if ahead_ns > self._ahead_ns:
            self._ahead_ns = ahead_ns

    def failovers_since(self, from_ns: int) -> int:
        """Holders whose slots were moved automatically; one that held several counts once."""
        for incarnation in [each for each, at_ns in self._automatic.items() if at_ns < from_ns]:
            del self._automatic[incarnation]
        return len(self._automatic)

    def _failed(self, component: str, at_ns: int) -> None:
        before = self.failures.get(component)
        self.failures[component] = Failures(before.count + 1 if before else 1, at_ns)

    def _moved(self, fact: SlotGranted, previous: Holder, at_ns: int) -> None:
        self.moved_ns[fact.slot] = at_ns
        if not fact.actor:
            self._automatic[previous.incarnation] = at_ns
            drop_oldest(self._automatic, FAILOVERS_MAX)
