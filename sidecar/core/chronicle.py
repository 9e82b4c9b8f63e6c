"""When this arbiter read what restrains later moves: failovers, failed promotions, pauses.

Owns the times of these facts on this arbiter's own CLOCK_BOOTTIME, noted by standbys too, so that a takeover forgets
none. The facts are the fold's; only their age is this arbiter's own, and no promise rests on it. What is replayed at a
start is aged by the wall clocks of the two arbiters, which is the only word on it there is. It must not decide.

A promotion has failed when its holder lost the slot before it was ever heard to act under it, and nobody asked for
that. One that is heard to act is forgiven all failures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.core.bounded import drop_oldest
from sidecar.core.outputs import Now
from sidecar.core.state import Holder
from sidecar.messages.journal import GroupPaused, Record, SlotDraining, SlotGranted, SlotTaken, SlotVacated

FAILOVERS_MAX = 10_000
"""Failovers whose time is remembered for the brake."""


@dataclass(frozen=True, slots=True)
class Failures:
    """How often in a row a member was granted a slot and never acted, and when it last happened."""

    count: int
    at_ns: int


class Chronicle:
    """Times by slot, member and group, all on this arbiter's clock."""

    def __init__(self) -> None:
        self.moved_ns: dict[str, int] = {}
        self.paused_ns: dict[str, int] = {}
        self.failures: dict[str, Failures] = {}
        self._automatic: dict[str, int] = {}
        self._untaken: dict[str, str] = {}
        self._asked: set[str] = set()

    def note(self, record: Record, last: Mapping[str, Holder], now: Now) -> None:
        """Note one valid record as it is read; `last` are the slots' last holders by the fold."""
        at_ns = now.boot_ns - max(0, now.wall_ns - record.at_ns)
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
                    before = self.failures.get(fact.component)
                    self.failures[fact.component] = Failures(before.count + 1 if before else 1, at_ns)
            case GroupPaused() as fact:
                self.paused_ns[fact.group] = at_ns
            case _:
                pass

    def failovers_since(self, from_ns: int) -> int:
        """Holders whose slots were moved automatically; one that held several counts once."""
        for incarnation in [each for each, at_ns in self._automatic.items() if at_ns < from_ns]:
            del self._automatic[incarnation]
        return len(self._automatic)

    def _moved(self, fact: SlotGranted, previous: Holder, at_ns: int) -> None:
        self.moved_ns[fact.slot] = at_ns
        if not fact.actor:
            self._automatic[previous.incarnation] = at_ns
            drop_oldest(self._automatic, FAILOVERS_MAX)
