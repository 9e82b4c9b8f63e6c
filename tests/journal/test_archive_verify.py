"""Verification finds what was removed, changed or reordered, and says which; in SQLite and in PostgreSQL."""

import hashlib
import random
from pathlib import Path

import pytest
from archived import NOW_NS, SECOND_NS, a_day, body, entries, rows, tamper, ticks, write

from sidecar.journal.archive import Archive
from sidecar.journal.archive_errors import ArchiveError
from sidecar.journal.archive_ledger import Entry, link
from sidecar.journal.archive_search import reading
from sidecar.journal.archive_verify import AuditFinding, Noted, Verified, verify


def verified(url: str, noted: Noted | None = None) -> Verified:
    """The result."""
    with reading(url) as reader:
        return verify(reader, noted=noted)


def found(url: str) -> list[tuple[str, int, int]]:
    """Kind, first and last offset of each finding."""
    return [(each.kind, each.first, each.last) for each in verified(url).findings]


@pytest.fixture
def archive(archive_url: str) -> str:
    """An archive of a day and 40 more ticks, written in two batches."""
    write(archive_url, a_day())
    write(archive_url, ticks(40, 13), expected=13)
    return archive_url


def test_untouched(archive: str) -> None:
    """What nobody touched verifies, with duplicates, void entries, holes and later terms in it."""
    strange = [body(52), b"not a record", body(0, term=2, author="b#1"), body(53), body(1, term=2, author="b#1")]
    write(archive, entries(strange, 53), expected=53)
    write(archive, [Entry(59, body(2, term=2, author="b#1"))], expected=58)
    result = verified(archive)
    assert result.findings == ()
    assert (result.rows, result.first_offset, result.last_offset) == (60, 0, 59)
    assert {each.verdict for each in rows(archive)} == {"valid", "duplicate", "void", "hole"}


@pytest.mark.parametrize(("first", "last"), [(0, 0), (7, 7), (10, 20), (1, 51)])
def test_removed(archive: str, first: int, last: int) -> None:
    """Rows that were removed are named by their offsets, and nothing else is."""
    tamper(archive, f"delete from journal_entries where stream_offset between {first} and {last}")
    assert found(archive) == [("removed", first, last)]


def test_cut_off_at_the_end(archive: str) -> None:
    """Rows that were removed from the end are missed."""
    tamper(archive, "delete from journal_entries where stream_offset >= 50")
    assert found(archive) == [("removed", 50, 52)]


def test_everything_removed(archive: str) -> None:
    """An archive whose rows are all gone is not called empty."""
    tamper(archive, "delete from journal_entries")
    assert found(archive) == [("removed", 0, 52)]


@pytest.mark.parametrize("offset", [0, 4, 7, 30, 52])
def test_changed_bytes(archive: str, offset: int) -> None:
    """One changed byte names its row, and no other."""
    kept = rows(archive)[offset].body
    changed = kept.replace(b"arbiter-1#a", b"arbiter-1#b") if offset % 2 else kept.replace(b'"at_ns":1', b'"at_ns":2')
    assert kept != changed
    tamper(archive, f"update journal_entries set body = {blob(archive, changed)} where stream_offset = {offset}")
    assert found(archive) == [("changed", offset, offset)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("component", "'exec-z'"),
        ("cl_ord_id", "'o-9'"),
        ("actor", "'eve'"),
        ("verdict", "'void'"),
        ("at_ns", "1"),
        ("kind", "'Ticked'"),
        ("n", "77"),
        ("author", "'arbiter-9'"),
        ("journal_chain", "'00'"),
        ("archive_chain", "'00'"),
        ("archive_chain", "'no chain'"),
    ],
)
def test_changed_column(archive: str, column: str, value: str) -> None:
    """A column that does not say what the bytes say names its row and itself."""
    tamper(archive, f"update journal_entries set {column} = {value} where stream_offset = 4")
    (finding,) = verified(archive).findings
    assert (finding.kind, finding.first, finding.last) == ("changed", 4, 4)
    assert column in finding.text or column == "archive_chain"


@pytest.mark.parametrize(("one", "other"), [(4, 11), (4, 5), (20, 40)])
def test_reordered_bodies(archive: str, one: int, other: int) -> None:
    """Two entries whose bytes were exchanged are each named with the place of what belongs there."""
    bodies = [each.body for each in rows(archive)]
    tamper(
        archive,
        f"update journal_entries set body = {blob(archive, bodies[other])} where stream_offset = {one}",
        f"update journal_entries set body = {blob(archive, bodies[one])} where stream_offset = {other}",
    )
    findings = [each for each in verified(archive).findings if each.kind == "reordered"]
    assert [(each.first, str(other if each.first == one else one) in each.text) for each in findings] == [
        (one, True),
        (other, True),
    ]
    assert {each.first for each in verified(archive).findings} == {one, other}


@pytest.mark.parametrize(("one", "other"), [(4, 11), (4, 5), (20, 40), (51, 52)])
def test_reordered_rows(archive: str, one: int, other: int) -> None:
    """Two whole rows that exchanged their offsets are named, and the sound rows behind them are not."""
    tamper(
        archive,
        f"update journal_entries set stream_offset = -1 where stream_offset = {one}",
        f"update journal_entries set stream_offset = {one} where stream_offset = {other}",
        f"update journal_entries set stream_offset = {other} where stream_offset = -1",
    )
    assert found(archive) == [("reordered", one, one), ("reordered", other, other)]


def test_added(archive: str) -> None:
    """Rows that the archive never wrote are found, behind the end and before the beginning."""
    copy = (
        "insert into journal_entries select {to}, verdict, kind, term, n, author, at_ns, cl_ord_id, orig_cl_ord_id, "
        "component, group_name, slot, actor, body, journal_chain, archive_chain from journal_entries "
        "where stream_offset = 52"
    )
    tamper(archive, copy.format(to=53))
    assert {each.first for each in verified(archive).findings if each.kind == "added"} == {53}
    tamper(archive, "delete from journal_entries where stream_offset = 53", copy.format(to=-5))
    assert found(archive) == [("added", -5, -5)]


def test_several_at_once(archive: str) -> None:
    """Damage in several places is told place by place."""
    tamper(
        archive,
        "delete from journal_entries where stream_offset in (10, 45, 46)",
        f"update journal_entries set body = {blob(archive, body(25, term=1))} where stream_offset = 30",
        "update journal_entries set actor = 'eve' where stream_offset = 7",
    )
    assert found(archive) == [("changed", 7, 7), ("removed", 10, 10), ("changed", 30, 30), ("removed", 45, 46)]


def test_one_chain_computed_anew(archive: str) -> None:
    """Whoever changes one entry and its own chain is betrayed by the next one."""
    before, row = rows(archive)[19], rows(archive)[20]
    forged = row.body.replace(b"Ticked", b"Tacked")
    chain = link(before.archive_chain, 20, forged)
    change = f"body = {blob(archive, forged)}, archive_chain = '{chain}'"
    tamper(archive, f"update journal_entries set {change} where stream_offset = 20")
    findings = verified(archive).findings
    assert findings
    assert all(each.first in (20, 21) for each in findings)
    assert any("20" in each.text or each.first == 20 for each in findings)


def test_all_computed_anew(archive: str) -> None:
    """A history that was rewritten whole verifies by itself, and not against a chain that was kept elsewhere."""
    kept = verified(archive)
    note = Noted(kept.last_offset, kept.archive_chain)
    assert verified(archive, note).findings == ()
    bodies = [each.body for each in rows(archive)]
    bodies[7] = bodies[7].replace(b"ann@desk", b"eve@desk")
    tamper(archive, *(f"delete from {table}" for table in ("journal_entries", "archive_state", "archive_anchors")))
    write(archive, entries(bodies))
    assert verified(archive).findings == ()
    assert [(each.kind, each.first) for each in verified(archive, note).findings] == [("rewritten", 52)]
    assert [each.kind for each in verified(archive, Noted(99, kept.archive_chain)).findings] == ["removed"]


def test_a_gap_is_told(archive: str) -> None:
    """A stretch that the stream lost is told, is no damage, and cannot be widened afterwards."""
    write(archive, entries([body(n) for n in range(100, 110)], 100), expected=53)
    assert found(archive) == [("gap", 53, 99)]
    tamper(archive, "delete from journal_entries where stream_offset between 100 and 105")
    assert found(archive) == [("gap", 53, 99), ("removed", 100, 105)]
    tamper(archive, "delete from journal_entries where stream_offset = 52")
    assert found(archive) == [("removed", 52, 52), ("gap", 53, 99), ("removed", 100, 105)]


def test_begun_late(archive_url: str) -> None:
    """An archive that was begun late verifies from there, and says why it begins there."""
    write(archive_url, entries([body(n) for n in range(100, 110)], 100))
    result = verified(archive_url)
    assert result.findings == ()
    assert (result.first_offset, result.last_offset) == (100, 109)
    assert "had left the stream" in result.begins


def test_after_retention(archive: str) -> None:
    """What retention left verifies from its cut, and what is removed behind the cut is missed."""
    pruning = Archive(archive)
    pruning.open(NOW_NS)
    assert pruning.prune(NOW_NS + 20 * SECOND_NS, 1_000, NOW_NS) == 20
    pruning.close()
    result = verified(archive)
    assert (result.findings, result.first_offset, result.rows) == ((), 20, 33)
    tamper(archive, "delete from journal_entries where stream_offset = 20")
    assert found(archive) == [("removed", 20, 20)]


def test_empty(archive_url: str) -> None:
    """An archive without entries verifies."""
    write(archive_url, [])
    assert verified(archive_url).findings == ()


def test_any_single_damage_is_found(tmp_path: Path) -> None:
    """Whatever single bit of whichever body is turned, that row is named and no other."""
    url, chance = f"sqlite:///{tmp_path / 'archive.db'}", random.Random(4)
    write(url, a_day())
    for _ in range(60):
        row = chance.choice(rows(url))
        at = chance.randrange(len(row.body))
        flipped = bytearray(row.body)
        flipped[at] ^= 1 << chance.randrange(8)
        put = "update journal_entries set body = {} where stream_offset = {}"
        tamper(url, put.format(blob(url, bytes(flipped)), row.stream_offset))
        assert {each.first for each in verified(url).findings} == {row.stream_offset}, (row.stream_offset, at)
        tamper(url, put.format(blob(url, row.body), row.stream_offset))
    assert verified(url).findings == ()


@pytest.mark.parametrize(
    "change",
    [
        "body = '{}'",
        "body = 7",
        "verdict = 5",
        "term = 'x'",
        "archive_chain = x'00'",
        "journal_chain = 1.5",
        "at_ns = 'noon'",
        "verdict = 'gap'",
        "verdict = 'hole', body = x'7b7d'",
        'verdict = \'gap\', body = cast(\'{"first":20,"last":30,"noticed_ns":0}\' as blob)',
    ],
)
def test_any_type_in_any_column(tmp_path: Path, change: str) -> None:
    """SQLite takes any type in every column, and verification says of each which row it is in."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    write(url, ticks(40))
    tamper(url, f"update journal_entries set {change} where stream_offset = 20")
    assert verified(url).findings[0].kind == "changed"
    assert verified(url).findings[0].first == 20
    tamper(url, "update journal_entries set stream_offset = 'twenty' where stream_offset = 20")
    assert ("removed", 20, 20) in found(url)


@pytest.mark.parametrize(
    "place", ["", "{}", "7", '{"next_offset":40,"archive_chain":"zz","position":{},"adrift":false}']
)
@pytest.mark.parametrize("table", ["archive_state", "archive_anchors"])
def test_a_changed_place(archive: str, table: str, place: str) -> None:
    """A place that was changed by hand is an error in words, or a finding; never silence."""
    tamper(archive, f"update {table} set place = '{place}'")
    try:
        findings = verified(archive).findings
    except ArchiveError as error:
        assert "by hand" in str(error)
    else:
        assert findings or (table, place) == ("archive_anchors", "{}")  # An empty place is where this one begins.


def test_the_chain_is_what_the_page_says() -> None:
    """The archive's chain is BLAKE2b of 32 bytes over the chain before, the offset in 8 bytes, and the body."""
    first = hashlib.blake2b((0).to_bytes(8, "big") + b"a", digest_size=32).hexdigest()
    second = hashlib.blake2b(bytes.fromhex(first) + (1).to_bytes(8, "big") + b"b", digest_size=32).hexdigest()
    assert link(link("", 0, b"a"), 1, b"b") == second


def blob(url: str, value: bytes) -> str:
    """Bytes as a literal of this database."""
    return f"x'{value.hex()}'" if url.startswith("sqlite") else f"'\\x{value.hex()}'"


def test_findings_are_plain() -> None:
    """A finding can be made from plain values, as JSON has them."""
    assert AuditFinding(kind="removed", first=1, last=2, text="").last == 2
