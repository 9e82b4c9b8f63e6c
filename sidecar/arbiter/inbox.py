"""Everything that reaches an arbiter, in the order in which it came.

Owns the deque between the broker's synchronous callbacks and the one loop that decides. Bounded by the queues behind
it: the arbiters' queue and the journal by their prefetch, heartbeats by their queue's own length and by dropping the
oldest here, because a newer heartbeat says all that an older one did. Heartbeats do not wait behind orders: a burst of
these would let leases run out. Nor behind those that were decided and are not read back: `held` says that there are
enough of them, and what the arbiters' queue delivered waits here meanwhile.
"""

import asyncio
from collections import deque
from enum import Enum
from typing import Final

from sidecar.broker.interface import Delivery

HEARTBEATS_MAX = 100_000


class Source(Enum):
    """Where a delivery came from."""

    JOURNAL = "journal"
    QUEUE = "queue"
    HEALTH = "health"


_JOURNAL: Final = Source.JOURNAL
_QUEUE: Final = Source.QUEUE
_HEALTH: Final = Source.HEALTH
"""Python 3.11 looks an enumeration's members up slowly, and these are asked for with every delivery."""


class Inbox:
    """Deliveries waiting for the loop. The journal comes first, because decisions rest on it; then heartbeats."""

    def __init__(self) -> None:
        self.journal: deque[Delivery] = deque()
        self._health: deque[Delivery] = deque(maxlen=HEARTBEATS_MAX)
        self._queue: deque[Delivery] = deque()
        self._arrived = asyncio.Event()

    def put(self, source: Source, delivery: Delivery) -> None:
        """Called from the broker's callbacks."""
        if source is _JOURNAL:
            self.journal.append(delivery)
        elif source is _HEALTH:
            self._health.append(delivery)
        else:
            self._queue.append(delivery)
        self._arrived.set()

    def take(self, *, held: bool = False) -> tuple[Source, Delivery] | None:
        """The next delivery, or None when everything that arrived, and is not held, has been taken."""
        if self.journal:
            return _JOURNAL, self.journal.popleft()
        if self._health:
            return _HEALTH, self._health.popleft()
        return (_QUEUE, self._queue.popleft()) if self._queue and not held else None

    async def wait(self, timeout_s: float, *, held: bool = False) -> None:
        """Return when something is there to be taken, or after `timeout_s`."""
        if not (self.journal or self._health or (self._queue and not held)):
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return
