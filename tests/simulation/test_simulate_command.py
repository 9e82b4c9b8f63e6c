"""`sidecar simulate` as a user runs it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from sidecar.cli.main import build_app


def simulate(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output."""
    result = CliRunner().invoke(build_app(), ["simulate", *arguments])
    return result.exit_code, result.output


def test_json_and_plot(tmp_path: Path) -> None:
    """It prints the report as JSON and draws the picture beside it."""
    picture = tmp_path / "times.svg"
    code, output = simulate("--hours", "0.1", "--processes", "1", "--json", "--plot", str(picture))
    report = json.loads(output)
    assert (code, report["runs"], report["violations"]) == (0, 6, [])
    assert picture.read_text().startswith("<svg")


def test_only_svg_is_drawn(tmp_path: Path) -> None:
    """A picture of another kind is refused before anything runs."""
    code, output = simulate("--plot", str(tmp_path / "times.png"))
    assert code == 2
    assert "svg" in output


def test_a_replay_prints_a_timeline() -> None:
    """It shows the run of one seed and nothing else."""
    code, output = simulate("--replay", "5")
    assert code == 0
    assert "SlotGranted" in output
    assert output.rstrip().endswith("broken promises: none")
