"""How the demo looks: a live table above the narration in a terminal, plain lines otherwise.

Owns the drawing. What it draws it reads from the gate pages, the processes and the counted events.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from sidecar.core.timing import MS
from sidecar.demo.gates import GateWatch
from sidecar.demo.happenings import Happenings
from sidecar.demo.layout import ARBITERS, COMPONENTS
from sidecar.demo.system import System

REFRESH_PER_S: Final = 8


class Narration:
    """Lines with the time since the demo began."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()

    def say(self, line: str) -> None:
        """Print one line."""
        elapsed_s = time.monotonic() - self._began_s
        self._console.print(f"{elapsed_s:6.2f} s  {line}", highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def live_table(console: Console, system: System, gates: GateWatch, happenings: Happenings) -> Iterator[None]:
    """Show the table below the narration for as long as the block lasts, if this is a terminal."""
    if not console.is_terminal:
        yield
        return

    def draw() -> RenderableType:
        return _table(system, gates, happenings)

    with Live(console=console, get_renderable=draw, refresh_per_second=REFRESH_PER_S, transient=True):
        yield


def _table(system: System, gates: GateWatch, happenings: Happenings) -> Table:
    table = Table("", "process", "role", "gate", "state", "token", "lease left", "verified")
    for name in COMPONENTS:
        table.add_row(name, *_component(name, system, gates), str(happenings.verified(name)))
    leader = happenings.leader.arbiter if happenings.leader else ""
    for name in ARBITERS:
        role = "leads" if name == leader else "stands by"
        alive = system.alive("arbiter", name)
        table.add_row(name, _alive(alive), role if alive else "", "", "", "", "", "")
    return table


def _component(name: str, system: System, gates: GateWatch) -> tuple[str, str, str, str, str, str]:
    page = gates.page(name)
    left_ms = (page.deadline_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // MS
    leased = left_ms > 0
    return (
        _alive(system.alive("component", name)),
        page.role if leased else "STANDBY",
        "open" if name in gates.open else "closed",
        page.trading_state.name,
        str(page.token or "") if leased else "",
        f"{left_ms} ms" if leased else "",
    )


def _alive(alive: bool) -> str:
    return "runs" if alive else "is gone"
