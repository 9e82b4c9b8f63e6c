"""The folded state as bytes: nothing is forgotten, nothing half read, and the rest of the journal folds the same."""

import random
from functools import cache
from operator import attrgetter
from typing import Any

import pytest
from journals import journal

from sidecar.core import orders, state
from sidecar.core.chronicle import Chronicle
from sidecar.core.history import History
from sidecar.core.once_table import OnceTable
from sidecar.core.orders import OrderBook
from sidecar.core.outputs import Now
from sidecar.core.positions import Exposure
from sidecar.core.snapshot import SnapshotUnreadable, state_of, times_of
from sidecar.core.state import State
from sidecar.core.tables import pieces_of
from sidecar.messages.codec import encode
from sidecar.messages.journal import Record

FOLDS = State | OrderBook | History | OnceTable | Exposure
DERIVED = ("working", "owners", "before")


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a short journal reaches."""
    monkeypatch.setattr(orders, "FINISHED_MAX", 16)
    monkeypatch.setattr(orders, "REMEMBERED_MAX", 60)
    monkeypatch.setattr(orders, "REFUSED_MAX", 30)
    monkeypatch.setattr(state, "LIFTED_MAX", 8)


def fold(records: list[Record], into: State | None = None) -> State:
    """Apply all of them."""
    folded = State() if into is None else into
    for each in records:
        folded.apply(each, encode(each))
    return folded


def walked(value: Any) -> Any:
    """Everything a fold holds, its tables in their own order."""
    if isinstance(value, FOLDS):
        return {name: walked(each) for name, each in vars(value).items() if name not in DERIVED}
    return list(value.items()) if isinstance(value, dict) else value


@cache
def telling_journal() -> list[Record]:
    """A journal after which every attribute of the fold says something; which seed makes one is a matter of luck."""
    silent: list[str] = []
    for seed in range(3, 40):
        records = journal(seed, length=6_000)
        folded = fold(records)
        parts = (folded, folded.book, folded.book.exposure, folded.history, folded.once)
        silent = [name for part in parts for name, each in vars(part).items() if hasattr(each, "__len__") and not each]
        if not silent:
            return records
    raise AssertionError(f"tests/journals.py makes no fact that fills {silent}")


def test_no_attribute_is_forgotten() -> None:
    """Every attribute of the fold, once it says something, comes back from a snapshot with its order."""
    folded = fold(telling_journal())
    assert walked(state_of(pieces_of(folded))) == walked(folded)


@pytest.mark.parametrize("seed", range(40))
def test_a_restored_state_folds_on_the_same(seed: int) -> None:
    """A snapshot anywhere in a journal and the rest of it give the same digest as the whole journal."""
    records = journal(seed, length=1_500)
    at = random.Random(seed).randint(0, len(records))
    restored = fold(records[at:], state_of(pieces_of(fold(records[:at]))))
    whole = fold(records)
    assert restored.digest() == whole.digest()
    assert walked(restored) == walked(whole)


def test_every_attribute_is_in_the_digest() -> None:
    """Two folds that differ in any one attribute have different digests."""
    plain = fold(telling_journal())
    for part in ("", "book", "book.exposure", "history", "once"):
        for name, value in vars(_part(plain, part)).items():
            if isinstance(value, FOLDS) or name in DERIVED:
                continue
            changed = plain.copy()
            setattr(_part(changed, part), name, _other(value))
            assert changed.digest() != plain.digest(), f"{part or 'state'}.{name} is not in the digest"


@pytest.mark.parametrize("seed", range(20))
def test_what_follows_from_the_orders_is_made_again(seed: int) -> None:
    """The sums over open orders that a restored book makes are those that the folded one kept."""
    folded = fold(journal(seed, length=1_500))
    restored = state_of(pieces_of(folded))
    assert vars(restored.book.working) == vars(folded.book.working)
    assert restored.book.exposure.before == folded.book.exposure.before
    for book in (folded.book, restored.book):
        assert book.owners
        assert all(book.owner(*name) is book.orders[owner] for name, owner in book.owners.items())


def _part(folded: State, name: str) -> Any:
    return attrgetter(name)(folded) if name else folded


def _other(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(list(value.items())[1:])
    if isinstance(value, int):
        return value + 1
    if hasattr(value, "popleft"):
        value = value.copy()
        value.popleft()
        return value
    return type(value)()


@pytest.mark.parametrize("harm", ["cut", "swapped", "twice", "no-json", "empty", "other-kind"])
def test_what_is_damaged_is_no_state(harm: str) -> None:
    """Pieces that are missing, doubled or not ours raise SnapshotUnreadable."""
    pieces = list(pieces_of(fold(journal(seed=3, length=2_000))))
    harmed = {
        "cut": [*pieces[:-1], pieces[-1][:-9]],
        "swapped": pieces[::-1],
        "twice": [pieces[0], *pieces],
        "no-json": [*pieces, b"\xff\n"],
        "empty": [],
        "other-kind": [b'{"type":"lease.v9"}\n', *pieces[1:]],
    }[harm]
    with pytest.raises(SnapshotUnreadable):
        state_of(harmed)


def test_an_unknown_field_changes_nothing() -> None:
    """A snapshot of a version that added a field is still this one's state."""
    folded = fold(journal(seed=4, length=500))
    first, *rest = pieces_of(folded)
    told = first.replace(b'"control_version"', b'"added_later":{"a":1},"control_version"', 1)
    assert state_of([told, *rest]).digest() == folded.digest()


def test_times_outlive_a_restart() -> None:
    """Pauses, moves and failed promotions keep their age over a snapshot, whatever the two hosts' boot clocks say."""
    records = journal(seed=5, length=2_000)
    before, after = Now(5 * 10**9, 10**18 + 10**10), Now(900 * 10**9, 10**18 + 10**10 + 10**9)
    known, folded = Chronicle(), State()
    for each in records:
        folded.apply(each)
        known.note(each, folded.last, before)
    twin = Chronicle()
    twin.restore(times_of(encode(known.times(before))), after)
    assert twin.paused_ns
    assert {each: twin.clock_ns(after) - at_ns for each, at_ns in twin.paused_ns.items()} == {
        each: known.clock_ns(before) - at_ns for each, at_ns in known.paused_ns.items()
    }
    assert twin.times(after) == known.times(before)
