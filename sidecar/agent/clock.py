"""The one clock that decisions use."""

import time


def boottime_ns() -> int:
    """CLOCK_BOOTTIME in nanoseconds: it goes on through suspend, and nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
