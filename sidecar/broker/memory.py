"""The in-process broker: exchanges, routing and connections with RabbitMQ's rules, for development and tests.

Owns routing and what losing a connection means. It survives nothing, replicates nothing, and says so
(`info.embedded`). Everything happens in one event loop; deliveries come from the loop, never from within a call.
"""

import asyncio
from functools import lru_cache, partial

from sidecar.broker.counters import Counters
from sidecar.broker.interface import (
    BrokerAway,
    BrokerInfo,
    Delivery,
    Outgoing,
    PublishFailed,
    Subscription,
    TopologyConflict,
    Unroutable,
)
from sidecar.broker.memory_queue import MemoryQueue, MemoryStream, Seat
from sidecar.broker.topology import EXCHANGES, QUEUES, QueueSpec

AnyQueue = MemoryQueue | MemoryStream
_NO_QUEUE = "reaches no queue"
INFO = BrokerInfo(product="embedded", version="0", node="this process", embedded=True)


class MemoryHub:
    """What RabbitMQ would be: shared by all `MemoryBroker`s of one event loop. The standard topology is there."""

    def __init__(self) -> None:
        self._exchanges = {each.name: each.type for each in EXCHANGES}
        self._queues: dict[str, AnyQueue] = {}
        self._names = 0
        for spec in QUEUES:
            self.declare(spec, None)

    def declare(self, spec: QueueSpec, owner: object | None) -> AnyQueue:
        """The queue of that name, made if need be."""
        queue = self._queues.get(spec.name)
        if queue is None:
            exclusive_to = owner if spec.exclusive else None
            queue = MemoryStream(spec) if spec.kind == "stream" else MemoryQueue(spec, exclusive_to)
            self._queues[spec.name] = queue
        elif queue.spec != spec or queue.owner not in (None, owner):
            raise TopologyConflict(f"queue {spec.name!r} exists with other arguments: {queue.spec}, wanted {spec}")
        return queue

    def length(self, name: str) -> int:
        """How many messages wait in a queue or stand in a stream; 0 for one that does not exist."""
        queue = self._queues.get(name)
        return 0 if queue is None else len(queue)

    def delete(self, name: str) -> None:
        """Remove a queue with all it holds, as an operator would. Its consumers are not told."""
        self._queues.pop(name, None)

    def delete_owned(self, owner: object) -> None:
        """A connection went: its exclusive queues go with it."""
        self._queues = {name: queue for name, queue in self._queues.items() if queue.owner is not owner}

    def route(self, out: Outgoing, user: str) -> bool:
        """Put the message into every queue it reaches; false when there is none."""
        if out.exchange and out.exchange not in self._exchanges:
            raise PublishFailed(f"{out.type}: no exchange {out.exchange!r}")
        reached = [queue for queue in self._queues.values() if self._reaches(out, queue.spec)]
        message = self._delivery(out, user)
        lives_s = None if out.expiration_ms is None else out.expiration_ms / 1_000
        expires_s = None if lives_s is None else asyncio.get_running_loop().time() + lives_s
        for queue in reached:
            queue.put(message, expires_s)
        return bool(reached)

    def _reaches(self, out: Outgoing, spec: QueueSpec) -> bool:
        if not out.exchange:
            return out.routing_key == spec.name
        keys = [key for exchange, key in spec.bindings if exchange == out.exchange]
        if self._exchanges[out.exchange] == "fanout":
            return bool(keys)
        return any(matches(key, out.routing_key) for key in keys)

    def _delivery(self, out: Outgoing, user: str) -> Delivery:
        self._names += 1
        return Delivery(
            body=out.body,
            type=out.type,
            app_id=out.app_id,
            user_id=user,
            message_id=f"embedded-{self._names}",
            correlation_id=out.correlation_id,
            reply_to=out.reply_to,
            exchange=out.exchange,
            routing_key=out.routing_key,
            redelivered=False,
            headers=dict(out.headers),
        )


class MemoryBroker:
    """One process's connection to the hub, with the same interface and the same failures as RabbitMQ's."""

    def __init__(self, hub: MemoryHub, *, name: str, user: str = "embedded") -> None:
        self.counters = Counters()
        self._hub = hub
        self._name = name
        self._user = user
        self._subscriptions: list[Subscription] = []
        self._seats: list[tuple[AnyQueue, Seat]] = []
        self._unconfirmed: set[asyncio.Future[None]] = set()
        self._started = False
        self._answered = False
        self._changed = asyncio.Event()
        self._up = False

    @property
    def user(self) -> str:
        """As given."""
        return self._user

    @property
    def info(self) -> BrokerInfo | None:
        """Embedded, once it was started."""
        return INFO if self._answered else None

    @property
    def trouble(self) -> str:
        """Empty while connected."""
        return "" if self._up else "the embedded broker is not connected"

    async def start(self) -> None:
        """Connect."""
        self._started = self._answered = True
        self.mend()

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when connected."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._up:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BrokerAway(f"{self.trouble} (waited {timeout_s:g} s)") from None

    async def close(self) -> None:
        """Confirms first, then leave without telling the consumers, as a clean close does."""
        if self._unconfirmed:
            await asyncio.wait(self._unconfirmed)
        self._disconnect()
        self._started = False

    def post(self, out: Outgoing) -> None:
        """Send; what reaches no queue is gone."""
        self._require_up()
        self._route(out)

    def submit(self, out: Outgoing) -> asyncio.Future[None]:
        """Send now, confirm from the loop."""
        self._require_up()
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        future.add_done_callback(self._unconfirmed.discard)
        self._unconfirmed.add(future)
        asyncio.get_running_loop().call_soon(self._confirm, future, self._route(out))
        return future

    def submit_bulk(self, out: Outgoing) -> asyncio.Future[None]:
        """There is one connection for all."""
        return self.submit(out)

    @property
    def bulk_trouble(self) -> str:
        """There is one connection for all."""
        return self.trouble

    async def publish(self, out: Outgoing, timeout_s: float = 5.0) -> None:
        """Send, waiting for the connection at most `timeout_s`."""
        try:
            await self.wait_ready(timeout_s)
        except BrokerAway:
            self.counters.refused += 1
            raise
        await self.submit(out)

    def subscribe(self, subscription: Subscription, *, control: bool = False, bulk: bool = False) -> None:
        """Consume from now or from `start()` on, until `unsubscribe`."""
        if any(each.queue.name == subscription.queue.name for each in self._subscriptions):
            raise ValueError(f"{subscription.queue.name} is consumed already: unsubscribe first")
        if subscription.queue.kind == "stream" and subscription.no_ack:
            raise ValueError(f"{subscription.queue.name} is a stream: RabbitMQ refuses no_ack on streams (540)")
        self._subscriptions.append(subscription)
        if self._up:
            queue = self._hub.declare(subscription.queue, self)
            self._seats.append((queue, queue.seat(subscription, partial(self._deliver, subscription))))
            subscription.on_begun()

    def unsubscribe(self, queue: str) -> None:
        """Consume no more."""
        self._subscriptions = [each for each in self._subscriptions if each.queue.name != queue]
        for held, seat in [each for each in self._seats if each[0].spec.name == queue]:
            held.leave(seat)
            self._seats.remove((held, seat))

    def move_on(self) -> None:
        """There is no other node."""

    def consume_again(self, queue: str) -> None:
        """Leave the consumer of this queue and take a new seat at it."""
        if not self._up:
            return
        mine = [each for each in self._seats if each[0].spec.name == queue]
        for old, seat in mine:
            old.leave(seat)
            self._seats.remove((old, seat))
        for each in self._subscriptions:
            if each.queue.name == queue:
                each.on_lost()
                found = self._hub.declare(each.queue, self)
                self._seats.append((found, found.seat(each, partial(self._deliver, each))))
                each.on_begun()

    def cut(self) -> None:
        """Lose the connection: exclusive queues vanish, what is unacknowledged goes back, consumers are told."""
        if not self._up:
            return
        self._disconnect()
        for future in list(self._unconfirmed):
            if not future.done():
                future.set_exception(PublishFailed("the link went before the confirm; it may have arrived"))
        for each in self._subscriptions:
            each.on_lost()

    def mend(self) -> None:
        """Connect again: queues are declared and consumed as at the start."""
        if self._up or not self._started:
            return
        for each in self._subscriptions:
            queue = self._hub.declare(each.queue, self)
            self._seats.append((queue, queue.seat(each, partial(self._deliver, each))))
        self._up = True
        self._changed.set()
        for each in tuple(self._subscriptions):
            each.on_begun()

    def _disconnect(self) -> None:
        self._up = False
        self._hub.delete_owned(self)
        for queue, seat in self._seats:
            queue.leave(seat)
        self._seats.clear()
        self._changed.set()

    def _deliver(self, subscription: Subscription, delivery: Delivery) -> None:
        self.counters.delivered += 1
        subscription.on_delivery(delivery)

    def _require_up(self) -> None:
        if not self._up:
            self.counters.refused += 1
            raise BrokerAway("there is no link to the embedded broker; nothing was sent")

    def _route(self, out: Outgoing) -> str:
        """Empty, or why it failed."""
        if out.problem:
            return out.problem
        try:
            return "" if self._hub.route(out, self._user) else f"{out.type}: {out.routing_key!r} {_NO_QUEUE}"
        except PublishFailed as error:
            return str(error)

    def _confirm(self, future: "asyncio.Future[None]", failure: str) -> None:
        if future.done():
            return
        if failure:
            self.counters.publish_failures += 1
            self.counters.returned += 1
            kind = Unroutable if failure.endswith(_NO_QUEUE) else PublishFailed
            future.set_exception(kind(failure))
        else:
            self.counters.published += 1
            future.set_result(None)


@lru_cache(maxsize=4096)
def matches(pattern: str, key: str) -> bool:
    """RabbitMQ's topic rule: words between dots, `*` is one word, `#` is any number of words, also none."""
    return _match(pattern.split("."), key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_match(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])
