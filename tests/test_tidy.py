"""The house rules of CONTRIBUTING.md that a program can check. There is no list of exceptions, on purpose."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
VAGUE = re.compile(r"manager|helper|utils|common|misc", re.IGNORECASE)
# The brackets keep this file from being its own offender.
BOAST = re.compile("guarantee[d]|production[- ]read[y]")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]")
PYTHON = ("sidecar", "tests", "examples", "benchmarks")
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".conf", ".sh", ".cfg", ".rules", ""}
MADE_HERE = {".git", ".hypothesis", ".venv", "build", "dist", "__pycache__"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    """Every Python file of ours, sorted."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    """Every file that people read or write, leaving out what tools make."""
    for top in sorted(ROOT.iterdir()):
        if top.name in MADE_HERE or top.name.endswith("_cache"):
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix in TEXT and not MADE_HERE & set(path.parts):
                yield path


def tree(path: Path) -> ast.Module:
    """The file as Python sees it."""
    return ast.parse(path.read_text())


def where(path: Path, node: ast.AST | None = None) -> str:
    """File and line, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def nodes(*folders: str) -> Iterator[tuple[Path, ast.AST]]:
    """Every syntax node of every Python file in these folders."""
    for path in python_files(*folders):
        for node in ast.walk(tree(path)):
            yield path, node


def test_files_are_small() -> None:
    """No Python file is longer than 500 lines."""
    long = [where(path) for path in python_files(*PYTHON) if len(path.read_text().splitlines()) > FILE_LINES_MAX]
    assert not long


def test_functions_are_small() -> None:
    """No function is longer than 70 lines."""
    long = [
        f"{where(path, node)} {node.name}"
        for path, node in nodes(*PYTHON)
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


def test_names_say_something() -> None:
    """No module or class is called a manager, a helper, utils, common or misc."""
    vague = [where(path) for path in python_files(*PYTHON) if VAGUE.search(path.stem)]
    vague += [
        f"{where(path, node)} {node.name}"
        for path, node in nodes(*PYTHON)
        if isinstance(node, ast.ClassDef) and VAGUE.search(node.name)
    ]
    assert not vague


def test_modules_explain_themselves() -> None:
    """Every module begins with a docstring."""
    assert not [where(path) for path in python_files(*PYTHON) if not ast.get_docstring(tree(path))]


def test_packages_implement_nothing() -> None:
    """An __init__.py defines no function and no class."""
    busy = [
        where(path, node)
        for path, node in nodes("sidecar")
        if path.name == "__init__.py" and isinstance(node, Function | ast.ClassDef)
    ]
    assert not busy


def test_tests_state_behaviour() -> None:
    """Every test has a docstring of one sentence."""
    silent = []
    for path, node in nodes("tests"):
        if isinstance(node, Function) and node.name.startswith("test_"):
            sentence = (ast.get_docstring(node) or "").strip()
            if not sentence.endswith(".") or "\n\n" in sentence:
                silent.append(f"{where(path, node)} {node.name}")
    assert not silent


def test_tests_never_sleep() -> None:
    """No test sleeps for a length of time: it waits for the event that it means, bounded by a timeout."""
    sleeping = [
        where(path, node)
        for path, node in nodes("tests")
        if path.name.startswith(("test_", "conftest"))  # A proxy that delays a link is no test.
        and isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep")
        and [ast.unparse(argument) for argument in node.args] != ["0"]
    ]
    assert not sleeping


def test_safety_survives_optimisation() -> None:
    """The package contains no assert statement, which python -O would remove."""
    assert not [where(path, node) for path, node in nodes("sidecar") if isinstance(node, ast.Assert)]


def test_no_globals() -> None:
    """No function rebinds a module's names."""
    assert not [where(path, node) for path, node in nodes("sidecar") if isinstance(node, ast.Global)]


def test_plain_words() -> None:
    """Nothing in the tree holds an emoji or a boast."""
    bad = []
    for path in text_files():
        text = path.read_text().lower()
        bad += [f"{where(path)} {word!a}" for word in [*EMOJI.findall(text), *BOAST.findall(text)]]
    assert not bad


def test_constraints_name_no_place() -> None:
    """Each line of constraints.txt is a name and an exact version, never an address or a file."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
