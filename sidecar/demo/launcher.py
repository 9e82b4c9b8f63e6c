"""How the demo's processes are started and ended.

Owns the small interface (`Launcher`, `Running`) and the one implementation that makes operating-system processes. It
must not know what the processes are for. `sidecar demo --embedded` brings a launcher of its own, which runs the same
parts inside one process.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol

ProcessRole = Literal["arbiter", "sidecar", "reconciler", "venue", "component"]

STOP_GRACE_S: Final = 5.0
"""Between SIGTERM and SIGKILL. Longer than the venue's drain and the sidecar's."""

_COMMANDS: Final[dict[ProcessRole, tuple[str, ...]]] = {
    "arbiter": ("sidecar.cli.main", "arbiter"),
    "sidecar": ("sidecar.cli.main", "run"),
    "reconciler": ("sidecar.cli.main", "reconcile"),
    "venue": ("sidecar.demo.venue",),
    "component": ("sidecar.demo.component",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process. `config` is its configuration file, given as --config where set; `arguments` follow."""

    role: ProcessRole
    name: str
    config: Path | None = None
    arguments: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """Everything behind the command's name."""
        config = () if self.config is None else ("--config", str(self.config))
        return (*config, *self.arguments)


class Running(Protocol):
    """One process that was started."""

    @property
    def spec(self) -> ProcessSpec:
        """What was started."""

    @property
    def pid(self) -> int | None:
        """Its process id; None when it is no process of its own."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    @property
    def ended(self) -> str:
        """How it ended, in a few words; empty while it runs."""

    async def kill(self) -> None:
        """End it without any chance to tidy up, as kill -9 does; returns when it is gone."""

    async def stop(self) -> None:
        """Ask it to end, wait a bounded time, then kill it. Safe to call twice."""


class Launcher(Protocol):
    """Starts processes. What was started is the caller's to end."""

    async def start(self, spec: ProcessSpec) -> Running:
        """Start it; returns at once, before it is ready."""


class ProcessLauncher:
    """Starts operating-system processes, each in its own session, with a log file NAME.log in `log_dir`.

    They die with this process, however it dies (see `leash.py`). Variables SIDECAR_* are not passed on: the processes
    are configured by their files alone. `programs` replaces the Python module of a role.
    """

    def __init__(self, log_dir: Path, programs: Mapping[ProcessRole, str] = MappingProxyType({})) -> None:
        self._log_dir = log_dir
        self._commands = _COMMANDS | {role: (module,) for role, module in programs.items()}
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}

    async def start(self, spec: ProcessSpec) -> Running:
        """See `Launcher`. A restarted process appends to the log of the one before."""
        leash = (sys.executable, "-I", "-S", str(Path(__file__).with_name("leash.py")), str(os.getpid()))
        command = (sys.executable, "-m", *self._commands[spec.role], *spec.options)
        with (self._log_dir / f"{spec.role}-{spec.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *leash,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        return _Process(spec, process)


class _Process:
    def __init__(self, spec: ProcessSpec, process: asyncio.subprocess.Process) -> None:
        self._spec = spec
        self._process = process

    @property
    def spec(self) -> ProcessSpec:
        return self._spec

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def ended(self) -> str:
        code = self._process.returncode
        if code is None:
            return ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
