"""Copies the journal stream into the archive, for ever: read a batch, write it in one transaction, ask for more.

Owns the batches, the waiting while the database is away, and the word on how it goes. It must not know SQL
(`archive.py`), nor what entries mean.

Which way it fails: nothing is lost and nothing is claimed. What is not committed is not acknowledged, so no more than
two batches wait here (and the rest of a chunk of the stream), and the stream keeps the rest. An archive that cannot go
on says so in the log, the metrics and its health, and keeps trying; one that must not go on, because stream and archive
contradict each other, stops with an `ArchiveError` for a person.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES
from sidecar.config.models import ArchiveSettings
from sidecar.journal.archive import Archive, ArchiveMoved, Written
from sidecar.journal.archive_errors import ArchiveAway, ArchiveError
from sidecar.journal.archive_ledger import Entry, Place
from sidecar.journal.one_thread import OneThread
from sidecar.telemetry.metrics import ArchiveFigures

FIRST_PAUSE_S: Final = 0.2
SLOW_WRITE_S: Final = 10.0
"""A write that takes longer makes the archive unhealthy, while it waits on."""
SILENT_S: Final = 10.0
"""With more in the stream and nothing delivered for so long, the stream is consumed anew."""
PRUNE_EVERY_S: Final = 600.0
PRUNE_ROWS: Final = 2_000
"""Rows deleted in one transaction; between two of them the archive writes."""
DAY_NS: Final = 86_400 * 10**9

log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class Archiver:
    """One writer of one archive, over two connections of its own that are not started yet; it starts and closes them.

    `watch` looks at the stream's end and nothing else: how far behind we are must be seen while we cannot read on.
    """

    def __init__(
        self, broker: Broker, watch: Broker, settings: ArchiveSettings, url: str, figures: ArchiveFigures
    ) -> None:
        self._broker = broker
        self._watch = watch
        self._settings = settings
        self._archive = Archive(url)
        self._figures = figures
        self._thread = OneThread("archive")
        self._place = Place()
        self._batch: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure = ""
        self._fault = ""
        self._tail: int | None = None
        self._heard = False
        self._heard_s = self._pruned_s = time.monotonic()
        self._writing_since_s: float | None = None

    @property
    def next_offset(self) -> int:
        """Everything before this offset of the journal is in the archive."""
        return self._place.next_offset

    async def run(self) -> None:
        """Archive until `stop()`. ArchiveError when it must not go on; its text has the mend."""
        try:
            opened = await self._insist(lambda: self._archive.open(time.time_ns()))
            if opened is not None:
                self._stand_at(opened)
                self._subscribe()
                await asyncio.gather(self._broker.start(), self._watch.start())
                log.info("archives", next_offset=self.next_offset)
                await self._loop()
        except ArchiveError as error:
            self._fault = str(error)
            self._figures.failures.inc()
            log.error("the archive stops", why=self._fault)
            raise
        finally:
            await asyncio.gather(self._broker.close(), self._watch.close(), self._thread.end(self._archive.close))

    def stop(self) -> None:
        """End `run` behind the batch that is being written."""
        self._stopping.set()
        self._arrived.set()

    def troubles(self) -> tuple[str, ...]:
        """What is wrong, a sentence each; empty while all is well."""
        found = [each for each in (self._fault, self._failure, self._broker.trouble) if each]
        if self._writing_since_s is not None and time.monotonic() - self._writing_since_s > SLOW_WRITE_S:
            found.append(
                f"the archive's database has not answered for {time.monotonic() - self._writing_since_s:.0f} s"
            )
        if self.lag_records > self._settings.behind_max_records:
            found.append(f"{self.lag_records} records of the journal are not in the archive yet")
        if not self._heard and self.next_offset > 0 and time.monotonic() - self._heard_s > SILENT_S:
            found.append(
                f"offset {self.next_offset - 1} of the journal, the last archived, is not delivered: "
                "was the stream deleted, or is this another broker?"
            )
        return tuple(found)

    def details(self) -> dict[str, Any]:
        """For the health endpoint."""
        return {
            "archive_next_offset": self.next_offset,
            "archive_lag_records": self.lag_records,
            "archive_adrift": self._place.adrift,
        }

    @property
    def lag_records(self) -> int:
        """How many offsets of the stream, as far as we have seen it, are not in the archive."""
        return 0 if self._tail is None else max(0, self._tail + 1 - self.next_offset)

    # --- the stream ---

    def _subscribe(self) -> None:
        stream = next(each for each in QUEUES if each.name == JOURNAL_STREAM)
        self._watch.subscribe(Subscription(queue=stream, on_delivery=self._on_tail))
        self._broker.subscribe(
            Subscription(
                queue=stream,
                on_delivery=self._on_entry,
                prefetch=2 * self._settings.batch_rows,
                next_offset=lambda: max(0, self.next_offset - 1),  # The last one again: is it still the same stream?
                on_lost=self._batch.clear,
            )
        )

    def _on_tail(self, delivery: Delivery) -> None:
        self._see(delivery.offset or 0)
        delivery.ack()

    def _on_entry(self, delivery: Delivery) -> None:
        self._see(delivery.offset or 0)
        self._heard, self._heard_s = True, time.monotonic()
        self._batch.append(delivery)
        self._arrived.set()

    def _see(self, offset: int) -> None:
        self._tail = offset if self._tail is None else max(self._tail, offset)
        self._figures.lag_records.set(self.lag_records)

    # --- the loop ---

    async def _loop(self) -> None:
        while not self._stopping.is_set():
            await self._until_batch()
            deliveries = [self._batch.popleft() for _ in range(min(len(self._batch), self._settings.batch_rows))]
            if deliveries and not self._stopping.is_set():
                await self._write(deliveries)
            elif not deliveries:
                self._look()
            await self._prune()

    async def _until_batch(self) -> None:
        """Return with a full batch, with what came within `flush_ms`, or after a while with nothing."""
        await self._wait(SILENT_S / 2, lambda: bool(self._batch))
        if self._batch:
            await self._wait(self._settings.flush_ms / 1_000, lambda: len(self._batch) >= self._settings.batch_rows)

    async def _wait(self, timeout_s: float, met: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not met() and not self._stopping.is_set():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return

    async def _write(self, deliveries: list[Delivery]) -> None:
        entries = [Entry(each.offset, each.body) for each in deliveries if each.offset is not None]
        expected = self.next_offset
        try:
            written = await self._insist(lambda: self._archive.append(entries, expected, time.time_ns()))
        except ArchiveMoved as moved:
            await self._begin_again(moved)
            return
        if written is None:
            return
        self._tell(written)
        self._stand_at(written.place)
        for each in deliveries:
            each.ack()

    async def _begin_again(self, moved: ArchiveMoved) -> None:
        """The archive was replaced by an older one: go on from where that one stands, if the stream still has it."""
        self._figures.failures.inc()
        log.error("the archive was replaced under us; going on from where it stands", why=str(moved))
        opened = await self._insist(lambda: self._archive.open(time.time_ns()))
        if opened is not None:
            self._stand_at(opened)
            self._batch.clear()
            self._broker.consume_again(JOURNAL_STREAM)

    def _look(self) -> None:
        """Nothing came for a while: is there nothing, or does the consumer hang?"""
        if self.lag_records and time.monotonic() - self._heard_s > SILENT_S and not self._broker.trouble:
            log.warning("the journal has more than is delivered; consuming it anew", next_offset=self.next_offset)
            self._broker.consume_again(JOURNAL_STREAM)

    async def _prune(self) -> None:
        days = self._settings.retention_days
        if days is None or time.monotonic() - self._pruned_s < PRUNE_EVERY_S or self._stopping.is_set():
            return
        now_ns = time.time_ns()
        try:
            gone = await self._insist(lambda: self._archive.prune(now_ns - days * DAY_NS, PRUNE_ROWS, now_ns))
        except ArchiveMoved:
            return  # The next write says it.
        if gone:
            self._figures.pruned.inc(gone)
            log.info("older rows were deleted", rows=gone, retention_days=days)
        if gone is None or gone < PRUNE_ROWS:
            self._pruned_s = time.monotonic()

    def _stand_at(self, place: Place) -> None:
        self._place = place
        self._figures.last_offset.set(place.next_offset - 1)
        self._figures.lag_records.set(self.lag_records)

    def _tell(self, written: Written) -> None:
        self._figures.rows.inc(written.rows)
        if written.began_late:
            log.warning("the archive begins here: the stream had already lost what was before", rows=written.rows)
        for gap in written.gaps:
            self._figures.gaps.inc()
            log.error(
                "GAP: the stream lost entries before they were archived; the archive has a row in their place",
                first_offset=gap.stream_offset,
                missing=gap.body.decode(),
                mend="raise the stream's retention, and look why the archive was away so long",
            )

    # --- the database ---

    async def _insist(self, call: Callable[[], Result]) -> Result | None:
        """What the call returns, tried again for as long as the database is away; None when we are to stop."""
        retrying = AsyncRetrying(
            retry=self._worth_another,
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_S, max=self._settings.backoff_max_ms / 1_000),
            sleep=self._pause,
            before_sleep=self._failed,
            reraise=True,
        )
        try:
            result: Result = await retrying(self._called, call)
        except ArchiveAway as error:
            log.warning("stops while the archive is away; what is not written stays in the stream", why=str(error))
            return None
        if self._failure:
            log.info("the archive answers again")
        self._failure = ""
        return result

    async def _called(self, call: Callable[[], Result]) -> Result:
        self._writing_since_s = time.monotonic()
        stopping = asyncio.create_task(self._stopping.wait())
        calling = asyncio.create_task(self._thread.call(call))
        try:
            await asyncio.wait((stopping, calling), return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():  # Told to stop within a call: it gets a moment, and is then left to itself.
                await asyncio.wait((calling,), timeout=SLOW_WRITE_S)
            if not calling.done():
                raise ArchiveAway("the database did not answer before the end")
            return calling.result()
        finally:
            self._writing_since_s = None
            for each in (stopping, calling):
                each.cancel()
            await asyncio.gather(stopping, calling, return_exceptions=True)

    def _worth_another(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        return isinstance(error, ArchiveAway) and not self._stopping.is_set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _failed(self, state: RetryCallState) -> None:
        self._figures.failures.inc()
        error = state.outcome.exception() if state.outcome is not None else None
        self._failure = str(error)
        log.error(
            "the archive cannot be written; the journal keeps what is not archived, and it is tried again",
            why=self._failure,
            attempt=state.attempt_number,
        )
