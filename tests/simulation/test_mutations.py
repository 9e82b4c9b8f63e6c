"""Mutation proof: each rule of mutations.py, broken, is caught by the simulator, and intact, is not."""

from dataclasses import replace

import pytest
from mutations import MUTATIONS, Mutation

MUTATION = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)


@MUTATION
def test_a_broken_rule_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule broken the run of its seed violates the promise that rests on it."""
    mutation.patch(monkeypatch)
    violations = mutation.run(mutation.seed).referee.violations
    assert mutation.rule in {each.rule for each in violations}, f"seed {mutation.seed} shows nothing any more: search"
    assert {each.seed for each in violations} == {mutation.seed}


@MUTATION
def test_the_same_run_with_the_rule_intact_is_clean(mutation: Mutation) -> None:
    """The same seed and faults with every rule in force violate nothing."""
    intact = replace(mutation, scenario=replace(mutation.scenario, believed=None))
    assert intact.run(mutation.seed).referee.violations == []
