"""Virtual time: one true clock for the checks, and one erring clock for each host.

Owns the event queue and the conversion between true and local time. It must not know what happens at an event.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from sidecar.core.timing import MS, PPM

S = 1_000 * MS


class HostClock:
    """A host's CLOCK_BOOTTIME: `offset_ns` at true time 0, running `error_ppm` fast (or slow, if negative)."""

    def __init__(self, offset_ns: int, error_ppm: int) -> None:
        self.offset_ns = offset_ns
        self.parts = PPM + error_ppm

    def local_ns(self, true_ns: int) -> int:
        """What this host reads at true time `true_ns`."""
        return self.offset_ns + true_ns * self.parts // PPM

    def true_ns(self, local_ns: int) -> int:
        """The last true time at which this host reads less than `local_ns`, rounded up."""
        return -(-(local_ns - self.offset_ns) * PPM // self.parts)


class Agenda:
    """Events in true time, in order; equal times keep the order in which they were added."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._events: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._added = 0

    def after(self, delay_ns: int, event: Callable[..., object], *arguments: Any) -> None:
        """Let `event(*arguments)` happen `delay_ns`, at least 0, from now."""
        self._added += 1
        heappush(self._events, (self.now_ns + delay_ns, self._added, event, arguments))

    def run_until(self, end_ns: int) -> None:
        """Let everything happen up to `end_ns`."""
        events, pop = self._events, heappop
        while events and events[0][0] <= end_ns:
            self.now_ns, _, event, arguments = pop(events)
            event(*arguments)
        self.now_ns = end_ns
