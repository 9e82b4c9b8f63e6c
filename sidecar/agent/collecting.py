"""Collects what can be measured without the component: host, processes, files. In a thread, at a bounded rate.

Owns the loop, the thread and the time limit. It must not know what is bad about a figure.

Each look runs in a thread of its own, since a file system that hangs would otherwise hold our event loop, and with it
the gate. While a look hangs no other is begun: what it would have found is missing, file ages grow, and the hang is a
reason. The thread is a daemon, so that a hang does not keep the process from ending either.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from sidecar.agent.clock import boottime_ns
from sidecar.agent.file_ages import FileAges, Stamp, stamp
from sidecar.agent.host_figures import HostFigures
from sidecar.agent.process_figures import TreeFigures

LOOK_S: Final = 2.0
"""A look that takes longer hangs. Higher is calmer on a busy host."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found."""

    figures: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    stamps: Mapping[str, Stamp] = field(default_factory=dict)


class Looker:
    """Looks at everything once, in whatever thread it is called in. `pid` names the component's process, if known."""

    def __init__(self, disks: tuple[str, ...], age_files: Mapping[str, str], pid: Callable[[], int | None]) -> None:
        self._files = dict(age_files)
        self._pid = pid
        self._host = HostFigures(disks)
        self._component = TreeFigures()
        self._own = TreeFigures("sidecar_")
        self._own.read(os.getpid(), boottime_ns(), alone=True)  # So that the first look has processor time already.

    def __call__(self) -> Look:
        now_ns = boottime_ns()
        stamps = {name: stamp(path) for name, path in self._files.items()}
        host, problems = self._host.read(now_ns)
        own = self._own.read(os.getpid(), now_ns, alone=True)
        return Look({**self._component.read(self._pid(), now_ns), **host, **own}, problems, stamps)


class Collecting:
    """`look` is called once each interval; `on_look` is told when there is news."""

    def __init__(self, look: Callable[[], Look], age_files: Mapping[str, str], interval_s: float) -> None:
        self.on_look: Callable[[], None] = lambda: None
        self._look = look
        self._interval_s = interval_s
        self._ages = FileAges(age_files, boottime_ns())
        self._found = Look()
        self._hangs = ""

    def figures(self, now_ns: int) -> dict[str, float]:
        """As last found; ages as they are at `now_ns`."""
        return {**self._found.figures, **self._ages.at(now_ns)}

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be looked at, in words."""
        return (*filter(None, (self._hangs,)), *self._found.problems, *self._ages.problems)

    async def run(self) -> NoReturn:
        """Look for ever."""
        while True:
            looking = _in_a_thread(self._look)
            done, _ = await asyncio.wait({looking}, timeout=LOOK_S)
            if not done:
                # What was measured of the host is no news any more.
                self._hangs = f"figures: looking at the host and the files has hung for more than {LOOK_S:g} s"
                self._found = Look()
                self.on_look()
            self._found, self._hangs = await looking, ""
            self._ages.saw(self._found.stamps, time.time_ns(), boottime_ns())
            self.on_look()
            await asyncio.sleep(self._interval_s)


def _in_a_thread(look: Callable[[], Look]) -> asyncio.Future[Look]:
    """The look, in a thread of its own. One that fails unexpectedly found nothing but that."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Look] = loop.create_future()

    def deliver(found: Look) -> None:
        if not future.done():
            future.set_result(found)

    def run() -> None:
        try:
            found = look()
        except Exception as error:
            found = Look(problems=(f"figures: {type(error).__name__}: {error}",))
        with contextlib.suppress(RuntimeError):  # The loop has ended meanwhile, and nobody wants it any more.
            loop.call_soon_threadsafe(deliver, found)

    try:
        threading.Thread(target=run, name="figures", daemon=True).start()
    except RuntimeError as error:  # The host, or its limit for us, has no room for another one.
        deliver(Look(problems=(f"figures: {error}",)))
    return future
