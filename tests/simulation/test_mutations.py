"""Mutation proof: each rule of the catalogue, broken, is caught by the simulator, and intact, is not."""

from dataclasses import replace

import pytest
from catalogue import ALL_MUTATIONS
from mutations import Mutation

SEARCH_MAX = 200
"""Runs after the listed seed that are tried: a change anywhere in the core throws the dice of all runs anew."""
MUTATION = pytest.mark.parametrize("mutation", ALL_MUTATIONS, ids=lambda each: each.name)


@MUTATION
def test_a_broken_rule_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule broken, the run of its seed or of one soon after violates the promise that rests on it."""
    mutation.patch(monkeypatch)
    seeds = range(mutation.seed, mutation.seed + SEARCH_MAX)
    caught = next((seed for seed in seeds if mutation.rule in mutation.broken(seed)), None)
    assert caught is not None, "nothing shows it any more: python tests/simulation/search.py"


@MUTATION
def test_the_same_run_with_the_rule_intact_is_clean(mutation: Mutation) -> None:
    """The same seed and faults with every rule in force violate nothing."""
    intact = replace(mutation, scenario=replace(mutation.scenario, believed=None))
    assert intact.run(mutation.seed).referee.violations == []
