"""What each order waits for, and until when.

Owns the deadlines at one leader's desk, by its boot clock: wall clocks may jump, and what is waited for may not. A new
leader counts afresh. It must not know what happens when a wait is over (`verifier.py`).

| wait     | while                                                        | over after                            |
|----------|--------------------------------------------------------------|---------------------------------------|
| REPORT   | PRECOMMITTED                                                 | report_ns                             |
| QUERY    | UNKNOWN                                                      | query_ns, again and again             |
| EVIDENCE | COMMITTED                                                    | evidence_ns, then each query_ns       |
| ENDING   | VERIFIED and open, though cancelled or replaced elsewhere    | evidence_ns, then each query_ns       |
| REVIEW   | VERIFIED and not ended, or a BREAK that may be at the venue  | review_ns, again and again            |
| CLAIM    | reports of an OrderID have no ClOrdID                        | evidence_ns                           |
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sidecar.core.order import Order
from sidecar.core.timing import MS
from sidecar.messages.orders import Phase

DUE_MAX = 1_000
"""Deadlines handled in one tick; the rest a tick later, so that a stall is not followed by another.

An order waits for one thing at a time; what it waited for before is dropped when its time comes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The waits of the table above, in nanoseconds."""

    report_ns: int = 5_000 * MS
    evidence_ns: int = 10_000 * MS
    query_ns: int = 2_000 * MS
    review_ns: int = 60_000 * MS


class Wait(Enum):
    """The table above."""

    REPORT = "report"
    QUERY = "query"
    EVIDENCE = "evidence"
    ENDING = "ending"
    REVIEW = "review"
    CLAIM = "claim"


def wait_of(order: Order) -> Wait | None:
    """What this order waits for; None when nothing more is expected."""
    match order.phase:
        case Phase.PRECOMMITTED:
            return Wait.REPORT
        case Phase.UNKNOWN:
            return Wait.QUERY
        case Phase.COMMITTED:
            return Wait.EVIDENCE
        case Phase.VERIFIED if not order.ended:
            return Wait.ENDING if order.ending else Wait.REVIEW
        case Phase.BREAK if order.resting and "MISSING_AT_VENUE" not in order.breaks:
            return Wait.REVIEW  # Whatever differs, it may still be filled.
        case _:
            return None


class Waits:
    """Deadlines, the nearest first. `name` is a ClOrdID, or the key of reports without one."""

    def __init__(self, deadlines: Deadlines) -> None:
        first = {
            Wait.REPORT: deadlines.report_ns,
            Wait.QUERY: deadlines.query_ns,
            Wait.EVIDENCE: deadlines.evidence_ns,
            Wait.ENDING: deadlines.evidence_ns,
            Wait.REVIEW: deadlines.review_ns,
            Wait.CLAIM: deadlines.evidence_ns,
        }
        self._first_ns = first
        self._next_ns = {**first, Wait.EVIDENCE: deadlines.query_ns, Wait.ENDING: deadlines.query_ns}
        self._due: list[tuple[int, int, str, Wait]] = []
        self._live: dict[str, tuple[int, int, str, Wait]] = {}
        self._count = 0

    def clear(self) -> None:
        """Wait for nothing."""
        self._due, self._live = [], {}

    def until_ns(self, name: str) -> int | None:
        """When what this name waits for is over; None when it waits for nothing."""
        live = self._live.get(name)
        return live[0] if live is not None else None

    def begin(self, name: str, wait: Wait, now_ns: int) -> None:
        """Wait from now on, and for nothing else that this name waited for."""
        self._push(now_ns + self._first_ns[wait], name, wait)

    def again(self, name: str, wait: Wait, now_ns: int) -> None:
        """Wait for the next time."""
        self._push(now_ns + self._next_ns[wait], name, wait)

    def over(self, now_ns: int) -> Iterator[tuple[str, Wait]]:
        """Waits that are over, at most DUE_MAX of them, oldest first; each is given once."""
        given = 0
        while given < DUE_MAX and self._due and self._due[0][0] <= now_ns:
            due = heapq.heappop(self._due)
            _, _, name, wait = due
            if self._live.get(name) is due:
                del self._live[name]
                given += 1
                yield name, wait

    def _push(self, at_ns: int, name: str, wait: Wait) -> None:
        self._count += 1  # Equal times keep their order, and waits are never compared.
        self._live[name] = due = (at_ns, self._count, name, wait)
        heapq.heappush(self._due, due)
