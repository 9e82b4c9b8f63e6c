"""Correlated silence: which silences belong together."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.correlated import fell_together

SECOND = 10**9
TIMES = st.dictionaries(st.text("abcdefghij", min_size=1, max_size=2), st.integers(0, 20), max_size=12)


def together(heard_s: dict[str, float], *silent: str, of_min: int = 4, percent: int = 50) -> tuple[str, ...]:
    """The function, in seconds and within one of them."""
    heard_ns = {each: round(at * SECOND) for each, at in heard_s.items()}
    return fell_together(heard_ns, silent, within_ns=SECOND, of_min=of_min, percent=percent)


def test_more_than_half_of_four_is_correlated() -> None:
    """Three of four that fall silent within the interval belong together, whatever their order."""
    assert together({"a": 10.0, "b": 10.9, "c": 10.5, "d": 60}, "c", "a", "b") == ("a", "b", "c")


def test_half_is_not_more_than_half() -> None:
    """Two of four are two failures."""
    assert together({"a": 10, "b": 10, "c": 60, "d": 60}, "a", "b") == ()


def test_three_are_too_few_to_tell() -> None:
    """Below the least number of living sidecars nothing is called correlated."""
    assert together({"a": 10, "b": 10, "c": 10}, "a", "b", "c") == ()


def test_one_after_the_other_is_not_together() -> None:
    """Silences that began further apart than the interval are each one's own."""
    assert together({"a": 10, "b": 12, "c": 14, "d": 16}, "a", "b", "c", "d") == ()


def test_the_long_dead_do_not_count_as_living() -> None:
    """Who was silent before is neither evidence nor electorate: three of the four that still lived are most."""
    dead = {f"dead-{n}": float(n) for n in range(0, 20, 2)}
    heard = {**dead, "a": 50.0, "b": 50.1, "c": 50.2, "d": 90.0}
    assert together(heard, *dead, "a", "b", "c") == ("a", "b", "c")


def test_a_hundred_percent_is_off() -> None:
    """A share of 100 percent is never exceeded."""
    assert together(dict.fromkeys("abcde", 1.0), *"abcde", percent=100) == ()


@given(TIMES, st.data())
def test_it_is_the_largest_window(heard_s: dict[str, int], data: st.DataObject) -> None:
    """Against the plain definition: of all windows that qualify, one with the most members."""
    silent = data.draw(st.sets(st.sampled_from(sorted(heard_s))) if heard_s else st.just(set()))
    sizes = [0]
    for began in sorted({heard_s[each] for each in silent}):
        size = sum(began <= heard_s[each] <= began + 1 for each in silent)
        living = sum(at >= began for at in heard_s.values())
        if living >= 4 and size > living / 2:
            sizes.append(size)
    found = together({each: float(at) for each, at in heard_s.items()}, *silent)
    assert len(found) == max(sizes)
    assert set(found) <= silent
