"""The layout: constants that agree with each other, and nothing decoded from bytes that are not whole."""

from pathlib import Path

import msgspec
import pytest
from gate_pages import PAGES
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.ladder import ORDER_SCOPE_KINDS
from sidecar.core.page import CLOSED, Page
from sidecar.gate import layout
from sidecar.gate.description import describe
from sidecar.gate.layout import PAGE_BYTES, SCOPES_MAX, GateError, decode, encode
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState

BOOT = bytes(range(16))


def image(page: Page, sequence: int = 2) -> bytes:
    return encode(page, sequence, BOOT).ljust(PAGE_BYTES, b"\0")


@settings(deadline=None)
@given(PAGES, st.integers(1, 2**62).map(lambda each: each * 2))
def test_roundtrip(page: Page, sequence: int) -> None:
    """Every page that fits comes back as it was."""
    assert decode(image(page, sequence)) == page


@settings(deadline=None)
@given(PAGES, st.integers(layout.CHECKSUM_WORD * 8, PAGE_BYTES * 8 - 1))
def test_any_flipped_bit(page: Page, bit: int) -> None:
    """A page with any one bit changed behind the first three words is refused, or says the same."""
    damaged = bytearray(image(page))
    damaged[bit // 8 % PAGE_BYTES] ^= 1 << bit % 8
    assert decode(bytes(damaged)) in (None, page)


@settings(deadline=None)
@given(PAGES, PAGES, st.integers(layout.CHECKSUM_WORD, PAGE_BYTES // 8))
def test_torn(one: Page, other: Page, word: int) -> None:
    """A copy whose first words are of one write and whose last are of another is refused, or is one of the two."""
    torn = image(one, 2)[: word * 8] + image(other, 4)[word * 8 :]
    assert decode(torn) in (None, one, other)


def test_half_written() -> None:
    """A page with an odd sequence is refused."""
    assert decode(image(CLOSED, 3)) is None


@pytest.mark.parametrize("word", [layout.MAGIC_WORD, layout.VERSION_WORD])
def test_another_layout(word: int) -> None:
    """A page of another version or kind is refused."""
    other = bytearray(image(CLOSED))
    other[word * 8] += 1
    assert decode(bytes(other)) is None


def test_short() -> None:
    """A page that is too short is refused."""
    assert decode(image(CLOSED)[:-1]) is None


@pytest.mark.parametrize(
    "scoped",
    [
        (("symbol:X", TradingState.REDUCING),) * (SCOPES_MAX + 1),
        ((f"symbol:{'X' * 61}", TradingState.REDUCING),),
        (("symbol:\udc00", TradingState.REDUCING),),
        (("group:execution", TradingState.REDUCING),),
        (("all", TradingState.REDUCING),),
    ],
    ids=["too many", "too long", "not unicode", "another kind", "all"],
)
def test_overflow_is_halted(scoped: tuple[tuple[str, TradingState], ...]) -> None:
    """Scoped halts that the table cannot hold halt everything, reducing included."""
    page = Page(role="ACTIVE", trading_state=TradingState.ACTIVE, reducing_allowed=True, deadline_ns=9, scoped=scoped)
    found = decode(image(page))
    assert found == msgspec.structs.replace(page, trading_state=TradingState.HALTED, reducing_allowed=False, scoped=())
    assert layout.open_until_ns(page) == 0


@pytest.mark.parametrize(
    "page",
    [Page(deadline_ns=-1), Page(deadline_ns=2**64), Page(incarnation="x" * 65), Page(incarnation="\udc00")],
)
def test_what_no_field_holds(page: Page) -> None:
    """Values that no field can hold are an error of ours."""
    with pytest.raises(GateError):
        encode(page, 2, BOOT)


@settings(deadline=None)
@given(PAGES)
def test_open_until(page: Page) -> None:
    """The short answer is the deadline exactly when an active, unhalted page has no exceptions."""
    plain = page.role == "ACTIVE" and page.trading_state is TradingState.ACTIVE and page.scoped == ()
    assert layout.open_until_ns(page) == (page.deadline_ns if plain else 0)


def test_unknown_level() -> None:
    """A level from a newer writer is the strictest."""
    assert layout._level(200) is TradingState.HALTED


def test_fields_are_contiguous() -> None:
    """The published fields fill the header and an entry without gaps, and words are aligned."""
    for fields, size in ((layout.FIELDS, layout.HEADER_BYTES), (layout.ENTRY_FIELDS, layout.ENTRY_BYTES)):
        ends = [each.offset + each.size for each in fields]
        assert [each.offset for each in fields] == [0, *ends[:-1]]
        assert ends[-1] == size
    assert all(each.offset % 8 == 0 for each in layout.FIELDS)


def test_fields_match_the_code() -> None:
    """The published offsets are where the code puts the values."""
    page = Page(
        role="ACTIVE",
        trading_state=TradingState.REDUCING,
        reducing_allowed=True,
        deadline_ns=101,
        token=Token(102, 103),
        incarnation="inc",
        control_version=104,
        scoped=(("symbol:XYZ", TradingState.HALTED),),
    )
    whole = image(page, 106)
    values = {each.name: whole[each.offset : each.offset + each.size] for each in layout.FIELDS}
    numbers = {name: int.from_bytes(value, "little") for name, value in values.items()}
    assert values["magic"] == b"SIDEGATE"
    assert values["boot_id"] == BOOT
    assert whole[layout.BOOT_ID_OFFSET :][:16] == BOOT
    assert values["incarnation"].rstrip(b"\0") == b"inc"
    expected = {
        "version": 1,
        "open_until": 0,
        "sequence": 106,
        "deadline": 101,
        "trading_state": 1,
        "role": 1,
        "flags": 3,
    }
    expected |= {
        "token_term": 102,
        "token_epoch": 103,
        "control_version": 104,
        "scope_count": 1,
        "incarnation_bytes": 3,
    }
    assert expected.items() <= numbers.items()
    entry = whole[layout.HEADER_BYTES :]
    parts = {each.name: entry[each.offset : each.offset + each.size] for each in layout.ENTRY_FIELDS}
    assert (parts["kind"], parts["level"], parts["name_bytes"]) == (b"\2", b"\3", b"\3")
    assert parts["name"].rstrip(b"\0") == b"XYZ"
    words = {each.name: each.word for each in layout.FIELDS}
    assert words["magic"] == layout.MAGIC_WORD and words["version"] == layout.VERSION_WORD
    assert words["open_until"] == layout.OPEN_UNTIL_WORD and words["checksum"] == layout.CHECKSUM_WORD
    assert words["sequence"] == layout.SEQUENCE_WORD


def test_kinds_match_the_core() -> None:
    """Every kind of scope that concerns single orders has its place in the table."""
    assert layout.SCOPE_KINDS == ORDER_SCOPE_KINDS


def test_published() -> None:
    """schemas/gate-page.md is what the code generates."""
    committed = Path(__file__).parents[2] / "schemas" / "gate-page.md"
    assert committed.read_text() == describe(), "run: sidecar schemas export"
