"""What the archive writes down for each entry of the journal: pure, the same when it archives and when it verifies.

Owns the row of an entry, the archive's own hash chain over the bytes of every entry, and what a missing stretch of the
stream means. It must not know a database, nor decide what counts: `core/log.py` does that.

| the next entry stands                                      | written                                          |
|------------------------------------------------------------|--------------------------------------------------|
| at the offset that is due                                  | the entry                                        |
| beyond it, and its n is the next of the ruling author      | a row `Hole`, then the entry: nothing is missing |
| one beyond it, and its n shows no missing record           | the same                                         |
| beyond it, anything else                                   | a row `Gap`, then the entry; the archive is adrift |

A stream's segment may begin with an entry of the broker's own, which takes an offset and is never delivered (measured
on RabbitMQ 3.10: one for each new segment), hence the holes. What retention deletes is whole segments.

Adrift means that nobody can know from the log which term rules: the first record of the last known term or a higher
one is believed, a higher one again each time, until a term begins in view. The journal's chain begins anew there.
"""

import hashlib
from typing import Any, Final, Literal

import msgspec

from sidecar.core.log import Position, Verdict, advance, judge, nothing_missing
from sidecar.messages.codec import RecordHeader, decode_header, decode_record
from sidecar.messages.journal import Record, TermStarted, Ticked

Standing = Literal["valid", "duplicate", "void", "gap", "hole"]
COLUMN_CHARS_MAX: Final = 256
"""Longer names are cut in the columns, for the sake of their indexes; the body has all of it."""
_INT_MAX: Final = 2**63 - 1
_NAMES: Final = {
    "cl_ord_id": ("ClOrdID", "cl_ord_id"),
    "orig_cl_ord_id": ("OrigClOrdID",),
    "component": ("component",),
    "group_name": ("group",),
    "slot": ("slot",),
    "actor": ("actor",),
}


class Entry(msgspec.Struct, frozen=True):
    """One entry of the stream as it was read."""

    offset: int
    body: bytes


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `journal_entries`. Names are empty where the entry has none; `body` is the bytes as read.

    `journal_chain` is the journal's own hash over the valid records up to here, `archive_chain` ours over every entry.
    """

    stream_offset: int
    verdict: Standing
    kind: str = ""
    term: int | None = None
    n: int | None = None
    author: str = ""
    at_ns: int | None = None
    cl_ord_id: str = ""
    orig_cl_ord_id: str = ""
    component: str = ""
    group_name: str = ""
    slot: str = ""
    actor: str = ""
    body: bytes
    journal_chain: str
    archive_chain: str


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a `Gap` or a `Hole`: which offsets, and when it was noticed (nanoseconds since 1970)."""

    first: int
    last: int
    noticed_ns: int


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the archive stands: all that is needed to write, or to verify, the next row."""

    next_offset: int = 0
    archive_chain: str = ""
    position: Position = Position()
    adrift: bool = False


class Ledger:
    """Turns entries into rows, one after the other."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def enter(self, entry: Entry) -> Row:
        """The row of the entry at the offset that is due."""
        record, header = _read(entry.body)
        position, adrift = self.place.position, self.place.adrift
        verdict: Standing = "void"
        if record is not None:
            position, adrift = _anchored(position, adrift, record)
            verdict = judge(position, record).value
            if verdict == Verdict.VALID.value:
                adrift = adrift and not isinstance(record.fact, TermStarted)
                position = advance(position, record, entry.body)
        row = Row(
            stream_offset=entry.offset,
            verdict=verdict,
            term=_bounded(header.term) if header else None,
            n=_bounded(header.n) if header else None,
            author=as_column(header.arbiter) if header else "",
            body=entry.body,
            journal_chain=position.chain,
            archive_chain=link(self.place.archive_chain, entry.offset, entry.body),
            **_described(entry.body),
        )
        self.place = Place(
            next_offset=entry.offset + 1, archive_chain=row.archive_chain, position=position, adrift=adrift
        )
        return row

    def skip(self, follower: Entry, noticed_ns: int) -> Row:
        """The row of the offsets between the one that is due and the follower's."""
        missing = Missing(first=self.place.next_offset, last=follower.offset - 1, noticed_ns=noticed_ns)
        return self.skipped(missing, self._goes_on_with(follower))

    def skipped(self, missing: Missing, hole: bool) -> Row:
        """The same, where both are known."""
        position, adrift = self.place.position, self.place.adrift
        if not hole:  # The last known term may have gone on, so that one is believed too.
            position, adrift = Position(term=max(0, position.term - 1)), True
        body = msgspec.json.encode(missing)
        row = Row(
            stream_offset=missing.first,
            verdict="hole" if hole else "gap",
            kind="Hole" if hole else "Gap",
            at_ns=missing.noticed_ns,
            body=body,
            journal_chain=position.chain,
            archive_chain=link(self.place.archive_chain, missing.first, body),
        )
        self.place = Place(
            next_offset=missing.last + 1, archive_chain=row.archive_chain, position=position, adrift=adrift
        )
        return row

    def replay(self, offset: int, verdict: str, body: bytes) -> Row:
        """The row that stands here if nothing was changed. ValueError when a gap's own body cannot be read."""
        if verdict in ("gap", "hole"):
            try:
                return self.skipped(msgspec.json.decode(body, type=Missing), verdict == "hole")
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ValueError(str(error)) from error
        return self.enter(Entry(offset, body))

    def _goes_on_with(self, follower: Entry) -> bool:
        """Whether no record that counts is missing before the follower."""
        record, _ = _read(follower.body)
        return nothing_missing(self.place.position, record, follower.offset - self.place.next_offset)


def link(chain: str, offset: int, body: bytes) -> str:
    """The archive's chain behind one more entry: BLAKE2b, 32 bytes, hexadecimal, over chain, offset and bytes."""
    return hashlib.blake2b(bytes.fromhex(chain) + offset.to_bytes(8, "big") + body, digest_size=32).hexdigest()


def as_column(text: str) -> str:
    """A name as every database takes it: no NUL, no half of a surrogate pair, not too long."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return clean[:COLUMN_CHARS_MAX]


def _read(body: bytes) -> tuple[Record | None, RecordHeader | None]:
    """The record, or a stand-in with the same header for a fact of a version that we do not know; and the header."""
    record = decode_record(body)
    if isinstance(record, Record):
        return record, RecordHeader(record.term, record.n, record.arbiter)
    header = decode_header(body)
    if header is None:
        return None, None
    return Record(term=header.term, n=header.n, arbiter=header.arbiter, at_ns=0, fact=Ticked()), header


def _anchored(position: Position, adrift: bool, record: Record) -> tuple[Position, bool]:
    begins = isinstance(record.fact, TermStarted) and record.n == 0
    if adrift and record.term > position.term and not begins:
        position = Position(record.term, record.arbiter, record.n - 1)
    return position, adrift


def _described(body: bytes) -> dict[str, Any]:
    """The columns that say what an entry is about, of this and of any later version's records."""
    try:
        table = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    if not isinstance(table, dict):
        return {}
    fact = table.get("fact")
    fact = fact if isinstance(fact, dict) else {}
    kind, at_ns = fact.get("fact"), table.get("at_ns")
    found = {column: _named(fact, names) for column, names in _NAMES.items()}
    found["component"] = found["component"] or _scoped(fact, "component:")
    found["group_name"] = found["group_name"] or found["slot"].partition("/")[0] or _scoped(fact, "group:")
    return {
        "kind": as_column(kind) if isinstance(kind, str) else "",
        "at_ns": _bounded(at_ns) if isinstance(at_ns, int) else None,
        **found,
    }


def _levels(fact: dict[str, Any]) -> list[dict[str, Any]]:
    """The fact, and what it wraps: an intent, a report, a halt."""
    return [fact, *(each for each in fact.values() if isinstance(each, dict))]


def _named(fact: dict[str, Any], names: tuple[str, ...]) -> str:
    for level in _levels(fact):
        for name in names:
            value = level.get(name)
            if isinstance(value, str) and value:
                return as_column(value)
    return ""


def _scoped(fact: dict[str, Any], prefix: str) -> str:
    """The one component or group that a halt names; empty when it names none or several."""
    for level in _levels(fact):
        scopes = level.get("scopes")
        if isinstance(scopes, list):
            named = [each[len(prefix) :] for each in scopes if isinstance(each, str) and each.startswith(prefix)]
            return as_column(named[0]) if len(named) == 1 else ""
    return ""


def _bounded(number: int) -> int | None:
    """The number, if a column can hold it."""
    return number if -_INT_MAX <= number <= _INT_MAX else None
