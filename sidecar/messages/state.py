"""State hand-over: a component's state on its way from the holder of a slot to those who may hold it next.

Travels on the exchange `sidecar.state`, in pieces, so that no message is large. What was said of it in few words
(`SlotState`, `SlotWord`) travels in heartbeats and in their answers.
"""

from typing import ClassVar, Final

import msgspec

from sidecar.messages.base import Message, Token

PIECE_BYTES: Final = 128 * 1024
"""Of a state, in one message. Higher makes everything else on that connection wait for longer."""
STATES_MAX: Final = 64
"""Slots whose states one sidecar keeps, and says in a heartbeat. Higher makes every heartbeat larger."""
NO_TOKEN: Final = Token(0, 0)
"""Lower than any that was ever granted."""


class SlotState(msgspec.Struct, frozen=True, gc=False):
    """This version of a slot's state, made under this token, is on the disk of whoever says so."""

    slot: str
    token: Token
    version: int


class SlotWord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the leader knows of a slot's state.

    `component` and `token` are of who holds the slot, or of who held it last; none before the first. `known_version`,
    under `known_token`, is the newest version of which any heartbeat has told, 0 when none has.
    """

    slot: str
    component: str = ""
    token: Token = NO_TOKEN
    known_token: Token = NO_TOKEN
    known_version: int = 0


class StatePiece(Message, frozen=True, kw_only=True, tag="state-piece.v1"):
    """Piece `n` of `count` of one state; `component` sends it and holds the slot under `held`.

    The state itself was made by `author` in this incarnation under `token`, which is `held` or an earlier holder's.
    `size` (bytes) and `sha256` (hexadecimal) are of the whole; every piece but the last has PIECE_BYTES. `at_ns` is its
    author's CLOCK_REALTIME when it was kept, for people.
    """

    BYTES_MAX: ClassVar[int] = 256 * 1024
    component: str
    slot: str
    held: Token
    author: str
    incarnation: str
    token: Token
    version: int
    size: int
    sha256: str
    n: int
    count: int
    data: bytes
    at_ns: int = 0


class StateWanted(Message, frozen=True, kw_only=True, tag="state-wanted.v1"):
    """A sidecar that came late or missed something asks its group's holders for what is newer than `has`."""

    component: str
    group: str
    has: tuple[SlotState, ...] = ()


class StateSaved(Message, frozen=True, kw_only=True, tag="state-saved.v1"):
    """A standby tells the holder that this version is whole and on its own disk."""

    component: str
    slot: str
    token: Token
    version: int
