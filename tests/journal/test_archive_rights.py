"""The archive at a RabbitMQ of its own: with no more rights than an auditor's, and behind a real stream's retention."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiormq
import pytest
from archived import body, rows
from managed_brokers import Managed, managed_broker
from prometheus_client import CollectorRegistry
from yarl import URL

from sidecar.broker import admin
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM
from sidecar.config.models import ArchiveSettings
from sidecar.journal.archive_compare import compare_with_journal
from sidecar.journal.archive_search import reading
from sidecar.journal.archive_verify import verify
from sidecar.journal.archiving import Archiver
from sidecar.telemetry.metrics import ArchiveFigures

pytestmark = pytest.mark.broker
WAIT_S = 90.0
LOOK_AGAIN_S = 0.01
SEGMENT_BYTES = 100_000
AUDITOR = json.loads((Path(__file__).parents[2] / "topology" / "permissions.json").read_text())["auditor"]


@pytest.fixture(scope="module")
def managed(broker_in_container: bool) -> Iterator[Managed]:
    """One for the tests of this module."""
    with managed_broker(broker_in_container) as broker:
        asyncio.run(admin.apply(broker.amqp_url))
        broker.control("add_user", "auditor", "secret")
        broker.control("set_permissions", "auditor", AUDITOR["configure"], AUDITOR["write"], AUDITOR["read"])
        yield broker


def auditor(managed: Managed) -> str:
    """The URL of a user with the role's rights and no more."""
    return str(URL(managed.amqp_url).with_user("auditor").with_password("secret"))


@contextlib.asynccontextmanager
async def archiving(amqp: str, url: str, until: int) -> AsyncIterator[CollectorRegistry]:
    """An archiver, once it has reached this offset; stopped at the end."""
    registry = CollectorRegistry()
    broker, watch = RabbitBroker([amqp], name="archive"), RabbitBroker([amqp], name="watch")
    archiver = Archiver(broker, watch, ArchiveSettings(flush_ms=5), url, ArchiveFigures(registry))
    task = asyncio.create_task(archiver.run())
    try:
        async with asyncio.timeout(WAIT_S):
            while archiver.next_offset < until:
                await asyncio.wait((task,), timeout=LOOK_AGAIN_S)
                if task.done():
                    task.result()
        yield registry
    finally:
        archiver.stop()
        await asyncio.gather(task, return_exceptions=True)


async def append(managed: Managed, first: int, end: int) -> None:
    """Records of one author, as the administrator."""
    connection = await aiormq.connect(managed.amqp_url)
    channel = await connection.channel(publisher_confirms=True)
    for at in range(first, end, 500):
        found = (body(n) for n in range(at, min(at + 500, end)))
        await asyncio.gather(*(channel.basic_publish(each, routing_key=JOURNAL_STREAM) for each in found))
    await connection.close()


async def test_an_auditors_rights_suffice(managed: Managed, tmp_path: Path) -> None:
    """The archive and the comparison with the journal need no right but the auditor's, which are to read."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    await append(managed, 0, 100)
    async with archiving(auditor(managed), url, 100):
        found = await compare_with_journal(RabbitBroker([auditor(managed)], name="audit"), url, wait_s=WAIT_S)
    assert (found.entries, found.findings) == (100, ())


async def test_retention_of_a_real_stream(managed: Managed, tmp_path: Path) -> None:
    """New segments leave holes that are no gap; segments that retention took before they were archived are one."""
    policy = {"stream-max-segment-size-bytes": SEGMENT_BYTES, "max-length-bytes": 4 * SEGMENT_BYTES}
    managed.control("set_policy", "small", f"^{JOURNAL_STREAM}$", json.dumps(policy), "--apply-to", "queues")
    connection = await aiormq.connect(managed.amqp_url)
    channel = await connection.channel()
    await channel.queue_delete(JOURNAL_STREAM)
    await connection.close()
    await admin.apply(managed.amqp_url)
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    async with archiving(auditor(managed), url, 0) as registry:
        for first in range(0, 3_000, 500):  # Not faster than it is archived, or retention comes first.
            await append(managed, first, first + 500)
            async with archiving(auditor(managed), url, first + 500):
                continue
    assert {each.verdict for each in rows(url)} == {"valid", "hole"}
    assert not registry.get_sample_value("sidecar_archive_gaps_total")
    await append(managed, 3_000, 15_000)
    async with archiving(auditor(managed), url, 15_000) as registry:
        assert registry.get_sample_value("sidecar_archive_gaps_total") == 1
    with reading(url) as reader:
        findings = verify(reader).findings
    assert [each.kind for each in findings] == ["gap"]
