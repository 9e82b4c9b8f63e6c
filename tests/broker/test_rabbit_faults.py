"""What the RabbitMQ side does when links, queues and servers misbehave."""

import asyncio
from collections.abc import AsyncIterator

import aio_pika
import pamqp.frame
import pytest
from broker_sites import PATIENCE_S, Box, RabbitSite, rabbit_site, to
from pamqp.commands import Connection
from pamqp.common import FieldTable
from yarl import URL

from sidecar.broker.interface import BrokerAway, Delivery, Outgoing, PublishFailed, Subscription, TopologyConflict
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.straight import StraightChannel
from sidecar.demo.proxy import Proxy

pytestmark = pytest.mark.broker


@pytest.fixture
async def site(amqp_url: str) -> AsyncIterator[RabbitSite]:
    """A real broker."""
    async with rabbit_site(amqp_url) as rabbit:
        yield rabbit


async def test_a_conflict_is_a_clear_error_at_the_start(site: RabbitSite) -> None:
    """A queue that exists with another bound stops the start with both values, and its removal heals it."""
    queue = site.queue("quorum", length_max=10)
    async with await aio_pika.connect(site.url) as connection, connection.channel() as channel:
        other: FieldTable = {"x-queue-type": "quorum", "x-max-length": 77, "x-overflow": "drop-head"}
        await channel.declare_queue(queue.name, durable=True, arguments=other)
        box = Box()
        broker = await site.unready(Subscription(queue=queue, on_delivery=box))
        await broker.start()
        with pytest.raises(TopologyConflict, match=queue.name) as raised:
            await broker.wait_ready(PATIENCE_S)
        assert "'10'" in str(raised.value)
        assert "'77'" in str(raised.value)
        assert queue.name in broker.trouble
        await channel.queue_delete(queue.name)
        async with asyncio.timeout(PATIENCE_S):
            while broker.trouble:
                await site.round_trip()
        await broker.wait_ready(PATIENCE_S)
        await broker.publish(to(queue, "healed"))
        assert await box.holds(1) == ["healed"]


async def test_a_deleted_queue_is_consumed_again(site: RabbitSite) -> None:
    """When somebody deletes the queue, the consumer is told, declares it again and goes on."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost))
    async with await aio_pika.connect(site.url) as connection, connection.channel() as channel:
        await channel.queue_delete(queue.name)
    await box.loses(1)
    await broker.wait_ready(PATIENCE_S)
    await broker.publish(to(queue, "again"))
    assert await box.holds(1) == ["again"]


async def test_a_missing_exchange_harms_only_its_message(site: RabbitSite) -> None:
    """Publishing to an exchange that does not exist fails that publish, and the next one arrives."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    with pytest.raises(PublishFailed, match="NOT_FOUND"):
        await broker.publish(Outgoing(exchange="no-such", routing_key="", body=b"", type="t.v1", app_id="t"))
    await broker.publish(to(queue, "after"), PATIENCE_S)
    assert await box.holds(1) == ["after"]


async def test_a_stalled_link_bounds_what_waits(site: RabbitSite) -> None:
    """When the broker stops reading, submits fail in time, more than `pending_max` are refused, and nothing hangs."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(
        Subscription(queue=queue, on_delivery=box), pending_max=50, publish_timeout_ms=200, amqp_heartbeat_s=30
    )
    site.proxy(broker).stall("to_server")
    waiting = [broker.submit(to(queue, str(n))) for n in range(50)]
    with pytest.raises(BrokerAway, match="50"):
        broker.submit(to(queue, "one too many"))
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE_S)
    assert all(isinstance(each, PublishFailed) for each in results)
    assert broker.counters.publish_failures == 50
    for n in range(60):
        broker.post(to(queue, f"post {n}"))
    assert broker.counters.posts_dropped >= 10
    site.proxy(broker).resume()
    await broker.publish(to(queue, "after"), PATIENCE_S)
    await box.until(lambda: "after" in box.bodies)


async def test_a_stalled_link_does_not_hold_up_the_close(site: RabbitSite) -> None:
    """Closing while nothing comes back ends in bounded time and leaves no task behind."""
    queue = site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=Box()), publish_timeout_ms=200)
    proxy = site.proxy(broker)
    proxy.stall()
    broker.submit(to(queue, "never confirmed"))
    async with asyncio.timeout(PATIENCE_S):
        await broker.close()
    assert [name for name in task_names() if broker_task(name)] == []


def task_names() -> list[str]:
    """Every task of this loop but the test's own."""
    return [each.get_name() for each in asyncio.all_tasks() if each is not asyncio.current_task()]


def broker_task(name: str) -> bool:
    """Whether it is one that a broker names."""
    return "link" in name or "consumer of" in name or name == "publisher"


async def test_the_broker_may_come_later(site: RabbitSite) -> None:
    """Started before its broker, it says what is wrong, and is ready once the broker is there."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.unready(Subscription(queue=queue, on_delivery=box))
    site.cut(broker)
    await broker.start()
    with pytest.raises(BrokerAway, match="cannot be reached"):
        await broker.wait_ready(0.2)
    site.mend(broker)
    await broker.wait_ready(PATIENCE_S)
    await broker.publish(to(queue, "late"))
    assert await box.holds(1) == ["late"]


async def test_hosts_are_tried_in_turn(site: RabbitSite) -> None:
    """With the node gone with which it begins, the next URL is used."""
    async with Proxy.before(site.url) as one, Proxy.before(site.url) as other:
        proxies = {each.url(site.url): each for each in (one, other)}
        broker = RabbitBroker(list(proxies), name="rotates", backoff_max_ms=100)
        first, second = (proxies[url] for url in broker.urls)
        first.cut()
        await broker.start()
        await broker.wait_ready(PATIENCE_S)
        assert first.accepted >= 1
        assert second.accepted >= 3
        await broker.close()


async def test_a_wrong_password_is_said_and_not_shown(site: RabbitSite) -> None:
    """A refused login is named in the error, the password is not."""
    url = str(URL(site.url).with_password("hush-hush"))
    broker = RabbitBroker([url], name="intruder", backoff_max_ms=100)
    await broker.start()
    with pytest.raises(BrokerAway, match="ACCESS_REFUSED") as raised:
        await broker.wait_ready(1)
    assert "hush-hush" not in str(raised.value) + broker.trouble
    await broker.close()


async def test_many_losses_leave_nothing_behind(site: RabbitSite) -> None:
    """After ten losses there are as many tasks and proxied links as after the first connection."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost), backoff_max_ms=100)
    await broker.publish(to(queue, "before"))
    await box.holds(1)
    before = len(task_names())
    for n in range(10):
        site.cut(broker)
        await box.loses(n + 1)
        site.mend(broker)
        await broker.wait_ready(PATIENCE_S)
    await broker.publish(to(queue, "after"), PATIENCE_S)
    await box.holds(2)
    assert len(task_names()) <= before + 2
    assert broker.counters.reconnects >= 30


async def test_settling_after_a_loss_is_harmless(site: RabbitSite) -> None:
    """An acknowledgement for a channel that is gone does not reach the new one, where its tag means another message."""
    queue, box = site.queue("quorum"), Box(None)
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost))
    await broker.publish(to(queue, "a"))
    await box.holds(1)
    broker.abort()
    await box.loses(1)
    await broker.wait_ready(PATIENCE_S)
    await box.holds(2)
    box.deliveries[0].ack()
    await broker.publish(to(queue, "b"), PATIENCE_S)
    await box.holds(3)
    await broker.close()
    again = Box()
    await site.broker(Subscription(queue=queue, on_delivery=again))
    assert sorted(await again.holds(2)) == ["a", "b"]


async def test_a_blocked_broker_is_said_and_not_fed(site: RabbitSite) -> None:
    """While the broker blocks publishers, trouble says so and nothing is sent; afterwards it goes on."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    proxy = site.proxy(broker)
    proxy.inject(pamqp.frame.marshal(Connection.Blocked(reason="low on memory"), 0))
    async with asyncio.timeout(PATIENCE_S):
        while "blocks publishers" not in broker.trouble:
            await site.round_trip()
    with pytest.raises(BrokerAway, match="alarm"):
        broker.submit(to(queue, "refused"))
    with pytest.raises(BrokerAway, match="alarm"):
        await broker.publish(to(queue, "refused"), timeout_s=0.1)
    proxy.inject(pamqp.frame.marshal(Connection.Unblocked(), 0))
    await broker.publish(to(queue, "after"), PATIENCE_S)
    assert await box.holds(1) == ["after"]


async def test_bodies_larger_than_a_frame_arrive_whole(site: RabbitSite) -> None:
    """A body of several frames and an empty one arrive as they were sent."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    for text in ("x" * 400_000, ""):
        await broker.publish(to(queue, text))
    assert await box.holds(2) == ["x" * 400_000, ""]


async def test_another_client_reads_our_properties(site: RabbitSite) -> None:
    """A plain aio-pika client sees content type, type, sender, user, time, persistence and a fresh message id."""
    queue = site.queue("quorum")
    broker = await site.broker(Subscription(queue=site.queue("quorum"), on_delivery=Box()))
    async with await aio_pika.connect(site.url) as connection, connection.channel() as channel:
        declared = await channel.declare_queue(queue.name, durable=True, arguments={"x-queue-type": "quorum"})
        await broker.publish(to(queue, "one", persistent=False, expiration_ms=60_000))
        await broker.publish(to(queue, "two"))
        one, two = [await declared.get(timeout=PATIENCE_S) for _ in range(2)]
        for each in (one, two):
            await each.ack()
    assert (one.content_type, one.type, one.app_id, one.user_id) == (
        "application/json",
        "test.v1",
        "tester",
        URL(site.url).user or "guest",
    )
    assert one.timestamp is not None
    assert (one.expiration, two.expiration) == (60, None)
    assert (one.delivery_mode, two.delivery_mode) == (1, 2)
    assert one.message_id != two.message_id


async def test_second_subscription_is_an_error(site: RabbitSite) -> None:
    """A second subscription to one queue is refused instead of replacing the first."""
    queue = site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=Box()))
    with pytest.raises(ValueError, match="unsubscribe first"):
        broker.subscribe(Subscription(queue=queue, on_delivery=Box()))


async def test_unsubscribing_before_the_consumer_is_confirmed(
    site: RabbitSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries that overtake the end of a subscription are not handed on, though it was never seen to begin."""
    queue, box, begun = site.queue("quorum"), Box(None), asyncio.Event()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    broker.unsubscribe(queue.name)
    await asyncio.gather(*[broker.submit(to(queue, str(n))) for n in range(8)])
    consume = StraightChannel.basic_consume

    async def slowly(channel: StraightChannel, *arguments: object, **options: object) -> object:
        answer = await consume(channel, *arguments, **options)  # type: ignore[arg-type]  # Handed on as they came.
        await begun.wait()
        return answer

    def once(delivery: Delivery) -> None:
        box(delivery)
        broker.unsubscribe(queue.name)

    monkeypatch.setattr(StraightChannel, "basic_consume", slowly)
    broker.subscribe(Subscription(queue=queue, on_delivery=once, prefetch=8))
    await box.holds(1)
    begun.set()
    await site.round_trip()
    assert len(box.bodies) == 1
