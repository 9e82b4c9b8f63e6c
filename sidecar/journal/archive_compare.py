"""Holds the archive against the journal itself, as far as the stream still has it: what no database can forge.

Owns the comparison of bytes and the question whether the archive ends where the journal ends. It must not verify
chains: `archive_verify.py` does. The broker is not started yet; it is started and closed here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES
from sidecar.journal.archive_search import reading
from sidecar.journal.archive_verify import FINDINGS_MAX, AuditFinding

READ_AHEAD: Final = 1_000
IDLE_S: Final = 2.0
"""A stream that delivers nothing for so long has been read to its end."""
LOOK_AGAIN_S: Final = 0.25


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared: how many entries of the stream, from which offset to which (None when it is empty)."""

    entries: int
    first_offset: int | None
    last_offset: int | None
    findings: tuple[AuditFinding, ...]


async def compare_with_journal(
    broker: Broker, url: str, *, wait_s: float, tell: Callable[[int], None] = lambda entries: None
) -> Compared:
    """Read the stream from where the archive begins to where it ends, and one entry beyond.

    `wait_s` is how long to wait for the broker, and how long the archive may take to write that one entry.
    """
    with reading(url) as reader:
        first, end = reader.anchor().place.next_offset, reader.place().next_offset
    comparison = _Comparison(broker, url, first, end, tell)
    try:
        await broker.start()
        await broker.wait_ready(wait_s)
        await comparison.run()
        if comparison.beyond is not None:
            await comparison.await_archive(wait_s)
    finally:
        await broker.close()
    return comparison.result()


class _Comparison:
    def __init__(self, broker: Broker, url: str, first: int, end: int, tell: Callable[[int], None]) -> None:
        self.beyond: int | None = None
        self._url = url
        self._end = end
        self._tell = tell
        self._entries = 0
        self._first: int | None = None
        self._last: int | None = None
        self._findings: list[AuditFinding] = []
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        stream = next(each for each in QUEUES if each.name == JOURNAL_STREAM)
        broker.subscribe(
            Subscription(
                queue=stream,
                on_delivery=self._on_delivery,
                prefetch=READ_AHEAD,
                next_offset=lambda: first if self._last is None else self._last + 1,
                on_lost=self._deliveries.clear,
            )
        )

    def _on_delivery(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._arrived.set()

    async def run(self) -> None:
        """Compare until the stream's end, or the first entry beyond the archive's."""
        while self.beyond is None:
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._arrived.wait()
            except TimeoutError:
                return
            self._arrived.clear()
            batch = [self._deliveries.popleft() for _ in range(len(self._deliveries))]
            if batch:
                self._compare(batch)
            for each in batch:
                each.ack()
            self._tell(self._entries)

    async def await_archive(self, wait_s: float) -> None:
        """The archive may be a moment behind; one that does not follow is behind, or was cut off at its end."""
        try:
            async with asyncio.timeout(wait_s):
                while self.beyond is not None:
                    with reading(self._url) as reader:
                        if reader.place().next_offset > self.beyond:
                            return
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            text = f"the archive ends before offset {self._end}, and did not go on within {wait_s:g} s"
            self._find("behind", self._end, text)

    def result(self) -> Compared:
        """What was found."""
        return Compared(
            entries=self._entries,
            first_offset=self._first,
            last_offset=self._last,
            findings=tuple(self._findings),
        )

    def _compare(self, batch: list[Delivery]) -> None:
        offsets = [each.offset for each in batch if each.offset is not None]
        with reading(self._url) as reader:
            archived = reader.bodies(offsets[0], offsets[-1])
        for each in batch:
            offset = each.offset or 0
            if offset >= self._end:
                self.beyond = offset
                return
            self._entries += 1
            self._first = offset if self._first is None else self._first
            self._last = offset
            if offset not in archived:
                self._find("removed", offset, "the journal has it, the archive does not")
            elif archived[offset] != each.body:
                self._find("changed", offset, "the journal has other bytes")

    def _find(self, kind: str, offset: int, text: str) -> None:
        if len(self._findings) < FINDINGS_MAX:
            finding = msgspec.convert({"kind": kind, "first": offset, "last": offset, "text": text}, AuditFinding)
            self._findings.append(finding)
