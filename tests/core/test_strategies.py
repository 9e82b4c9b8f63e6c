"""The states of strategies: what may follow what."""

from itertools import product
from typing import get_args

import pytest

from sidecar.core import strategies
from sidecar.core.strategies import LEGAL, Strategies
from sidecar.messages.local import StrategyState

STATES: tuple[StrategyState, ...] = get_args(StrategyState)


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_each_step_is_held_to_the_table(before: StrategyState, after: StrategyState) -> None:
    """A first state is legal whatever it is, and the next one if the table has it or nothing changed."""
    one = Strategies()
    assert one.told({"maker": before}) == ()
    steps = one.told({"maker": after})
    assert (steps == ()) is (after == before or after in LEGAL[before])
    assert one.states == {"maker": after}


def test_the_table_says_what_the_rules_are() -> None:
    """RUNNING is entered from READY and PAUSED only, everything may fail, and what has stopped begins anew."""
    assert set(LEGAL) == set(STATES)
    assert {each for each in STATES if "RUNNING" in LEGAL[each]} == {"READY", "PAUSED"}
    assert all("FAILED" in LEGAL[each] for each in STATES if each != "FAILED")
    assert LEGAL["STOPPED"] == {"INITIALIZING", "FAILED"}


def test_what_is_not_named_stays() -> None:
    """A push that names one strategy says nothing of the others."""
    one = Strategies()
    one.told({"maker": "STOPPED", "taker": "READY"})
    assert one.told({"taker": "RUNNING"}) == ()
    (step,) = one.told({"maker": "RUNNING"})
    assert step.text == "strategy maker went from STOPPED to RUNNING; legal are FAILED, INITIALIZING"


def test_the_strategies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many strategies those that were told longest ago are forgotten, and begin anew."""
    monkeypatch.setattr(strategies, "STRATEGIES_MAX", 16)
    one = Strategies()
    for n in range(17):
        one.told({f"s{n}": "STOPPED"})
    assert len(one.states) <= 16
    assert one.told({"s0": "RUNNING"}) == ()
    assert one.told({"s16": "RUNNING"}) != ()
