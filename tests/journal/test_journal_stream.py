"""The journal's end of the stream, over the in-process broker and over RabbitMQ."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import pytest

from sidecar.broker.interface import Broker, Delivery, Outgoing
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM, SNAPSHOT_STREAM
from sidecar.core.log import Verdict
from sidecar.core.state import State
from sidecar.journal.stream import READ_AHEAD, Journal
from sidecar.messages.codec import decode_record, encode
from sidecar.messages.journal import Record, TermStarted, Ticked

WAIT_S = 20.0


class Author:
    """One author's records, appended and read back, with the log's own judgement of each."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.state = State()
        self.in_flight: deque[Record] = deque()
        self.verdicts: list[Verdict] = []
        self._changed = asyncio.Event()
        self.journal = Journal(
            broker, "author", on_entry=self._entry, in_flight=lambda: tuple(map(encode, self.in_flight))
        )
        self.journal.read_from(0)

    def append(self, n: int) -> None:
        """Append the n-th record of term 1."""
        fact = TermStarted(reason="a test") if n == 0 else Ticked()
        record = Record(term=1, n=n, arbiter="author#1", at_ns=n, fact=fact)
        self.in_flight.append(record)
        self.journal.append(encode(record))

    async def until_read(self, n: int) -> None:
        """Return when the log stands at n."""
        async with asyncio.timeout(WAIT_S):
            while self.state.position.n < n:
                self._changed.clear()
                await self._changed.wait()

    def _entry(self, delivery: Delivery) -> None:
        record = decode_record(delivery.body)
        if isinstance(record, Record):
            self.verdicts.append(self.state.apply(record, delivery.body))
            if self.in_flight and self.in_flight[0] == record:
                self.in_flight.popleft()
        delivery.ack()
        self._changed.set()


@pytest.fixture
async def author(connect: Callable[[str], Broker]) -> AsyncIterator[Author]:
    """An author on a broker with an empty journal."""
    broker = connect("author")
    author = Author(broker)
    await broker.start()
    await broker.wait_ready(WAIT_S)
    yield author
    await author.journal.close()
    await broker.close()


def breaker(broker: Broker) -> tuple[Callable[[], None], Callable[[], None]]:
    """How to cut this broker's links, and how to mend them."""
    if isinstance(broker, MemoryBroker):
        return broker.cut, broker.mend
    assert isinstance(broker, RabbitBroker)
    return broker.abort, lambda: None


async def test_read_back_in_order(author: Author) -> None:
    """What is appended without waiting is read back in order, each record valid once."""
    for n in range(500):
        author.append(n)
    await author.until_read(499)
    assert author.verdicts == [Verdict.VALID] * 500


async def test_append_again(author: Author) -> None:
    """Records whose appends were cut off are appended again, and the log has all of them valid, in order."""
    cut, mend = breaker(author.broker)
    for n in range(100):
        author.append(n)
    await author.until_read(10)
    cut()
    for n in range(100, 200):
        author.append(n)
    mend()
    await author.until_read(199)
    assert author.verdicts.count(Verdict.VALID) == 200
    assert author.state.position.n == 199


async def test_read_once(author: Author) -> None:
    """After its link was lost a reader goes on behind the last record it has seen."""
    cut, mend = breaker(author.broker)
    for n in range(50):
        author.append(n)
    await author.until_read(49)
    seen = len(author.verdicts)
    cut()
    mend()
    await author.broker.wait_ready(WAIT_S)
    author.append(50)
    await author.until_read(50)
    assert author.verdicts[seen:] == [Verdict.VALID]


class Tail(MemoryBroker):
    """Counts new subscriptions instead of making them."""

    def __init__(self) -> None:
        super().__init__(MemoryHub(), name="author", user="author")
        self.anew = 0
        self.confirms: list[asyncio.Future[None]] = []

    def submit(self, out: Outgoing) -> asyncio.Future[None]:
        """Remember the confirm."""
        self.confirms.append(super().submit(out))
        return self.confirms[-1]

    def consume_again(self, queue: str) -> None:
        """Count it."""
        self.anew += 1


async def test_a_silence_for_everybody_is_borne() -> None:
    """A stream that is silent to all keeps its consumer: the broker would answer no new one before it flows again."""
    broker = Tail()
    author = Author(broker)
    await broker.start()
    author.append(0)
    await author.until_read(0)
    author.journal.read_elsewhere(0)
    author.journal.subscribe_again()
    assert broker.anew == 0
    await broker.close()


async def test_a_tail_that_others_have_passed_is_left() -> None:
    """A consumer is left when another reader of the stream is further."""
    broker = Tail()
    author = Author(broker)
    author.journal.read_elsewhere(0)
    author.journal.subscribe_again()
    assert broker.anew == 1


async def test_a_tail_without_what_was_confirmed_is_left() -> None:
    """A consumer is left when an append of our own was confirmed and does not come."""
    broker = Tail()
    author = Author(broker)
    await broker.start()
    broker.unsubscribe(JOURNAL_STREAM)
    author.append(0)
    await broker.confirms[-1]
    author.journal.subscribe_again()
    assert broker.anew == 1
    await broker.close()


async def test_a_slow_reader_holds_a_bounded_number(connect: Callable[[str], Broker]) -> None:
    """Entries that are not handled hold back further ones, however long the journal is, and nothing is skipped."""
    broker, waiting, arrived = connect("reader"), deque[Delivery](), asyncio.Event()

    def on_entry(delivery: Delivery) -> None:
        waiting.append(delivery)
        arrived.set()

    journal = Journal(broker, "reader", on_entry=on_entry, in_flight=tuple)
    journal.read_from(0)
    await broker.start()
    await broker.wait_ready(WAIT_S)
    bodies = [str(each).encode() for each in range(3 * READ_AHEAD)]
    confirms = [
        broker.submit(Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=each, type="x", app_id="x"))
        for each in bodies
    ]
    read: list[bytes] = []
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*confirms)
        while len(read) < len(bodies):
            while not waiting:
                arrived.clear()
                await arrived.wait()
            await broker.publish(Outgoing(exchange="", routing_key=SNAPSHOT_STREAM, body=b"x", type="x", app_id="x"))
            assert len(waiting) < 2 * READ_AHEAD  # RabbitMQ finishes the chunk under way.
            for delivery in [waiting.popleft() for _ in range(min(100, len(waiting)))]:
                read.append(delivery.body)
                delivery.ack()
    assert read == bodies
    await journal.close()
    await broker.close()
