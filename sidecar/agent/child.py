"""The component as a child process of its sidecar.

Owns its start, the wait for its exit and its stop. It must not know what its death means.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from sidecar.config.environment import without_secrets

NOT_FOUND_CODE: Final = 127
NOT_EXECUTABLE_CODE: Final = 126
SIGNAL_BASE: Final = 128


class ChildNotStarted(Exception):
    """The command could not be run; `code` is what a shell would exit with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Child:
    """One run of the command, with our own environment but its secrets, and `extra`, on our own standard streams."""

    def __init__(self, command: Sequence[str], extra: Mapping[str, str]) -> None:
        self.command = tuple(command)
        self._environment = {**without_secrets(os.environ), **extra}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> int:
        """Start it; returns its process id. Raises ChildNotStarted."""
        name = self.command[0]
        try:
            self._process = await asyncio.create_subprocess_exec(*self.command, env=self._environment)
        except FileNotFoundError as error:
            raise ChildNotStarted(f"no such command: {name}", NOT_FOUND_CODE) from error
        except OSError as error:
            raise ChildNotStarted(f"{name} cannot be run: {error.strerror or error}", NOT_EXECUTABLE_CODE) from error
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code, as a shell gives it: 128 and the signal's number for a death by signal."""
        if self._process is None:
            raise RuntimeError("the child was not started")  # A mistake of ours, not of the child.
        code = await self._process.wait()
        return code if code >= 0 else SIGNAL_BASE - code

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, then SIGKILL after `grace_s`; returns the exit code, 0 if it was never started."""
        if self._process is None:
            return 0
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            return await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
