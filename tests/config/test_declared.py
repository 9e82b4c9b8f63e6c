"""The configuration's groups and those of the wire are one thing, and a file of groups to register is read as such."""

import json
from pathlib import Path
from typing import Any

import annotated_types
import msgspec
import pytest
from pydantic import ValidationError

from sidecar.config.errors import ConfigError
from sidecar.config.groups import GroupSettings
from sidecar.config.load import load_groups, load_settings
from sidecar.config.models import Settings
from sidecar.core.declared import MEMBERS_MAX, PARTITIONS_MAX, RANGES, declaration_problem
from sidecar.messages.codec import encode
from sidecar.messages.groups import GroupDeclaration


def bounds(field: str) -> dict[type, Any]:
    """A configured field's least and greatest value or length, by the kind of bound."""
    found: dict[type, Any] = {}
    for each in GroupSettings.model_fields[field].metadata:
        for kind, attribute in (
            (annotated_types.Ge, "ge"),
            (annotated_types.Le, "le"),
            (annotated_types.MaxLen, "max_length"),
        ):
            if isinstance(each, kind):
                found[kind] = getattr(each, attribute)
    return found


def test_the_same_fields() -> None:
    """A group on the wire has the fields and defaults of a configured one, and its name."""
    theirs = {each.name: each for each in msgspec.structs.fields(GroupDeclaration)}
    assert set(theirs) == {"name", *GroupSettings.model_fields}
    ours = GroupSettings(components=("a",)).model_dump(mode="json")
    assert json.loads(encode(GroupDeclaration(name="g", components=("a",)))) == {"name": "g", **ours}


def test_the_same_bounds() -> None:
    """What the configuration bounds in its fields the arbiter bounds equally."""
    numbers = {name for name, each in GroupSettings.model_fields.items() if each.annotation in (int, int | None)}
    assert set(RANGES) == numbers
    for field, (least, most) in RANGES.items():
        found = bounds(field)
        assert (found.get(annotated_types.Ge), found.get(annotated_types.Le)) == (least, most), field
    assert bounds("components")[annotated_types.MaxLen] == MEMBERS_MAX
    assert bounds("partitions")[annotated_types.MaxLen] == PARTITIONS_MAX


@pytest.mark.parametrize(
    "fields",
    [
        {"components": []},
        {"components": ["a", "a"]},
        {"components": ["a/b"]},
        {"components": ["a\n"]},
        {"components": ["a"], "partitions": ["x", "x"]},
        {"components": ["a"], "active": 2},
        {"components": ["a"], "active": 0},
        {"components": ["a"], "min_active": 2},
        {"components": ["a"], "min_active": -1},
        {"components": ["a"], "preference": {"b": "prefer"}},
        {"components": ["a"], "preference": {"a": "never"}},
        {"components": ["a"], "failback_delay_ms": 999},
        {"components": ["a"], "unready_failover_ms": 3_600_001},
        {"components": [f"c{each}" for each in range(257)]},
    ],
)
def test_the_same_refusals(fields: dict[str, Any]) -> None:
    """What the configuration refuses of a group is refused of a registered one."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"groups": {"g": fields}})
    assert declaration_problem(msgspec.convert({"name": "g", **fields}, GroupDeclaration))


def test_numbers_that_no_journal_carries() -> None:
    """A number beyond 64 bits of nanoseconds is refused before it is journaled."""
    assert declaration_problem(GroupDeclaration(name="g", components=("a",), failback_delay_ms=2**70))


def write(folder: Path, content: dict[str, Any]) -> Path:
    """A file to register from."""
    path = folder / "groups.json"
    path.write_text(json.dumps(content))
    return path


def test_groups_of_a_file(tmp_path: Path) -> None:
    """A file holds groups exactly as the configuration does, in TOML or JSON."""
    path = tmp_path / "groups.toml"
    path.write_text('[groups.quotes]\ncomponents = ["q-a", "q-b"]\nmin_active = 1\n')
    groups, notes = load_groups(path)
    assert groups == (GroupDeclaration(name="quotes", components=("q-a", "q-b"), min_active=1),)
    assert notes == ()
    assert groups == tuple(each.declared(name) for name, each in load_settings(path, environ={}).groups.items())


def test_the_block_from_elsewhere(tmp_path: Path) -> None:
    """The `high_availability` block is taken as it is, and what of it is no group's is named."""
    block = {
        "failover_groups": {"quotes": {"mode": "ACTIVE-PASSIVE", "components": ["q-a", "q-b"]}},
        "health_check_interval_seconds": 5,
        "auto_failback": True,
    }
    groups, notes = load_groups(write(tmp_path, {"high_availability": block}))
    assert groups == (GroupDeclaration(name="quotes", components=("q-a", "q-b"), failback="delayed"),)
    assert len(notes) == 1 and "health_check_interval_seconds" in notes[0]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"groups": {"g": {"components": ["a"]}}, "timing": {}}, "timing"),
        ({"groups": {"g": {"components": ["a"]}, "h": {"components": ["a"]}}}, "'g' and 'h'"),
        ({"groups": {"g": {"component": ["a"]}}}, "did you mean components?"),
        ({"groups": {}}, "no group is declared"),
        ({"high_availability": {"enabled": False}}, "no group is declared"),
    ],
)
def test_a_wrong_file(tmp_path: Path, content: dict[str, Any], word: str) -> None:
    """A file that holds anything else, or wrong groups, is refused in a sentence."""
    with pytest.raises(ConfigError, match=word):
        load_groups(write(tmp_path, content))


def test_a_component_of_a_registered_group(tmp_path: Path) -> None:
    """A sidecar's configuration needs to name no group when it says that its group is registered."""
    path = write(tmp_path, {"component": {"name": "q-a", "group_registered": True}})
    assert load_settings(path, environ={}).group_of("q-a") == ""
