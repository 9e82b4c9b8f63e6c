"""Visiting the dead letters of a real broker, sending them back and putting them away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aio_pika
import pytest
from broker_sites import PATIENCE_S, unique
from test_dead_letters import came
from yarl import URL

from sidecar.broker import admin
from sidecar.broker.dead_letters import dead_letter
from sidecar.broker.interface import BrokerError, Delivery, Outgoing, PublishFailed
from sidecar.broker.letters import Letter, letter_box
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import ARBITER_QUEUE, HEALTH, ORDERS, QueueSpec

pytestmark = pytest.mark.broker


@dataclass
class Desk:
    """A queue of letters of our own, and one that listens where letters go back to."""

    url: str
    letters: QueueSpec
    heard: QueueSpec
    key: str

    async def put(self, *texts: str, key: str | None = None) -> None:
        """One letter for each text, in order."""
        broker = RabbitBroker([self.url], name="refuser")
        await broker.start()
        for text in texts:
            refused = came(body=text.encode(), type_name="report.v1")
            refused.exchange, refused.routing_key = ORDERS, key or self.key
            out = dead_letter(refused, "wrong-field", f"because {text}", app_id="arbiter-1")
            values = {"exchange": "", "routing_key": self.letters.name, "body": out.body, "type": out.type}
            letter = Outgoing(**values, app_id="arbiter-1", headers=out.headers)  # type: ignore[arg-type]  # A dict.
            await broker.publish(letter, PATIENCE_S)
        await broker.close()

    async def read(self, count: int) -> list[Letter]:
        """All letters, once as many are there; they come back with the channel's end, a moment later."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with letter_box(self.url, PATIENCE_S, queue=self.letters.name) as box:
                    found = [*box.letters]
                if len(found) == count:
                    return found

    async def arrived(self) -> aio_pika.abc.AbstractIncomingMessage | None:
        """What went back, if anything did."""
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            queue = await channel.get_queue(self.heard.name)
            return await queue.get(no_ack=True, fail=False)


@pytest.fixture
async def desk(amqp_url: str) -> AsyncIterator[Desk]:
    """Both queues, removed afterwards."""
    key = f"report.{unique()}"
    letters = QueueSpec(f"test.{unique()}", "quorum")
    heard = QueueSpec(f"test.{unique()}", "quorum", bindings=((ORDERS, key),))
    await admin.apply(amqp_url)
    await admin.apply(amqp_url, specs=[letters, heard])
    yield Desk(amqp_url, letters, heard, key)
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        for each in (letters, heard):
            await channel.queue_delete(each.name)
        await (await channel.get_queue(ARBITER_QUEUE)).purge()


async def test_a_look_loses_nothing_and_keeps_the_order(desk: Desk) -> None:
    """However often the letters are looked at, they stay in their order with the same ids."""
    await desk.put("a", "b", "c")
    first = await desk.read(3)
    for _ in range(3):
        again = await desk.read(3)
        assert [each.body for each in again] == [b"a", b"b", b"c"]
        assert [each.letter_id for each in again] == [each.letter_id for each in first]
    assert len({each.letter_id for each in first}) == 3
    one = first[0]
    assert (one.code, one.text, one.exchange, one.routing_key) == ("wrong-field", "because a", ORDERS, desk.key)
    assert (one.type, one.app_id, one.user_id, one.put_away_s is None) == ("report.v1", "pricing", "mallory", False)


async def test_many_looks_do_not_reach_a_delivery_limit(desk: Desk) -> None:
    """Letters outlive more looks than the twenty deliveries after which RabbitMQ 4 drops a message by default."""
    await desk.put("a")
    for _ in range(25):
        await desk.read(1)
    assert [each.body for each in await desk.read(1)] == [b"a"]


async def test_redriven_it_is_where_it_came_from(desk: Desk) -> None:
    """A letter that is sent back has its body, type and sender again, says by whom and how often, and is gone here."""
    await desk.put("a", "b")
    async with letter_box(desk.url, PATIENCE_S, queue=desk.letters.name) as box:
        letter = box.letters[0]
        await box.redrive(letter, actor="dana", reason="mended")
    message = await desk.arrived()
    assert message is not None
    assert (message.body, message.type, message.app_id) == (b"a", "report.v1", "pricing")
    redriven = {name: value for name, value in message.headers.items() if name.startswith("redriven")}
    assert redriven == {"redriven-times": 1, "redriven-by": "dana", "redriven-reason": "mended"}
    assert [each.body for each in await desk.read(1)] == [b"b"]


async def test_what_reaches_no_queue_stays(desk: Desk) -> None:
    """Sending back to where nobody listens, or to no exchange, fails with a reason, and the letter stays."""
    await desk.put("a", key="nobody.listens")
    async with letter_box(desk.url, PATIENCE_S, queue=desk.letters.name) as box:
        letter = box.letters[0]
        with pytest.raises(PublishFailed, match="reaches no queue"):
            await box.redrive(letter, actor="dana", reason="mended")
        gone = Outgoing(exchange="no-such", routing_key="", body=b"", type="t.v1", app_id="t")
        with pytest.raises(PublishFailed, match="NOT_FOUND"):
            await box.send(gone, mandatory=True)
    assert [each.body for each in await desk.read(1)] == [b"a"]


async def test_a_visit_that_ends_between_sending_and_removing(desk: Desk) -> None:
    """A visit that ends after sending and before removing leaves the letter: it is sent twice rather than never."""
    await desk.put("a")
    async with letter_box(desk.url, PATIENCE_S, queue=desk.letters.name) as box:
        letter = box.letters[0]
        out = Outgoing(exchange=ORDERS, routing_key=desk.key, body=letter.body, type="report.v1", app_id="pricing")
        await box.send(out, mandatory=True)
    assert await desk.arrived() is not None
    assert [each.body for each in await desk.read(1)] == [b"a"]


async def test_what_the_broker_dead_lettered_itself(desk: Desk, amqp_url: str) -> None:
    """A message that the broker put away by itself shows the queue, the reason, and where it was first sent."""
    source = QueueSpec(f"test.{unique()}", "quorum")
    arguments = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": desk.letters.name,
    }
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(source.name, durable=True, arguments={**arguments})
        try:
            await queue.bind(HEALTH, f"report.{source.name}")
            exchange = await channel.get_exchange(HEALTH)
            message = aio_pika.Message(b"x", type="health-report.v1", app_id="exec-a", user_id=user_of(amqp_url))
            await exchange.publish(message, f"report.{source.name}")
            await (await queue.get(timeout=PATIENCE_S)).reject(requeue=False)
            (letter,) = await desk.read(1)
        finally:
            await channel.queue_delete(source.name)
    assert (letter.code, letter.exchange, letter.routing_key) == (
        "broker-rejected",
        HEALTH,
        f"report.{source.name}",
    )
    assert (letter.type, letter.app_id, source.name in letter.text) == ("health-report.v1", "exec-a", True)


async def test_without_the_queue(amqp_url: str) -> None:
    """A queue that does not exist is an error with the mend."""
    with pytest.raises(BrokerError, match="topology apply"):
        async with letter_box(amqp_url, PATIENCE_S, queue=f"test.{unique()}"):
            pass


def test_a_letter_that_went_back_keeps_its_count() -> None:
    """What is refused again after it was sent back says how often it was sent back, and by whom."""
    refused: Delivery = came()
    refused.headers = {"redriven-times": 2, "redriven-by": "dana", "redriven-reason": "mended", "else": "x"}
    headers = dict(dead_letter(refused, "not-json", "why").headers)
    assert (headers["redriven-times"], headers["redriven-by"]) == (2, "dana")
    assert "else" not in headers


def user_of(url: str) -> str:
    """The user in a URL."""
    return URL(url).user or "guest"
