"""Dead letters say what came, from whom and why it was refused; doctor sees them."""

import asyncio

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection
from broker_sites import PATIENCE_S, unique

from sidecar.broker import admin
from sidecar.broker.dead_letters import BODY_BYTES_MAX, DeadLetters, dead_letter, look
from sidecar.broker.interface import Delivery
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import DEAD_LETTER, DEAD_LETTERS_QUEUE, QueueSpec


def came(body: bytes = b"not json", type_name: str = "heartbeat.v1") -> Delivery:
    """A delivery that somebody will refuse."""
    return Delivery(
        body=body,
        type=type_name,
        app_id="pricing",
        user_id="mallory",
        message_id="m1",
        correlation_id="",
        reply_to="",
        exchange="sidecar.health",
        routing_key="heartbeat.pricing",
        redelivered=False,
        headers={},
    )


def test_carries_what_came_and_why() -> None:
    """A dead letter holds the body, where it came from, who sent it and the reason as code and text."""
    out = dead_letter(came(), "not-json", "expected value at line 1", app_id="arbiter-1")
    assert (out.exchange, out.body, out.app_id, out.persistent) == (
        "sidecar.dead-letter",
        b"not json",
        "arbiter-1",
        True,
    )
    assert dict(out.headers) == {
        "reason-code": "not-json",
        "reason-text": "expected value at line 1",
        "original-exchange": "sidecar.health",
        "original-routing-key": "heartbeat.pricing",
        "original-type": "heartbeat.v1",
        "original-app-id": "pricing",
        "original-user-id": "mallory",
        "original-message-id": "m1",
        "original-body-bytes": 8,
    }


def test_is_bounded() -> None:
    """A huge body, type and reason are cut, and the letter says that and how large the body was."""
    out = dead_letter(came(b"x" * 10_000_000, type_name="t" * 5_000), "too-large", "r" * 5_000)
    assert len(out.body) == BODY_BYTES_MAX
    assert (out.headers["body-truncated"], out.headers["original-body-bytes"]) == (1, 10_000_000)
    assert sum(len(str(each)) for each in out.headers.values()) < 2_000


async def test_reaches_the_dead_letter_queue() -> None:
    """A dead letter posted to the embedded broker waits in the dead-letter queue."""
    hub = MemoryHub()
    broker = MemoryBroker(hub, name="a")
    await broker.start()
    await broker.publish(dead_letter(came(), "not-json", "why"))
    assert hub.length(DEAD_LETTERS_QUEUE) == 1
    await broker.close()


@pytest.mark.broker
async def test_looking_leaves_them_where_they_are(amqp_url: str) -> None:
    """Looking counts the dead letters and reads the oldest first, and all are still there for the next look."""
    queue = QueueSpec(f"test.{unique()}", "quorum", bindings=((DEAD_LETTER, ""),))
    await admin.apply(amqp_url)
    await admin.apply(amqp_url, specs=[queue])
    sender = f"arbiter-{unique()}"
    try:
        await send(amqp_url, sender, "not-json", "unknown-type", "wrong-sender")
        async with await aio_pika.connect(amqp_url) as connection:
            for _ in range(2):
                found = await counted(connection, queue.name, 3)
                assert [each.code for each in found.oldest] == ["not-json", "unknown-type"]
        first = found.oldest[0]
        assert (first.sender, first.text, first.body) == ("pricing", "because not-json", b"not json")
        (warning,) = [each for each in await admin.check(amqp_url) if "waiting" in each.text]
        assert (warning.level, warning.subject) == ("warning", f"queue {DEAD_LETTERS_QUEUE}")
    finally:
        await tidy(amqp_url, queue.name, sender)


async def send(url: str, sender: str, *codes: str) -> None:
    """One dead letter for each code."""
    broker = RabbitBroker([url], name=sender)
    await broker.start()
    for code in codes:
        await broker.publish(dead_letter(came(), code, f"because {code}", app_id=sender), PATIENCE_S)
    await broker.close()


async def counted(connection: AbstractConnection, queue: str, count: int) -> DeadLetters:
    """Look until all are back: what was looked at is given back with its channel's end, a moment later."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await look(connection, at_most=2, timeout_s=PATIENCE_S, queue_name=queue)
            if found.count == count:
                return found


async def tidy(url: str, queue: str, sender: str) -> None:
    """Remove our queue, and our letters, and nobody else's, from the shared one."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.queue_delete(queue)
        letters = await channel.get_queue(DEAD_LETTERS_QUEUE)
        while (message := await letters.get(fail=False)) is not None:
            if message.app_id == sender:
                await message.ack()
