"""The journal on a RabbitMQ stream: append in order, read in order, append again what was lost on the way.

Owns the wire form of records and the repair of a broken sequence of appends. It must not know what records mean or
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
from sidecar.messages.codec import encode
from sidecar.messages.journal import Record

RECORD_TYPE = "record.v1"
READ_AHEAD = 500
REPAIR_PAUSE_S = 0.05
"""Before everything in flight is appended again. Higher is kinder to a struggling broker, slower to recover."""
READY_WAIT_S = 5.0

log = structlog.get_logger(__name__)


class Journal:
    """One arbiter's end of the journal stream.

    `on_entry` gets every delivery in the log's order; it must only push to a deque. `in_flight` says which records
    were appended and not yet read back, oldest first.
    """

    def __init__(
        self,
        broker: Broker,
        author: str,
        *,
        on_entry: Callable[[Delivery], None],
        in_flight: Callable[[], Sequence[Record]],
    ) -> None:
        self._broker = broker
        self._author = author
        self._on_entry = on_entry
        self._in_flight = in_flight
        self._next_offset = 0
        self._repair: asyncio.Task[None] | None = None
        stream = next(each for each in QUEUES if each.name == JOURNAL_STREAM)
        broker.subscribe(
            Subscription(
                queue=stream,
                on_delivery=self._deliver,
                prefetch=READ_AHEAD,
                next_offset=lambda: self._next_offset,
            )
        )

    def append(self, record: Record) -> None:
        """Append a record behind those before it; what is not read back is appended again by itself."""
        if self._repair is None:
            self._submit(record)

    async def close(self) -> None:
        """Stop repairing."""
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.offset is not None:
            self._next_offset = delivery.offset + 1
        delivery.ack()  # A stream's acknowledgement only asks for more.
        self._on_entry(delivery)

    def _submit(self, record: Record) -> None:
        out = Outgoing(
            exchange="", routing_key=JOURNAL_STREAM, body=encode(record), type=RECORD_TYPE, app_id=self._author
        )
        try:
            confirm = self._broker.submit(out)
        except BrokerError as error:
            self._begin_repair(str(error))
            return
        confirm.add_done_callback(self._confirmed)

    def _confirmed(self, confirm: asyncio.Future[None]) -> None:
        if confirm.cancelled():
            return
        error = confirm.exception()
        if error is not None:
            self._begin_repair(str(error))

    def _begin_repair(self, why: str) -> None:
        if self._repair is None or self._repair.done():
            log.warning("journal append failed; all that was not read back is appended again", why=why)
            self._repair = asyncio.get_running_loop().create_task(self._append_again())

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
        for record in self._in_flight():
            self.append(record)
