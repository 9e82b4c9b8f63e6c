"""The high_availability block that other systems already have."""

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.load import ConfigError, load_settings
from sidecar.config.models import Settings
from sidecar.core.groups import Mode

GROUP = {"mode": "active_passive", "components": ["exec-a", "exec-b"]}


def load(tmp_path: Path, content: dict[str, Any]) -> Settings:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return load_settings(path, environ={})


def refusal(tmp_path: Path, block: Any, **beside: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {"high_availability": block, **beside})
    return str(caught.value)


@pytest.mark.parametrize(
    "groups",
    [{"execution": GROUP}, [{"name": "execution", **GROUP}], {"execution": {**GROUP, "mode": "ACTIVE-PASSIVE"}}],
)
def test_as_it_is(tmp_path: Path, groups: Any) -> None:
    """The block is accepted as it is, its groups as a table or as a list with names."""
    block = {
        "enabled": True,
        "failover_groups": groups,
        "health_check_interval_seconds": 2.5,
        "auto_failback": True,
    }
    settings = load(tmp_path, {"high_availability": block, "component": {"name": "exec-a"}})
    group = settings.groups["execution"]
    assert (group.mode, group.components, group.failback) == (Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b"), "delayed")
    assert settings.health.report_interval_ms == 2_500


def test_no_auto_failback(tmp_path: Path) -> None:
    """Without auto_failback a slot goes back only by hand."""
    settings = load(tmp_path, {"high_availability": {"failover_groups": {"execution": GROUP}}})
    assert settings.groups["execution"].failback == "manual"


def test_not_enabled(tmp_path: Path) -> None:
    """A block that is not enabled declares nothing."""
    block = {"enabled": False, "failover_groups": {"execution": GROUP}, "health_check_interval_seconds": 1}
    assert load(tmp_path, {"high_availability": block}) == Settings()


def test_beside_our_own(tmp_path: Path) -> None:
    """Groups of the block and our own stand side by side; the same declaration twice is no contradiction."""
    ours = {"data": {"components": ["md"]}, "execution": GROUP}
    settings = load(tmp_path, {"high_availability": {"failover_groups": {"execution": GROUP}}, "groups": ours})
    assert sorted(settings.groups) == ["data", "execution"]


def test_contradiction(tmp_path: Path) -> None:
    """The same group declared differently is refused, both places named."""
    ours = {"execution": {"components": ["exec-b", "exec-a"]}}
    text = refusal(tmp_path, {"failover_groups": {"execution": GROUP}}, groups=ours)
    assert text == (
        "groups.execution and high_availability.failover_groups.execution declare the same group differently; "
        "remove one"
    )


def test_contradicting_interval(tmp_path: Path) -> None:
    """Two different intervals are refused, both named."""
    text = refusal(tmp_path, {"health_check_interval_seconds": 5}, health={"report_interval_ms": 1000})
    assert text == (
        "health.report_interval_ms is 1000 but high_availability.health_check_interval_seconds is 5, that is 5000 ms; "
        "remove one"
    )


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ([], "high_availability: this must be a table of named fields"),
        (
            {"failover_group": {}},
            "high_availability.failover_group: there is no such field; did you mean failover_groups?",
        ),
        ({"auto_failback": "yes"}, "high_availability.auto_failback: the value 'yes' is neither true nor false"),
        (
            {"failover_groups": 3},
            "high_availability.failover_groups: this must be a table of named fields",
        ),
        (
            {"failover_groups": [GROUP]},
            'high_availability.failover_groups.0: a group in a list needs a name; add "name": "..."',
        ),
        (
            {"failover_groups": [{"name": "x", **GROUP}, {"name": "x", **GROUP}]},
            "high_availability.failover_groups.1: the name 'x' stands there twice; rename or remove one",
        ),
        (
            {"failover_groups": {"x": {**GROUP, "mode": "hot"}}},
            "high_availability.failover_groups.x.mode: the value 'hot' does not fit: input should be 'active_passive', "
            "'n_plus_one', 'active_active' or 'cluster'",
        ),
        (
            {"health_check_interval_seconds": "5s"},
            "high_availability.health_check_interval_seconds: the value '5s' is not a number of seconds",
        ),
        (
            {"health_check_interval_seconds": 0},
            "high_availability.health_check_interval_seconds (in ms): the value 0 does not fit: "
            "input should be greater than or equal to 100",
        ),
    ],
)
def test_malformed(tmp_path: Path, block: Any, text: str) -> None:
    """What is wrong inside the block is named by its place in the block."""
    assert refusal(tmp_path, block) == text
