"""Which records count."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.log import Position, Verdict, advance, judge, nothing_missing
from sidecar.messages.codec import decode_record, encode
from sidecar.messages.journal import Record, TermStarted, Ticked

AT = Position(term=3, author="me", n=4, chain="c")


def entry(term: int, n: int, author: str = "me", *, starts: bool = False) -> Record:
    """A record of which only its place matters."""
    return Record(term=term, n=n, arbiter=author, at_ns=0, fact=TermStarted(reason="") if starts else Ticked())


def expected(term: int, author: str, n: int, starts: bool) -> Verdict:
    """The table of core/log.py, read top down, at `AT`."""
    if starts and term > 3 and n == 0:
        return Verdict.VALID
    if (term, author) == (3, "me") and n == 5 and not starts:
        return Verdict.VALID
    if (term, author) == (3, "me") and n <= 4:
        return Verdict.DUPLICATE
    return Verdict.VOID


@pytest.mark.parametrize(
    ("term", "author", "n", "starts"),
    list(product((2, 3, 4, 9), ("me", "other"), (-1, 0, 1, 4, 5, 6), (True, False))),
)
def test_the_table_of_verdicts(term: int, author: str, n: int, starts: bool) -> None:
    """Every combination of term, author, number and kind has the verdict of the table."""
    assert judge(AT, entry(term, n, author, starts=starts)) is expected(term, author, n, starts)


def test_the_first_start_of_a_term_wins() -> None:
    """Of two arbiters that start the same term the first in the log leads and the other's records are void."""
    position = advance(Position(), entry(1, 0, "first", starts=True))
    assert judge(position, entry(1, 0, "second", starts=True)) is Verdict.VOID
    assert judge(position, entry(1, 1, "second")) is Verdict.VOID
    assert judge(position, entry(1, 1, "first")) is Verdict.VALID


def read(records: list[Record]) -> Position:
    """Where the log stands after these records."""
    position = Position()
    for record in records:
        if judge(position, record) is Verdict.VALID:
            position = advance(position, record)
    return position


VALID = [
    entry(1, 0, "a", starts=True),
    entry(1, 1, "a"),
    entry(1, 2, "a"),
    entry(4, 0, "b", starts=True),
    entry(4, 1, "b"),
]


@given(st.data())
def test_duplicates_and_void_records_change_nothing(data: st.DataObject) -> None:
    """However repeated, overtaken and foreign records are mixed in, the log stands where the valid ones put it."""
    noisy: list[Record] = []
    for k, record in enumerate(VALID):
        noisy += data.draw(st.lists(st.sampled_from(VALID[:k] or [entry(0, 3, "z")]), max_size=3))
        nonsense = st.sampled_from([entry(1, 7, "a"), entry(1, 1, "z"), entry(0, 0, "z", starts=True)])
        noisy += data.draw(st.lists(nonsense, max_size=2))
        noisy.append(record)
    assert read(noisy) == read(VALID)


def test_the_chain_tells_histories_apart() -> None:
    """Two journals that differ anywhere have different chains at the same place."""
    one = read([entry(1, 0, "a", starts=True), entry(1, 1, "a")])
    other = read([entry(1, 0, "a", starts=True), Record(term=1, n=1, arbiter="a", at_ns=9, fact=Ticked())])
    assert (one.term, one.n) == (other.term, other.n)
    assert one.chain != other.chain


def test_the_chain_is_over_the_bytes_in_the_log() -> None:
    """A field that this version does not know is in the chain, so that versions agree; without bytes it is our own."""
    record = entry(1, 0, "a", starts=True)
    added = encode(record).replace(b'"term"', b'"added_later":1,"term"', 1)
    assert decode_record(added) == record
    assert advance(Position(), record, added).chain != advance(Position(), record, encode(record)).chain
    assert advance(Position(), record, encode(record)) == advance(Position(), record)


@pytest.mark.parametrize(
    ("record", "offsets", "whole"),
    [
        (entry(3, 5), 1, True),
        (entry(3, 5), 600, True),
        (entry(3, 6), 0, True),
        (entry(3, 6), 1, False),
        (entry(3, 6), 2, False),
        (entry(4, 0, "other", starts=True), 1, True),
        (entry(4, 0, "other", starts=True), 2, False),
        (entry(2, 9, "other"), 1, True),
        (entry(2, 9, "other"), 2, False),
        (None, 1, True),
        (None, 2, False),
    ],
)
def test_holes_and_gaps(record: Record | None, offsets: int, whole: bool) -> None:
    """Missing offsets are the broker's own where the ruling author goes on, or where it is one that nothing needs."""
    assert nothing_missing(AT, record, offsets) is whole
