"""The gate page hammered: one process writes page after page, others read without pause, and no read may be torn.

Each page follows from its number, so that a mixture of two shows. Prints what was written and read, merges it into
build/bench.json and exits with 1 if any page that was read was not one that was written. Run it as
`python -m benchmarks.gate_stress [SECONDS]`, or `make gate-stress`.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

from sidecar.core.page import CLOSED, Page
from sidecar.gate.host import boot_id
from sidecar.gate.layout import SCOPES_MAX, encode, open_until_ns
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState

SECONDS = 10.0
READERS = 2
PAGES = 512
RESULTS = Path("build/bench.json")


class Reads(NamedTuple):
    """What one reader saw. `refused` are tries that it recognised as half written and gave up, closed."""

    whole: int
    distinct: int
    refused: int
    torn: int


def page_of(number: int) -> Page:
    """The page of `number`: every field follows from it, so that a mixture of two shows."""
    level = TradingState(number % 4)
    return Page(
        role="ACTIVE" if number % 2 else "STANDBY",
        trading_state=level,
        reducing_allowed=bool(number % 3),
        deadline_ns=number,
        token=Token(number, number + 1),
        incarnation=f"run-{number}",
        control_version=number,
        scoped=tuple((f"symbol:{number}-{each}", level) for each in range(number % SCOPES_MAX)),
    )


def write_until(path: Path, ready: Callable[[], object], over: Callable[[], bool]) -> int:
    """Write page after page; how many.

    They are encoded beforehand and go round: what is hammered is the page, with the writer's own order of stores, which
    without the encoding fills half of the time.
    """
    writer = GateWriter(path)
    boot = boot_id()
    pages = [page_of(number) for number in range(1, PAGES + 1)]
    images = [(encode(page, 2 * page.control_version, boot), open_until_ns(page)) for page in pages]
    ready()
    written = 0
    while not over():
        for number, (image, until_ns) in enumerate(images, 1):
            writer._store(image, until_ns, 2 * number)
        written += PAGES
    return written


def read_until(path: Path, over: Callable[[], bool]) -> Reads:
    """Read page after page and compare each with what was written under its number."""
    reader = GateReader(path, now_ns=lambda: 0)
    seen: set[int] = set()
    expected = {number: page_of(number) for number in range(1, PAGES + 1)}
    whole = refused = torn = 0
    last = CLOSED
    while not over():
        page = reader.read()
        if page is CLOSED:
            refused += 1
        elif page is last or page == expected.get(page.control_version):
            whole += 1
            seen.add(page.control_version)
            last = page
        else:
            torn += page != CLOSED  # As the writer left it when it began.
    return Reads(whole, len(seen), refused, torn)


def hammered(path: Path, seconds: float) -> tuple[int, list[Reads]]:
    """One process that writes and `READERS` that read, for that long; pages written, and what each reader saw."""
    spawn = multiprocessing.get_context("spawn")
    ready, over = spawn.Event(), spawn.Event()
    with spawn.Pool(1 + READERS, initializer=_keep, initargs=(ready, over)) as pool:
        writing = pool.apply_async(_write, (path,))
        if not ready.wait(30):
            raise TimeoutError("the writer did not begin within 30 s")
        reading = [pool.apply_async(_read, (path,)) for _ in range(READERS)]
        time.sleep(seconds)
        over.set()
        return writing.get(30), [each.get(30) for each in reading]


_EVENTS: list[Event] = []


def _keep(*events: Event) -> None:
    _EVENTS[:] = events


def _write(path: Path) -> int:
    ready, over = _EVENTS
    return write_until(path, ready.set, over.is_set)


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _read(path: Path) -> Reads:
    return read_until(path, _EVENTS[1].is_set)


def main(arguments: list[str]) -> int:
    """Hammer, print, merge; the exit code. `--write PATH` is only the process that writes, until it is killed."""
    if arguments[:1] == ["--write"]:
        write_until(Path(arguments[1]), _say_ready, lambda: False)
    seconds = float(arguments[0]) if arguments else SECONDS
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        written, readers = hammered(Path(directory) / "stress.gate", seconds)
    whole, distinct, refused, torn = (sum(column) for column in zip(*readers, strict=True))
    sys.stdout.write(
        f"gate_stress: {seconds:g} s, {written} pages written; {READERS} readers took {whole} whole pages, {distinct} "
        f"of them distinct, refused {refused} half written ones, and saw {torn} torn\n"
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    figures = {"seconds": seconds, "written": written, "read": whole, "distinct": distinct, "torn": torn}
    RESULTS.write_text(json.dumps({**kept, "gate_stress": figures}, indent=2) + "\n")
    return 1 if torn or not distinct else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
