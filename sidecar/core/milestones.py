"""Where records stand in the journal: the offset of one in every few hundred, as this arbiter read them.

Owns that sparse index. It tells whoever looks for a record in the stream where to begin; nothing is decided by it, and
a snapshot does not carry it: behind a restart it begins anew, and of older records nothing is told.
"""

from bisect import bisect_right
from typing import Final

from sidecar.messages.journal import Record

EVERY: Final = 500
"""Offsets between two milestones. Lower finds the place more closely and costs memory."""
KEPT_MAX: Final = 50_000
"""Milestones, at about 150 bytes each; of more, every other one is dropped."""


class Milestones:
    """(term, n) and offset of records, in the log's order."""

    def __init__(self) -> None:
        self._places: list[tuple[int, int]] = []
        self._offsets: list[int] = []
        self._every = EVERY
        self._due = 0

    def note(self, record: Record, offset: int) -> None:
        """A valid record was read."""
        if offset < self._due:
            return
        self._due = offset + self._every
        self._places.append((record.term, record.n))
        self._offsets.append(offset)
        if len(self._offsets) > KEPT_MAX:
            self._places, self._offsets, self._every = self._places[::2], self._offsets[::2], 2 * self._every

    def before(self, term: int, n: int) -> int:
        """An offset at which, or behind which, the record (term, n) stands; 0 where nothing nearer is known."""
        at = bisect_right(self._places, (term, n))
        return self._offsets[at - 1] if at else 0
