"""States that arrive in pieces, until they are whole: the pieces of each sender and slot, in their order.

Owns the assembly and its bound in bytes. It must not know who may send what, nor what is newer; `handover.py` does.

Each sender's states of a slot arrive by themselves, so that a doubtful sender stands in nobody's way. Pieces come in
order or not at all (one sender, one queue); what has lost one is given up, and is asked for again.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sidecar.messages.local import StateKept
from sidecar.messages.state import PIECE_BYTES, StatePiece

ARRIVING_BYTES_MIN: Final = 64 * 1024 * 1024
"""All states that are arriving may have so much together, or twice the largest one; the oldest is dropped first."""


class Way(NamedTuple):
    """Whose states of which slot."""

    slot: str
    sender: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A state with all its pieces. `handle` is the delivery of its first one, `since_ns` when that came."""

    head: StatePiece
    handle: object
    since_ns: int
    body: bytes

    @property
    def way(self) -> Way:
        """Whose, of which slot."""
        return Way(self.head.slot, self.head.component)

    @property
    def kept(self) -> StateKept:
        """What is kept of it beside its bytes."""
        head = self.head
        return StateKept(
            component=head.author,
            slot=head.slot,
            version=head.version,
            size=head.size,
            token=head.token,
            incarnation=head.incarnation,
            at_ns=head.at_ns,
        )


@dataclass(slots=True)
class _Arriving:
    head: StatePiece
    handle: object
    since_ns: int
    data: list[bytes] = field(default_factory=list)


class Arrivals:
    """What is arriving. `bytes_max` is the size of the largest state."""

    def __init__(self, bytes_max: int) -> None:
        self._most = max(ARRIVING_BYTES_MIN, 2 * bytes_max)
        self._arriving: dict[Way, _Arriving] = {}

    @property
    def slots(self) -> set[str]:
        """The slots of whose states pieces are here."""
        return {each.slot for each in self._arriving}

    def clear(self) -> None:
        """The rest of what is arriving will not come."""
        self._arriving.clear()

    def add(self, piece: StatePiece, handle: object, now_ns: int) -> Whole | None:
        """One piece, which does not contradict itself; the state, if it is whole now."""
        way = Way(piece.slot, piece.component)
        arriving = self._arriving.get(way)
        if piece.n == 0 and (arriving is None or _sending(arriving.head) != _sending(piece)):
            arriving = self._arriving[way] = _Arriving(piece, handle, now_ns)
        if arriving is None or _sending(arriving.head) != _sending(piece) or piece.n < len(arriving.data):
            return None  # Of a state whose beginning was missed, or once more.
        if piece.n > len(arriving.data):
            del self._arriving[way]
            return None
        arriving.data.append(piece.data)
        if len(arriving.data) < piece.count:
            self._bound()
            return None
        del self._arriving[way]
        return Whole(arriving.head, arriving.handle, arriving.since_ns, b"".join(arriving.data))

    def _bound(self) -> None:
        while sum(len(each.data) for each in self._arriving.values()) * PIECE_BYTES > self._most:
            del self._arriving[min(self._arriving, key=lambda way: self._arriving[way].since_ns)]


def _sending(piece: StatePiece) -> tuple[object, ...]:
    """What all pieces of one sending have in common."""
    return piece.held, piece.token, piece.version, piece.size, piece.sha256
