"""The broker as the rest of the house sees it: publish, consume, and be told the truth about both.

Two implementations: `rabbit.py` (RabbitMQ) and `memory.py` (in-process, only when asked for). Both pass the one
suite in `tests/broker/`. Callbacks are synchronous and must only push to a deque: order holds only until the
first await (see BROKER facts in docs/broker.md).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from sidecar.broker.counters import Counters
from sidecar.broker.topology import QueueSpec

SHORT_BYTES_MAX: Final = 255
"""UTF-8 bytes of a routing key or of a property: a short string of AMQP 0-9-1 (section 4.2.5.3)."""


_SHORT: Final = ("routing_key", "correlation_id", "reply_to", "type", "app_id", "exchange")


class BrokerError(Exception):
    """Something the broker refused or could not do; the text says what and how to mend it."""


class BrokerAway(BrokerError):
    """There is no connection right now; nothing was sent."""


class PublishFailed(BrokerError):
    """The message was not confirmed: unroutable, refused, timed out or cut off. It may still have arrived."""


class Unroutable(PublishFailed):
    """The message reached no queue: nobody listens there."""


class TopologyConflict(BrokerError):
    """A queue or exchange exists with other arguments; the text names both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to publish. `exchange` "" is the default exchange: `routing_key` then names a queue."""

    exchange: str
    routing_key: str
    body: bytes
    type: str
    app_id: str
    correlation_id: str = ""
    reply_to: str = ""
    expiration_ms: int | None = None
    persistent: bool = True
    headers: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """Which name is too long to be sent at all, as a sentence; empty when it can be.

        One such message must fail alone: found only where frames are made, it would end the link for everybody, and
        again after each reconnect when it is repeated.
        """
        texts = (self.routing_key, self.correlation_id, self.reply_to, self.type, self.app_id, self.exchange)
        if max(map(len, texts)) <= SHORT_BYTES_MAX // 4:
            return ""
        for name, text in zip(_SHORT, texts, strict=True):
            if len(text.encode()) > SHORT_BYTES_MAX:
                return f"its {name} is longer than {SHORT_BYTES_MAX} bytes: {text[:40]}..."
        return ""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One message as it arrived. `offset` is set on streams only. `ack` and `reject` are safe to call twice or late."""

    body: bytes
    type: str
    app_id: str
    user_id: str | None
    message_id: str
    correlation_id: str
    reply_to: str
    exchange: str
    routing_key: str
    redelivered: bool
    headers: Mapping[str, object]
    offset: int | None = None
    settle: Callable[[str], None] = lambda verdict: None

    def ack(self) -> None:
        """Done with it."""
        self.settle("ack")

    def requeue(self) -> None:
        """Not done with it: deliver it again, here or elsewhere."""
        self.settle("requeue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A consumer that lives across reconnects: the queue is declared again and consumed again, each time.

    `prefetch` bounds what is unacknowledged; `no_ack` has no bound but the queue's own. `next_offset` is asked at
    each (re)subscription of a stream and returns the first offset wanted. `on_lost` is called when deliveries stop
    because the connection went; what is unacknowledged then comes again. `on_begun` is called each time that the queue
    is bound and consumed; deliveries may come just before it.
    """

    queue: QueueSpec
    on_delivery: Callable[[Delivery], None]
    prefetch: int = 500
    no_ack: bool = False
    next_offset: Callable[[], int] | None = None
    on_lost: Callable[[], None] = lambda: None
    on_begun: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerInfo:
    """What answered. `embedded` is true for the in-process broker, which survives nothing and says so."""

    product: str
    version: str
    node: str
    embedded: bool


class Broker(Protocol):
    """One process's connection to the broker: separate links for publishing, consuming and control."""

    @property
    def user(self) -> str:
        """The user we are to the broker; set as `user_id` on every message, verified by it."""

    @property
    def info(self) -> BrokerInfo | None:
        """What answered last; None before the first connection."""

    @property
    def counters(self) -> Counters:
        """What this connection has done so far."""

    @property
    def trouble(self) -> str:
        """Empty while all links stand and none is blocked; else one sentence."""

    async def start(self) -> None:
        """Begin connecting, in the background, for ever, with backoff. Returns at once."""

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when every link stands and every subscription consumes; BrokerAway after `timeout_s`."""

    def move_on(self) -> None:
        """Drop every link and connect to the next node: this one serves nobody. Returns at once."""

    async def close(self) -> None:
        """Cancel consumers, drain, close."""

    def post(self, out: Outgoing) -> None:
        """Send without waiting, in call order, for what is repeated or expires anyway (heartbeats, leases).

        Raises BrokerAway when there is no link. A later failure is counted, never raised.
        """

    def submit(self, out: Outgoing) -> asyncio.Future[None]:
        """Send in call order; the future resolves on the broker's confirm and fails with PublishFailed.

        Bounded in number and time; never blocks; raises BrokerAway when there is no link or no room.
        """

    def submit_bulk(self, out: Outgoing) -> asyncio.Future[None]:
        """As `submit`, for what is large: on a connection of its own, which is made with its first use or subscription.

        Much less may wait there for its confirm; BrokerAway beyond that.
        """

    @property
    def bulk_trouble(self) -> str:
        """Empty while the connection for what is large stands or is not needed; else one sentence. Not in `trouble`."""

    async def publish(self, out: Outgoing, timeout_s: float = 5.0) -> None:
        """Send, waiting at most `timeout_s` for a link and for the broker's confirm; PublishFailed or BrokerAway."""

    def subscribe(self, subscription: Subscription, *, control: bool = False, bulk: bool = False) -> None:
        """Consume from now on. `control` puts it on the control link, away from order traffic; `bulk` on that of bulk.

        One subscription to a queue at a time: ValueError for a second one.
        """

    def unsubscribe(self, queue: str) -> None:
        """End the subscription to this queue; nothing is delivered any more. Returns at once, and is safe to repeat."""

    def consume_again(self, queue: str) -> None:
        """Leave the consumer of this queue and consume anew, as after a lost channel: it may hang. Returns at once."""
