"""The simulated venue's own drop copy: every execution report, to the broker, in order, until it is confirmed.

Owns the backlog of what was not confirmed yet. It must not know orders. The backlog is bounded: while it is full the
venue takes no orders, so that none can exist without its drop copy.
"""

import asyncio
from collections import deque
from typing import Final, NoReturn

import structlog

from sidecar.broker.interface import Broker, BrokerError, Outgoing
from sidecar.broker.topology import ORDERS
from sidecar.messages.base import message_type
from sidecar.messages.codec import encode
from sidecar.messages.orders import DropCopy, ExecutionReport
from sidecar.telemetry.metrics import VenueMetrics

BACKLOG_MAX: Final = 10_000
"""Reports awaiting their confirm; one more and the venue is busy. Higher rides out a longer outage, at 1 KB each."""
RESERVE: Final = 1_000
"""Room that is kept for reports of orders taken already."""
RETRY_S: Final = 0.5

_log = structlog.get_logger(__name__)


class DropCopies:
    """Publishes as `drop-copy.VENUE` on `sidecar.orders`, one after the other, persistent."""

    def __init__(self, venue: str, broker: Broker, metrics: VenueMetrics) -> None:
        self._venue = venue
        self._broker = broker
        self._metrics = metrics
        self._backlog: deque[ExecutionReport] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def busy(self) -> bool:
        """Whether the venue must take no more orders."""
        return len(self._backlog) >= BACKLOG_MAX - RESERVE

    @property
    def waiting(self) -> int:
        """Reports not confirmed yet."""
        return len(self._backlog)

    def add(self, report: ExecutionReport) -> None:
        """Publish this report; it is kept until the broker has confirmed it."""
        self._backlog.append(report)
        self._filled.set()
        self._drained.clear()

    async def run(self) -> NoReturn:
        """Publish for ever."""
        while True:
            await self._filled.wait()
            while self._backlog:
                await self._publish_oldest()
            self._filled.clear()
            self._drained.set()

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything is confirmed; says how much is not, if time runs out."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            _log.error("drop copies were never confirmed", count=len(self._backlog))

    async def _publish_oldest(self) -> None:
        message = DropCopy(venue=self._venue, report=self._backlog[0])
        out = Outgoing(
            exchange=ORDERS,
            routing_key=f"drop-copy.{self._venue}",
            body=encode(message),
            type=message_type(message),
            app_id=self._venue,
        )
        try:
            await self._broker.publish(out)
        except BrokerError as error:
            # It may have arrived all the same; a second copy has the same ExecID and changes nothing.
            _log.warning("drop copy not confirmed, trying again", waiting=len(self._backlog), why=str(error))
            await asyncio.sleep(RETRY_S)
            return
        self._backlog.popleft()
        self._metrics.drop_copies.inc()
