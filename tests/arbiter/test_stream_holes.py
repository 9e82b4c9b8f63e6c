"""An arbiter on a real stream whose offsets have holes: RabbitMQ uses one itself with each new segment."""

import asyncio
import json
from collections.abc import Iterator

import aiormq
import pytest
from arbiter_worlds import WAIT_S, settings
from archived import body
from managed_brokers import Managed, managed_broker

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker import admin
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM

pytestmark = pytest.mark.broker
RECORDS = 2_000
LOOK_AGAIN_S = 0.01


@pytest.fixture
def managed(broker_in_container: bool) -> Iterator[Managed]:
    """A broker whose journal has segments of 100 kB."""
    with managed_broker(broker_in_container) as broker:
        policy = {"stream-max-segment-size-bytes": 100_000}
        broker.control("set_policy", "small", f"^{JOURNAL_STREAM}$", json.dumps(policy), "--apply-to", "queues")
        asyncio.run(admin.apply(broker.amqp_url))
        yield broker


async def test_holes_of_new_segments_stop_nobody(managed: Managed) -> None:
    """An arbiter reads a journal of many segments to its end, holes and all, and leads."""
    connection = await aiormq.connect(managed.amqp_url)
    channel = await connection.channel(publisher_confirms=True)
    for first in range(0, RECORDS, 500):
        await asyncio.gather(
            *(channel.basic_publish(body(n), routing_key=JOURNAL_STREAM) for n in range(first, first + 500))
        )
    await connection.close()
    arbiter = ArbiterProcess(settings("arbiter-1"), RabbitBroker([managed.amqp_url], name="arbiter-1"))
    running = asyncio.create_task(arbiter.run())
    async with asyncio.timeout(WAIT_S):
        while not arbiter._core.leading:
            await asyncio.wait((running,), timeout=LOOK_AGAIN_S)
            assert not running.done(), running.result()
    assert arbiter._core.offset > RECORDS, "no hole was made, so this shows nothing: make the segments smaller"
    arbiter.stop()
    assert await running == 0
