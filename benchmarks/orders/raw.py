"""The floors: what the broker and its client cost for the same bytes, with aiormq alone.

| floor     | what it does                                                                                             |
|-----------|----------------------------------------------------------------------------------------------------------|
| RPC       | The intent's bytes, persistent, to a quorum queue with the arguments of the arbiters' (single active     |
|           | consumer and all) through the default exchange; a consumer in another process answers with the answer's  |
|           | bytes, transient, into an exclusive classic queue, and acknowledges. No publisher confirms: the answer   |
|           | is the proof, for ours as well. The reply queue is consumed without acknowledgements                     |
| append    | The record's bytes, persistent, to a stream with the journal's arguments, in confirm mode as the journal |
|           | is; the time ends when the consumer of the stream has them again, whether the confirm came before or not |
| pipelined | The same with IN_FLIGHT records under way, TOGETHER handed to aiormq at once, as it is fastest           |

Each end has one connection of its own, under uvloop as our processes are. It must not know anything of ours but names
and arguments of queues.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from benchmarks.orders.shapes import QUESTION, RECORD
from benchmarks.orders.sites import Site
from sidecar.broker.topology import ARBITER_QUEUE, JOURNAL_STREAM, QUEUES, queue_arguments

REQUESTS: Final = "sidecar.bench.requests"
REPLIES: Final = "sidecar.bench.replies"
STREAM: Final = "sidecar.bench.records"
IN_FLIGHT: Final = 500
TOGETHER: Final = 100
READ_AHEAD: Final = 500
PATIENCE_S: Final = 120.0


class Raw:
    """Both floors on one broker. Use `raw_floors`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._answered: asyncio.Future[None] | None = None
        self._read: asyncio.Future[None] | None = None
        self._seen = 0
        self._confirms: set[asyncio.Task[Any]] = set()
        self._asking: Any = None
        self._appending: Any = None
        self._reading: Any = None

    async def open(self) -> None:
        """Channels and consumers."""
        self._asking = await self._connection.channel(publisher_confirms=False, frame_buffer_size=1_000)
        self._appending = await self._connection.channel(publisher_confirms=True, frame_buffer_size=1_000)
        self._reading = await self._connection.channel(publisher_confirms=False, frame_buffer_size=1_000)
        await self._asking.basic_consume(REPLIES, self._on_answer, no_ack=True)
        await self._reading.basic_qos(prefetch_count=READ_AHEAD)
        await self._reading.basic_consume(STREAM, self._on_record, arguments={"x-stream-offset": "next"})

    async def rpc(self) -> float:
        """Seconds of one round trip."""
        self._answered = asyncio.get_running_loop().create_future()
        properties = Basic.Properties(delivery_mode=2, reply_to=REPLIES, correlation_id="exec-0-r00-12345")
        began_s = time.perf_counter()
        await self._asking.basic_publish(QUESTION, routing_key=REQUESTS, properties=properties, wait=False)
        async with asyncio.timeout(PATIENCE_S):
            await self._answered
        return time.perf_counter() - began_s

    async def append(self) -> float:
        """Seconds of one append until it was read back."""
        self._read = asyncio.get_running_loop().create_future()
        began_s = time.perf_counter()
        self._publish()
        async with asyncio.timeout(PATIENCE_S):
            await self._read
        took_s = time.perf_counter() - began_s
        await asyncio.gather(*self._confirms)  # Not in the time, and not in the way of the next.
        return took_s

    async def appends(self, count: int) -> float:
        """Seconds in which `count` records, many at once, were appended and read back."""
        self._seen, self._read = -count, asyncio.get_running_loop().create_future()
        began_s = time.perf_counter()
        for _ in range(count // TOGETHER):
            for _ in range(TOGETHER):
                await self._room.acquire()
            for _ in range(TOGETHER):
                self._publish()
        async with asyncio.timeout(PATIENCE_S):
            await self._read
        took_s = time.perf_counter() - began_s
        await asyncio.gather(*self._confirms)
        return took_s

    def _publish(self) -> None:
        properties = Basic.Properties(delivery_mode=2)
        work = self._appending.basic_publish(RECORD, routing_key=STREAM, properties=properties, wait=False)
        confirm = asyncio.create_task(work)
        self._confirms.add(confirm)
        confirm.add_done_callback(self._confirms.discard)

    async def _on_answer(self, message: DeliveredMessage) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    async def _on_record(self, message: DeliveredMessage) -> None:
        self._seen += 1
        if self._seen < 0:
            self._room.release()
        if self._read is not None and not self._read.done() and self._seen >= 0:
            self._read.set_result(None)
        await self._reading.basic_ack(message.delivery_tag, wait=False)


@contextlib.asynccontextmanager
async def raw_floors(site: Site) -> AsyncIterator[Raw]:
    """The floors, with their server; queue and stream are removed afterwards."""
    connection = await aiormq.connect(site.url)
    declaring: Any = await connection.channel()
    try:
        await _declare(declaring, site)
        async with _server(site.url):
            raw = Raw(connection)
            await raw.open()
            yield raw
        for each in (REQUESTS, STREAM):
            await declaring.queue_delete(each)
    finally:
        await connection.close()


async def _declare(channel: Any, site: Site) -> None:
    """As the arbiters' queue and the journal are declared, under other names and without bindings."""
    for name, like in ((REQUESTS, ARBITER_QUEUE), (STREAM, JOURNAL_STREAM)):
        spec = next(each for each in QUEUES if each.name == like)
        await channel.queue_declare(name, durable=True, arguments=dict(queue_arguments(spec, site.version)))
    await channel.queue_declare(REPLIES, exclusive=True, arguments={"x-queue-type": "classic"})


@contextlib.asynccontextmanager
async def _server(url: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.orders.raw_server",
        url,
        REQUESTS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None or not await process.stdout.readline():
            raise RuntimeError(f"the raw server ended with {await process.wait()}")
        yield
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
