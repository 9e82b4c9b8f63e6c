"""What is written down for an entry of the journal, and for a stretch that is missing."""

import pytest
from archived import NOW_NS, a_day, body, entries, ticks
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.log import Position, advance, judge
from sidecar.journal.archive_ledger import COLUMN_CHARS_MAX, Entry, Ledger, Place, Row, link
from sidecar.messages.codec import decode_record
from sidecar.messages.journal import OrderNeverSent, Record


def entered(found: list[Entry]) -> list[Row]:
    """The rows of entries without a gap."""
    ledger = Ledger(Place())
    return [ledger.enter(each) for each in found]


def test_both_chains() -> None:
    """The archive's chain covers every entry, the journal's is the one that arbiters have."""
    found = ticks(5)
    found.insert(3, Entry(3, b"no record at all"))
    found = [Entry(offset, each.body) for offset, each in enumerate(found)]
    rows = entered(found)
    position, chain = Position(), ""
    for each, row in zip(found, rows, strict=True):
        record = decode_record(each.body)
        if isinstance(record, Record):
            assert judge(position, record).value == row.verdict == "valid"
            position = advance(position, record, each.body)
        chain = link(chain, each.offset, each.body)
        assert (row.journal_chain, row.archive_chain) == (position.chain, chain)
    assert rows[3].verdict == "void"


def test_verdicts() -> None:
    """A repeated append is a duplicate, a deposed author's record is void, and neither moves the journal's chain."""
    rows = entered(entries([body(0), body(1), body(1), body(0, term=2, author="b#1"), body(2)]))
    assert [each.verdict for each in rows] == ["valid", "valid", "duplicate", "valid", "void"]
    assert rows[1].journal_chain == rows[2].journal_chain
    assert rows[3].journal_chain == rows[4].journal_chain


def test_columns() -> None:
    """The columns say what each fact is about, down into what it wraps."""
    rows = {each.stream_offset: each for each in entered(a_day())}
    assert (rows[2].slot, rows[2].group_name, rows[2].component, rows[2].actor) == (
        "execution/0",
        "execution",
        "exec-a",
        "bob",
    )
    assert (rows[4].kind, rows[4].cl_ord_id, rows[4].component) == ("OrderPrecommitted", "o-1", "exec-a")
    assert (rows[7].kind, rows[7].actor, rows[7].component) == ("HaltRaised", "ann@desk", "exec-b")
    assert rows[5].cl_ord_id == "o-1"


def test_a_later_version() -> None:
    """A fact that this version does not know is archived as it stands, named, and its author goes on behind it."""
    unknown = b'{"term":1,"n":1,"arbiter":"arbiter-1#a","at_ns":7,"fact":{"fact":"MoonPhase","component":"exec-a"}}'
    rows = entered(entries([body(0), unknown, body(2)]))
    assert [each.verdict for each in rows] == ["valid", "valid", "valid"]
    assert (rows[1].kind, rows[1].component, rows[1].at_ns, rows[1].body) == ("MoonPhase", "exec-a", 7, unknown)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b'{"fact":[]}',
        b'{"fact":{"fact":7,"component":{},"scopes":1}}',
        b'{"term":1e300,"n":1,"arbiter":"x"}',
        b'{"term":18446744073709551615,"n":-1,"arbiter":"x\\u0000","at_ns":99999999999999999999}',
        b'{"fact":{"actor":"\\ud800 half"}}',
    ],
)
def test_anything_can_be_written_down(hostile: bytes) -> None:
    """Whatever stands in the stream gets a row with its bytes, and the records behind it count as before."""
    rows = entered(entries([body(0), hostile, body(1)]))
    assert rows[1].body == hostile
    assert rows[1].verdict == "void"
    assert rows[2].verdict == "valid"


@given(st.text(min_size=1, max_size=COLUMN_CHARS_MAX * 2))
def test_names_fit_every_database(name: str) -> None:
    """A name in a column has no NUL, can be encoded and is not too long."""
    row = entered(entries([body(0), body(1, OrderNeverSent(cl_ord_id=name, reason="x"))]))[1]
    assert "\x00" not in row.cl_ord_id
    assert 0 < len(row.cl_ord_id) <= COLUMN_CHARS_MAX
    assert row.cl_ord_id.encode()


def skipped(before: list[Entry], follower: Entry) -> Row:
    """The row in place of what is missing before the follower."""
    ledger = Ledger(Place())
    for each in before:
        ledger.enter(each)
    return ledger.skip(follower, NOW_NS)


def test_a_hole_of_the_broker() -> None:
    """Offsets behind which the ruling author's next record stands held nothing that counts."""
    assert skipped(ticks(5), Entry(6, body(5))).kind == "Hole"
    assert skipped(ticks(5), Entry(600, body(5))).kind == "Hole"
    assert skipped(ticks(5), Entry(6, body(0, term=2))).kind == "Hole"


def test_a_gap() -> None:
    """Offsets that may have held records are a gap, and so is a single one behind which a number is missing."""
    assert skipped(ticks(5), Entry(6, body(6))).kind == "Gap"
    assert skipped(ticks(5), Entry(7, body(0, term=2))).kind == "Gap"
    assert skipped(ticks(5), Entry(600, body(599))).kind == "Gap"


def test_behind_a_gap() -> None:
    """Behind a gap the last known term goes on, then any higher one, until a term begins in view."""
    ledger = Ledger(Place())
    for each in ticks(5):
        ledger.enter(each)
    late, running, stale = body(50), body(80, term=2, author="b#1"), body(51)
    ledger.skip(Entry(50, late), NOW_NS)
    behind = [late, running, stale, body(81, term=2, author="b#1")]
    verdicts = [ledger.enter(each).verdict for each in entries(behind, 50)]
    assert verdicts == ["valid", "valid", "void", "valid"]
    assert ledger.place.adrift
    began = [body(0, term=3, author="c#1"), body(2, term=9, author="d#1"), body(1, term=3, author="c#1")]
    assert [ledger.enter(each).verdict for each in entries(began, 54)] == ["valid", "void", "valid"]
    assert not ledger.place.adrift
