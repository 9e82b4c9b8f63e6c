"""Watches the gate pages of all components, as their components do: directly, without asking anybody.

Owns what is open and when each gate opened or closed. It must not explain why.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from sidecar.core.page import Page
from sidecar.gate.reader import GateReader

GLANCE_S: Final = 0.02
STARE_S: Final = 0.001
"""Between looks while a time is measured; it is the resolution of the measurement."""
TURNS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Turn:
    """One gate opened or closed; `at_ns` is CLOCK_BOOTTIME when it was seen, at most one look later than it was."""

    at_ns: int
    component: str
    open: bool


class GateWatch:
    """The gates at these paths. Run `run` as a task; the rest only reads what it saw."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._readers = {name: GateReader(path) for name, path in paths.items()}
        self._open = dict.fromkeys(paths, False)
        self._looked = asyncio.Event()
        self._pause_s = GLANCE_S
        self.turns: deque[Turn] = deque(maxlen=TURNS_MAX)

    @property
    def open(self) -> frozenset[str]:
        """Components whose gate let entries pass at the last look."""
        return frozenset(name for name, is_open in self._open.items() if is_open)

    def look(self) -> frozenset[str]:
        """Look now; the same as `open` afterwards."""
        for name, reader in self._readers.items():
            is_open = reader.check()
            if is_open != self._open[name]:
                self._open[name] = is_open
                self.turns.append(Turn(time.clock_gettime_ns(time.CLOCK_BOOTTIME), name, is_open))
        self._looked.set()
        return self.open

    def page(self, component: str) -> Page:
        """The page as it stands now."""
        return self._readers[component].read()

    def closed_since(self, at_ns: int) -> frozenset[str]:
        """Components whose gate closed at any look since `at_ns`."""
        return frozenset(each.component for each in self.turns if each.at_ns >= at_ns and not each.open)

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            self.look()
            await asyncio.sleep(self._pause_s)

    @contextlib.contextmanager
    def staring(self) -> Iterator[None]:
        """Look as often as a measurement needs."""
        self._pause_s = STARE_S
        try:
            yield
        finally:
            self._pause_s = GLANCE_S

    async def until(self, seen: Callable[[], bool]) -> None:
        """Return after the first look at which `seen()` holds; bound it with a timeout."""
        while not seen():
            self._looked.clear()
            await self._looked.wait()
