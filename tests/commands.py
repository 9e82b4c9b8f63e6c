"""`sidecar` commands as processes with an environment of their own, and everything that they show to others."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from sidecar.cli.main import build_app

END_S = 20.0


@dataclass
class Shown:
    """What can be seen from outside: output, and command lines of processes. Errors and logs are in it too."""

    texts: list[str] = field(default_factory=list)

    def __contains__(self, text: str) -> bool:
        return any(text in each for each in self.texts)

    def look_at(self, process: asyncio.subprocess.Process) -> None:
        """Its command line and those of its children."""
        for pid in (process.pid, *_children(process.pid)):
            with contextlib.suppress(OSError):
                self.texts.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())


@contextlib.asynccontextmanager
async def sidecar_process(
    shown: Shown, *arguments: str | Path, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running `sidecar ARGUMENTS`, ended with SIGTERM; what it wrote is then in `shown`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sidecar.cli.main",
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=inherited | dict(environment),
    )
    written = asyncio.create_task(process.communicate())
    try:
        yield process
        shown.look_at(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(END_S):
            out, _ = await written
        shown.texts.append(out.decode())


async def sidecar_here(shown: Shown, *arguments: str | Path, environment: Mapping[str, str]) -> int:
    """The exit code of `sidecar ARGUMENTS`, run to its end in this process."""

    def run() -> int:
        ended = CliRunner().invoke(build_app(), list(map(str, arguments)), env=environment)
        shown.texts += [ended.output, repr(ended.exception)]
        return ended.exit_code

    return await asyncio.to_thread(run)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
