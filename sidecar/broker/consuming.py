"""One subscription on one link: declared and consumed again each time, wherever it has to begin.

Owns the place in a stream, the order of deliveries and the settling of each at most once, never on a dead channel. It
must not know what a delivery means.
"""

import asyncio
from collections import OrderedDict, deque
from functools import partial

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from sidecar.broker.counters import Counters
from sidecar.broker.declaring import declare_and_bind, declare_exchanges_of
from sidecar.broker.interface import Delivery, Subscription
from sidecar.broker.link import CLOSE_S, Session
from sidecar.broker.standing import Lost, Standing, describe
from sidecar.broker.straight import StraightChannel

OFFSET = "x-stream-offset"


class Seat:
    """One consumer on one channel, until that channel goes."""

    def __init__(self, channel: StraightChannel, subscription: Subscription, counters: Counters, first: int | None):
        self.gone = ""
        self.last: int | None = None
        self._channel = channel
        self._subscription = subscription
        self._counters = counters
        self._first = first
        self._unsettled: OrderedDict[int, bool] = OrderedDict()  # Tag to whether its verdict waits to be sent.
        self._verdicts: deque[tuple[int, str]] = deque()
        self._wake = asyncio.Event()
        self._closing = channel.closing
        self._closing.add_done_callback(self._on_closed)
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
        channel.on_delivery = self._on_delivery

    async def serve(self, timeout_s: float) -> None:
        """Send verdicts until the consumer is gone, then raise."""
        while not self.gone:
            await self._wake.wait()
            self._wake.clear()
            async with asyncio.timeout(timeout_s):
                await self.flush()
        raise Lost(self.gone)

    async def flush(self) -> None:
        """Send the verdicts so far. Acknowledgements without a gap before them go as one frame."""
        verdicts, self._verdicts = self._verdicts, deque()
        acked = {tag for tag, verdict in verdicts if verdict == "ack"}
        up_to = 0
        while acked and (first := next(iter(self._unsettled))) in acked:
            up_to = first
            acked.discard(first)
            del self._unsettled[first]
        if up_to and not self.gone:
            await self._channel.basic_ack(up_to, multiple=True, wait=False)
        for tag, verdict in verdicts:
            if tag not in self._unsettled or self.gone:
                continue
            del self._unsettled[tag]
            if verdict == "ack":
                await self._channel.basic_ack(tag, wait=False)
            else:
                await self._channel.basic_nack(tag, requeue=True, wait=False)

    def leave(self, reason: str) -> None:
        """Deliver nothing more and let `serve` raise."""
        self.gone = self.gone or reason
        self._wake.set()

    def end(self, reason: str) -> None:
        """Deliver nothing more and settle nothing more: the channel's tags mean nothing from here on."""
        self.gone = self.gone or reason
        self._unsettled.clear()
        self._verdicts.clear()
        self._channel.on_consumer_cancel_callbacks.discard(self._on_cancelled)
        self._closing.cancel()
        self._wake.set()

    async def unused(self, message: DeliveredMessage) -> None:
        """aiormq wants a callback for `basic_consume`; a StraightChannel calls `_on_delivery` instead."""

    def _on_delivery(self, frame: Basic.Deliver, header: ContentHeader, body: bytes) -> None:
        if self.gone:
            return
        subscription = self._subscription
        tag = frame.delivery_tag or 0
        delivery = _delivery(frame, header, body)
        if not subscription.no_ack:
            self._unsettled[tag] = False
            delivery.settle = partial(self._settle, tag)
        if delivery.offset is not None:
            if self._first is not None and delivery.offset < self._first:
                # RabbitMQ starts at the beginning of the chunk that holds the offset (Streams documentation).
                delivery.ack()
                return
            self.last = delivery.offset
        self._counters.delivered += 1
        subscription.on_delivery(delivery)

    def _settle(self, tag: int, verdict: str) -> None:
        if self.gone or self._unsettled.get(tag, True):
            return
        self._unsettled[tag] = True
        self._verdicts.append((tag, verdict))
        self._wake.set()

    def _on_closed(self, closing: "asyncio.Future[object]") -> None:
        self.leave(f"the channel closed: {describe(None if closing.cancelled() else closing.exception())}")

    def _on_cancelled(self, _: Basic.Cancel) -> None:
        self.leave("the broker cancelled the consumer: its queue was deleted or moved")


class Consumer:
    """The tenant that keeps one subscription consuming."""

    def __init__(self, subscription: Subscription, counters: Counters, *, declare: bool) -> None:
        self.what = f"consumer of {subscription.queue.name}"
        self._subscription = subscription
        self._counters = counters
        self._declare = declare or subscription.queue.exclusive
        self._next: int | None = None
        self._seat: Seat | None = None
        self._channel: StraightChannel | None = None
        self._leaving = False

    async def live(self, session: Session, standing: Standing) -> None:
        """Consume until the channel or the consumer goes."""
        queue = self._subscription.queue
        if self._declare:
            await self._declare_queue(session)
        channel = await session.straight_channel()
        first = self._first_offset()
        seat = Seat(channel, self._subscription, self._counters, first)
        if self._leaving:
            seat.end("it was unsubscribed")
        self._seat = seat  # From here on: the first deliveries may come before the answer to `basic_consume`.
        consuming = False
        try:
            async with asyncio.timeout(session.timeout_s):
                if not self._subscription.no_ack:
                    await channel.basic_qos(prefetch_count=self._subscription.prefetch)
                await channel.basic_consume(
                    queue.name,
                    seat.unused,
                    no_ack=self._subscription.no_ack,
                    consumer_tag=queue.name,
                    arguments=None if queue.kind != "stream" else {OFFSET: "next" if first is None else first},
                )
            consuming = True
            self._channel = channel
            standing.up()
            self._subscription.on_begun()
            await seat.serve(session.timeout_s)
        finally:
            self._seat = self._channel = None
            seat.end("the consumer ended")
            if seat.last is not None:
                self._next = seat.last + 1
            standing.down("the consumer ended")
            if consuming and not self._leaving:
                self._subscription.on_lost()
            await session.drop(channel)

    def again(self) -> None:
        """Give up the present seat, if there is one: its channel is dropped, and the supervisor consumes anew."""
        if self._seat is not None:
            self._seat.leave("it was asked to consume anew")

    def retire(self) -> None:
        """Deliver nothing more, for good; nobody is told of a loss."""
        self._leaving = True
        if self._seat is not None:
            self._seat.end("it was unsubscribed")

    async def leave(self) -> None:
        """Stop deliveries, and send the verdicts given so far."""
        self._leaving = True
        if self._seat is not None and self._channel is not None:
            async with asyncio.timeout(CLOSE_S):
                await self._channel.basic_cancel(self._subscription.queue.name)
                await self._seat.flush()

    async def _declare_queue(self, session: Session) -> None:
        queue, wait_s = self._subscription.queue, session.timeout_s
        await session.declare(lambda channel: declare_exchanges_of(channel, queue, wait_s))
        await session.declare(
            lambda channel: declare_and_bind(channel, queue, session.version, wait_s), needed=queue.exclusive
        )

    def _first_offset(self) -> int | None:
        """The first offset wanted; None means whatever is appended from now on."""
        if self._subscription.queue.kind != "stream":
            return None
        if self._subscription.next_offset is not None:
            return self._subscription.next_offset()
        return self._next


def _delivery(frame: Basic.Deliver, header: ContentHeader, body: bytes) -> Delivery:
    properties = header.properties
    headers = properties.headers or {}
    offset = headers.get(OFFSET)
    return Delivery(
        body=body,
        type=properties.message_type or "",
        app_id=properties.app_id or "",
        user_id=properties.user_id,
        message_id=properties.message_id or "",
        correlation_id=properties.correlation_id or "",
        reply_to=properties.reply_to or "",
        exchange=frame.exchange or "",
        routing_key=frame.routing_key or "",
        redelivered=bool(frame.redelivered),
        headers=headers,
        offset=offset if isinstance(offset, int) else None,
    )
