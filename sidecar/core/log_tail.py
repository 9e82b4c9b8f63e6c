"""The journal's last records as bytes: whether one that comes twice says the same twice.

Owns that comparison. A leader appends again what it has not read back, byte for byte, so a second entry under the same
term, author and n that says something else was written by nobody who may. The first one counts, for every reader
(`log.py`); this only finds it out.
"""

from collections import deque
from typing import Final

from sidecar.core.log import Position
from sidecar.core.violations import Violation
from sidecar.messages.journal import Record

TAIL_MAX: Final = 1_000
"""Records that are remembered; what repeats an older one is not compared. Higher costs each arbiter their size."""


class LogTail:
    """The last valid records that this arbiter has read."""

    def __init__(self) -> None:
        self._bodies: deque[bytes] = deque(maxlen=TAIL_MAX)

    def read(self, record: Record, body: bytes) -> None:
        """A valid record, in the log's order."""
        if record.n == 0:
            self._bodies.clear()  # A new term counts from its own beginning.
        self._bodies.append(body)

    def contradicted(self, position: Position, record: Record, body: bytes, offset: int) -> Violation | None:
        """What is wrong with a record that does not count, the log standing at `position`; None when nothing is."""
        back = position.n - record.n
        if record.n == 0:
            return None  # Whoever gave a campaign up and tried again for the same term has begun it twice.
        if (record.term, record.arbiter) != (position.term, position.author) or not 0 <= back < len(self._bodies):
            return None
        if self._bodies[-1 - back] == body:
            return None
        text = f"the journal has record {record.term}.{record.n} of {record.arbiter} twice, the second unlike the first"
        return Violation("all", f"{text}, at offset {offset}", f"journal offset {offset}")
