"""The journal's end of the stream, over the in-process broker and over RabbitMQ."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import pytest

from sidecar.broker.interface import Broker, Delivery
from sidecar.broker.memory import MemoryBroker
from sidecar.broker.rabbit import RabbitBroker
from sidecar.core.log import Verdict
from sidecar.core.state import State
from sidecar.journal.stream import Journal
from sidecar.messages.codec import decode_record
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
        self.journal = Journal(broker, "author", on_entry=self._entry, in_flight=lambda: tuple(self.in_flight))

    def append(self, n: int) -> None:
        """Append the n-th record of term 1."""
        fact = TermStarted(reason="a test") if n == 0 else Ticked()
        record = Record(term=1, n=n, arbiter="author#1", at_ns=n, fact=fact)
        self.in_flight.append(record)
        self.journal.append(record)

    async def until_read(self, n: int) -> None:
        """Return when the log stands at n."""
        async with asyncio.timeout(WAIT_S):
            while self.state.position.n < n:
                self._changed.clear()
                await self._changed.wait()

    def _entry(self, delivery: Delivery) -> None:
        record = decode_record(delivery.body)
        if isinstance(record, Record):
            self.verdicts.append(self.state.apply(record))
            if self.in_flight and self.in_flight[0] == record:
                self.in_flight.popleft()
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
