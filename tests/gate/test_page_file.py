"""Writer and reader on one file: what passes, and every way of being closed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from gate_pages import PAGES
from hypothesis import given, settings
from msgspec.structs import replace

from benchmarks.gate_stress import read_until
from sidecar.core.page import CLOSED, Page
from sidecar.gate import layout
from sidecar.gate.layout import PAGE_BYTES, SEQUENCE_WORD, GateError
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState
from sidecar.messages.orders import OrderKind

ROOT = Path(__file__).parents[2]
OPEN = Page(role="ACTIVE", trading_state=TradingState.ACTIVE, deadline_ns=1_000, token=Token(1, 1), incarnation="i")


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@contextmanager
def hammering(path: Path) -> Iterator[None]:
    """Another process that writes pages without pause, killed at the end."""
    program = [sys.executable, "-m", "benchmarks.gate_stress", "--write", str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "exec-a.gate"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(path: Path) -> Iterator[GateWriter]:
    writer = GateWriter(path)
    yield writer
    writer.close()


@pytest.fixture
def reader(path: Path, writer: GateWriter, clock: Clock) -> GateReader:
    return GateReader(path, now_ns=clock)


def patch(path: Path, word: int, value: int) -> None:
    """Store one word the way a writer that was then killed would have."""
    with path.open("r+b") as file:
        file.seek(word * 8)
        file.write(value.to_bytes(8, "little"))


def test_new_page_is_closed(reader: GateReader, path: Path) -> None:
    """A page that nobody has written to is closed, readable by all and as long as it must be."""
    assert reader.read() == CLOSED
    assert not reader.check()
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o644, PAGE_BYTES)
    assert list(path.parent.iterdir()) == [path]


def test_roundtrip(tmp_path: Path) -> None:
    """A reader sees each page as it was written."""
    writer, reader = GateWriter(tmp_path / "g"), GateReader(tmp_path / "g")

    @settings(max_examples=200, deadline=None)
    @given(PAGES)
    def each(page: Page) -> None:
        writer.write(page)
        assert reader.read() == page

    each()
    writer.close()


def test_deadline(writer: GateWriter, reader: GateReader, clock: Clock) -> None:
    """The gate is open until its deadline and closed from it on, without anybody writing."""
    writer.write(OPEN)
    clock.now_ns = 999
    assert reader.check()
    clock.now_ns = 1_000
    assert not reader.check()
    assert not reader.check(kind="CANCEL")


@pytest.mark.parametrize(
    ("level", "reducing_allowed", "passing"),
    [
        (TradingState.ACTIVE, False, {"new", "reducing", "cancel"}),
        (TradingState.REDUCING, False, {"reducing", "cancel"}),
        (TradingState.CANCEL_ONLY, True, {"cancel"}),
        (TradingState.HALTED, True, {"reducing", "cancel"}),
        (TradingState.HALTED, False, {"cancel"}),
    ],
)
@pytest.mark.parametrize("scoped", [False, True])
def test_levels(
    writer: GateWriter, reader: GateReader, level: TradingState, reducing_allowed: bool, passing: set[str], scoped: bool
) -> None:
    """Each level lets pass what the ladder says, for everything or for the scope it names."""
    if scoped:
        page = replace(OPEN, reducing_allowed=reducing_allowed, scoped=(("symbol:XYZ", level),))
    else:
        page = replace(OPEN, reducing_allowed=reducing_allowed, trading_state=level)
    writer.write(page)
    asked: dict[str, tuple[OrderKind, bool]] = {
        "new": ("NEW", False),
        "reducing": ("NEW", True),
        "cancel": ("CANCEL", False),
    }
    found = {
        name for name, (kind, reduces) in asked.items() if reader.check(symbol="XYZ", kind=kind, reduces_risk=reduces)
    }
    assert found == passing


@pytest.mark.parametrize("kind", ["symbol", "venue", "account", "strategy"])
def test_scopes(writer: GateWriter, reader: GateReader, kind: str) -> None:
    """A scoped halt stops the orders it names and no others."""
    writer.write(replace(OPEN, scoped=((f"{kind}:A", TradingState.HALTED),)))
    named: dict[str, Any] = {kind: "A"}
    other: dict[str, Any] = {kind: "B"}
    for _ in range(2):  # Read, and then remembered.
        assert not reader.check(**named)
        assert reader.check(**other)
        assert reader.check()


def test_scoped_page_that_changes(writer: GateWriter, reader: GateReader, clock: Clock) -> None:
    """What was read of a page with scoped halts counts no longer than that page and its deadline."""
    halted = replace(OPEN, scoped=(("symbol:A", TradingState.HALTED),))
    for closed in (
        replace(halted, scoped=(("symbol:B", TradingState.HALTED),)),
        replace(halted, trading_state=TradingState.HALTED),
        replace(halted, role="STANDBY"),
        replace(halted, deadline_ns=1),
        CLOSED,
    ):
        clock.now_ns = 0
        writer.write(halted)
        assert reader.check(symbol="B") and reader.check(symbol="B")
        assert not reader.check(symbol="A")
        writer.write(closed)
        clock.now_ns = 500
        assert not reader.check(symbol="B"), closed
    clock.now_ns = 0
    writer.write(halted)
    assert reader.check(symbol="B")
    clock.now_ns = 1_000
    assert not reader.check(symbol="B")


def test_standby(writer: GateWriter, reader: GateReader) -> None:
    """A component that stands by may not act, not even cancel."""
    writer.write(replace(OPEN, role="STANDBY"))
    assert not reader.check()
    assert not reader.check(kind="CANCEL")


def test_closing(writer: GateWriter, reader: GateReader) -> None:
    """A closed page closes at once, and so does a writer that ends."""
    writer.write(OPEN)
    writer.write(CLOSED)
    assert not reader.check()
    writer.write(OPEN)
    assert reader.check()
    writer.close()
    writer.close()
    assert not reader.check()
    assert reader.read() == CLOSED


@pytest.mark.parametrize("page", [replace(OPEN, deadline_ns=-1), replace(OPEN, incarnation="x" * 100)])
def test_unwritable_page(writer: GateWriter, reader: GateReader, page: Page) -> None:
    """A page that cannot be written leaves the gate closed, and the writer usable."""
    writer.write(OPEN)
    with pytest.raises(GateError):
        writer.write(page)
    assert reader.read() == CLOSED
    writer.write(OPEN)
    assert reader.check()


def test_killed_while_halting(writer: GateWriter, reader: GateReader, path: Path) -> None:
    """A writer killed in the middle of closing leaves the gate closed."""
    writer.write(OPEN)
    patch(path, SEQUENCE_WORD, 7)
    patch(path, layout.OPEN_UNTIL_WORD, 0)
    assert not reader.check()
    assert not reader.check(kind="CANCEL")
    assert reader.read() == CLOSED


def test_killed_while_extending(writer: GateWriter, reader: GateReader, path: Path, clock: Clock) -> None:
    """A writer killed in the middle of a renewal leaves what it promised before, until that deadline and no longer."""
    writer.write(OPEN)
    patch(path, SEQUENCE_WORD, 7)
    patch(path, layout.FIELDS[5].word, 5_000)
    clock.now_ns = 999
    assert reader.check()
    clock.now_ns = 1_000
    assert not reader.check()
    assert reader.read() == CLOSED


class Killed(Exception):
    """What stands in for SIGKILL between two stores."""


class Mortal:
    """The page's memory under a writer that is killed after some number of stores."""

    def __init__(self, memory: memoryview, stores_left: Iterator[int]) -> None:
        self._memory, self._stores_left = memory, stores_left

    def __getitem__(self, key: int) -> int:
        return self._memory[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if next(self._stores_left, None) is None:
            raise Killed
        self._memory[key] = value


def write_until_killed(writer: GateWriter, page: Page, stores: int) -> None:
    """Write `page` with the writer's own order of stores, but only so many of them."""
    words, whole, left = writer._words, writer._bytes, iter(range(stores))
    dying: Any = writer
    dying._words, dying._bytes = Mortal(words, left), Mortal(whole, left)
    try:
        with suppress(Killed):
            writer.write(page)
    finally:
        writer._words, writer._bytes = words, whole


STORES = 6


@pytest.mark.parametrize("stores", range(STORES + 1))
@pytest.mark.parametrize(
    "closing", [CLOSED, replace(OPEN, trading_state=TradingState.CANCEL_ONLY)], ids=["all", "level"]
)
def test_killed_at_each_store_of_a_halt(writer: GateWriter, reader: GateReader, closing: Page, stores: int) -> None:
    """A writer killed anywhere in a halt leaves the gate closed to new orders from its second store on."""
    writer.write(OPEN)
    write_until_killed(writer, closing, stores)
    assert reader.check() is (stores < 2)


@pytest.mark.parametrize("stores", range(STORES + 1))
def test_killed_at_each_store_of_a_renewal(writer: GateWriter, reader: GateReader, clock: Clock, stores: int) -> None:
    """A writer killed anywhere in a renewal leaves the old deadline or, when it was nearly done, the new one."""
    writer.write(OPEN)
    write_until_killed(writer, replace(OPEN, deadline_ns=2_000), stores)
    clock.now_ns = 999
    assert reader.check()
    clock.now_ns = 1_000
    assert reader.check() is (stores >= STORES - 1)
    clock.now_ns = 2_000
    assert not reader.check()


def test_restart_after_a_kill(path: Path, clock: Clock) -> None:
    """The next writer takes the page of a killed one over, closed, under the eyes of readers that have it mapped."""
    with hammering(path):
        reader = GateReader(path, now_ns=clock)
        number = path.stat().st_ino
    patch(path, SEQUENCE_WORD, 2**40 + 1)
    writer = GateWriter(path)
    assert path.stat().st_ino == number
    assert not reader.check()
    assert reader.read() == CLOSED
    writer.write(OPEN)
    assert reader.check()
    writer.close()


def test_missing_page(path: Path, clock: Clock) -> None:
    """A page that is not there is closed, and is found once it is made."""
    reader = GateReader(path, now_ns=clock)
    assert not reader.check()
    assert reader.read() == CLOSED
    writer = GateWriter(path)
    writer.write(OPEN)
    assert reader.check()
    writer.close()


def test_page_made_again(writer: GateWriter, reader: GateReader, path: Path, clock: Clock) -> None:
    """A reader finds the new file after its own was removed and its deadline passed."""
    writer.write(OPEN)
    path.unlink()
    second = GateWriter(path)
    second.write(replace(OPEN, deadline_ns=2_000))
    clock.now_ns = 1_500
    assert reader.check()
    second.close()


def test_page_made_again_with_scoped_halts(writer: GateWriter, reader: GateReader, path: Path, clock: Clock) -> None:
    """What was remembered of a page that was removed counts nothing for the one made in its place."""
    writer.write(replace(OPEN, scoped=(("symbol:A", TradingState.HALTED),)))
    assert reader.check(symbol="B")
    path.unlink()
    second = GateWriter(path)
    second.write(replace(OPEN, deadline_ns=2_000, scoped=(("symbol:B", TradingState.HALTED),)))
    clock.now_ns = 1_500
    assert reader.check(symbol="A")
    assert not reader.check(symbol="B")
    second.close()


@pytest.mark.parametrize("content", [b"", b"SIDEGATE", b"\0" * PAGE_BYTES, b"x" * 9_000])
def test_another_file(path: Path, content: bytes) -> None:
    """A short or foreign file is closed for readers, and replaced by a writer."""
    path.write_bytes(content)
    assert GateReader(path).read() == CLOSED
    writer = GateWriter(path)
    writer.write(OPEN)
    assert GateReader(path).read() == OPEN
    writer.close()


def test_another_version(writer: GateWriter, path: Path) -> None:
    """A page of another layout version is closed."""
    writer.write(replace(OPEN, deadline_ns=2**63))
    patch(path, layout.VERSION_WORD, 2)
    assert not GateReader(path).check()


def test_another_boot(path: Path) -> None:
    """A page that outlived a reboot is closed, whatever its deadline, until a writer of this boot takes it over."""
    page = replace(OPEN, deadline_ns=2**63)
    path.write_bytes(layout.encode(page, 2, bytes(16)).ljust(PAGE_BYTES, b"\0"))
    reader = GateReader(path)
    assert not reader.check()
    assert reader.read() == CLOSED
    writer = GateWriter(path)
    assert not reader.check()
    writer.write(page)
    assert reader.check()
    writer.close()


def test_fifo(path: Path) -> None:
    """A path that is no file neither blocks nor opens."""
    os.mkfifo(path)
    assert not GateReader(path).check()


def test_one_writer(writer: GateWriter, path: Path) -> None:
    """A second writer of the same page is refused."""
    with pytest.raises(GateError, match="has a writer already"):
        GateWriter(path)


def test_no_directory(tmp_path: Path) -> None:
    """A page that cannot be made is an error that names it and the mend."""
    with pytest.raises(GateError, match=r"none/g cannot be made .*set component\.gate"):
        GateWriter(tmp_path / "none" / "g")


def test_symbolic_link(tmp_path: Path, path: Path) -> None:
    """A link that somebody put at the page's place is not followed."""
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(GateError, match="cannot be opened"):
        GateWriter(path)
    assert not (tmp_path / "victim").exists()


def test_torn_reads(path: Path) -> None:
    """While another process writes without pause, every page that is read is one that was written whole."""
    # `make gate-stress` does the same for longer, with more processes.
    distinct, give_up_s = 0, time.monotonic() + 30
    with hammering(path):
        while distinct < 10 and time.monotonic() < give_up_s:
            end_s = time.monotonic() + 0.5
            reads = read_until(path, lambda: time.monotonic() > end_s)  # noqa: B023  # Read out before it changes.
            assert reads.torn == 0
            distinct += reads.distinct
    assert distinct >= 10
