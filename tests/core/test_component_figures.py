"""The component's figures while it says nothing more: core/component_figures.py."""

import pytest

from sidecar.core.component_figures import BUCKET_NS, CUSTOM_MAX, MINUTE_NS, TRADING_FIGURES, ComponentFigures
from sidecar.core.health_rules import DEFAULTS, broken
from sidecar.messages.local import HealthPush

S = 10**9


def pushed(*pushes: HealthPush, known: tuple[str, ...] = ()) -> ComponentFigures:
    """The figures after these pushes, one a second from second 0 on."""
    figures = ComponentFigures(known)
    for second, each in enumerate(pushes):
        figures.push(each, second * S)
    return figures


def test_an_age_goes_on_growing() -> None:
    """An age that is not pushed again is as much older as time has passed."""
    figures = pushed(HealthPush(metrics={"market_data_age_s": 2.5, "my_own_age_s": 1.0}), HealthPush())
    assert figures.at(301 * S) == {"market_data_age_s": 303.5, "my_own_age_s": 302.0}


def test_an_age_that_is_pushed_again_is_young() -> None:
    """The newest word on an age counts."""
    old, new = HealthPush(metrics={"market_data_age_s": 90.0}), HealthPush(metrics={"market_data_age_s": 0.5})
    assert pushed(old, new).at(2 * S) == {"market_data_age_s": 1.5}


def test_a_silent_feed_breaks_its_rule() -> None:
    """A component that pushed fresh market data once and nothing more breaks the rule on it after five minutes."""
    figures = pushed(HealthPush(metrics={"market_data_age_s": 0.0}))
    assert broken(DEFAULTS.values(), figures.at(300 * S)) == ()
    (found,) = broken(DEFAULTS.values(), figures.at(301 * S))
    assert found.text == "market_data_age_s is 301, above 300"


def test_what_is_no_age_counts_until_the_next_push() -> None:
    """A figure that is missing from the newest push is no longer said."""
    figures = pushed(HealthPush(metrics={"portfolio_value": 7.0}), HealthPush(metrics={"positions_open": 3.0}))
    assert figures.at(1 * S) == {"positions_open": 3.0}


def test_an_age_below_zero_is_zero() -> None:
    """A feed whose clock is before ours does not make its data younger than now."""
    assert pushed(HealthPush(metrics={"market_data_age_s": -4.0})).at(S)["market_data_age_s"] == 1.0


def test_errors_are_counted_over_a_minute() -> None:
    """Errors of the last minute are summed, and older ones are forgotten."""
    figures = ComponentFigures()
    figures.push(HealthPush(errors=3), 0)
    figures.push(HealthPush(errors=8), 30 * S)
    assert figures.at(30 * S) == {"errors_per_minute": 11.0}
    assert figures.at(MINUTE_NS - 1) == {"errors_per_minute": 11.0}
    assert figures.at(MINUTE_NS) == {"errors_per_minute": 8.0}
    assert figures.at(30 * S + MINUTE_NS) == {}


def test_a_flood_of_errors_costs_no_memory() -> None:
    """However many pushes with errors come within a second, they are one entry, and none is lost."""
    figures = ComponentFigures()
    for each in range(10_000):
        figures.push(HealthPush(errors=1), each * BUCKET_NS // 10_000)
    assert len(figures._errors) == 1
    assert figures.at(S) == {"errors_per_minute": 10_000.0}


def test_the_greater_error_rate_counts() -> None:
    """Where a component says both a rate and errors, the greater one is believed."""
    rate = {"errors_per_minute": 5.0}
    assert pushed(HealthPush(errors=9, metrics=rate)).at(S) == {"errors_per_minute": 9.0}
    assert pushed(HealthPush(errors=1, metrics=rate)).at(S) == rate


@pytest.mark.parametrize(
    ("state", "number", "stalled"), [("idle", 0.0, 0.0), ("processing", 1.0, 0.0), ("stalled", 2.0, 1.0)]
)
def test_the_state_of_the_queue(state: str, number: float, stalled: float) -> None:
    """The queue's state is a figure, and stalled is one of its own that a rule is on."""
    push = HealthPush(execution_queue=state)  # type: ignore[arg-type]  # As it is decoded.
    assert pushed(push).at(S) == {"execution_queue_state": number, "execution_queue_stalled": stalled}


def test_a_queue_that_is_called_stalled_in_either_way_is_stalled() -> None:
    """A figure that says stalled is not hidden by a state that does not."""
    push = HealthPush(execution_queue="processing", metrics={"execution_queue_stalled": 1.0})
    assert pushed(push).at(S)["execution_queue_stalled"] == 1.0


def test_names_are_bounded() -> None:
    """Names beyond the bound are not kept and are told; fixed ones and those of rules always are kept."""
    figures = ComponentFigures(["of_a_rule"])
    for each in range(CUSTOM_MAX):
        figures.push(HealthPush(metrics={f"order-{each}": 1.0}), 0)
        assert figures.refused == ()
    late = HealthPush(metrics={"one-more": 1.0, "of_a_rule": 2.0, "positions_open": 3.0, "order-0": 4.0})
    figures.push(late, 0)
    assert figures.refused == ("one-more",)
    assert figures.at(0) == {"of_a_rule": 2.0, "positions_open": 3.0, "order-0": 4.0}


def test_another_run_of_the_component_begins_anew() -> None:
    """Nothing that one run said counts for the next."""
    figures = pushed(HealthPush(errors=4, metrics={"market_data_age_s": 2.0, "x": 1.0}))
    figures.forget()
    assert figures.at(S) == {}


def test_rules_by_default_are_on_fixed_names() -> None:
    """Each rule that holds by default is on a figure of a fixed name."""
    assert {each.metric for each in DEFAULTS.values()} <= TRADING_FIGURES.keys()
