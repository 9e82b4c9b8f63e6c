"""Rules on figures: core/health_rules.py."""

import pytest

from sidecar.core.health_rules import DEFAULTS, HealthRule, broken, worst

LAG = HealthRule(metric="lag_s", above=2.5, status="CRITICAL")


@pytest.mark.parametrize(
    ("metric", "well", "bad"),
    [
        ("errors_per_minute", 10, 11),
        ("market_data_age_s", 300, 301),
        ("event_log_age_s", 600, 601),
        ("execution_queue_stalled", 0, 1),
    ],
)
def test_defaults(metric: str, well: float, bad: float) -> None:
    """More than 10 errors a minute, market data over 5 min old, an event log over 10, or a stalled queue is bad."""
    assert broken(DEFAULTS.values(), {metric: well}) == ()
    (found,) = broken(DEFAULTS.values(), {metric: bad})
    assert found.text == f"{metric} is {bad}, above {well}"


def test_a_figure_that_nobody_reports_breaks_nothing() -> None:
    """A rule on an absent metric finds nothing."""
    assert broken([LAG], {"other": 9.0}) == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308])
def test_absurd_figures_are_bad(value: float) -> None:
    """What is not a number, or endless, breaks every rule on it."""
    assert len(broken([LAG], {"lag_s": value})) == 1


def test_the_worst_counts() -> None:
    """A finding makes the status worse, never better."""
    found = broken([LAG], {"lag_s": 3.0})
    assert worst("HEALTHY", found) == "CRITICAL"
    assert worst("CRITICAL", broken(DEFAULTS.values(), {"errors_per_minute": 99})) == "CRITICAL"
    assert worst("HEALTHY", ()) == "HEALTHY"
