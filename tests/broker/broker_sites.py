"""Where the shared suite runs: RabbitMQ with a proxy before each client, or the in-process hub."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeVar

import aio_pika

from sidecar.broker.interface import Broker, Delivery, Outgoing, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import QueueSpec
from sidecar.demo.proxy import Proxy

PATIENCE_S = 15.0


class Box:
    """Keeps deliveries in order, settles them as told, and lets a test wait for the n-th."""

    def __init__(self, verdict: str | None = "ack") -> None:
        self.deliveries: list[Delivery] = []
        self.lost = 0
        self._verdict = verdict
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self._verdict is not None:
            delivery.settle(self._verdict)
        self._changed.set()

    def on_lost(self) -> None:
        """Count one loss."""
        self.lost += 1
        self._changed.set()

    @property
    def bodies(self) -> list[str]:
        """What came, as text."""
        return [each.body.decode() for each in self.deliveries]

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for a condition on what came."""
        async with asyncio.timeout(PATIENCE_S):
            while not met():
                self._changed.clear()
                await self._changed.wait()

    async def holds(self, count: int) -> list[str]:
        """Wait until `count` deliveries came; their bodies."""
        await self.until(lambda: len(self.deliveries) >= count)
        return self.bodies

    async def loses(self, count: int) -> None:
        """Wait until the link was lost `count` times."""
        await self.until(lambda: self.lost >= count)


class Site(Protocol):
    """What the shared suite needs besides the interface."""

    async def broker(self, *subscriptions: Subscription, **options: Any) -> Broker:
        """A broker that consumes these, started and ready. Closed at the end."""

    def queue(self, kind: str, **fields: Any) -> QueueSpec:
        """A queue of a new name, removed at the end."""

    def cut(self, broker: Broker) -> None:
        """Break this broker's link."""

    def mend(self, broker: Broker) -> None:
        """Let it come back."""


class MemorySite:
    """The in-process hub."""

    def __init__(self) -> None:
        self.hub = MemoryHub()
        self.brokers: list[MemoryBroker] = []

    async def broker(self, *subscriptions: Subscription, **options: Any) -> Broker:
        """A broker on the hub."""
        broker = MemoryBroker(self.hub, name=unique(), user="sidecar")
        self.brokers.append(broker)
        for each in subscriptions:
            broker.subscribe(each)
        await broker.start()
        await broker.wait_ready(1)
        return broker

    def queue(self, kind: str, **fields: Any) -> QueueSpec:
        """Nothing to remove: the hub goes with the test."""
        return QueueSpec(f"test.{unique()}", kind, **fields)  # type: ignore[arg-type]  # A literal, by its callers.

    def cut(self, broker: Broker) -> None:
        """Its own fault injection."""
        one(broker, MemoryBroker).cut()

    def mend(self, broker: Broker) -> None:
        """Its own mending."""
        one(broker, MemoryBroker).mend()


class RabbitSite:
    """A real broker, a proxy before each client."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.queues: list[QueueSpec] = []
        self.brokers: list[RabbitBroker] = []
        self._stack = stack
        self._proxies: dict[int, Proxy] = {}

    async def broker(self, *subscriptions: Subscription, **options: Any) -> RabbitBroker:
        """A broker behind a proxy of its own, with short waits."""
        broker = await self.unready(*subscriptions, **options)
        await broker.start()
        await broker.wait_ready(PATIENCE_S)
        return broker

    async def unready(self, *subscriptions: Subscription, **options: Any) -> RabbitBroker:
        """The same, not started."""
        proxy = await self._stack.enter_async_context(Proxy.before(self.url))
        broker = RabbitBroker([proxy.url(self.url)], **{"name": unique(), "backoff_max_ms": 200, **options})
        self._stack.push_async_callback(broker.close)
        self._proxies[id(broker)] = proxy
        self.brokers.append(broker)
        for each in subscriptions:
            broker.subscribe(each)
        return broker

    async def round_trip(self) -> None:
        """One connection to the broker and back: time enough for what was already on its way."""
        async with await aio_pika.connect(self.url):
            pass

    def queue(self, kind: str, **fields: Any) -> QueueSpec:
        """Removed at the end."""
        spec = QueueSpec(f"test.{unique()}", kind, **fields)  # type: ignore[arg-type]  # A literal, by its callers.
        self.queues.append(spec)
        return spec

    def proxy(self, broker: Broker) -> Proxy:
        """The proxy before this broker."""
        return self._proxies[id(broker)]

    def cut(self, broker: Broker) -> None:
        """Reset its connections and refuse new ones."""
        self.proxy(broker).cut()

    def mend(self, broker: Broker) -> None:
        """Let its connections through."""
        self.proxy(broker).mend()


@asynccontextmanager
async def rabbit_site(url: str) -> AsyncIterator[RabbitSite]:
    """A site on a real broker, tidied up afterwards."""
    async with AsyncExitStack() as stack:
        site = RabbitSite(url, stack)
        yield site
    async with await aio_pika.connect(url) as connection:
        for queue in site.queues:
            channel = await connection.channel()
            await channel.queue_delete(queue.name)
            await channel.close()


@asynccontextmanager
async def memory_site() -> AsyncIterator[MemorySite]:
    """A site on a hub of its own."""
    site = MemorySite()
    yield site
    for broker in site.brokers:
        await broker.close()


def unique() -> str:
    """A name nobody else has."""
    return uuid.uuid4().hex[:12]


def to(queue: QueueSpec, text: str, **fields: Any) -> Outgoing:
    """A message for one queue, through the default exchange."""
    values = {"exchange": "", "routing_key": queue.name, "body": text.encode(), "type": "test.v1", "app_id": "tester"}
    return Outgoing(**{**values, **fields})


T = TypeVar("T")


def one(thing: object, kind: type[T]) -> T:
    """The thing as that kind."""
    if not isinstance(thing, kind):
        raise TypeError(f"{thing!r} is no {kind.__name__}")
    return thing
