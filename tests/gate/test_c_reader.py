"""The C header reads the page as the Python reader does. It is compiled here, by the host's C compiler."""

import ctypes
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gate_pages import PAGES, SCOPES
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_page_file import hammering

from sidecar.core.page import Page
from sidecar.gate.layout import PAGE_BYTES
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.control import TradingState
from sidecar.messages.health import Role

C = Path(__file__).parents[2] / "examples/c"
HOUR_NS = 3_600 * 10**9
WRAPPED = """
#include "sidecar_gate.h"
int check(const char *path, const char *symbol, const char *venue, int kind, int reduces) {
    struct sidecar_gate gate;
    struct sidecar_order order = {.symbol = symbol, .venue = venue, .kind = kind, .reduces_risk = reduces};
    sidecar_gate_init(&gate, path);
    int answer = sidecar_gate_check(&gate, &order);
    if (gate.words) munmap((void *)gate.words, SIDECAR_PAGE);
    return answer;
}
static struct sidecar_gate kept;
void keep(const char *path) { sidecar_gate_init(&kept, path); }
int check_kept(void) { struct sidecar_order order = {0}; return sidecar_gate_check(&kept, &order); }
/* Judges the page again and again for that long: how often a copy was sound. */
long hammered(const char *path, double seconds) {
    uint64_t end_ns = sidecar_now_ns() + (uint64_t)(seconds * 1e9);
    long sound = 0;
    struct sidecar_order order = {0};
    sidecar_gate_init(&kept, path);
    while (sidecar_now_ns() < end_ns) sound += sidecar_judge(&kept, &order) >= -1;
    return sound;
}
"""


def page(deadline_ns: int, *scoped: tuple[str, TradingState], role: Role = "ACTIVE") -> Page:
    """A page without a halt of its own."""
    return Page(role=role, trading_state=TradingState.ACTIVE, deadline_ns=deadline_ns, scoped=scoped)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The header, compiled with every warning as an error."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    place = tmp_path_factory.mktemp("c")
    (place / "wrapped.c").write_text(WRAPPED)
    built = place / "wrapped.so"
    flags = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{C}")
    subprocess.run([compiler, *flags, "-o", built, place / "wrapped.c"], check=True)
    return ctypes.CDLL(str(built))


def answers(library: ctypes.CDLL, path: Path, symbol: str, venue: str) -> list[int]:
    """A new order, a risk-reducing one and a cancel."""
    words = (str(path).encode(), symbol.encode() or None, venue.encode() or None)
    return [library.check(*words, *each) for each in ((0, 0), (0, 1), (1, 0))]


def ours(path: Path, symbol: str, venue: str) -> list[int]:
    """The same by the Python reader."""
    gate = GateReader(path)
    return [
        gate.check(symbol=symbol, venue=venue),
        gate.check(symbol=symbol, venue=venue, reduces_risk=True),
        gate.check(symbol=symbol, venue=venue, kind="CANCEL"),
    ]


@contextmanager
def written(path: Path, shown: Page) -> Iterator[None]:
    """A sidecar lives that has written this page; at its end it closes the page."""
    writer = GateWriter(path)
    writer.write(shown)
    try:
        yield
    finally:
        writer.close()


def name_of(kind: str, scope: str) -> str:
    """The name in a scope of this kind, as C can say it."""
    found, _, name = scope.partition(":")
    return name if found == kind and "\0" not in name else ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(page(1), True, "symbol:XYZ")
@example(page(1, ("symbol:XYZ", TradingState.HALTED)), True, "symbol:XYZ")
@given(PAGES, st.booleans(), SCOPES)
def test_c_and_python_agree(library: ctypes.CDLL, tmp_path: Path, shown: Page, alive: bool, other: str) -> None:
    """Whatever the page says, both readers let exactly the same orders pass."""
    path = tmp_path / "page.gate"
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with written(path, replace(shown, deadline_ns=now_ns + HOUR_NS if alive else now_ns - 1)):
        for scope in (other, *(each for each, _ in shown.scoped[:3])):
            symbol, venue = name_of("symbol", scope), name_of("venue", scope)
            assert answers(library, path, symbol, venue) == ours(path, symbol, venue)


def test_any_damage_is_closed(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Flip any byte that the reader relies on, or cut the file short, and C lets nothing pass."""
    path = tmp_path / "page.gate"
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with written(path, page(now_ns + HOUR_NS, ("symbol:XYZ", TradingState.HALTED))):
        whole = path.read_bytes()
        assert answers(library, path, "ABC", "") == [1, 1, 1]
        assert answers(library, path, "XYZ", "") == [0, 0, 1]
    for at in (*range(24, 256 + 64), *range(8), *range(8, 16)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert answers(library, path, "ABC", "") == [0, 0, 0], f"byte {at}"
    path.write_bytes(whole[: PAGE_BYTES - 1])
    assert answers(library, path, "ABC", "") == [0, 0, 0]


def test_a_page_that_was_made_again_is_found(library: ctypes.CDLL, tmp_path: Path) -> None:
    """A reader whose page was removed and made again reads the new one."""
    path = tmp_path / "page.gate"
    name = str(path).encode()  # The reader keeps the pointer, and so it must outlive it.
    library.keep(name)
    assert library.check_kept() == 0
    later_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + HOUR_NS
    for _ in range(2):
        path.unlink(missing_ok=True)
        writer = GateWriter(path)
        writer.write(page(later_ns))
        assert library.check_kept() == 1
        writer.write(page(1))
        assert library.check_kept() == 0
        writer.close()


def test_sound_copies_are_had_while_another_process_writes(library: ctypes.CDLL, tmp_path: Path) -> None:
    """A writer that never pauses does not keep C from sound copies, each with its right checksum."""
    path = tmp_path / "page.gate"
    library.hammered.restype = ctypes.c_long
    library.hammered.argtypes = (ctypes.c_char_p, ctypes.c_double)
    with hammering(path):
        assert library.hammered(str(path).encode(), 1.0) > 100


def test_the_example_runs(tmp_path: Path) -> None:
    """The example component compiles as its first comment says and prints what it may do."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    path, program = tmp_path / "page.gate", tmp_path / "component"
    later_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + HOUR_NS
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, C / "component.c"], check=True)
    with written(path, page(later_ns, ("symbol:XYZ", TradingState.REDUCING))):
        said = subprocess.run([program, path, "XYZ"], check=True, capture_output=True, text=True)
    assert said.stdout == "new 0 reducing 1 cancel 1\n"
    assert "100000 questions, 0 passed" in said.stderr


def test_the_header_stays_small() -> None:
    """Anybody can read the whole header before trusting it: under 150 lines."""
    assert len((C / "sidecar_gate.h").read_text().splitlines()) < 150
