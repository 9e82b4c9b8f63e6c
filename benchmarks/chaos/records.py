"""The journal as it stands in the stream, read raw from its first entry, with nothing between it and the reader.

Owns the reading and the indexes that the verdict looks things up in. Which records count is decided by `core/log.py`'s
`judge`, as for every arbiter; nothing else of an arbiter is used.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from sidecar.broker.interface import Delivery, Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES
from sidecar.core.log import Position, Verdict, advance, judge
from sidecar.messages.base import Token
from sidecar.messages.codec import Malformed, decode_record
from sidecar.messages.journal import (
    AnyFact,
    EvidenceSeen,
    HaltLifted,
    HaltRaised,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderReported,
    Record,
    SlotGranted,
)

READ_S: Final = 120.0


class Records:
    """The valid records, indexed by what a client can have been told."""

    def __init__(self) -> None:
        self.position = Position()
        self.verdicts: Counter[Verdict] = Counter()
        self.unreadable = 0
        self.first_offset: int | None = None
        self.facts: Counter[tuple[str, str]] = Counter()
        """How often each (kind of fact, key) stands in it."""
        self.places: dict[str, str] = {}
        """The `term.n` of an order's grant."""
        self.grants: dict[tuple[str, Token], list[tuple[int, str]]] = defaultdict(list)
        """By incarnation and token: when (CLOCK_REALTIME, ns) and which slot."""
        self.last_wall_ns = 0
        self.asked_boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        """When the reading began: whatever was told before stands in it."""

    def add(self, body: bytes, offset: int | None) -> None:
        """The next entry of the stream."""
        if self.first_offset is None:
            self.first_offset = offset
        record = decode_record(body)
        if isinstance(record, Malformed):
            self.unreadable += 1
            return
        verdict = judge(self.position, record)
        self.verdicts[verdict] += 1
        if verdict is Verdict.VALID:
            self.position = advance(self.position, record)
            self.last_wall_ns = max(self.last_wall_ns, record.at_ns)
            self._index(record)

    def slot(self, incarnation: str, token: Token, at_boot_ns: int) -> str:
        """The slot that this incarnation held under this token then; empty if the journal has no such grant.

        The journal has wall time and gates have CLOCK_BOOTTIME; both are this host's.
        """
        granted = self.grants.get((incarnation, token), [])
        at_wall_ns = at_boot_ns + time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        before = [slot for wall_ns, slot in granted if wall_ns <= at_wall_ns]
        return before[-1] if before else granted[0][1] if granted else ""

    def _index(self, record: Record) -> None:
        kind, key = _indexed(record.fact)
        self.facts[kind, key] += 1
        match record.fact:
            case OrderPrecommitted():
                self.places[key] = f"{record.term}.{record.n}"
            case SlotGranted(slot=slot, incarnation=incarnation, token=token):
                self.grants[incarnation, token].append((record.at_ns, slot))
            case _:
                pass


def _indexed(fact: AnyFact) -> tuple[str, str]:
    match fact:
        case OrderPrecommitted(intent=intent):
            return "granted", intent.cl_ord_id
        case OrderReported(cl_ord_id=cl_ord_id):
            return "committed", cl_ord_id
        case OrderNeverSent(cl_ord_id=cl_ord_id):
            return "aborted", cl_ord_id
        case OrderLost(cl_ord_id=cl_ord_id):
            return "unknown", cl_ord_id
        case EvidenceSeen(report=report):
            return "evidence", report.cl_ord_id
        case SlotGranted(incarnation=incarnation, token=token):
            return "held", f"{incarnation} {token}"
        case HaltRaised(halt=halt):
            return "halted", halt.halt_id
        case HaltLifted(halt_id=halt_id):
            return "resumed", halt_id
        case _:
            return type(fact).__name__, ""


async def read_records(urls: Sequence[str]) -> Records:
    """Everything up to now. TimeoutError when the stream does not give it in time."""
    records, done = Records(), asyncio.Event()
    until_wall_ns = time.time_ns()

    def take(delivery: Delivery) -> None:
        delivery.ack()
        records.add(delivery.body, delivery.offset)
        if records.last_wall_ns > until_wall_ns:
            done.set()

    stream = next(each for each in QUEUES if each.name == JOURNAL_STREAM)
    broker = RabbitBroker(urls, name="chaos-journal", declare=False)
    broker.subscribe(Subscription(queue=stream, on_delivery=take, next_offset=lambda: 0))
    await broker.start()
    try:
        async with asyncio.timeout(READ_S):
            await done.wait()
    finally:
        await broker.close()
    return records
