"""`sidecar demo --embedded`: the demo's processes as tasks of this one process, over the in-process broker.

Owns the making of each part from the demo's command lines, and what `kill` means here: the link is cut first, so that
nothing the part still does in its end reaches anybody. It must not know the scenario. It survives nothing and proves
less than processes do: the parts share one event loop, one clock and one fate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TextIO

from sidecar.agent.process import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.config.load import load_settings
from sidecar.demo import component, venue
from sidecar.demo.launcher import STOP_GRACE_S, ProcessSpec
from sidecar.demo.venue_server import Venue
from sidecar.reconciler.process import Reconciler
from sidecar.telemetry.logs import configure_logs


class _Part(Protocol):
    def run(self) -> Awaitable[int | None]: ...

    def stop(self) -> None: ...


class EmbeddedLauncher:
    """A `Launcher` (sidecar/demo/launcher.py) whose processes are tasks. Use it inside one running event loop."""

    def __init__(self) -> None:
        self.hub: Final = MemoryHub()
        self._log: TextIO | None = None
        self._make: Final[dict[str, Callable[[ProcessSpec, MemoryBroker], _Part]]] = {
            "arbiter": lambda spec, broker: ArbiterProcess(load_settings(_config(spec), environ={}), broker),
            "sidecar": lambda spec, broker: Agent(load_settings(_config(spec), environ={}), broker),
            "reconciler": lambda spec, broker: Reconciler(load_settings(_config(spec), environ={}), broker),
            "venue": _venue,
            "component": lambda spec, _: component.Component(component.parse(spec.options)),
        }

    def logging_to(self, directory: Path) -> "EmbeddedLauncher":
        """Itself, with the logs of all parts in one file below `directory`."""
        self._log = (directory / "embedded.log").open("a")
        configure_logs("json", "info", stream=self._log)
        return self

    def close(self) -> None:
        """Logs go to stderr again."""
        if self._log is not None:
            configure_logs("console", "error")
            self._log.close()

    def broker(self, name: str) -> MemoryBroker:
        """A connection of its own to the hub, for the demo itself."""
        return MemoryBroker(self.hub, name=name)

    async def start(self, spec: ProcessSpec) -> "EmbeddedProcess":
        """See `Launcher`."""
        broker = self.broker(f"{spec.role} {spec.name}")
        part = self._make[spec.role](spec, broker)
        return EmbeddedProcess(spec, part, broker, asyncio.create_task(_run(part), name=f"{spec.role}-{spec.name}"))


@dataclass(frozen=True, slots=True)
class EmbeddedProcess:
    """One part, running as a task."""

    spec: ProcessSpec
    _part: _Part
    _broker: MemoryBroker
    _task: "asyncio.Task[int]"

    @property
    def pid(self) -> int | None:
        """None: it has no process of its own."""
        return None

    @property
    def alive(self) -> bool:
        """Whether its task runs."""
        return not self._task.done()

    @property
    def ended(self) -> str:
        """How it ended, in a few words; empty while it runs."""
        if not self._task.done():
            return ""
        if self._task.cancelled():
            return "killed"
        error = self._task.exception()
        return f"{type(error).__name__}: {error}" if error else f"exit code {self._task.result()}"

    async def kill(self) -> None:
        """Cut its link, then cancel it; returns when it is gone."""
        self._broker.cut()
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def stop(self) -> None:
        """Ask it to end, wait a bounded time, then kill it."""
        self._part.stop()
        await asyncio.wait((self._task,), timeout=STOP_GRACE_S)
        if self.alive:
            await self.kill()


async def _run(part: _Part) -> int:
    return await part.run() or 0


def _config(spec: ProcessSpec) -> Path:
    if spec.config is None:
        raise ValueError(f"{spec.role} {spec.name} needs a configuration file")
    return spec.config


def _venue(spec: ProcessSpec, broker: MemoryBroker) -> Venue:
    settings = load_settings(spec.config, environ={})
    return Venue(venue.parse(spec.options, settings.telemetry), broker)
