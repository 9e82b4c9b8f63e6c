"""The start action of a cold standby: the configured program that brings our component up.

Owns the action's process: its time limit, its output in our log, its end, and the word to the leader when it failed. It
must not decide whether an order is obeyed (`core/starter.py` does), and nothing that came over a wire reaches the
command line.

The action may return, as `systemctl start` does, or stay in the foreground as the component itself. While its process
runs it is ours, in a process group of its own, and ends with us: SIGTERM, then SIGKILL. What it left behind when it
returned is not ours and outlives us.

Which way it fails: to no component. Whatever goes wrong here opens no gate, and the leader asks the next standby.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping

import structlog

from sidecar.agent.action_output import ActionOutput
from sidecar.agent.postbox import Postbox
from sidecar.broker.topology import HEALTH
from sidecar.config.environment import without_secrets
from sidecar.config.models import ComponentSettings
from sidecar.core.sidecar import Sidecar
from sidecar.core.starter import Starter
from sidecar.messages.health import StartComponent, StartFailed


class Starting:
    """One component's start action, from its own section of the configuration; without one nothing is startable."""

    def __init__(
        self,
        core: Sidecar,
        run: str,
        settings: ComponentSettings | None,
        environment: Mapping[str, str],
        postbox: Postbox,
    ) -> None:
        self._core = core
        self._command = settings.start if settings else ()
        self._timeout_s = (settings.start_timeout_ms if settings else 0) / 1000
        self._grace_s = (settings.stop_grace_ms if settings else 0) / 1000
        self._environment = dict(environment)
        self._postbox = postbox
        self._starter = Starter(core.component, run, able=bool(self._command))
        self._attached = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._output: ActionOutput | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.pid: int | None = None
        """Of the action's process while it runs; None while none does."""
        self._log = structlog.get_logger(__name__)
        self._say_startable()

    def ordered(self, message: StartComponent) -> None:
        """The leader asks for a start."""
        verdict = self._starter.ordered(message, attached=bool(self._core.incarnation))
        if isinstance(verdict, StartFailed):
            self._report(verdict)
        elif verdict:
            self._attached.clear()
            self._task = asyncio.create_task(self._run(), name="start-action")
            self._task.add_done_callback(self._over)
        self._say_startable()

    def notice(self, *, attached: bool) -> None:
        """Whether a component is attached now; told at each change of the gate."""
        if attached:
            self._attached.set()

    def close(self) -> None:
        """Obey no order from now on."""
        self._starter = Starter(self._core.component, "", able=False)
        self._say_startable()

    async def stop(self) -> None:
        """End an action that still runs, and obey no further one."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._output is not None:
            await self._output.stop()

    async def end_component(self, grace_s: float) -> bool:
        """End the component that an action's process is, or is about to become; false when no such process runs.

        SIGTERM to its group, then SIGKILL. A later order is obeyed again.
        """
        process = self._process
        if process is None:
            return False
        await self._end(process, grace_s)
        return True

    # --- inside ---

    async def _run(self) -> None:
        """One action, from its start to the end of its process."""
        process = await self._begin()
        if process is None:
            return
        self._process, self.pid = process, process.pid
        try:
            problem = await self._until_up(process)
            if problem:
                await self._end(process, self._grace_s)
                self._failed(problem)
                return
            self._starter.came_up(running=process.returncode is None)
            self._say_startable()
            await process.wait()
            self._log.info("the start action's process ended", code=process.returncode)
            self._starter.ended()
            self._say_startable()
        finally:
            self._process = self.pid = None
            await self._end(process, self._grace_s)

    async def _begin(self) -> asyncio.subprocess.Process | None:
        """The running action; None when it cannot be run, which is then reported."""
        if self._output is not None:
            await self._output.stop()
        self._output = output = ActionOutput.make()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**without_secrets(os.environ), **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.writer,
                stderr=output.writer,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument.
            self._failed(f"the start action {self._command[0]} cannot be run: {getattr(error, 'strerror', error)}")
            return None
        output.begin()
        self._log.info("the start action runs", command=self._command[0], pid=process.pid)
        return process

    async def _until_up(self, process: asyncio.subprocess.Process) -> str:
        """Wait for a component to attach; why none did, as a sentence, or empty."""
        exited = asyncio.create_task(process.wait())
        attached = asyncio.create_task(self._attached.wait())
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.wait({exited, attached}, return_when=asyncio.FIRST_COMPLETED)
                if not self._attached.is_set() and process.returncode:
                    return f"the start action exited with code {process.returncode}"
                await attached
        except TimeoutError:
            done = "still runs" if process.returncode is None else "returned"
            return f"the start action {done}, and no component attached within {self._timeout_s:g} s"
        finally:
            for each in (exited, attached):
                each.cancel()
        return ""

    async def _end(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        """SIGTERM to the action's whole group, then SIGKILL; nothing where its process has ended by itself."""
        if process.returncode is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await process.wait()
        _signal_group(process.pid, signal.SIGKILL)  # Also for what the process itself did not wait for.
        await process.wait()

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.critical("a part of the sidecar failed", part=task.get_name(), exc_info=error)
            self._failed(f"its sidecar failed to run the start action ({type(error).__name__})")

    def _failed(self, reason: str) -> None:
        self._log.warning("the start action failed", reason=reason)
        failed = self._starter.failed(reason)
        self._say_startable()
        if failed is not None:
            self._report(failed)

    def _report(self, failed: StartFailed) -> None:
        """Not repeated: a leader that misses it waits for its limit."""
        self._postbox.post(HEALTH, f"released.{failed.component}", failed)

    def _say_startable(self) -> None:
        self._core.startable = self._starter.startable


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
