"""What every broker does: one suite, run on RabbitMQ and on the in-process hub."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from broker_sites import PATIENCE_S, Box, Site, memory_site, rabbit_site, to, unique

from sidecar.broker.interface import BrokerAway, Delivery, Outgoing, PublishFailed, Subscription
from sidecar.broker.topology import CONTROL, EVENTS, HEALTH, control_queue, heartbeat_queue


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """Both brokers, one after the other."""
    if request.param == "memory":
        async with memory_site() as memory:
            yield memory
    else:
        async with rabbit_site(request.getfixturevalue("amqp_url")) as rabbit:
            yield rabbit


async def test_delivers_with_properties(site: Site) -> None:
    """A published message arrives once, with its body, type, sender, verified user and headers."""
    box, queue = Box(), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    out = to(queue, "hello", correlation_id="c", reply_to="r", headers={"reason-code": "x", "n": 7})
    await broker.publish(out)
    await box.holds(1)
    got = box.deliveries[0]
    assert (got.body, got.type, got.app_id, got.user_id) == (b"hello", "test.v1", "tester", broker.user)
    assert (got.correlation_id, got.reply_to, got.routing_key, got.redelivered) == ("c", "r", queue.name, False)
    assert (got.headers["reason-code"], got.headers["n"], got.offset) == ("x", 7, None)
    assert got.message_id


async def test_submits_arrive_in_call_order(site: Site) -> None:
    """A thousand submits without a wait between them are confirmed and arrive in call order."""
    box, queue = Box(), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    await asyncio.gather(*[broker.submit(to(queue, str(n))) for n in range(1_000)])
    assert await box.holds(1_000) == [str(n) for n in range(1_000)]


async def test_posts_arrive_in_call_order(site: Site) -> None:
    """Posts arrive in call order at a consumer without acknowledgements."""
    box, queue = Box(None), site.queue("classic", exclusive=True, length_max=10_000)
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, no_ack=True))
    for n in range(1_000):
        broker.post(to(queue, str(n), persistent=False, expiration_ms=60_000))
    assert await box.holds(1_000) == [str(n) for n in range(1_000)]


async def test_unroutable_fails(site: Site) -> None:
    """A message that reaches no queue fails, and the next one is not harmed."""
    box, queue = Box(), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    nowhere = site.queue("quorum")
    lost, found = broker.submit(to(nowhere, "lost")), broker.submit(to(queue, "found"))
    with pytest.raises(PublishFailed, match=nowhere.name):
        await lost
    await found
    assert await box.holds(1) == ["found"]
    assert (broker.counters.returned, broker.counters.publish_failures) == (1, 1)


@pytest.mark.parametrize("name", ["routing_key", "correlation_id", "reply_to", "type", "app_id"])
async def test_a_name_that_is_too_long_fails_alone(site: Site, name: str) -> None:
    """What no frame can carry fails by itself, posted or submitted, and the link goes on."""
    box, queue = Box(), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    long: Any = {name: "\u00e9" * 128}
    bad = replace(to(queue, "bad"), **long)
    broker.post(bad)
    with pytest.raises(PublishFailed, match=f"{name} is longer than 255 bytes"):
        await broker.submit(bad)
    await broker.publish(to(queue, "good", correlation_id="\u00e9" * 127))
    assert await box.holds(1) == ["good"]
    assert broker.counters.reconnects == 0


async def test_requeue_redelivers_in_order(site: Site) -> None:
    """What is requeued comes again, marked so."""
    box, queue = Box(None), site.queue("classic", exclusive=True)
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, prefetch=2))
    await broker.publish(to(queue, "a"))
    await broker.publish(to(queue, "b"))
    await box.holds(2)
    for delivery in box.deliveries[:2]:
        delivery.requeue()
    await box.holds(4)
    assert sorted(box.bodies[2:]) == ["a", "b"]
    assert all(each.redelivered for each in box.deliveries[2:])


async def test_settles_once(site: Site) -> None:
    """A second verdict on a delivery, the same or another, changes nothing."""
    box, queue = Box(None), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    await broker.publish(to(queue, "a"))
    await box.holds(1)
    first = box.deliveries[0]
    first.ack()
    first.ack()
    first.requeue()
    await broker.publish(to(queue, "b"))
    await box.holds(2)
    box.deliveries[1].ack()
    first.requeue()
    await broker.publish(to(queue, "c"))
    assert await box.holds(3) == ["a", "b", "c"]


async def test_settles_out_of_order(site: Site) -> None:
    """Acknowledging later deliveries first leaves the earlier one open, and it comes again after a loss."""
    box, queue = Box(None), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, prefetch=3))
    for text in "abc":
        await broker.publish(to(queue, text))
    await box.holds(3)
    for at in (2, 1):
        box.deliveries[at].ack()
    for text in "de":
        await broker.publish(to(queue, text))
    await box.holds(5)
    for at in (3, 4):
        box.deliveries[at].ack()
    await broker.publish(to(queue, "f"))
    await box.holds(6)
    box.deliveries[5].ack()
    await broker.close()
    again = Box()
    await site.broker(Subscription(queue=queue, on_delivery=again))
    assert await again.holds(1) == ["a"]


async def test_prefetch_bounds_unacknowledged(site: Site) -> None:
    """No more than `prefetch` deliveries are unacknowledged at once."""
    box, probe = Box(None), Box()
    queue, other = site.queue("quorum"), site.queue("quorum")
    broker = await site.broker(
        Subscription(queue=queue, on_delivery=box, prefetch=2), Subscription(queue=other, on_delivery=probe)
    )
    for text in "abc":
        await broker.publish(to(queue, text))
    await box.holds(2)
    await broker.publish(to(other, "later than c"))
    await probe.holds(1)
    assert box.bodies == ["a", "b"]
    box.deliveries[0].ack()
    assert await box.holds(3) == ["a", "b", "c"]


async def test_single_active_consumer_hands_over(site: Site) -> None:
    """Of two consumers only the first is fed; when it closes, the second gets what was left unacknowledged."""
    queue = site.queue("quorum", single_active_consumer=True)
    first, second = Box(None), Box()
    leader = await site.broker(Subscription(queue=queue, on_delivery=first))
    standby = await site.broker(Subscription(queue=queue, on_delivery=second))
    for text in "abc":
        await standby.publish(to(queue, text))
    assert await first.holds(3) == ["a", "b", "c"]
    assert second.bodies == []
    first.deliveries[0].ack()
    await leader.close()
    assert await second.holds(2) == ["b", "c"]
    assert all(each.redelivered for each in second.deliveries)


async def test_stream_is_read_from_any_offset(site: Site) -> None:
    """A stream gives every reader the same entries at the same offsets, from the offset that it asks for."""
    stream = site.queue("stream")
    whole, part = Box(), Box()
    writer = await site.broker(Subscription(queue=stream, on_delivery=whole, next_offset=lambda: 0))
    await asyncio.gather(*[writer.submit(to(stream, str(n))) for n in range(300)])
    assert await whole.holds(300) == [str(n) for n in range(300)]
    assert [each.offset for each in whole.deliveries] == list(range(300))
    await site.broker(Subscription(queue=stream, on_delivery=part, next_offset=lambda: 250))
    assert await part.holds(50) == [str(n) for n in range(250, 300)]
    assert part.deliveries[0].offset == 250


async def test_stream_needs_credit(site: Site) -> None:
    """A reader of a stream is given no more than its prefetch before it acknowledges."""
    stream, other = site.queue("stream"), site.queue("quorum")
    box, probe = Box(None), Box()
    broker = await site.broker(
        Subscription(queue=stream, on_delivery=box, next_offset=lambda: 0, prefetch=2),
        Subscription(queue=other, on_delivery=probe),
    )
    for text in "abcd":
        await broker.publish(to(stream, text))
    await box.holds(2)
    await broker.publish(to(other, "later"))
    await probe.holds(1)
    assert box.bodies == ["a", "b"]
    for each in box.deliveries[:2]:
        each.ack()
    assert await box.holds(4) == ["a", "b", "c", "d"]


async def test_no_ack_on_a_stream_is_refused(site: Site) -> None:
    """Subscribing to a stream without acknowledgements is refused before anything is sent."""
    with pytest.raises(ValueError, match="no_ack"):
        await site.broker(Subscription(queue=site.queue("stream"), on_delivery=Box(), no_ack=True))


async def test_fanout_reaches_everybody(site: Site) -> None:
    """A message on the control exchange reaches every sidecar's own queue, whatever its key."""
    boxes = [Box(), Box(), Box()]
    brokers = [
        await site.broker(Subscription(queue=control_queue(f"c{n}", unique()), on_delivery=box), name=f"c{n}")
        for n, box in enumerate(boxes)
    ]
    await brokers[0].publish(
        Outgoing(exchange=CONTROL, routing_key="", body=b"stop", type="halt.v1", app_id="operator")
    )
    assert [await box.holds(1) for box in boxes] == [["stop"]] * 3


async def test_topic_keys_select(site: Site) -> None:
    """A topic binding takes the keys its wildcards cover and no others."""
    box, key = Box(), unique()
    queue = site.queue(
        "classic", exclusive=True, bindings=((EVENTS, f"{key}.*.moved"), (EVENTS, f"{key}.order.#"), (EVENTS, key))
    )
    broker = await site.broker(Subscription(queue=queue, on_delivery=box))
    wanted = [f"{key}.slot.moved", f"{key}.order", f"{key}.order.a.b", key]
    for each in [f"{key}.moved", f"{key}.a.b.moved", *wanted, f"{key}.slot"]:
        broker.post(Outgoing(exchange=EVENTS, routing_key=each, body=each.encode(), type="t.v1", app_id="t"))
    await broker.publish(Outgoing(exchange=EVENTS, routing_key=key, body=b"end", type="t.v1", app_id="t"))
    await box.until(lambda: "end" in box.bodies and len(box.bodies) == len(wanted) + 1)
    assert sorted(each for each in box.bodies if each != "end") == sorted(wanted)


async def test_heartbeats_reach_every_arbiter(site: Site) -> None:
    """Each arbiter's heartbeat queue gets heartbeats and releases, and not the health reports."""
    leads, watches, key = Box(None), Box(None), unique()
    broker = await site.broker(Subscription(queue=heartbeat_queue("a", unique()), on_delivery=leads, no_ack=True))
    await site.broker(Subscription(queue=heartbeat_queue("b", unique()), on_delivery=watches, no_ack=True))
    for kind in ("heartbeat", "report", "released"):
        broker.post(Outgoing(exchange=HEALTH, routing_key=f"{kind}.{key}", body=kind.encode(), type="t", app_id="t"))
    assert await leads.holds(2) == ["heartbeat", "released"]
    assert await watches.holds(2) == ["heartbeat", "released"]


async def test_expired_messages_are_not_delivered(site: Site) -> None:
    """A message that outlived its expiration in the queue is never delivered."""
    box, queue = Box(None), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, prefetch=1))
    await broker.publish(to(queue, "holds the only credit"))
    await box.holds(1)
    await broker.publish(to(queue, "expires", expiration_ms=1))
    await broker.publish(to(queue, "stays"))
    loop = asyncio.get_running_loop()
    expired = asyncio.Event()
    loop.call_later(0.1, expired.set)
    await expired.wait()
    box.deliveries[0].ack()
    assert await box.holds(2) == ["holds the only credit", "stays"]


async def test_bounded_queue_drops_the_oldest(site: Site) -> None:
    """An exclusive queue that is full drops its oldest message."""
    box, queue = Box(None), site.queue("classic", exclusive=True, length_max=2)
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, prefetch=1))
    await broker.publish(to(queue, "holds the only credit"))
    await box.holds(1)
    for text in "abcd":
        await broker.publish(to(queue, text))
    for at in range(3):
        await box.holds(at + 1)
        box.deliveries[at].ack()
    assert box.bodies == ["holds the only credit", "c", "d"]


async def test_a_lost_link_comes_back(site: Site) -> None:
    """After a loss the consumer is told once, declared again, and consumes again, also what was unacknowledged."""
    box, queue, own = Box(None), site.queue("quorum"), Box()
    exclusive = site.queue("classic", exclusive=True, length_max=10)
    broker = await site.broker(
        Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost),
        Subscription(queue=exclusive, on_delivery=own, on_lost=own.on_lost),
    )
    other = await site.broker()
    await broker.publish(to(queue, "open"))
    await box.holds(1)
    site.cut(broker)
    await box.loses(1)
    await own.loses(1)
    assert broker.trouble
    box.deliveries[0].ack()
    site.mend(broker)
    await broker.wait_ready(PATIENCE_S)
    assert await box.holds(2) == ["open", "open"]
    assert box.deliveries[1].redelivered
    await other.publish(to(exclusive, "own queue is back"), PATIENCE_S)
    assert await own.holds(1) == ["own queue is back"]
    assert broker.trouble == ""


async def test_without_a_link_nothing_is_sent(site: Site) -> None:
    """While the link is gone, posts and submits say so at once, and a publish waits no longer than it was told."""
    box, queue = Box(), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost))
    site.cut(broker)
    await box.loses(1)
    with pytest.raises(BrokerAway):
        broker.post(to(queue, "post"))
    with pytest.raises(BrokerAway):
        broker.submit(to(queue, "submit"))
    with pytest.raises(BrokerAway):
        await broker.publish(to(queue, "publish"), timeout_s=0.05)
    with pytest.raises(BrokerAway):
        await broker.wait_ready(0.05)
    assert broker.counters.refused == 3
    waiting = asyncio.create_task(broker.publish(to(queue, "after the mend"), PATIENCE_S))
    site.mend(broker)
    await waiting
    assert await box.holds(1) == ["after the mend"]


async def test_a_stream_goes_on_where_it_was(site: Site) -> None:
    """After a loss a stream is read again from the next offset wanted: nothing twice, nothing missing."""
    stream, box = site.queue("stream"), Box()
    broker = await site.broker(
        Subscription(
            queue=stream, on_delivery=box, on_lost=box.on_lost, next_offset=lambda: len(box.deliveries), prefetch=10
        )
    )
    other = await site.broker()
    for round_ in range(3):
        await asyncio.gather(*[other.submit(to(stream, f"{round_}.{n}")) for n in range(100)])
        await box.holds(round_ * 100 + 1)
        site.cut(broker)
        await box.loses(round_ + 1)
        site.mend(broker)
    assert await box.holds(300) == [f"{round_}.{n}" for round_ in range(3) for n in range(100)]
    assert [each.offset for each in box.deliveries] == list(range(300))


async def test_a_hung_tail_is_left_behind(site: Site) -> None:
    """A reader that is stuck, as one whose tail hangs, gets everything once it is asked to consume anew."""
    stream, box = site.queue("stream"), Box(None)
    taken: list[str] = []

    def take(delivery: Delivery) -> None:
        box(delivery)
        if len(box.bodies) > 2:
            taken.append(delivery.body.decode())  # The first two are never acknowledged: the credit of two is gone.
            delivery.ack()

    broker = await site.broker(
        Subscription(queue=stream, on_delivery=take, next_offset=lambda: len(box.bodies), prefetch=2)
    )
    await broker.publish(to(stream, "0"))
    await broker.publish(to(stream, "1"))
    await box.holds(2)
    await asyncio.gather(*[broker.submit(to(stream, str(n))) for n in range(2, 10)])
    assert box.bodies == ["0", "1"]
    broker.consume_again(stream.name)
    await box.holds(10)
    assert taken == [str(n) for n in range(2, 10)]


async def test_exclusive_queues_go_with_their_link(site: Site) -> None:
    """When a process is gone, so is its queue: sending there fails."""
    queue = site.queue("classic", exclusive=True)
    owner = await site.broker(Subscription(queue=queue, on_delivery=Box()))
    other = await site.broker()
    await other.publish(to(queue, "there"))
    await owner.close()
    with pytest.raises(PublishFailed):
        await other.publish(to(queue, "gone"))


async def test_close_sends_what_was_accepted(site: Site) -> None:
    """Closing waits for the confirms and for the posts that were accepted before it."""
    box, queue = Box(), site.queue("quorum")
    await site.broker(Subscription(queue=queue, on_delivery=box))
    other = await site.broker()
    futures = [other.submit(to(queue, "submitted")) for _ in range(100)]
    for _ in range(100):
        other.post(to(queue, "posted"))
    await other.close()
    assert all(each.done() and each.exception() is None for each in futures)
    assert sorted(await box.holds(200)) == ["posted"] * 100 + ["submitted"] * 100
    with pytest.raises(BrokerAway):
        other.post(to(queue, "late"))


async def test_says_what_answered(site: Site) -> None:
    """After the start the broker is named, with its version, and whether it survives anything."""
    broker = await site.broker()
    assert broker.info is not None
    assert broker.info.embedded == (broker.info.product == "embedded")
    assert broker.trouble == ""


async def test_subscribing_late(site: Site) -> None:
    """A subscription to a broker that stands consumes at once, and again after a loss of the link."""
    box, queue = Box(), site.queue("quorum")
    broker = await site.broker()
    broker.subscribe(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost))
    await broker.wait_ready(PATIENCE_S)
    await broker.publish(to(queue, "a"))
    assert await box.holds(1) == ["a"]
    site.cut(broker)
    await box.loses(1)
    site.mend(broker)
    await broker.wait_ready(PATIENCE_S)
    await broker.publish(to(queue, "b"))
    await box.until(lambda: "b" in box.bodies)


async def test_unsubscribing(site: Site) -> None:
    """After an unsubscribe nothing is delivered, and what was not settled goes to whoever subscribes next."""
    first, second, queue = Box(None), Box(), site.queue("quorum")
    broker = await site.broker(Subscription(queue=queue, on_delivery=first, on_lost=first.on_lost))
    await broker.publish(to(queue, "a"))
    await first.holds(1)
    broker.unsubscribe(queue.name)
    await broker.publish(to(queue, "b"))
    broker.subscribe(Subscription(queue=queue, on_delivery=second))
    assert sorted(await second.holds(2)) == ["a", "b"]
    assert (first.bodies, first.lost) == (["a"], 0)
