"""Where a restored arbiter must find the journal: the very record that its snapshot was taken behind.

Owns that one comparison and its time limit. A stream that was deleted and made anew, or that retention cut too short,
does not hold the record, and a consumer beyond a stream's end is told nothing at all; hence the limit.
"""

from sidecar.core.log import Position
from sidecar.core.timing import MS
from sidecar.messages.codec import decode_header

WAIT_NS = 30_000 * MS
"""The record must come within this long of a broker that stands. Higher only delays the news."""


class Anchor:
    """The record at `offset`, at which the log stood at `position`."""

    def __init__(self, offset: int, position: Position) -> None:
        self.offset = offset
        self._position = position
        self._waited_ns = 0
        self._asked_ns: int | None = None

    def holds(self, body: bytes) -> bool:
        """Whether this entry, read at the offset, is that record."""
        header, at = decode_header(body), self._position
        return header is not None and (header.term, header.arbiter, header.n) == (at.term, at.author, at.n)

    def overdue(self, now_ns: int, *, served: bool) -> bool:
        """Whether it should have come by now. Only the time counts in which the broker stood."""
        if served and self._asked_ns is not None:
            self._waited_ns += now_ns - self._asked_ns
        self._asked_ns = now_ns
        return self._waited_ns >= WAIT_NS
