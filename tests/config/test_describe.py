"""docs/configuration.md is what the models say."""

import json
import re
import tomllib
from pathlib import Path

from sidecar.config.describe import describe
from sidecar.config.load import load_settings
from sidecar.config.models import Settings

PUBLISHED = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_published() -> None:
    """The committed page is exactly what is generated from the models."""
    assert PUBLISHED.read_text() == describe(), (
        "regenerate docs/configuration.md with sidecar.config.describe.describe()"
    )


def test_examples_are_accepted(tmp_path: Path) -> None:
    """Both example files on the page load, and declare the same group."""
    blocks = re.findall(r"```(json|toml)\n(.*?)```", describe(), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["json", "toml"]
    groups = []
    for kind, text in blocks:
        assert json.loads(text) if kind == "json" else tomllib.loads(text)
        (tmp_path / f"c.{kind}").write_text(text)
        groups.append(load_settings(tmp_path / f"c.{kind}", environ={}).groups)
    assert groups[0] == groups[1]


def test_every_field_is_described() -> None:
    """Each field of each section says what it does."""
    rows = [line.split(" | ") for line in describe().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []


def test_sections() -> None:
    """Every section of the file has its table."""
    text = describe()
    sections = [name for name in Settings.model_fields if name != "run_dir"]
    assert [name for name in sections if f"## [{name}]" not in text and f"## [{name}.NAME]" not in text] == []
