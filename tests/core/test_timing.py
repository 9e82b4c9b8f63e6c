"""The inequalities of DESIGN section 6.2."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.timing import MS, PPM, Timing


def test_the_defaults_are_safe() -> None:
    """The default times break no inequality."""
    assert Timing().violations() == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"holder_wait_ns": 1_500 * MS}, "holder_wait_ms"),
        ({"effect_ns": 600 * MS}, "gate_to_effect_ms"),
        ({"clock_error_ppm": 100_000}, "clock_error_ppm"),
        ({"leader_wait_ns": 1_000 * MS}, "leader_wait_ms"),
        ({"heartbeat_ns": 501 * MS}, "heartbeat_ms"),
        ({"tick_ns": 200 * MS}, "tick_ms"),
    ],
)
def test_each_inequality_is_checked(change: dict[str, int], named: str) -> None:
    """A time that breaks an inequality is named in the sentence that refuses it."""
    assert any(named in each for each in replace(Timing(), **change).violations())


def test_the_mend_mends() -> None:
    """The holder's wait that the refusal asks for is enough, and a millisecond less is not."""
    broken = Timing(holder_wait_ns=1_500 * MS)
    least_ms = int(broken.violations()[0].rsplit(" ", 1)[1])
    assert replace(broken, holder_wait_ns=least_ms * MS).violations() == ()
    assert replace(broken, holder_wait_ns=(least_ms - 1) * MS).violations() != ()


@given(
    lease_ms=st.integers(750, 10_000),
    wait_ms=st.integers(750, 20_000),
    effect_ms=st.integers(0, 1_000),
    ppm=st.integers(0, 200_000),
    holder_error=st.fractions(-1, 1),
    leader_error=st.fractions(-1, 1),
)
def test_two_clocks_within_the_bound_never_overlap(
    lease_ms: int, wait_ms: int, effect_ms: int, ppm: int, holder_error: Fraction, leader_error: Fraction
) -> None:
    """Under accepted times the holder has stopped, by any clock within the bound, before the leader's wait ends."""
    timing = Timing(
        holder_lease_ns=lease_ms * MS, holder_wait_ns=wait_ms * MS, effect_ns=effect_ms * MS, clock_error_ppm=ppm
    )
    if any("holder_wait_ms" in each for each in timing.violations()):
        return
    stops = timing.holder_lease_ns / (1 + holder_error * Fraction(ppm, PPM)) + timing.effect_ns
    moves = timing.holder_wait_ns / (1 + leader_error * Fraction(ppm, PPM))
    assert stops <= moves
