"""The records of one order's story, from the archive or from the journal's stream.

Owns how each is searched. Which records belong to a story says `order_story.py`. It must not write. The archive
is asked by its indexes; the stream has none and is read, from where the leader says that the order's story begins.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES
from sidecar.journal.archive_ledger import Entry, Ledger, Place, Row
from sidecar.journal.archive_search import Reader, Wanted, reading
from sidecar.journal.order_story import NAMES_MAX, OrderStory
from sidecar.messages.codec import decode_record
from sidecar.messages.journal import BreakOpened, EvidenceSeen, OrderAdopted, Record

LOOKED_MAX: Final = 200_000
"""Rows of the archive that are looked at for what no index finds: an OrderID, or the mass cancels of an account."""
READ_AHEAD: Final = 1_000
READY_S: Final = 10.0
"""How long to wait for the broker, before the journal is called unreadable."""
BATCH_MAX: Final = 500
"""Entries between two breaths, so that the link's heartbeats are answered."""
_VENUES_WORD: Final = ("EvidenceSeen", "OrderAdopted")


# --- the archive ---


def from_archive(url: str, name: str, known: tuple[str, ...] = ()) -> OrderStory:
    """The story of the order called `name`, a ClOrdID or VENUE/OrderID. It blocks. ArchiveError, ArchiveAway."""
    with reading(url) as reader:
        rows = _chain(reader, (name, *known))
        if not rows and "/" in name:
            named = _by_order_id(reader, name)
            if named:
                name, rows = named, _chain(reader, (named, *known))
        return _heard(name, known, rows | _beside(reader, name, known, rows))


def _chain(reader: Reader, names: tuple[str, ...]) -> dict[int, Row]:
    """Every row that names one of these orders, or one that replaced, or was replaced by, one of them."""
    rows: dict[int, Row] = {}
    due, seen = deque(names), set(names)
    while due:
        for row in reader.find(Wanted(cl_ord_id=due.popleft(), oldest_first=True)):
            rows[row.stream_offset] = row
            others = [row.cl_ord_id, row.orig_cl_ord_id if b'"REPLACE"' in row.body else ""]
            for other in others:
                if other and other not in seen and len(seen) < NAMES_MAX:
                    seen.add(other)
                    due.append(other)
    return rows


def _beside(reader: Reader, name: str, known: tuple[str, ...], rows: dict[int, Row]) -> dict[int, Row]:
    """What concerns the order without naming it: mass cancels of its account, and halts that came with a break."""
    story = _heard(name, known, rows)
    times = [each.record.at_ns for each in story.told]
    if not times:
        return {}
    mass = Wanted(kinds=("OrderPrecommitted",), since_ns=min(times), until_ns=max(times) + 1, oldest_first=True)
    found = {
        row.stream_offset: row
        for row in islice(reader.find(mass), LOOKED_MAX)
        if b'"MASS_CANCEL"' in row.body and row.stream_offset not in rows
    }
    for row in [each for each in found.values() if each.cl_ord_id]:
        found |= _chain(reader, (row.cl_ord_id,))
    if any(isinstance(each.record.fact, BreakOpened) for each in story.told):
        halts = Wanted(kinds=("HaltRaised", "HaltLifted"), since_ns=min(times), oldest_first=True)
        found |= {row.stream_offset: row for row in islice(reader.find(halts), LOOKED_MAX) if b'"break-' in row.body}
    return found


def _by_order_id(reader: Reader, name: str) -> str:
    """The ClOrdID of the order that the venue called so, the newest first; empty where none is found."""
    venue, _, order_id = name.partition("/")
    needle = msgspec.json.encode(order_id)
    for row in islice(reader.find(Wanted(kinds=_VENUES_WORD)), LOOKED_MAX):
        if needle not in row.body:
            continue
        record = decode_record(row.body)
        if isinstance(record, Record) and isinstance(record.fact, EvidenceSeen | OrderAdopted):
            report = record.fact.report
            if (report.venue, report.order_id) == (venue, order_id):
                return report.cl_ord_id
    return ""


def _heard(name: str, known: tuple[str, ...], rows: dict[int, Row]) -> OrderStory:
    story = OrderStory(name, names=known)
    for _ in range(2):  # The second time with the names that were only found behind their own beginning.
        for offset in sorted(rows):
            record = decode_record(rows[offset].body)
            if isinstance(record, Record):
                story.hear(offset, record)
        if not story.wanting:
            break
        story = story.again()
    return story


# --- the stream ---


async def from_stream(
    connect: Callable[[], Broker],
    name: str,
    known: tuple[str, ...],
    *,
    end: int,
    begin: int = 0,
    wait_s: float,
    tell: Callable[[int], None] = lambda entries: None,
) -> OrderStory:
    """The same from the journal's stream, up to the offset `end`. `connect` makes a broker that is not started yet.

    The story begins at the offset `begin` or behind it; what does not is looked for from the journal's beginning.
    Raises BrokerError when it does not answer, TimeoutError when the journal was not read within `wait_s`.
    """
    story = OrderStory(name, names=known)
    async with asyncio.timeout(wait_s):
        await _read(connect(), story, begin, end, tell)
        venue, _, order_id = name.partition("/")
        if not story.told and order_id:
            story = OrderStory("", names=known, venue=venue, order_id=order_id)
            await _read(connect(), story, 0, end, tell)
        if story.told and story.wanting:
            story = story.again()
            await _read(connect(), story, 0, end, tell)
    return story


async def _read(broker: Broker, story: OrderStory, begin: int, end: int, tell: Callable[[int], None]) -> None:
    """Hear the stream once, from one offset to another."""
    reader = _StreamReader(broker, begin)
    try:
        await broker.start()
        await broker.wait_ready(READY_S)
        await reader.read(story, end, tell)
    finally:
        await broker.close()


class _StreamReader:
    """Reads the stream from one offset on, judging each entry as the archive does behind a gap."""

    def __init__(self, broker: Broker, begin: int) -> None:
        self._begin = begin
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._ledger: Ledger | None = None
        broker.subscribe(
            Subscription(
                queue=next(each for each in QUEUES if each.name == JOURNAL_STREAM),
                on_delivery=self._on_delivery,
                prefetch=READ_AHEAD,
                next_offset=lambda: self._due,
                on_lost=self._deliveries.clear,
            )
        )

    @property
    def _due(self) -> int:
        return self._begin if self._ledger is None else self._ledger.place.next_offset

    def _on_delivery(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._arrived.set()

    async def read(self, story: OrderStory, end: int, tell: Callable[[int], None]) -> None:
        """Let the story hear everything up to `end`."""
        while self._due <= end:
            if not self._deliveries:
                self._arrived.clear()
                await self._arrived.wait()
            for _ in range(min(BATCH_MAX, len(self._deliveries))):
                delivery = self._deliveries.popleft()
                if (delivery.offset or 0) <= end:
                    self._enter(story, delivery)
                delivery.ack()
            tell(self._due)
            await asyncio.sleep(0)

    def _enter(self, story: OrderStory, delivery: Delivery) -> None:
        entry = Entry(delivery.offset or 0, delivery.body)
        if entry.offset < self._due:
            return  # It came before the link was lost.
        if self._ledger is None:
            self._ledger = Ledger(Place(next_offset=entry.offset, adrift=entry.offset > 0))
        if entry.offset > self._due:
            self._ledger.skip(entry, time.time_ns())
        record = decode_record(entry.body)
        if self._ledger.enter(entry).verdict == "valid" and isinstance(record, Record):
            story.hear(entry.offset, record)
