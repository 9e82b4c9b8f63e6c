"""Snapshots in the simulation: the real content (`core/snapshot.py`), as the lines that a stream would carry.

Owns making those lines, and a state of them again. It must not know parts and compression, which the real stream adds,
nor when a snapshot is due.
"""

from dataclasses import dataclass

from sidecar.core.snapshot import Taken, state_of, times_of
from sidecar.core.tables import digest_of, pieces_of
from sidecar.messages.codec import encode


@dataclass(frozen=True, slots=True)
class Stored:
    """One snapshot on the shelf: the state's lines, the line of times, and where it was taken."""

    pieces: tuple[bytes, ...]
    times: bytes
    digest: str
    offset: int
    at_ns: int


def snapshot_of(taken: Taken) -> Stored:
    """The lines of a state that was taken, and their digest."""
    pieces = tuple(pieces_of(taken.state))
    times = encode(taken.times) if taken.write else b""
    return Stored(pieces, times, digest_of(pieces), taken.offset, taken.at_ns)


def taken_from(stored: Stored) -> Taken:
    """The state that the lines describe. Raises SnapshotUnreadable."""
    return Taken(state_of(stored.pieces), times_of(stored.times), stored.offset, stored.at_ns, write=False)
