"""When to leave a broker node that keeps its connections and is of no use.

Owns the waiting and its doubling; pure: time is an argument and chance a function. It must not know what use is: its
caller says when the node was last of any.

A node can hold a connection and serve nobody on it: frozen, cut off from the other nodes, or back among them with
bindings of its own that no longer match theirs (docs/broker.md). AMQP heartbeats find the first two after three times
their interval, and the third never. Whoever moves on for nothing only connects anew, and ever more rarely.
"""

import random
from collections.abc import Callable

LONGEST_NS = 60_000_000_000
"""Between two moves while nothing helps. Higher finds a node that serves again later; lower is a storm of connections
when nobody is there to serve at all."""


class Patience:
    """One watcher's patience with its node, at first for `first_ns` and up to half as long again."""

    def __init__(self, first_ns: int, chance: Callable[[], float] = random.random) -> None:
        self._first_ns = first_ns
        self._chance = chance
        self._served_ns = -1
        self._wait_ns = first_ns
        self._until_ns = 0

    def over(self, served_ns: int, now_ns: int) -> bool:
        """Whether to move on now; true once, and again after twice the time. `served_ns` is the last moment of use."""
        if served_ns != self._served_ns:
            self._served_ns, self._wait_ns = served_ns, self._first_ns
            self._until_ns = served_ns + self._spread(self._first_ns)
        if now_ns < self._until_ns:
            return False
        self._wait_ns = min(2 * self._wait_ns, LONGEST_NS)
        self._until_ns = now_ns + self._spread(self._wait_ns)
        return True

    def _spread(self, wait_ns: int) -> int:
        """So that many who lost the same node do not move in step."""
        return wait_ns + int(wait_ns * self._chance() / 2)
