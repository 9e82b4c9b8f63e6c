"""What comes round to our own consumer decides whether we are well."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from broker_sites import PATIENCE_S, Box, RabbitSite, rabbit_site, to

from sidecar.broker import roundtrip
from sidecar.broker.interface import Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.roundtrip import Roundtrip

pytestmark = pytest.mark.broker


@pytest.fixture
async def site(amqp_url: str) -> AsyncIterator[RabbitSite]:
    """A real broker."""
    async with rabbit_site(amqp_url) as rabbit:
        yield rabbit


async def test_it_hears_itself_and_keeps_that_to_itself(site: RabbitSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ours comes round and is kept, everything else is handed on; a stalled link is trouble, and heals."""
    monkeypatch.setattr(roundtrip, "LATE_S", 0.3)
    queue, box = site.queue("quorum"), Box()
    broker = await site.unready(amqp_heartbeat_s=60)
    trip = Roundtrip(broker, "us", exchange="", routing_key=queue.name, what="the test")
    broker.subscribe(Subscription(queue=queue, on_delivery=trip.listen(box)))
    await broker.start()
    await broker.wait_ready(PATIENCE_S)
    trip.send()
    await broker.publish(to(queue, "theirs"), PATIENCE_S)
    assert await box.holds(1) == ["theirs"]
    await until_round(site, trip)  # Not behind "theirs" for certain: it goes through the channel without confirms.
    assert trip.trouble == ""
    site.proxy(broker).stall()
    trip.send()
    await until_said(site, trip, "nothing has come round the test")
    assert broker.trouble == ""  # The connection stands: only what comes round tells.
    site.proxy(broker).resume()
    monkeypatch.setattr(roundtrip, "LATE_S", PATIENCE_S)
    trip.send()  # The one before has expired on its way.
    await until_round(site, trip)
    assert trip.trouble == ""


async def test_a_consumer_that_is_gone(site: RabbitSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody consumes, nothing comes round, and that is trouble though every link stands."""
    monkeypatch.setattr(roundtrip, "LATE_S", 0.2)
    queue = site.queue("quorum")
    broker = RabbitBroker([site.url], name="lonely")
    trip = Roundtrip(broker, "us", exchange="", routing_key=queue.name, what="the test")
    await broker.start()
    await broker.wait_ready(PATIENCE_S)
    trip.send()
    await until_said(site, trip, "nothing has come round the test")
    assert broker.trouble == ""
    await broker.close()


async def until_said(site: RabbitSite, trip: Roundtrip, text: str) -> None:
    """Wait until its trouble begins with this text."""
    async with asyncio.timeout(PATIENCE_S):
        while not trip.trouble.startswith(text):
            await site.round_trip()


async def until_round(site: RabbitSite, trip: Roundtrip) -> None:
    """Wait until none is on its way."""
    async with asyncio.timeout(PATIENCE_S):
        while trip.waiting:
            await site.round_trip()
