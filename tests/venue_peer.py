"""A running venue and a bare session at it, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import ORDERS, QueueSpec
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.demo.venue_server import Venue, VenueOptions
from sidecar.messages.base import Token
from sidecar.messages.codec import decode
from sidecar.messages.orders import DropCopy, ExecutionReport
from sidecar.messages.venue import LoggedOn, Logon, NewOrder, VenueAnswer, VenueLine

ALWAYS_FILLED = Behaviour(
    rejected_percent=0, slow_percent=0, lost_percent=0, resting_percent=0, partial_percent=0, fill_ms=1
)
WAIT_S = 5.0


@dataclass
class VenueSession:
    """Lines to and from the venue."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, line: VenueLine) -> VenueAnswer:
        """Send one line and take the next answer."""
        self.send(line)
        return await self.next()

    def send(self, line: VenueLine) -> None:
        """Send one line, and wait for nothing."""
        self.writer.write(msgspec.json.encode(line) + b"\n")

    async def next(self, patience_s: float | None = WAIT_S) -> VenueAnswer:
        """The next line."""
        async with asyncio.timeout(patience_s):
            answer: VenueAnswer = msgspec.json.decode(await self.reader.readline(), type=VenueAnswer)
            return answer

    async def ended(self) -> bool:
        """Whether the venue closed the connection."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read() == b""


@dataclass
class DropCopyReader:
    """Whoever reads the drop copy."""

    broker: MemoryBroker
    reports: list[ExecutionReport] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        queue = QueueSpec("test.drop-copies", "classic", ((ORDERS, "drop-copy.#"),), exclusive=True)
        self.broker.subscribe(Subscription(queue=queue, on_delivery=self._hear, no_ack=True))

    def _hear(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        assert isinstance(message, DropCopy)
        self.reports.append(message.report)
        self.news.set()

    async def until(self, count: int) -> list[ExecutionReport]:
        """The reports, once there are `count` of them."""
        async with asyncio.timeout(WAIT_S):
            while len(self.reports) < count:
                self.news.clear()
                await self.news.wait()
        return self.reports


@asynccontextmanager
async def running_venue(broker: Broker, behaviour: Behaviour = ALWAYS_FILLED, *, port: int = 0) -> AsyncIterator[int]:
    """A venue named SIM; yields its port."""
    venue = Venue(VenueOptions(name="SIM", port=port, behaviour=behaviour), broker)
    running = asyncio.create_task(venue.run())
    try:
        async with asyncio.timeout(WAIT_S):
            port = await venue.listening
        yield port
    finally:
        venue.stop()
        await running


@asynccontextmanager
async def venue_session(port: int, *, component: str = "exec-a", logon: bool = True) -> AsyncIterator[VenueSession]:
    """A connection to the venue, logged on unless told otherwise."""
    session = VenueSession(*await asyncio.open_connection("127.0.0.1", port))
    try:
        if logon:
            assert isinstance(await session.ask(Logon(component=component, run=f"{component}-1")), LoggedOn)
        yield session
    finally:
        session.writer.close()


def order(cl_ord_id: str, *, token: Token = Token(1, 1), qty: int = 10) -> NewOrder:  # noqa: B008  # Frozen.
    """A buy of ACME."""
    return NewOrder(
        cl_ord_id=cl_ord_id,
        account="ACC",
        symbol="ACME",
        side="BUY",
        qty=Decimal(qty),
        price=Decimal(100),
        token=token,
    )


async def drop_copy_reader(hub: MemoryHub) -> DropCopyReader:
    """A started reader of all drop copies."""
    reader = DropCopyReader(MemoryBroker(hub, name="reader"))
    await reader.broker.start()
    return reader
