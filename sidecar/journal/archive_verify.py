"""Verification: recomputes both chains and every column, and says which row is not what was archived.

Owns the findings and how a damaged row is told from a sound one behind it. It must not write, nor decide what to do.

| finding   | what was seen                                                                                      |
|-----------|----------------------------------------------------------------------------------------------------|
| removed   | offsets are missing between two rows, before the first or behind the last                          |
| changed   | bytes, chain or a column differ from what the row before and the bytes say                          |
| reordered | what belongs at this offset stands at another                                                      |
| added     | a row stands where the archive never wrote one                                                     |
| rewritten | the chain at an offset is not the one noted earlier: everything up to there was computed anew      |
| gap       | no damage: the stream had lost entries before the archive read them, and it was noted then         |
| behind    | the journal goes on where the archive ends, and the archive does not follow (`archive_compare.py`) |

A row whose chain does not fit may be sound behind a damaged one. So the next row is tried behind both what the damaged
row says of itself and what its bytes say, and at the end each damaged row behind what was found to belong before it.
Whoever can write the database can also compute every chain anew. Against that help a chain noted elsewhere
(`--expect`) and the journal itself (`--journal`); see docs/audit.md.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from sidecar.core.log import Position
from sidecar.journal.archive_ledger import Ledger, Place, Row, link
from sidecar.journal.archive_search import Reader

FindingKind = Literal["removed", "changed", "reordered", "added", "rewritten", "gap", "behind"]
FINDINGS_MAX: Final = 1_000
"""More are counted, not listed: so many damaged rows are a damaged file."""
TELL_ROWS: Final = 1_000
"""Rows between two words on the progress."""
_CHAINS: Final = frozenset({"archive_chain", "journal_chain"})
_FROM_BEFORE: Final = _CHAINS | {"verdict"}
"""Columns that depend on the rows before, which are not known behind a missing stretch."""


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was archived; offsets of the stream, both included."""

    kind: FindingKind
    first: int
    last: int
    text: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified, from which offset to which, and the chains at its end."""

    rows: int
    first_offset: int
    last_offset: int
    begins: str
    archive_chain: str
    journal_chain: str
    findings: tuple[AuditFinding, ...]
    left_off: int = 0


class Noted(msgspec.Struct, frozen=True):
    """A chain that somebody kept elsewhere."""

    offset: int
    chain: str


class _Damaged(msgspec.Struct):
    before: str
    row: Row
    columns: frozenset[str]
    text: str


def verify(reader: Reader, *, noted: Noted | None = None, tell: Callable[[int], None] = lambda rows: None) -> Verified:
    """Read every row. `tell` hears how many were read so far."""
    anchor, place = reader.anchor(), reader.place()
    check = _Check(anchor.place)
    for row in reader.rows():
        check.see(row)
        if check.rows % TELL_ROWS == 0:
            tell(check.rows)
    tell(check.rows)
    check.end(place)
    if noted is not None:
        check.compare(noted, reader.chain_at(noted.offset))
    findings = check.settled()
    return Verified(
        rows=check.rows,
        first_offset=anchor.place.next_offset,
        last_offset=place.next_offset - 1,
        begins=anchor.why,
        archive_chain=place.archive_chain,
        journal_chain=place.position.chain,
        findings=tuple(findings[:FINDINGS_MAX]),
        left_off=max(0, len(findings) - FINDINGS_MAX) + check.left_off,
    )


class _Check:
    """Goes along the rows. `_places` are the ways in which the next row may go on, the likeliest first."""

    def __init__(self, begin: Place) -> None:
        self.rows = 0
        self.left_off = 0
        self._places = [begin]
        self._findings: list[AuditFinding] = []
        self._damaged: dict[int, _Damaged] = {}

    def see(self, row: Row) -> None:
        """The next row."""
        self.rows += 1
        due = self._places[0].next_offset
        self._places = [each for each in self._places if each.next_offset == row.stream_offset] or self._places[:1]
        if row.stream_offset < self._places[0].next_offset:
            self._find(
                "added", row.stream_offset, row.stream_offset, f"offset {due} is due; this row was never written"
            )
            return
        torn = row.stream_offset > self._places[0].next_offset
        if torn:
            self._removed(due, row.stream_offset - 1)
            self._places = [_moved(self._places[0], row.stream_offset)]
        self._judge(row, torn)
        if row.verdict == "gap" and row.stream_offset not in self._damaged:
            last = self._places[0].next_offset - 1
            self._find("gap", row.stream_offset, last, "the stream had lost these before the archive read them")

    def _judge(self, row: Row, torn: bool) -> None:
        ledger, expected, before = self._replayed(row)
        if expected is None:
            self._damage(row, before, frozenset({"body"}), "the body of this gap cannot be read")
            self._places = [_as_told(self._places[0], row)]
            return
        differing = frozenset(
            name
            for name in Row.__struct_fields__
            if getattr(expected, name) != getattr(row, name) and not (torn and name in _FROM_BEFORE)
        )
        if torn:
            ledger = Ledger(_moved(_as_told(ledger.place, row), ledger.place.next_offset))
        if not differing:
            self._places = [ledger.place]
        elif "archive_chain" not in differing:  # The bytes are what was archived; only what was read off them is not.
            self._find("changed", row.stream_offset, row.stream_offset, _columns(differing, expected, row))
            self._places = [ledger.place]
        else:
            self._damage(row, before, differing, _columns(differing - _CHAINS, expected, row))
            self._places = [_as_told(ledger.place, row), ledger.place]

    def _replayed(self, row: Row) -> tuple[Ledger, Row | None, str]:
        """The first way on that fits the row's chain, else the likeliest."""
        tried: list[tuple[Ledger, Row | None, str]] = []
        for place in self._places:
            ledger = Ledger(place)
            try:
                expected = ledger.replay(row.stream_offset, row.verdict, row.body)
            except ValueError:
                tried.append((ledger, None, place.archive_chain))
                continue
            tried.append((ledger, expected, place.archive_chain))
            if expected.archive_chain == row.archive_chain:
                return tried[-1]
        return tried[0]

    def end(self, place: Place) -> None:
        """All rows were seen; `place` is where the archive says it stands."""
        due = self._places[0].next_offset
        if due < place.next_offset:
            self._removed(due, place.next_offset - 1)
        elif due > place.next_offset:
            self._find("added", place.next_offset, due - 1, "the archive's own place ends before these rows")
        elif due - 1 not in self._damaged and all(each.archive_chain != place.archive_chain for each in self._places):
            self._find("changed", due - 1, due - 1, "the last row's chain is not the one in archive_state")

    def compare(self, noted: Noted, chain: str | None) -> None:
        """Hold a chain that was noted elsewhere against the row's."""
        if chain is None:
            self._find("removed", noted.offset, noted.offset, "its chain was noted earlier, and the row is not there")
        elif chain != noted.chain:
            text = f"the chain noted earlier is {noted.chain}, the row has {chain}"
            self._find("rewritten", noted.offset, noted.offset, text)

    def settled(self) -> list[AuditFinding]:
        """All findings by offset; damaged rows are held against each other first."""
        sound: dict[int, str] = {}
        for offset, each in sorted(self._damaged.items()):
            before = sound.get(offset - 1, each.before)
            origin = next((x for x in self._damaged.values() if _belongs(before, offset, x, each)), None)
            if origin is None:
                self._find("changed", offset, offset, each.text or _torn_text(offset))
                continue
            sound[offset] = link(before, offset, origin.row.body)
            if origin.row.stream_offset != offset:
                text = f"what belongs here stands at offset {origin.row.stream_offset}"
                self._find("reordered", offset, offset, text)
            elif each.columns - _FROM_BEFORE:  # A verdict hangs on what stood before, as the chains do.
                self._find("changed", offset, offset, each.text)
        return sorted(self._findings, key=lambda each: (each.first, each.last))

    def _damage(self, row: Row, before: str, columns: frozenset[str], text: str) -> None:
        if len(self._damaged) < FINDINGS_MAX // 4:  # Their bytes are kept, so fewer than findings.
            self._damaged[row.stream_offset] = _Damaged(before, row, columns, text)
        else:
            self._find("changed", row.stream_offset, row.stream_offset, text or _torn_text(row.stream_offset))

    def _removed(self, first: int, last: int) -> None:
        count = last - first + 1
        self._find("removed", first, last, "this row is missing" if count == 1 else f"these {count} rows are missing")

    def _find(
        self,
        kind: FindingKind,
        first: int,
        last: int,
        text: str,
    ) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(AuditFinding(kind=kind, first=first, last=last, text=text))
        else:
            self.left_off += 1


def _belongs(before: str, offset: int, candidate: _Damaged, here: _Damaged) -> bool:
    """Whether the candidate's bytes were archived at `offset`: by its own chain, or by the one that is there."""
    return link(before, offset, candidate.row.body) in (candidate.row.archive_chain, here.row.archive_chain)


def _moved(place: Place, offset: int) -> Place:
    return msgspec.structs.replace(place, next_offset=offset)


def _as_told(place: Place, row: Row) -> Place:
    """The place behind `row` if everything that the row says of itself is true."""
    position = Position(
        place.position.term, place.position.author, place.position.n, row.journal_chain or place.position.chain
    )
    if row.verdict == "valid" and row.term is not None and row.n is not None:
        position = Position(row.term, row.author, row.n, row.journal_chain)
    return Place(
        next_offset=row.stream_offset + 1,
        archive_chain=row.archive_chain if _is_chain(row.archive_chain) else place.archive_chain,
        position=position,
        adrift=place.adrift,
    )


def _is_chain(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) > 0
    except ValueError:
        return False


def _columns(names: frozenset[str], expected: Row, row: Row) -> str:
    told = [f"{name} is {_short(getattr(row, name))}, not {_short(getattr(expected, name))}" for name in sorted(names)]
    return "; ".join(told)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _torn_text(offset: int) -> str:
    return f"its bytes or chain are not what was archived (or offset {offset - 1} was, with its chain computed anew)"
