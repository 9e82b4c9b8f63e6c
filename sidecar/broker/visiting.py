"""A visit to the broker: one connection for one operator's command, with every wait bounded.

Owns connecting once, throwaway channels and the words for what went wrong. It must not try again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection

from sidecar.broker.interface import BrokerAway, BrokerError, BrokerInfo
from sidecar.broker.link import broker_info
from sidecar.broker.standing import describe


@asynccontextmanager
async def visiting(url: str, timeout_s: float) -> AsyncIterator[tuple[AbstractConnection, BrokerInfo]]:
    """A connection and what answered. Raises BrokerAway when it cannot be had, or when it goes in between."""
    try:
        async with asyncio.timeout(timeout_s):
            connection = await aio_pika.connect(url, heartbeat=10, name="sidecar admin")
    except Exception as error:
        raise BrokerAway(f"cannot be reached: {describe(error)}") from error
    try:
        yield connection, broker_info(await _transport(connection))
    except (aiormq.AMQPError, TimeoutError, ConnectionError) as error:
        raise BrokerAway(f"stopped answering: {describe(error)}") from error
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await connection.close()


async def on_channel(
    connection: AbstractConnection, work: Callable[[aiormq.Channel], Awaitable[object]], timeout_s: float
) -> None:
    """Do it on a throwaway channel, because a refusal closes it."""
    async with asyncio.timeout(timeout_s), connection.channel() as channel:
        under = await channel.get_underlay_channel()
        if not isinstance(under, aiormq.Channel):
            raise BrokerError("aio-pika no longer works on aiormq: install the versions of constraints.txt")
        await work(under)


async def _transport(connection: AbstractConnection) -> aiormq.Connection:
    under = connection.transport.connection if connection.transport is not None else None
    if not isinstance(under, aiormq.Connection):
        raise BrokerAway("went away while connecting")
    return under
