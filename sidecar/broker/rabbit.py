"""RabbitMQ behind the house's `Broker` interface: three links, so that a halt never waits behind order traffic.

A fourth is made only where something large travels (`bulk`): it fills its own socket and nobody else's, and its trouble
is nobody else's either.

Owns which tenant lives on which link, and the answers to "is it up" and "what is wrong". It must not know AMQP frames.
"""

import asyncio
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress

from yarl import URL

from sidecar.broker.consuming import Consumer
from sidecar.broker.counters import Counters
from sidecar.broker.interface import BrokerAway, BrokerInfo, Outgoing, PublishFailed, Subscription
from sidecar.broker.link import Link, Reach
from sidecar.broker.publishing import Publisher
from sidecar.broker.standing import Standing

LOOK_AGAIN_S = 0.05
BULK_PENDING_MAX = 64
"""Publishes on the bulk link that await their confirm; each may have a quarter of a MiB."""


class RabbitBroker:
    """One process's connection to RabbitMQ 3.10 to 4.x. Arguments are the fields of `BrokerSettings`.

    `declare` False leaves the shared exchanges and queues to whoever imported `topology/definitions.json`; a process's
    own exclusive queues are declared in any case.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        connect_timeout_ms: int = 5_000,
        publish_timeout_ms: int = 5_000,
        amqp_heartbeat_s: int = 5,
        backoff_max_ms: int = 5_000,
        pending_max: int = 10_000,
        declare: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not urls:
            raise ValueError("urls is empty: name at least one AMQP URL")
        # With one order for all, everybody would be at one node, and leave it for one other.
        self.urls = tuple(random.sample(urls, len(urls)))
        reach = Reach(
            urls=self.urls,
            name=name,
            connect_timeout_s=connect_timeout_ms / 1_000,
            heartbeat_s=amqp_heartbeat_s,
            backoff_max_s=backoff_max_ms / 1_000,
            ssl_context=ssl_context,
        )
        self.counters = Counters()
        self._declare = declare
        self._started = False
        self._user = URL(urls[0]).user or "guest"
        self._changed = asyncio.Event()
        self._publisher = Publisher(
            self.counters, pending_max=pending_max, timeout_s=publish_timeout_ms / 1_000, declare=declare
        )
        self._publish = Link(reach, "publish", self._on_change)
        self._consume = Link(reach, "consume", self._on_change)
        self._control = Link(reach, "control", self._on_change)
        self._links = (self._publish, self._consume, self._control)
        self._bulk = Link(reach, "bulk", lambda: None)
        self._bulk_wanted = False
        self._bulk_publisher = Publisher(
            Counters(), pending_max=BULK_PENDING_MAX, timeout_s=publish_timeout_ms / 1_000, declare=False
        )
        self._bulk.house(self._bulk_publisher)
        self._consumers: dict[str, Consumer] = {}
        self._publish.house(self._publisher)

    @property
    def user(self) -> str:
        """The user of the publish link, or of the first URL before there is one."""
        return self._user if self._publish.session is None else self._publish.session.user

    @property
    def info(self) -> BrokerInfo | None:
        """What answered last; `node` is the name of the cluster, which is what RabbitMQ tells a client."""
        return self._publish.info or self._consume.info or self._control.info

    @property
    def trouble(self) -> str:
        """Empty, or what is wrong: a conflict first, because only a person can mend it."""
        for each in self._standings():
            if each.conflict is not None:
                return each.trouble
        return next((link.trouble for link in self._links if link.trouble), "")

    async def start(self) -> None:
        """Begin connecting all three links."""
        if self._started:
            raise RuntimeError("start() was called twice")
        self._started = True
        for link in self._links:
            link.start()
        if self._bulk_wanted:
            self._bulk.start()

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when everything stands. TopologyConflict as soon as one is known, BrokerAway after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._all_stand():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BrokerAway(f"{self.trouble or 'the broker is not ready'} (waited {timeout_s:g} s)") from None

    async def close(self) -> None:
        """Cancel the consumers, send what was accepted and settled, close; in bounded time in any case."""
        await asyncio.gather(*(link.close() for link in (*self._links, self._bulk)))

    def post(self, out: Outgoing) -> None:
        """Send without waiting or confirm, in call order; BrokerAway when there is no link or it is blocked."""
        try:
            self._publisher.post(out)
        except BrokerAway:
            self.counters.refused += 1
            raise

    def submit(self, out: Outgoing) -> asyncio.Future[None]:
        """Send in call order; the future resolves on the confirm."""
        try:
            return self._publisher.submit(out)
        except BrokerAway:
            self.counters.refused += 1
            raise

    def submit_bulk(self, out: Outgoing) -> asyncio.Future[None]:
        """Send on the bulk link, in call order; the future resolves on the confirm."""
        self._want_bulk()
        return self._bulk_publisher.submit(out)

    @property
    def bulk_trouble(self) -> str:
        """Empty, or what is wrong with the bulk link."""
        return self._bulk.trouble if self._bulk_wanted else ""

    async def publish(self, out: Outgoing, timeout_s: float = 5.0) -> None:
        """Wait for a link, send, and wait for the confirm, all within `timeout_s`.

        Tried again only while nothing was sent; what was sent and not confirmed is the caller's to judge.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline_s):
                sent = await self._admitted(out)
        except TimeoutError:
            self.counters.refused += 1
            raise BrokerAway(f"{self.trouble or 'no room'} (waited {timeout_s:g} s to publish {out.type})") from None
        try:
            async with asyncio.timeout_at(deadline_s):
                await sent
        except TimeoutError:
            raise PublishFailed(f"{out.type}: no confirm within {timeout_s:g} s; it may still arrive") from None

    def subscribe(self, subscription: Subscription, *, control: bool = False, bulk: bool = False) -> None:
        """Consume from now or from `start()` on, until `unsubscribe`."""
        if subscription.queue.name in self._consumers:
            raise ValueError(f"{subscription.queue.name} is consumed already: unsubscribe first")
        if subscription.queue.kind == "stream" and subscription.no_ack:
            raise ValueError(f"{subscription.queue.name} is a stream: RabbitMQ refuses no_ack on streams (540)")
        link = self._control if control else self._consume
        counters = self.counters
        if bulk:
            self._want_bulk()
            link, counters = self._bulk, Counters()
        consumer = Consumer(subscription, counters, declare=self._declare)
        self._consumers[subscription.queue.name] = consumer
        link.house(consumer)

    def unsubscribe(self, queue: str) -> None:
        """Consume no more. What was delivered and not settled comes again to whoever consumes next."""
        consumer = self._consumers.pop(queue, None)
        if consumer is not None:
            consumer.retire()
            for link in (self._consume, self._control, self._bulk):
                link.evict(consumer)

    def consume_again(self, queue: str) -> None:
        """Leave the consumer of this queue and consume anew."""
        self._consumers[queue].again()

    def move_on(self) -> None:
        """Drop all links; each connects to the next host. Where there is one host only, to that one.

        Not during an alarm: it blocks publishers on every node (Memory and Disk Alarms, RabbitMQ documentation), and a
        new connection would only have to learn of it again.
        """
        if not self._publish.blocked:
            self.abort()

    def abort(self) -> None:
        """Drop all sockets at once, as a failing network would. The links come back, at the next host."""
        for link in (*self._links, self._bulk):
            link.abort()

    def _want_bulk(self) -> None:
        if not self._bulk_wanted:
            self._bulk_wanted = True
            if self._started:
                self._bulk.start()

    async def _admitted(self, out: Outgoing) -> asyncio.Future[None]:
        while True:
            try:
                return self._publisher.submit(out)
            except BrokerAway:
                self._changed.clear()
                with suppress(TimeoutError):  # An alarm's end and room for one more are not announced: look again.
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._changed.wait()

    def _standings(self) -> list[Standing]:
        return [each for link in self._links for each in link.standings]

    def _all_stand(self) -> bool:
        standings = self._standings()
        for each in standings:
            if each.conflict is not None:
                raise each.conflict
        return all(each.stands for each in standings)

    def _on_change(self) -> None:
        self.counters.reconnects = sum(max(0, link.standing.times_up - 1) for link in self._links)
        self._changed.set()
