"""The journal is copied as it grows: over the in-process broker and RabbitMQ, into SQLite and PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from archived import EVERYTHING, body, rows
from postgres_server import PostgresServer
from prometheus_client import CollectorRegistry

from sidecar.broker import memory_queue
from sidecar.broker.interface import Broker, Outgoing
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM, QueueSpec
from sidecar.config.models import ArchiveSettings
from sidecar.journal import archiving
from sidecar.journal.archive import StreamChanged
from sidecar.journal.archive_compare import Compared, compare_with_journal
from sidecar.journal.archive_search import reading
from sidecar.journal.archive_verify import verify
from sidecar.journal.archiving import Archiver
from sidecar.telemetry.metrics import ArchiveFigures

WAIT_S = 60.0
LOOK_AGAIN_S = 0.005
QUICK = ArchiveSettings(batch_rows=20, flush_ms=5, backoff_max_ms=100)
Connect = Callable[[str], Broker]


@dataclass
class Running:
    """One archiver at work."""

    archiver: Archiver
    registry: CollectorRegistry
    broker: Broker
    task: "asyncio.Task[None]"

    def figure(self, name: str) -> float:
        """One of its metrics."""
        return self.registry.get_sample_value(f"sidecar_archive_{name}") or 0.0

    async def until(self, met: Callable[[], bool]) -> None:
        """Return once the condition holds; what ends the archiver ends the wait."""
        async with asyncio.timeout(WAIT_S):
            while not met():
                if self.task.done():
                    self.task.result()
                await asyncio.wait((self.task,), timeout=LOOK_AGAIN_S)

    async def reaches(self, offset: int) -> None:
        """Return once everything before this offset is archived."""
        await self.until(lambda: self.archiver.next_offset >= offset)


@contextlib.asynccontextmanager
async def archiving_to(connect: Connect, url: str, settings: ArchiveSettings = QUICK) -> AsyncIterator[Running]:
    """An archiver, stopped at the end."""
    registry, broker = CollectorRegistry(), connect("archive")
    archiver = Archiver(broker, connect("watch"), settings, url, ArchiveFigures(registry))
    running = Running(archiver, registry, broker, asyncio.create_task(archiver.run()))
    try:
        yield running
    finally:
        archiver.stop()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(running.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def author(connect: Connect) -> AsyncIterator[Callable[[int, int], "asyncio.Future[list[None]]"]]:
    """Appends the records from the first to before the last, in order; await it for the confirms."""
    broker = connect("author")
    await broker.start()
    await broker.wait_ready(WAIT_S)

    def append(first: int, end: int) -> "asyncio.Future[list[None]]":
        return asyncio.gather(*(broker.submit(entry(body(n))) for n in range(first, end)))

    yield append
    await broker.close()


def entry(record: bytes) -> Outgoing:
    """A message to the journal."""
    return Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=record, type="record.v1", app_id="author")


def copied(url: str, count: int) -> None:
    """The archive has exactly the first records, each once, in order, and verifies."""
    assert [each.body for each in rows(url, EVERYTHING)] == [body(n) for n in range(count)]
    with reading(url) as reader:
        assert verify(reader).findings == ()


@pytest.fixture
def connect_memory() -> Connect:
    """The in-process broker."""
    hub = MemoryHub()
    return lambda name: MemoryBroker(hub, name=name)


@pytest.fixture
def connect_rabbit(request: pytest.FixtureRequest) -> Connect:
    """RabbitMQ."""
    url = request.getfixturevalue("clean_amqp_url")
    return lambda name: RabbitBroker([url], name=name, backoff_max_ms=200)


async def test_follows(connect: Connect, archive_url: str) -> None:
    """What stood in the journal before, and what comes while it is archived, is archived once, in order."""
    async with author(connect) as append:
        await append(0, 150)
        async with archiving_to(connect, archive_url) as running:
            await running.reaches(150)
            await append(150, 300)
            await running.reaches(300)
            assert running.archiver.troubles() == ()
            assert (running.figure("rows_total"), running.figure("last_offset")) == (300, 299)
            await running.until(lambda: running.archiver.lag_records == 0)
    copied(archive_url, 300)


async def test_resumes(connect: Connect, archive_url: str) -> None:
    """An archive that is stopped and started goes on where it was, and writes nothing twice."""
    async with author(connect) as append:
        for end in (40, 41, 90, 200):
            async with archiving_to(connect, archive_url) as running:
                await append({40: 0, 41: 40, 90: 41, 200: 90}[end], end)
                await running.reaches(end)
    copied(archive_url, 200)


async def test_lost_link(connect: Connect, archive_url: str) -> None:
    """A link that is lost again and again while entries come loses none and repeats none."""
    async with author(connect) as append, archiving_to(connect, archive_url) as running:
        for first in range(0, 200, 50):
            appended = append(first, first + 50)
            await running.reaches(first + 10)
            if isinstance(running.broker, MemoryBroker):
                running.broker.cut()
                running.broker.mend()
            elif isinstance(running.broker, RabbitBroker):
                running.broker.abort()
            await appended
        await running.reaches(200)
    copied(archive_url, 200)


async def test_cancelled_anywhere(connect: Connect, archive_url: str) -> None:
    """An archiver that is cancelled at whatever point, again and again, leaves an archive that goes on."""
    async with author(connect) as append:
        await append(0, 400)
        for steps in range(0, 400, 40):
            async with archiving_to(connect, archive_url) as running:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02 + steps / 4_000):
                        await running.reaches(400)
                running.task.cancel()
        async with archiving_to(connect, archive_url) as running:
            await running.reaches(400)
    copied(archive_url, 400)


async def test_database_away(connect: Connect, postgres: PostgresServer, postgres_url: str) -> None:
    """While the database is down the journal keeps the backlog, health says why, and it goes on by itself."""
    async with author(connect) as append, archiving_to(connect, postgres_url) as running:
        await append(0, 100)
        await running.reaches(100)
        postgres.stop()
        try:
            await append(100, 400)
            await running.until(lambda: running.figure("failures_total") >= 2)
            assert any("cannot be written" in each for each in running.archiver.troubles())
            await running.until(lambda: running.figure("lag_records") == 300)
            assert running.archiver.next_offset == 100
            if isinstance(running.broker, MemoryBroker):  # RabbitMQ ends a stream's chunk beyond what was asked for.
                assert running.broker.counters.delivered <= 100 + 2 * QUICK.batch_rows + 1
        finally:
            postgres.start()
        await running.reaches(400)
        assert running.archiver.troubles() == ()
    copied(postgres_url, 400)


async def test_database_away_at_the_start(connect_memory: Connect, postgres: PostgresServer, postgres_url: str) -> None:
    """An archive that is started before its database waits for it."""
    postgres.stop()
    try:
        async with author(connect_memory) as append, archiving_to(connect_memory, postgres_url) as running:
            await append(0, 10)
            await running.until(lambda: running.figure("failures_total") >= 1)
            postgres.start()
            await running.reaches(10)
    finally:
        if postgres.process is None:
            postgres.start()
    copied(postgres_url, 10)


async def test_stops_while_the_database_is_away(
    connect_memory: Connect, postgres: PostgresServer, postgres_url: str
) -> None:
    """An archive that waits for its database can be stopped."""
    async with author(connect_memory) as append, archiving_to(connect_memory, postgres_url) as running:
        await append(0, 10)
        await running.reaches(10)
        postgres.stop()
        try:
            await append(10, 20)
            await running.until(lambda: running.figure("failures_total") >= 1)
            running.archiver.stop()
            async with asyncio.timeout(WAIT_S):
                await running.task
        finally:
            postgres.start()


async def test_gap(connect_memory: Connect, archive_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that retention took before they were archived leave a row in their place, and are counted."""
    async with author(connect_memory) as append:
        await append(0, 50)
        async with archiving_to(connect_memory, archive_url) as running:
            await running.reaches(50)
        monkeypatch.setattr(memory_queue, "STREAM_LENGTH_MAX", 30)
        await append(50, 120)
        async with archiving_to(connect_memory, archive_url) as running:
            await running.reaches(120)
            assert running.figure("gaps_total") == 1
    with reading(archive_url) as reader:
        (gap,) = verify(reader).findings
    assert (gap.kind, gap.first) == ("gap", 50)
    assert len(rows(archive_url)) == 50 + 1 + 120 - (gap.last + 1)


async def test_stream_made_anew(archive_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was deleted is noticed at the start, whether the new one is shorter or longer."""
    monkeypatch.setattr(archiving, "SILENT_S", 0.1)
    hub = MemoryHub()

    def connect(name: str) -> Broker:
        return MemoryBroker(hub, name=name)

    async with author(connect) as append, archiving_to(connect, archive_url) as running:
        await append(0, 50)
        await running.reaches(50)
    hub.delete(JOURNAL_STREAM)
    hub.declare(QueueSpec(JOURNAL_STREAM, "stream"), None)
    async with author(connect) as append:
        async with archiving_to(connect, archive_url) as running:
            await append(10, 20)
            await running.until(lambda: any("not delivered" in each for each in running.archiver.troubles()))
        await append(20, 120)
        async with archiving_to(connect, archive_url) as running:
            with pytest.raises(StreamChanged, match="offset 49"):
                await running.reaches(51)
    assert len(rows(archive_url)) == 50


async def test_retention(connect_memory: Connect, archive_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With retention configured, what is older goes while new entries come, and the rest verifies."""
    monkeypatch.setattr(archiving, "PRUNE_EVERY_S", 0.0)
    monkeypatch.setattr(archiving, "PRUNE_ROWS", 7)
    monkeypatch.setattr(archiving, "SILENT_S", 0.1)  # Between two looks at what there is to delete lies half of it.
    monkeypatch.setattr("sidecar.journal.archiving.time.time_ns", lambda: 2_000_000_000 * 10**9)
    settings = ArchiveSettings(batch_rows=20, flush_ms=5, retention_days=1)
    async with author(connect_memory) as append, archiving_to(connect_memory, archive_url, settings) as running:
        await append(0, 100)
        await running.until(lambda: running.figure("pruned_total") == 99)
    with reading(archive_url) as reader:
        result = verify(reader)
    assert (result.findings, result.rows, result.first_offset) == ((), 1, 99)


async def compared(connect: Connect, url: str) -> Compared:
    """Archive and journal held against each other."""
    return await compare_with_journal(connect("audit"), url, wait_s=1.0)


async def test_compared_with_the_journal(connect: Connect, archive_url: str) -> None:
    """An archive whose end was cut off without a trace is betrayed by the journal, and so is other damage."""
    async with author(connect) as append:
        await append(0, 60)
        async with archiving_to(connect, archive_url) as running:
            await running.reaches(60)
        assert (await compared(connect, archive_url)).findings == ()
        await append(60, 80)
        behind = await compared(connect, archive_url)
        assert [(each.kind, each.first) for each in behind.findings] == [("behind", 60)]
        assert (behind.entries, behind.first_offset, behind.last_offset) == (60, 0, 59)
