"""Everything that reaches an arbiter, in the order in which it came.

Owns the deque between the broker's synchronous callbacks and the one loop that decides. Bounded by the queues behind
it: the arbiters' queue and the journal by their prefetch, heartbeats by their queue's own length and by dropping the
oldest here, because a newer heartbeat says all that an older one did.
"""

import asyncio
from collections import deque
from enum import Enum

from sidecar.broker.interface import Delivery

HEARTBEATS_MAX = 100_000


class Source(Enum):
    """Where a delivery came from."""

    JOURNAL = "journal"
    QUEUE = "queue"
    HEALTH = "health"


class Inbox:
    """Deliveries waiting for the loop. The journal comes first: decisions rest on it."""

    def __init__(self) -> None:
        self.journal: deque[Delivery] = deque()
        self._others: deque[tuple[Source, Delivery]] = deque(maxlen=HEARTBEATS_MAX)
        self._arrived = asyncio.Event()

    def put(self, source: Source, delivery: Delivery) -> None:
        """Called from the broker's callbacks."""
        if source is Source.JOURNAL:
            self.journal.append(delivery)
        else:
            self._others.append((source, delivery))
        self._arrived.set()

    def take(self) -> tuple[Source, Delivery] | None:
        """The next delivery, or None when everything that arrived has been taken."""
        if self.journal:
            return Source.JOURNAL, self.journal.popleft()
        return self._others.popleft() if self._others else None

    async def wait(self, timeout_s: float) -> None:
        """Return when something is there, or after `timeout_s`."""
        if not (self.journal or self._others):
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return
