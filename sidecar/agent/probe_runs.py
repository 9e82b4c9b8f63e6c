"""How each kind of probe is run, once: HTTP, TCP, process, command.

Owns the question and its answer: empty when it went well, else one sentence. It must not know thresholds or purposes
(`core/probing.py`). Every run is bounded by the caller's time limit, and ends its own process when it is cancelled.

Which way it fails: any doubt, an unexpected error included, is a bad result.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx
import psutil

from sidecar.config.environment import without_secrets
from sidecar.config.probes import ProbeSettings

ProbeRun = Callable[[], Awaitable[str]]
SAID_BYTES_MAX: Final = 2_048
"""What is read of a command's complaint."""
_STOPPED: Final = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def probe_run(settings: ProbeSettings, child_pid: Callable[[], int | None]) -> ProbeRun:
    """The run of a configured probe; `child_pid` names the component's process where the sidecar has started it."""
    if settings.http:
        return lambda: ask_http(settings.http)
    if settings.tcp:
        host, _, port = settings.tcp.rpartition(":")
        return lambda: ask_tcp(host.strip("[]"), int(port))
    if settings.command:
        return lambda: run_command(settings.command)
    return lambda: look_at_process(settings.pid_file, child_pid)


async def bounded(run: ProbeRun, timeout_s: float) -> str:
    """Run it, at most for so long."""
    try:
        async with asyncio.timeout(timeout_s):
            return await run()
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def ask_http(url: str) -> str:
    """GET it: any answer from 200 to 399 is good; redirects are not followed, proxies of the environment not used."""
    async with httpx.AsyncClient(trust_env=False, timeout=None, follow_redirects=False) as client:
        try:
            async with client.stream("GET", url) as answer:
                return "" if 200 <= answer.status_code < 400 else f"{url} answered {answer.status_code}"
        except httpx.HTTPError as error:
            return f"{url}: {error or type(error).__name__}"


async def ask_tcp(host: str, port: int) -> str:
    """Connect and hang up."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


async def look_at_process(pid_file: str, child_pid: Callable[[], int | None]) -> str:
    """It runs: it is there, and neither stopped nor a zombie."""
    pid = child_pid()
    if pid_file:
        try:
            pid = int(await asyncio.to_thread(Path(pid_file).read_text, encoding="ascii"))
        except (OSError, ValueError) as error:
            return f"{pid_file}: {getattr(error, 'strerror', None) or 'it holds no process id'}"
    if pid is None:
        return "the sidecar has not started the component, and no pid_file is configured"
    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return f"there is no process {pid}"
    return f"process {pid} is {status}" if status in _STOPPED else ""


async def run_command(command: tuple[str, ...]) -> str:
    """It exits with 0. It runs in a process group of its own, which is killed when its time is over."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=without_secrets(os.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument.
        return f"{command[0]} cannot be run: {getattr(error, 'strerror', error)}"
    try:
        said = await _complaint(process)
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Also what it left behind: a probe leaves nothing.
        await process.wait()
    return "" if code == 0 else f"{command[0]} exited with {code}{f': {said}' if said else ''}"


async def _complaint(process: asyncio.subprocess.Process) -> str:
    """The last line on standard error; what is more than is kept is read and dropped, so that nobody is blocked."""
    if process.stderr is None:
        return ""
    kept = b""
    while piece := await process.stderr.read(SAID_BYTES_MAX):
        kept = (kept + piece)[-SAID_BYTES_MAX:]
    lines = kept.decode(errors="replace").split("\n")
    return next((each.strip() for each in reversed(lines) if each.strip()), "")
