"""What is large travels on a connection of its own: one suite, on RabbitMQ and on the in-process hub."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from broker_sites import PATIENCE_S, Box, Site, memory_site, rabbit_site, to

from sidecar.broker.interface import Subscription, Unroutable

LARGE = "x" * 200_000


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """Both brokers, one after the other."""
    if request.param == "memory":
        async with memory_site() as memory:
            yield memory
    else:
        async with rabbit_site(request.getfixturevalue("amqp_url")) as rabbit:
            yield rabbit


async def test_large_messages_arrive_in_order(site: Site) -> None:
    """What is submitted in bulk arrives whole and in call order, at a consumer that was told when it began."""
    box, begun, queue = Box(), asyncio.Event(), site.queue("classic", exclusive=True, bytes_max=100_000_000)
    broker = await site.broker()
    broker.subscribe(Subscription(queue=queue, on_delivery=box, prefetch=4, on_begun=begun.set), bulk=True)
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
    await asyncio.gather(*(broker.submit_bulk(to(queue, f"{n}{LARGE}")) for n in range(20)))
    assert await box.holds(20) == [f"{n}{LARGE}" for n in range(20)]
    assert broker.bulk_trouble == ""


async def test_a_full_queue_drops_its_oldest_bytes(site: Site) -> None:
    """A queue that is bounded in bytes keeps the newest messages, beside those that a consumer holds."""
    box, begun, queue = (
        Box(None),
        asyncio.Event(),
        site.queue("classic", exclusive=True, length_max=99, bytes_max=5_000),
    )
    broker = await site.broker()
    broker.subscribe(Subscription(queue=queue, on_delivery=box, prefetch=1, on_begun=begun.set), bulk=True)
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
    await broker.submit_bulk(to(queue, f"{0:1000}"))
    await box.holds(1)
    await asyncio.gather(*(broker.submit_bulk(to(queue, f"{n:1000}")) for n in range(1, 21)))
    while box.bodies[-1] != f"{20:1000}":
        count = len(box.deliveries)
        box.deliveries[-1].ack()
        await box.holds(count + 1)
    assert [int(each) for each in box.bodies] == [0, 16, 17, 18, 19, 20]


async def test_nobody_listens(site: Site) -> None:
    """A message in bulk that reaches no queue says just that."""
    begun, queue = asyncio.Event(), site.queue("classic", exclusive=True)
    broker = await site.broker()
    broker.subscribe(Subscription(queue=queue, on_delivery=Box(), on_begun=begun.set), bulk=True)
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
    with pytest.raises(Unroutable, match="reaches no queue"):
        await broker.submit_bulk(to(site.queue("classic"), "lost"))


async def test_it_comes_back(site: Site) -> None:
    """After a cut its queue is consumed again, and whoever consumes is told."""
    box, begun, queue = Box(), asyncio.Event(), site.queue("classic", exclusive=True)
    broker = await site.broker()
    broker.subscribe(Subscription(queue=queue, on_delivery=box, on_begun=begun.set), bulk=True)
    for body in ("one", "two"):
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        begun.clear()
        await broker.submit_bulk(to(queue, body))
        await box.holds(1 if body == "one" else 2)
        if body == "one":
            site.cut(broker)
            site.mend(broker)
    assert box.bodies == ["one", "two"]
