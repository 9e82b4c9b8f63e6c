"""The journal on a RabbitMQ stream: append in order, read in order, append again what was lost on the way.

Owns the address of records and the repair of a broken sequence of appends. It must not know what records mean or
which are valid: `core/log.py` decides that, the same for every reader.

A failed append may have arrived or not, and later ones may have arrived without it. So after any failure everything
that was not read back is appended again, in order; readers skip what they have (DUPLICATE) and have skipped what came
behind a gap (VOID).
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from sidecar.broker.interface import Broker, BrokerError, Delivery, Outgoing, Subscription
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES

RECORD_TYPE = "record.v1"
READ_AHEAD = 500
REPAIR_PAUSE_S = 0.05
"""Before everything in flight is appended again. Higher is kinder to a struggling broker, slower to recover."""
READY_WAIT_S = 5.0
TELL_AGAIN_S = 5.0
"""Appends that fail again and again, as during an alarm, are told of once in this time."""

log = structlog.get_logger(__name__)


class Journal:
    """One arbiter's end of the journal stream.

    `on_entry` gets every delivery in the log's order; it must only push to a deque. Whoever has handled a delivery
    acknowledges it, which asks for one more: READ_AHEAD of them wait at most, and the rest of the chunk under way.
    `in_flight` says which records were appended and not yet read back, oldest first, as the bytes that were appended.
    """

    def __init__(
        self,
        broker: Broker,
        author: str,
        *,
        on_entry: Callable[[Delivery], None],
        in_flight: Callable[[], Sequence[bytes]],
    ) -> None:
        self._broker = broker
        self._author = author
        self._on_entry = on_entry
        self._in_flight = in_flight
        self._next_offset = 0
        self._told_s = -TELL_AGAIN_S
        self._read_elsewhere = -1
        self._confirmed_unread: dict[bytes, bool] = {}
        self._repair: asyncio.Task[None] | None = None

    def read_from(self, offset: int) -> None:
        """Read everything from this offset on, for ever. To be called once."""
        self._next_offset = offset
        self._broker.subscribe(
            Subscription(
                queue=next(each for each in QUEUES if each.name == JOURNAL_STREAM),
                on_delivery=self._deliver,
                prefetch=READ_AHEAD,
                next_offset=lambda: self._next_offset,
            )
        )

    def append(self, body: bytes) -> None:
        """Append a record behind those before it; what is not read back is appended again by itself."""
        if self._repair is None:
            self._submit(body)

    def read_elsewhere(self, offset: int) -> None:
        """Another reader of the stream has read this far."""
        self._read_elsewhere = max(self._read_elsewhere, offset)

    def subscribe_again(self) -> None:
        """Consume anew, from the first record that was not delivered: a tail that hangs is left behind.

        Only on evidence that it is the tail: another has read further, or an append of ours was confirmed and did not
        come. A stream whose leader froze is silent to everybody; who lets go of it then waits the longer for a new
        subscription, because the broker answers none until long after the stream flows again.
        """
        if self._read_elsewhere < self._next_offset and not any(self._confirmed_unread.values()):
            return
        log.warning("the journal is silent; consuming it anew", next_offset=self._next_offset)
        self._broker.consume_again(JOURNAL_STREAM)

    async def close(self) -> None:
        """Stop repairing."""
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.offset is not None:
            self._next_offset = delivery.offset + 1
        self._confirmed_unread.pop(delivery.body, None)
        self._on_entry(delivery)

    def _submit(self, body: bytes) -> None:
        out = Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=body, type=RECORD_TYPE, app_id=self._author)
        try:
            confirm = self._broker.submit(out)
        except BrokerError as error:
            self._begin_repair(str(error))
            return
        self._confirmed_unread[body] = False
        confirm.add_done_callback(lambda done: self._confirmed(body, done))

    def _confirmed(self, body: bytes, confirm: asyncio.Future[None]) -> None:
        if confirm.cancelled():
            return
        error = confirm.exception()
        if error is not None:
            self._begin_repair(str(error))
        elif body in self._confirmed_unread:
            self._confirmed_unread[body] = True

    def _begin_repair(self, why: str) -> None:
        if self._repair is None or self._repair.done():
            loop = asyncio.get_running_loop()
            if loop.time() - self._told_s >= TELL_AGAIN_S:
                self._told_s = loop.time()
                log.warning("journal append failed; all that was not read back is appended again", why=why)
            self._repair = loop.create_task(self._append_again())

    async def _append_again(self) -> None:
        await asyncio.sleep(REPAIR_PAUSE_S)
        standing = False
        while not standing:
            try:
                await self._broker.wait_ready(READY_WAIT_S)
                standing = True
            except BrokerError as error:
                log.warning("the journal waits for the broker", why=str(error))
        self._repair = None
        self._confirmed_unread.clear()
        for body in self._in_flight():
            self.append(body)
