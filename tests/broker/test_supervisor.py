"""The connection supervisor against what an operator, or a node in need, does to our connections."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict

import pytest
from broker_sites import PATIENCE_S, Box, RabbitSite, rabbit_site, to
from managed_brokers import Managed, managed_broker

from sidecar.broker.interface import BrokerAway, Outgoing, PublishFailed, Subscription
from sidecar.telemetry.broker_figures import COUNTERS
from sidecar.telemetry.metrics import ReconcilerMetrics

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def managed(broker_in_container: bool) -> Iterator[Managed]:
    """A broker to be harmed."""
    with managed_broker(broker_in_container) as broker:
        yield broker


@pytest.fixture
async def site(managed: Managed) -> AsyncIterator[RabbitSite]:
    """That one."""
    async with rabbit_site(managed.amqp_url) as rabbit:
        yield rabbit


async def test_an_operator_closes_all_connections(managed: Managed, site: RabbitSite) -> None:
    """After rabbitmqctl close_all_connections all three links stand again, and consumers really consume, in order."""
    queue, halts = site.queue("quorum"), site.queue("classic", exclusive=True)
    box, control = Box(), Box()
    broker = await site.unready()
    broker.subscribe(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost))
    broker.subscribe(Subscription(queue=halts, on_delivery=control, on_lost=control.on_lost), control=True)
    await broker.start()
    await broker.wait_ready(PATIENCE_S)
    for n in range(3):
        await asyncio.to_thread(managed.control, "close_all_connections", "a drill")
        await box.loses(n + 1)
        await control.loses(n + 1)
        await broker.wait_ready(PATIENCE_S)
        await broker.publish(to(queue, str(n)), PATIENCE_S)
        await broker.publish(to(halts, f"halt {n}"), PATIENCE_S)
        await control.holds(n + 1)
    assert await box.holds(3) == ["0", "1", "2"]
    assert broker.counters.reconnects >= 9


async def test_a_memory_alarm(managed: Managed, site: RabbitSite) -> None:
    """A real alarm is said and counted, nothing is sent meanwhile and its caller hears so; afterwards it goes on."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box), publish_timeout_ms=500)
    await asyncio.to_thread(managed.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        async with asyncio.timeout(PATIENCE_S):
            while "blocks publishers" not in broker.trouble:  # RabbitMQ blocks a connection when it next publishes.
                broker.post(to(queue, "posted"))
                await site.round_trip()
        with pytest.raises(BrokerAway, match="alarm"):
            broker.submit(to(queue, "refused"))
        with pytest.raises(BrokerAway, match="alarm"):
            await broker.publish(to(queue, "refused"), timeout_s=0.6)
        assert broker.counters.blocked_s > 0.2
        assert broker.counters.refused == 2
    finally:
        await asyncio.to_thread(managed.control, "set_vm_memory_high_watermark", "0.6")
    await broker.publish(to(queue, "after"), PATIENCE_S)
    await box.until(lambda: box.bodies[-1:] == ["after"])
    assert "refused" not in box.bodies


async def test_what_is_counted_is_published(site: RabbitSite) -> None:
    """Returned, refused and reconnected are counted once each, and Prometheus has every counter there is."""
    queue, box = site.queue("quorum"), Box()
    broker = await site.broker(Subscription(queue=queue, on_delivery=box, on_lost=box.on_lost))
    with pytest.raises(PublishFailed, match="reaches no queue"):
        await broker.publish(Outgoing(exchange="", routing_key="nowhere", body=b"", type="t.v1", app_id="t"))
    site.cut(broker)
    await box.loses(1)
    with pytest.raises(BrokerAway):
        await broker.publish(to(queue, "refused"), timeout_s=0.1)
    site.mend(broker)
    await broker.wait_ready(PATIENCE_S)
    counters = broker.counters
    assert (counters.returned, counters.refused, counters.publish_failures) == (1, 1, 1)
    metrics = ReconcilerMetrics("1")
    metrics.broker.counters = lambda: asdict(broker.counters)
    metrics.broker.findings = lambda: {"critical": 2}
    assert set(asdict(counters)) == set(COUNTERS)
    for name, figure in (("reconnects", counters.reconnects), ("returned", 1), ("refused", 1), ("blocked_seconds", 0)):
        assert metrics.registry.get_sample_value(f"sidecar_broker_{name}_total") == figure
    assert metrics.registry.get_sample_value("sidecar_broker_findings", {"level": "critical"}) == 2
