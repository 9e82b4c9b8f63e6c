"""The halts that our component raised itself: a repeated one is one halt, and there is an end to new ones.

Owns the counting. It must not know how a halt travels. Each new halt is latched by everybody, so a component that
raises them in a ring would fill every sidecar's memory and the journal.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from sidecar.core.timing import MS
from sidecar.messages.control import Halt
from sidecar.messages.local import HaltPush

NEW_MAX: Final = 100
"""New halts within `WINDOW_NS`. Higher lets a broken component load everybody for longer."""
WINDOW_NS: Final = 10_000 * MS
REPEAT_NS: Final = 250 * MS
"""Between two publications of halts that are repeated. Lower lets a repeating component load the broker."""


class TooManyHalts(Exception):
    """New halts come faster than anybody can mean them; those that were raised stay in force."""


class OwnHalts:
    """One component's. Times are CLOCK_BOOTTIME in ns."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._raised_ns: deque[int] = deque(maxlen=NEW_MAX)
        self._published_ns = -REPEAT_NS

    def repeated(self, push: HaltPush, in_force: Iterable[Halt]) -> Halt | None:
        """The halt in force that says the same, raised by us."""
        wanted = (self._component, push.scopes, push.level, push.reason)
        same = (each for each in in_force if (each.actor, each.scopes, each.level, each.reason) == wanted)
        return next(same, None)

    def count(self, now_ns: int) -> None:
        """One more new halt. Raises TooManyHalts instead."""
        raised = self._raised_ns
        if len(raised) == NEW_MAX and now_ns - raised[0] < WINDOW_NS:
            within_s = WINDOW_NS // 10**9
            raise TooManyHalts(f"{NEW_MAX} different halts were raised within {within_s} s, and are in force")
        raised.append(now_ns)

    def is_due(self, now_ns: int, *, new: bool) -> bool:
        """Whether to publish now: each new one, and a repeated one now and then."""
        due = new or now_ns - self._published_ns >= REPEAT_NS
        if due:
            self._published_ns = now_ns
        return due
