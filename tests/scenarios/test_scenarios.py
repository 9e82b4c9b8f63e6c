"""Every scenario file says what the core does; see README.md."""

import re
from pathlib import Path

import pytest
from scenario_language import Teller, told
from scenario_world import ScenarioBroken

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[each.stem for each in FILES])
def test_the_core_does_what_the_scenario_says(path: Path, pytestconfig: pytest.Config) -> None:
    """Each command has the output that stands below it in the file."""
    text = path.read_text()
    found = "\n".join(told(text)) + "\n"
    if pytestconfig.getoption("--rewrite-scenarios", default=False):
        path.write_text(found)
    else:
        assert found.splitlines() == text.splitlines()


def test_every_scenario_says_why_it_is_there() -> None:
    """Each file begins with a comment of more than a few words."""
    assert FILES
    assert not [each.name for each in FILES if len(each.read_text().split("\n\n")[0].split()) < 12]
    assert not [each.name for each in FILES if not each.read_text().startswith("# ")]


def test_a_changed_core_is_noticed() -> None:
    """Output that stands in a file and is not the core's is replaced, so that the comparison fails."""
    text = "group pair mode=active_passive members=a,b\narbiters one\nattach a\n----\nsomething else\n"
    assert "something else" not in list(told(text))
    assert list(told("\n".join(told(text)))) == list(told(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dance a\n----\n", "no command 'dance'"),
        ("run 1s\n----\n", "nobody is there yet"),
        ("group p mode=active_passive members=a\narbiters one\nrun soon\n----\n", "'soon' is no time"),
        ("group p mode=active_passive members=a colour=red\n----\n", "a group has no colour"),
        ("group p mode=active_passive members=a\narbiters one\n", "have no output"),
    ],
)
def test_a_misspelt_scenario_says_what_is_wrong(text: str, why: str) -> None:
    """A command that cannot be understood fails with its line and the reason."""
    with pytest.raises(ScenarioBroken, match=why):
        list(told(text))


def test_the_language_is_explained() -> None:
    """README.md explains every command by its own usage, and no command that is not there."""
    readme = (HERE / "README.md").read_text().partition("## Commands")[2]
    commands = Teller().commands
    usages = {(each.__doc__ or "").partition(":")[0] for each in commands.values()}
    assert usages - set(re.findall(r"`([^`]+)`", readme)) == set()
    assert set(re.findall(r"^- `([a-z-]+)", readme, re.MULTILINE)) - set(commands) == set()
