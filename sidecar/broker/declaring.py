"""Declaring exchanges, queues and bindings over a channel, idempotently.

Owns what is said to the server and the reading of its refusals. It must not know when or why it is called.
A refused declare closes its channel; the caller drops it.
"""

import asyncio
from typing import Any

import aiormq

from sidecar.broker.interface import TopologyConflict
from sidecar.broker.topology import EXCHANGES, QUEUES, ExchangeSpec, QueueSpec, queue_arguments


async def declare_exchange(channel: aiormq.Channel, spec: ExchangeSpec, timeout_s: float) -> None:
    """One exchange; TopologyConflict when another of that name exists."""
    try:
        async with asyncio.timeout(timeout_s):
            await channel.exchange_declare(spec.name, exchange_type=spec.type, durable=True)
    except aiormq.ChannelPreconditionFailed as error:
        raise TopologyConflict(_conflict("exchange", spec.name, f"type {spec.type}, durable", error)) from error


async def declare_queue(channel: aiormq.Channel, spec: QueueSpec, version: tuple[int, int], timeout_s: float) -> int:
    """One queue without its bindings; returns how many messages it holds."""
    arguments: dict[str, Any] = {**queue_arguments(spec, version)}
    try:
        async with asyncio.timeout(timeout_s):
            answer = await channel.queue_declare(
                spec.name, durable=not spec.exclusive, exclusive=spec.exclusive, arguments=arguments
            )
    except aiormq.ChannelPreconditionFailed as error:
        raise TopologyConflict(_conflict("queue", spec.name, str(arguments), error)) from error
    return answer.message_count or 0


async def bind_queue(channel: aiormq.Channel, spec: QueueSpec, timeout_s: float) -> None:
    """All bindings of a queue."""
    for exchange, key in spec.bindings:
        async with asyncio.timeout(timeout_s):
            await channel.queue_bind(spec.name, exchange, key)


async def declare_everything(channel: aiormq.Channel, version: tuple[int, int], timeout_s: float) -> None:
    """The whole topology."""
    for exchange in EXCHANGES:
        await declare_exchange(channel, exchange, timeout_s)
    for queue in QUEUES:
        await declare_queue(channel, queue, version, timeout_s)
        await bind_queue(channel, queue, timeout_s)


async def declare_exchanges_of(channel: aiormq.Channel, spec: QueueSpec, timeout_s: float) -> None:
    """The exchanges that a queue's bindings need, so that it depends on nobody else having declared them before."""
    bound = {exchange for exchange, _ in spec.bindings}
    for each in EXCHANGES:
        if each.name in bound:
            await declare_exchange(channel, each, timeout_s)


async def declare_and_bind(
    channel: aiormq.Channel, spec: QueueSpec, version: tuple[int, int], timeout_s: float
) -> None:
    """A queue and its bindings."""
    await declare_queue(channel, spec, version, timeout_s)
    await bind_queue(channel, spec, timeout_s)


def _conflict(kind: str, name: str, wanted: str, error: Exception) -> str:
    """RabbitMQ's refusal names the argument and both values: "received 'A' but current is 'B'"."""
    said = str(error.args[0]) if error.args else "PRECONDITION_FAILED"
    return (
        f"{kind} {name!r} exists with other arguments: {said}; this version wants {wanted}. Remove the existing one "
        "when it is empty, or run the version that made it"
    )
