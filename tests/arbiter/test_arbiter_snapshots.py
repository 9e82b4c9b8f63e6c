"""Arbiter processes that stand on snapshots, compare what they folded, and close when the journal is another's."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aio_pika
import pytest
from arbiter_worlds import WAIT_S, Arbiters, Peer, attached, intent, settings, world

from sidecar.arbiter import anchor
from sidecar.arbiter.process import JOURNAL_REPLACED, STATE_DIFFERS, ArbiterProcess
from sidecar.broker.interface import Broker, Outgoing
from sidecar.broker.memory import MemoryBroker
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES, SNAPSHOT_STREAM
from sidecar.core.sidecar import Sidecar
from sidecar.core.state import State
from sidecar.core.timing import MS
from sidecar.messages.arbiters import ArbiterStatus, StateDiffers
from sidecar.messages.codec import encode
from sidecar.messages.control import StatusRequest
from sidecar.messages.events import StatusReport
from sidecar.messages.journal import Record, SnapshotDigested, TermStarted
from sidecar.messages.orders import OrderDenied, OrderGranted


class Often(Arbiters):
    """Arbiters that take a snapshot every second."""

    def start(self, name: str) -> ArbiterProcess:
        """Start one."""
        broker = self._connect(name)
        plain = settings(name, *self._operators)
        often = plain.arbiter.model_copy(update={"snapshot_records": 10, "snapshot_interval_s": 1})
        process = ArbiterProcess(plain.model_copy(update={"arbiter": often}), broker)
        self.running[name] = (process, asyncio.create_task(process.run()), broker)
        return process

    async def ended(self, name: str) -> int:
        """The exit code of one that ends by itself."""
        async with asyncio.timeout(WAIT_S):
            return await self.running.pop(name)[1]


@pytest.fixture
async def here(connect: Callable[[str], Broker]) -> AsyncIterator[tuple[Peer, Often]]:
    """A peer and a place for arbiters that take a snapshot every second."""
    async with world(connect, "guest", "embedded") as (peer, plain):
        arbiters = Often(plain._connect, "guest", "embedded")
        try:
            yield peer, arbiters
        finally:
            await arbiters.stop_all()


async def acting(peer: Peer) -> Sidecar:
    """A sidecar that holds the slot."""
    sidecar = attached("exec-a")
    await peer.beat(sidecar, until=lambda: sidecar.slots)
    return sidecar


async def until_digested(peer: Peer, sidecar: Sidecar) -> Record:
    """The first digest that is journaled from now on, while the holder lives on."""
    seen = len(peer.records)
    found: Record = await peer.beat(
        sidecar,
        until=lambda: next((each for each in peer.records[seen:] if isinstance(each.fact, SnapshotDigested)), None),
    )
    return found


async def until_written(peer: Peer, sidecar: Sidecar, process: ArbiterProcess) -> int:
    """The journal offset of the leader's newest snapshot, once it has written one."""
    await peer.beat(sidecar, until=lambda: process.metrics.snapshots_written._value.get() > 0)
    return int(process.metrics.snapshot_offset._value.get())


async def arbiters_told(peer: Peer, sidecar: Sidecar, met: Callable[[dict[str, ArbiterStatus]], bool]) -> None:
    """Ask for the status again and again until what it says of the arbiters is so."""
    async with asyncio.timeout(WAIT_S):
        while True:
            peer.seen[:] = [each for each in peer.seen if not isinstance(each, StatusReport)]
            await peer.command(StatusRequest(request_id="r", actor="peer"), "status")
            await peer.beat(sidecar, until=lambda: any(isinstance(each, StatusReport) for each in peer.seen))
            report = next(each for each in peer.seen if isinstance(each, StatusReport))
            if met({each.arbiter: each for each in report.arbiters}):
                return


async def test_start_on_a_snapshot(here: tuple[Peer, Often]) -> None:
    """An arbiter that starts reads the snapshot and the rest of the journal, and knows every order and holder."""
    peer, arbiters = here
    first = arbiters.start("arbiter-1")
    assert not first._snapshots.last().known
    sidecar = await acting(peer)
    await peer.order(intent(sidecar, "order-1"))
    await peer.first(OrderGranted)
    offset = await until_written(peer, sidecar, first)
    taken = first._snapshots.last()
    assert (taken.of, taken.known, (taken.offset or 0) >= offset) == ("journal", True, True)
    assert (taken.age_s or 0) < 60
    await arbiters.kill("arbiter-1")
    second = arbiters.start("arbiter-2")
    term = first._core.state.position.term
    await peer.beat(sidecar, until=lambda: second._core.leading)
    assert second._core.state.position.term > term
    assert int(second.metrics.snapshot_offset._value.get()) >= offset > 0
    assert second.metrics.journal_read._value.get() < len(peer.records) - offset + 5
    await peer.order(intent(sidecar, "order-1", qty=intent(sidecar, "x").qty * 2))
    assert (await peer.first(OrderDenied)).code == "DUPLICATE"
    await peer.until(lambda: peer.fold().position.n >= second._core.desk.log_state.position.n)
    assert second._core.state.holders["execution/0"].component == "exec-a"


async def test_all_arbiters_compare(here: tuple[Peer, Often]) -> None:
    """Leader and standby fold the same digest, and the status shows both with it."""
    peer, arbiters = here
    arbiters.start("arbiter-1")
    sidecar = await acting(peer)
    arbiters.start("arbiter-2")
    await until_digested(peer, sidecar)

    def same(told: dict[str, ArbiterStatus]) -> bool:
        if set(told) != {"arbiter-1", "arbiter-2"}:
            return False
        one, two = told["arbiter-1"], told["arbiter-2"]
        return one.digest_offset == two.digest_offset >= 0 and one.digest == two.digest != ""

    await arbiters_told(peer, sidecar, same)


async def test_another_state_ends_the_standby(here: tuple[Peer, Often]) -> None:
    """A standby whose memory went wrong says so and ends with its own exit code, and the leader goes on."""
    peer, arbiters = here
    first = arbiters.start("arbiter-1")
    sidecar = await acting(peer)
    second = arbiters.start("arbiter-2")
    await peer.beat(sidecar, until=lambda: second._core.offset > 0)
    second._core.desk.log_state.control_version += 1
    await peer.beat(sidecar, until=lambda: any(isinstance(each, StateDiffers) for each in peer.seen))
    assert (await peer.first(StateDiffers)).arbiter == "arbiter-2"
    assert await arbiters.ended("arbiter-2") == STATE_DIFFERS
    assert second.metrics.state_differs._value.get() == 1
    await until_digested(peer, sidecar)
    assert first._core.leading


async def test_a_damaged_snapshot_is_told(here: tuple[Peer, Often]) -> None:
    """A damaged snapshot is counted and shown in the status, and the journal is read instead."""
    peer, arbiters = here
    await peer.raw("", SNAPSHOT_STREAM, b'{"format":1}\nnonsense', "snapshot-part.v1", "peer")
    process = arbiters.start("arbiter-1")
    sidecar = await acting(peer)
    assert process.metrics.snapshots_ignored._value.get() == 1
    await arbiters_told(peer, sidecar, lambda told: "no part of a snapshot" in told["arbiter-1"].warning)
    await until_written(peer, sidecar, process)
    await arbiters_told(peer, sidecar, lambda told: not told["arbiter-1"].warning)


async def replace_journal(peer: Peer, url: str) -> None:
    """Delete the journal with all that is in it, as somebody might; whoever comes next declares it anew."""
    if isinstance(peer.broker, MemoryBroker):
        peer.broker._hub.delete(JOURNAL_STREAM)
        peer.broker._hub.declare(next(each for each in QUEUES if each.name == JOURNAL_STREAM), None)
        return
    async with await aio_pika.connect(url, timeout=WAIT_S) as connection:
        channel = await connection.channel()
        await channel.queue_delete(JOURNAL_STREAM, timeout=WAIT_S)


@pytest.mark.parametrize("entries", [0, 300])
async def test_a_replaced_journal_is_not_guessed(
    connect: Callable[[str], Broker],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    entries: int,
) -> None:
    """With a snapshot and a journal that was made anew, empty or longer than before, an arbiter ends and says so."""
    monkeypatch.setattr(anchor, "WAIT_NS", 1_000 * MS)
    async with world(connect) as (peer, plain):
        arbiters = Often(plain._connect)
        first = arbiters.start("arbiter-1")
        sidecar = await acting(peer)
        await until_written(peer, sidecar, first)
        await arbiters.kill("arbiter-1")
        peer.broker.unsubscribe(JOURNAL_STREAM)
        url = "" if isinstance(peer.broker, MemoryBroker) else request.getfixturevalue("amqp_url")
        await replace_journal(peer, url)
        other = connect("other")
        await other.start()
        await other.wait_ready(WAIT_S)
        for _ in range(entries):
            await other.publish(Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=b"{}", type="x", app_id="x"))
        await other.close()
        second = arbiters.start("arbiter-2")
        assert await arbiters.ended("arbiter-2") == JOURNAL_REPLACED
        assert not second._core.leading


async def test_a_journal_without_its_beginning_is_not_guessed(connect: Callable[[str], Broker]) -> None:
    """Without a snapshot a journal must begin at its first entry: what retention took away cannot be known."""
    broker = connect("arbiter-1")
    if not isinstance(broker, MemoryBroker):
        pytest.skip("retention of a real stream works on whole segments; tests/journal has what a gap does")
    stream = broker._hub._queues[JOURNAL_STREAM]
    stream._first = 7  # type: ignore[union-attr]  # The hub's journal is a stream.
    arbiters = Often(connect)
    arbiters.start("arbiter-1")
    record = Record(term=1, n=0, arbiter="gone#1", at_ns=0, fact=TermStarted(reason="a test"))
    other = connect("other")
    await other.start()
    await other.publish(
        Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=encode(record), type="record.v1", app_id="x")
    )
    assert await arbiters.ended("arbiter-1") == JOURNAL_REPLACED
    await other.close()


async def test_a_newer_versions_field_keeps_the_chain(here: tuple[Peer, Often]) -> None:
    """A record with a field of a newer version is folded, and the chain is over its bytes in the log."""
    peer, arbiters = here
    record = Record(term=4, n=0, arbiter="newer#1", at_ns=0, fact=TermStarted(reason="a test"))
    body = encode(record).replace(b'"term"', b'"added_later":[1],"term"', 1)
    await peer.raw("", JOURNAL_STREAM, body, "record.v1", "newer")
    process = arbiters.start("arbiter-1")
    await acting(peer)
    told = process._core.desk.log_state.position
    await peer.until(lambda: any((each.term, each.n) == (told.term, told.n) for each in peer.records))
    folded = State()
    for each in peer.records:
        if (folded.position.term, folded.position.n) != (told.term, told.n):
            folded.apply(each, body if each.term == 4 else encode(each))
    assert folded.position == told


async def test_stopping_while_nothing_answers(connect: Callable[[str], Broker]) -> None:
    """An arbiter that waits for the stream of snapshots stops when it is told to."""
    broker = connect("arbiter-1")
    process = ArbiterProcess(settings("arbiter-1"), broker)
    if isinstance(broker, MemoryBroker):
        broker.mend = lambda: None  # type: ignore[method-assign]  # It never connects.
    task = asyncio.create_task(process.run())
    await asyncio.sleep(0)
    process.stop()
    async with asyncio.timeout(WAIT_S):
        assert await task == 0
