"""The other end of the raw round trip: takes requests from a queue and answers each, in a process of its own.

Owns nothing but that, with aiormq alone. It stands where the arbiter stands for ours, hence the process of its own.
"""

import asyncio
import logging
import sys
from typing import Any, Final

import aiormq
import uvloop
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from benchmarks.orders.shapes import ANSWER

PREFETCH: Final = 1_000


async def serve(url: str, queue: str) -> None:
    """Until stdin closes; says on stdout when it consumes."""
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    connection = await aiormq.connect(url)
    channel: Any = await connection.channel(publisher_confirms=False, frame_buffer_size=1_000)

    async def on_request(message: DeliveredMessage) -> None:
        asked = message.header.properties
        properties = Basic.Properties(delivery_mode=1, correlation_id=asked.correlation_id, message_id=asked.message_id)
        await channel.basic_publish(ANSWER, routing_key=asked.reply_to or "", properties=properties, wait=False)
        await channel.basic_ack(message.delivery_tag, wait=False)

    await channel.basic_qos(prefetch_count=PREFETCH)
    await channel.basic_consume(queue, on_request)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await connection.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
