"""What the broker and the disk do with the same bytes, without anything of ours.

Owns the floors beside the measured figures. It must not know states.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage

PATIENCE_S: Final = 10.0


class Hop:
    """From a raw publish to its delivery, over two connections and one queue."""

    def __init__(self, publishing: AbstractChannel, queue: str, arrived: "asyncio.Queue[int]") -> None:
        self._publishing = publishing
        self._queue = queue
        self._arrived = arrived

    async def took_ns(self, size: int) -> int:
        """Of one message with so many bytes."""
        body = os.urandom(size)
        began_ns = time.perf_counter_ns()
        await self._publishing.basic_publish(body, routing_key=self._queue)
        async with asyncio.timeout(PATIENCE_S):
            return await self._arrived.get() - began_ns


@asynccontextmanager
async def hop(url: str) -> AsyncIterator[Hop]:
    """Connected, until the end of the block."""
    sender, receiver = await aiormq.connect(url), await aiormq.connect(url)
    try:
        arrived: asyncio.Queue[int] = asyncio.Queue()

        async def hear(message: DeliveredMessage) -> None:
            arrived.put_nowait(time.perf_counter_ns())

        consuming = await receiver.channel()
        queue = (await consuming.queue_declare(exclusive=True)).queue or ""
        await consuming.basic_consume(queue, hear, no_ack=True)
        yield Hop(await sender.channel(publisher_confirms=False), queue, arrived)
    finally:
        await sender.close()
        await receiver.close()


def write_and_sync_ns(directory: Path, size: int) -> int:
    """How long it takes to have so many bytes on disk under a name: write, fsync, rename, fsync of the directory."""
    body = os.urandom(size)
    began_ns = time.perf_counter_ns()
    with (directory / "floor.new").open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    (directory / "floor.new").replace(directory / "floor.bin")
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
    return time.perf_counter_ns() - began_ns
