"""The bytes of the gate page: layout version 1.

Owns the offsets, the encoding of a `Page` and its decoding. It must not know files, clocks or who reads. The layout is
published in `schemas/gate-page.md`, which is generated from `FIELDS`, for readers in other languages.

All integers are unsigned, 8 bytes, little-endian, at 8-byte aligned offsets, so that on the hosts we support one store
or load moves a whole one. `open_until` repeats, in one word, what most readers ask: it is the deadline while every
order passes, else 0. The rest is good only as a whole: copied while `sequence` is even, with the right checksum (which
holds on processors, too, that make another processor's stores visible in another order).
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from sidecar.core.page import Page
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState

MAGIC: Final = int.from_bytes(b"SIDEGATE", "little")
LAYOUT_VERSION: Final = 1
PAGE_BYTES: Final = 4096
HEADER_BYTES: Final = 256
ENTRY_BYTES: Final = 64
SCOPES_MAX: Final = (PAGE_BYTES - HEADER_BYTES) // ENTRY_BYTES
NAME_BYTES_MAX: Final = 60
INCARNATION_BYTES_MAX: Final = 64
BOOT_ID_OFFSET: Final = 176
BOOT_ID_BYTES: Final = 16
SCOPE_KINDS: Final = ("venue", "account", "symbol", "strategy")
REDUCING_ALLOWED: Final = 1
HAS_TOKEN: Final = 2


class GateError(Exception):
    """The gate page cannot be made or written; the text says why and how to mend it. The gate is then closed."""


@dataclass(frozen=True, slots=True)
class PageField:
    """One field of the header, or of an entry of the table of scoped halts."""

    name: str
    offset: int
    size: int
    meaning: str

    @property
    def word(self) -> int:
        """Its index when the page is seen as an array of 8-byte words."""
        return self.offset // 8


FIELDS: Final = (
    PageField("magic", 0, 8, "the ASCII letters SIDEGATE; anything else is closed"),
    PageField("version", 8, 8, "the layout version, 1; any other is closed"),
    PageField("open_until", 16, 8, "CLOCK_BOOTTIME in ns until which every order passes; 0 when the rest must be read"),
    PageField("checksum", 24, 8, "CRC-32 (as in zlib) of the bytes from `sequence` to the end of the used table"),
    PageField("sequence", 32, 8, "odd while the sidecar writes; two more after each write"),
    PageField("deadline", 40, 8, "CLOCK_BOOTTIME in ns; at and after it the gate is closed"),
    PageField("trading_state", 48, 8, "0 ACTIVE, 1 REDUCING, 2 CANCEL_ONLY, 3 HALTED; any other is HALTED"),
    PageField("role", 56, 8, "1 ACTIVE; anything else is STANDBY, which is closed"),
    PageField(
        "flags", 64, 8, "bit 0: risk-reducing orders pass under HALTED; bit 1: there is a token; others are reserved"
    ),
    PageField("token_term", 72, 8, "the term of the fencing token"),
    PageField("token_epoch", 80, 8, "the epoch of the fencing token"),
    PageField("control_version", 88, 8, "the version of the control state that the page takes into account"),
    PageField("scope_count", 96, 8, "how many entries of the table are used; more than fit is HALTED for all"),
    PageField("incarnation_bytes", 104, 8, "the length of `incarnation`"),
    PageField("incarnation", 112, 64, "the component's present run, UTF-8, padded with zeros"),
    PageField("boot_id", 176, 16, "/proc/sys/kernel/random/boot_id as 16 bytes; of another boot is closed"),
    PageField("reserved", 192, 64, "zeros"),
)
ENTRY_FIELDS: Final = (
    PageField("kind", 0, 1, "0 venue, 1 account, 2 symbol, 3 strategy"),
    PageField("level", 1, 1, "as trading_state, for orders of that name only"),
    PageField("name_bytes", 2, 1, "the length of `name`"),
    PageField("reserved", 3, 1, "zero"),
    PageField("name", 4, NAME_BYTES_MAX, "UTF-8, padded with zeros"),
)
# The words that reader and writer touch one by one, as indexes into an array of 8-byte words.
MAGIC_WORD: Final = 0
VERSION_WORD: Final = 1
OPEN_UNTIL_WORD: Final = 2
CHECKSUM_WORD: Final = 3
SEQUENCE_WORD: Final = 4
BODY_OFFSET: Final = SEQUENCE_WORD * 8

_HEADER: Final = struct.Struct(f"<14Q{INCARNATION_BYTES_MAX}s{BOOT_ID_BYTES}s")
_ENTRY: Final = struct.Struct(f"<BBBx{NAME_BYTES_MAX}s")


def open_until_ns(page: Page) -> int:
    """The deadline while every order passes, whatever it is; else 0."""
    plain = page.role == "ACTIVE" and page.trading_state is TradingState.ACTIVE and not page.scoped
    return page.deadline_ns if plain else 0


def encode(page: Page, sequence: int, boot_id: bytes) -> bytes:
    """The used part of the page, as it stands after the write with this even `sequence`, in this boot of the host.

    Halts that the table cannot hold (too many, too long, of another kind) become HALTED for all, reducing included.
    Raises GateError for values that no field can hold.
    """
    entries = _entries(page.scoped)
    if entries is None:
        page = _halted(page)
        entries = ()
    incarnation = _utf8(page.incarnation)
    if incarnation is None or len(incarnation) > INCARNATION_BYTES_MAX:
        raise GateError(
            f"the incarnation {page.incarnation[:80]!r} is not {INCARNATION_BYTES_MAX} bytes of UTF-8 or less"
        )
    token = page.token or Token(0, 0)
    flags = REDUCING_ALLOWED * page.reducing_allowed | HAS_TOKEN * (page.token is not None)
    state = (sequence, page.deadline_ns, page.trading_state, page.role == "ACTIVE", flags)
    words = (*state, token.term, token.epoch, page.control_version, len(entries), len(incarnation))
    try:
        unsummed = _HEADER.pack(MAGIC, LAYOUT_VERSION, open_until_ns(page), 0, *words, incarnation, boot_id)
    except struct.error as error:
        raise GateError(f"the gate page cannot hold these numbers ({error}): {words}") from None
    body = b"".join((unsummed[BODY_OFFSET:].ljust(HEADER_BYTES - BODY_OFFSET, b"\0"), *entries))
    return unsummed[: CHECKSUM_WORD * 8] + zlib.crc32(body).to_bytes(8, "little") + body


def decode(image: bytes) -> Page | None:
    """The page in a copy of all its bytes; None when it is torn, half written, of another layout or damaged."""
    if len(image) < PAGE_BYTES:
        return None
    magic, version, _, checksum, *words, padded, _ = _HEADER.unpack_from(image)
    sequence, deadline_ns, level, role, flags, term, epoch, control_version, count, length = words
    if (magic, version) != (MAGIC, LAYOUT_VERSION) or sequence % 2 or count > SCOPES_MAX:
        return None
    used = image[BODY_OFFSET : HEADER_BYTES + count * ENTRY_BYTES]
    scoped = [_entry_at(image, HEADER_BYTES + each * ENTRY_BYTES) for each in range(count)]
    if zlib.crc32(used) != checksum or None in scoped:
        return None
    return Page(
        role="ACTIVE" if role == 1 else "STANDBY",
        trading_state=_level(level),
        reducing_allowed=bool(flags & REDUCING_ALLOWED),
        deadline_ns=deadline_ns,
        token=Token(term, epoch) if flags & HAS_TOKEN else None,
        incarnation=padded[:length].decode(errors="replace"),
        control_version=control_version,
        scoped=tuple(each for each in scoped if each is not None),
    )


def _halted(page: Page) -> Page:
    return Page(
        role=page.role,
        trading_state=TradingState.HALTED,
        reducing_allowed=False,
        deadline_ns=page.deadline_ns,
        token=page.token,
        incarnation=page.incarnation,
        control_version=page.control_version,
    )


def _entries(scoped: tuple[tuple[str, TradingState], ...]) -> tuple[bytes, ...] | None:
    """The table's used entries; None when it cannot hold them."""
    if len(scoped) > SCOPES_MAX:
        return None
    entries = []
    for scope, level in scoped:
        kind, _, name = scope.partition(":")
        text = _utf8(name)
        if kind not in SCOPE_KINDS or text is None or len(text) > NAME_BYTES_MAX:
            return None
        entries.append(_ENTRY.pack(SCOPE_KINDS.index(kind), level, len(text), text))
    return tuple(entries)


def _entry_at(image: bytes, offset: int) -> tuple[str, TradingState] | None:
    kind, level, length, padded = _ENTRY.unpack_from(image, offset)
    if kind >= len(SCOPE_KINDS):
        return None
    return f"{SCOPE_KINDS[kind]}:{padded[:length].decode(errors='replace')}", _level(level)


def _utf8(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def _level(value: int) -> TradingState:
    return TradingState(value) if value <= TradingState.HALTED else TradingState.HALTED
