"""One long-running process: its event loop, its signals and its logs.

Owns what every process of ours does in the same way. It must not know what the process is for.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import uvloop

from sidecar.config.models import TelemetrySettings
from sidecar.telemetry.logs import configure_logs

Result = TypeVar("Result")


class Stoppable(Protocol):
    """Something that runs until it is asked to stop, and says with which exit code."""

    async def run(self) -> int | None:
        """Until `stop`; None is 0."""

    def stop(self) -> None:
        """End `run` soon and in order; safe to call twice."""


def run_process(telemetry: TelemetrySettings, build: Callable[[], Stoppable], *, role: str, name: str) -> int:
    """Build the process inside its loop and run it; SIGTERM and SIGINT stop it in order. Returns its exit code.

    `role` and `name` stand in each log line as `process` and `instance`.
    """
    configure_logs(telemetry.log_format, telemetry.log_level, process=role, instance=name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_signalled(build))


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Run something that ends by itself. SIGINT and SIGTERM cancel it, so that it can tidy up.

    Raises KeyboardInterrupt after SIGINT and asyncio.CancelledError after SIGTERM.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_cancelled_by_sigterm(work))


async def _cancelled_by_sigterm(work: Coroutine[Any, Any, Result]) -> Result:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def _until_signalled(build: Callable[[], Stoppable]) -> int:
    process = build()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, process.stop)
    return await process.run() or 0
