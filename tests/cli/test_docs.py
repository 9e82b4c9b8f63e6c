"""What README.md and docs/ say exists, exists."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from sidecar.broker.topology import EXCHANGES, QUEUES
from sidecar.cli.errors import MEANINGS
from sidecar.cli.main import build_app
from sidecar.client import Session, SidecarClient, Ticket
from sidecar.config.load import load_settings
from sidecar.core.timing import Timing
from sidecar.messages.orders import ExecType, OrderKind, OrdStatus

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "topology" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(group: Any, before: str = "sidecar") -> Iterator[str]:
    """Every command below a group, as it is typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}"


def test_every_command_is_documented() -> None:
    """docs/cli.md has a section for each command, and for no other."""
    documented = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(commands(typer.main.get_command(build_app())))


def test_exit_codes_are_documented() -> None:
    """docs/cli.md has a row for each exit code, in the words of --help."""
    page = (ROOT / "docs" / "cli.md").read_text().replace("`", "")
    for code, text in MEANINGS.items():
        assert re.search(rf"^\| {code.value} \| .*{re.escape(text.split(': ')[-1])}", page, re.MULTILINE), code


def test_commands_that_pages_call_exist() -> None:
    """Every `sidecar COMMAND` in a page is a command or a group of commands."""
    known = set(commands(typer.main.get_command(build_app())))
    words = {each.split()[1] for each in known}
    for page in PAGES:
        for called in re.findall(r"(?:^|`)sidecar ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
            assert called in words, f"{page.name}: sidecar {called}"


def test_readme_python() -> None:
    """The README's Python parses, and everything it takes from the package is there."""
    (code,) = blocks(README, "python")
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, each.name) for each in node.names)
    owners: dict[str, type] = {"sidecar": SidecarClient, "session": Session, "ticket": Ticket}
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in owners
    }
    assert ("ticket", "committed") in used
    for owner, attribute in used:
        kind = owners[owner]
        assert hasattr(kind, attribute) or f"self.{attribute} =" in inspect.getsource(kind), f"{owner}.{attribute}"


def test_readme_configuration(tmp_path: Path) -> None:
    """The README's configuration loads."""
    (text,) = blocks(README, "toml")
    path = tmp_path / "sidecar.toml"
    path.write_text(text)
    assert load_settings(path, environ={}).group_of("exec-a") == "execution"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every relative link leads to a file."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_guarantees_name_real_tests() -> None:
    """Every test that docs/guarantees.md names exists, and each promise names at least three."""
    sections = re.split(r"^## G", (ROOT / "docs" / "guarantees.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) == 8
    for section in sections:
        named = re.findall(r"^- `(tests/\S+)::(\w+)`$", section, re.MULTILINE)
        assert len(named) >= 3
        for file, function in named:
            assert re.search(rf"def {function}\(", (ROOT / file).read_text()), f"{file}::{function}"


def test_the_cases_that_broke_others_are_tested() -> None:
    """docs/orders.md names tests that exist for each of the twenty-four cases."""
    page = (ROOT / "docs" / "orders.md").read_text()
    section = page.split("## The cases that broke others")[1].split("\n## ")[0]
    files = dict(re.findall(r"`(edge|wire)` is\s+`(tests/\S+\.py)`", section))
    rows = [line for line in section.splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) == 24
    for row in rows:
        named = re.findall(r"`(\S+?)::(test_\w+)`", row)
        assert len(named) >= 2, row
        for file, function in named:
            path = ROOT / files.get(file, file)
            assert re.search(rf"def {function}\(", path.read_text()), f"{path}::{function}"


def test_lease_numbers() -> None:
    """The numbers of docs/leases.md are those of the default timing."""
    page = (ROOT / "docs" / "leases.md").read_text()
    timing = Timing()
    for value_ns in (
        timing.holder_stops_by_ns(),
        timing.leader_moves_after_ns(),
        timing.leader_stops_by_ns(),
        timing.successor_waits_ns(),
    ):
        assert f"{float(value_ns) / 1e6:.1f} ms" in page


def test_exchanges_and_queues_are_ours() -> None:
    """Every `sidecar.NAME` exchange or queue that a page names exists."""
    known = {each.name for each in EXCHANGES} | {each.name for each in QUEUES} | {"sidecar.toml"}
    for page in PAGES:
        for named in re.findall(r"`(sidecar\.[a-z-]+)`", page.read_text()):
            assert named in known, f"{page.name}: {named}"


def test_order_codes_are_documented() -> None:
    """docs/orders.md and docs/limits.md explain every denial and every break that the core can decide."""
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("orders.md", "limits.md"))
    words = {*get_args(ExecType), *get_args(OrdStatus), *get_args(OrderKind)}
    for file in ("order.py", "orders.py", "verifier.py", "precommit.py", "limits.py", "limit_desk.py"):
        for code in re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', (ROOT / "sidecar" / "core" / file).read_text()):
            assert code in words or code == "DRY_RUN" or f"`{code}`" in pages, code
