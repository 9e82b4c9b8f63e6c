"""Suspicion: phi over its whole range against a table of mpmath's, the window, and the fixed detector.

`phi_table.json` was computed once with mpmath 1.4.1, by the recipe in its header: `mp.dps = 500`, then for each row
`x = mpf(age - mean) / (mpf(deviation) * sqrt(2))` and `nstr(-log10(erfc(x) / 2), 25)`. Ages are exact integers, so
nothing is lost in between.
"""

import json
import math
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.suspicion import AGE_NS_MAX, ASYMPTOTIC_FROM, Detection, Window, phi
from sidecar.core.timing import MS, Timing

TABLE = json.loads((Path(__file__).parent / "phi_table.json").read_text())
AGES = st.integers(-(2**70), 2**70)
DEVIATIONS = st.integers(1, 2**50)
ROUNDING = 1e-13


def test_phi_agrees_with_mpmath() -> None:
    """Phi agrees with 500-digit arithmetic to a part in 10^12, from long before the mean to 146 years after it."""
    assert len(TABLE["rows"]) > 80
    for age_ns, mean_ns, deviation_ns, expected in TABLE["rows"]:
        found = phi(age_ns, mean_ns, deviation_ns)
        assert math.isclose(found, float(expected), rel_tol=1e-12, abs_tol=1e-300), (age_ns, mean_ns, deviation_ns)


@given(AGES, st.integers(0, 2**50), DEVIATIONS)
def test_phi_is_finite_for_every_age(age_ns: int, mean_ns: int, deviation_ns: int) -> None:
    """No age overflows, leaves the logarithm's domain or gives a negative phi."""
    found = phi(age_ns, mean_ns, deviation_ns)
    assert math.isfinite(found)
    assert found >= 0.0


@given(AGES, AGES, st.integers(0, 2**50), DEVIATIONS)
def test_phi_never_falls_as_silence_grows(one_ns: int, other_ns: int, mean_ns: int, deviation_ns: int) -> None:
    """An older silence is never less doubtful, but for the last digits' rounding."""
    younger, older = sorted((one_ns, other_ns))
    assert phi(younger, mean_ns, deviation_ns) <= phi(older, mean_ns, deviation_ns) * (1 + ROUNDING)


def test_the_seam_to_the_expansion_does_not_show() -> None:
    """Where the asymptotic expansion takes over phi still rises with each nanosecond."""
    mean_ns, deviation_ns = 250 * MS, 100 * MS
    seam_ns = mean_ns + math.ceil(ASYMPTOTIC_FROM * math.sqrt(2) * deviation_ns)
    levels = [phi(seam_ns + each, mean_ns, deviation_ns) for each in range(-1_000, 1_000)]
    assert all(younger < older for younger, older in pairwise(levels))


@pytest.mark.parametrize(
    ("sigmas", "nines"), [(0.0, math.log10(2)), (1.2815515655, 1.0), (3.0902323062, 3.0), (5.6120012442, 8.0)]
)
def test_phi_counts_the_zeros_of_the_chance(sigmas: float, nines: float) -> None:
    """At phi 1, 3 and 8 the chance of so late a heartbeat is 10, 0.1 and 0.000001 percent: normal quantiles."""
    assert phi(round(10**15 * sigmas), 0, 10**15) == pytest.approx(nines, rel=1e-9)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60), st.integers(1, 20))
def test_the_window_is_the_last_intervals(intervals: list[int], size: int) -> None:
    """Mean and deviation are those of the last intervals, exactly, however many went before."""
    window = Window(size, 250 * MS)
    for each in intervals:
        window.add(each)
    kept = [250 * MS, *intervals][-size:]
    assert len(window) == len(kept)
    assert window.mean_ns == sum(kept) // len(kept)
    assert window.deviation_ns == pytest.approx(statistics.pstdev(kept), abs=1.0)


def test_hostile_intervals_are_held_within_bounds() -> None:
    """An interval that no clock can show neither goes negative nor grows past the bound."""
    window = Window(2, 0)
    window.add(-5)
    assert (window.mean_ns, window.deviation_ns) == (0, 0)
    window.add(2**200)
    window.add(2**200)
    assert window.mean_ns == AGE_NS_MAX


def test_a_regular_member_is_suspected_well_before_its_lease_could_move() -> None:
    """At the defaults a steady member is suspected 0.82 s after its last heartbeat, and not at three intervals."""
    timing = Timing()
    detector = Detection().detector(timing)
    for _ in range(200):
        detector.learn(timing.heartbeat_ns)
    assert not detector.suspects(3 * timing.heartbeat_ns)
    assert detector.suspects(820 * MS)


def test_an_irregular_member_is_given_more_time() -> None:
    """The wider its rhythm, the longer a silence must be to be doubtful."""
    steady, shaky = Detection().detector(Timing()), Detection().detector(Timing())
    for n in range(100):
        steady.learn(250 * MS)
        shaky.learn(600 * MS if n % 2 else 100 * MS)
    assert steady.suspects(900 * MS)
    assert not shaky.suspects(900 * MS)
    assert shaky.level(900 * MS) < steady.level(900 * MS)


def test_a_burst_after_a_stall_is_no_rhythm() -> None:
    """Heartbeats that arrive all at once do not make the next ordinary interval suspicious."""
    detector = Detection(deviation_min_ns=20 * MS).detector(Timing())
    for _ in range(200):
        detector.learn(0)
    assert not detector.suspects(300 * MS)


def test_the_fixed_detector_counts_missed_heartbeats() -> None:
    """The fixed detector suspects after `missed_max` intervals, whatever it heard before."""
    detector = Detection(method="fixed", missed_max=3).detector(Timing())
    detector.learn(10_000 * MS)
    assert not detector.suspects(750 * MS)
    assert detector.suspects(751 * MS)
    assert detector.level(500 * MS) == 2.0
    assert detector.level(-1) == 0.0
