"""The configured programs that do a measure where no component does it.

Owns one run of each measure of each halt at a time, its time limit and its bounded output. It must not decide when one
is run (`core/measures.py` does), and nothing that came over a wire reaches the command line: the halt stands in the
environment, as SIDECAR_HALT_ID, SIDECAR_MEASURE and SIDECAR_SCOPES (one a line).

Which way it fails: whatever goes wrong is the answer `failed`, and the measure is asked again.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from sidecar.config.environment import without_secrets
from sidecar.messages.local import MeasureAnswer, MeasureAsked
from sidecar.messages.measures import Measure

OUTPUT_BYTES_MAX: Final = 64 * 1024
"""What is read of one run's output; the rest is dropped, so that no writer is ever blocked."""
LIMIT_MIN_S: Final = 1.0
"""A run may always take this long, however late it begins."""

Answered = Callable[[MeasureAsked, MeasureAnswer], None]


class MeasurePrograms:
    """The whitelist of one sidecar's own configuration; `answered` is told what each run came to."""

    def __init__(
        self,
        commands: Mapping[Measure, tuple[str, ...]],
        limits_s: Mapping[Measure, float],
        environment: Mapping[str, str],
    ) -> None:
        self.answered: Answered = lambda asked, answer: None
        self._commands = dict(commands)
        self._limits_s = dict(limits_s)
        self._environment = dict(environment)
        self._running: dict[tuple[str, Measure], asyncio.Task[None]] = {}
        self._log = structlog.get_logger(__name__)

    def run(self, asked: MeasureAsked) -> None:
        """Begin it, unless it still runs for this halt or there is none."""
        key = (asked.halt_id, asked.measure)
        command = self._commands.get(asked.measure)
        if command is None or key in self._running:
            return
        task = asyncio.create_task(self._run(asked, command), name=f"measure-{asked.measure}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    async def stop(self) -> None:
        """End every run."""
        running = list(self._running.values())
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, asked: MeasureAsked, command: tuple[str, ...]) -> None:
        limit_s = max(self._limits_s[asked.measure], LIMIT_MIN_S)
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._outcome(asked, command)
        except TimeoutError:
            answer = MeasureAnswer(outcome="failed", text=f"{command[0]} did not end within {limit_s:g} s")
        self._log.info(
            "a measure's program ended",
            measure=asked.measure,
            halt_id=asked.halt_id,
            outcome=answer.outcome,
            remaining=len(answer.remaining),
            text=answer.text,
        )
        self.answered(asked, answer)

    async def _outcome(self, asked: MeasureAsked, command: tuple[str, ...]) -> MeasureAnswer:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**without_secrets(os.environ), **self._environment, **_about(asked)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument or in the environment.
            text = f"{command[0]} cannot be run: {getattr(error, 'strerror', None) or error}"
            return MeasureAnswer(outcome="failed", text=text)
        try:
            printed = await _output(process.stdout)
            code = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # Also what it left behind: it is over with its time.
            await process.wait()
        if code == 0:
            return MeasureAnswer(outcome="done", text=f"by {command[0]}")
        remaining = tuple(line for each in printed.decode(errors="replace").splitlines() if (line := each.strip()))
        return MeasureAnswer(outcome="failed", remaining=remaining, text=f"{command[0]} exited with {code}")


async def _output(stream: asyncio.StreamReader | None) -> bytes:
    kept = b""
    while stream is not None and (piece := await stream.read(OUTPUT_BYTES_MAX)):
        kept += piece[: max(0, OUTPUT_BYTES_MAX - len(kept))]
    return kept


def _about(asked: MeasureAsked) -> dict[str, str]:
    return {
        "SIDECAR_HALT_ID": asked.halt_id,
        "SIDECAR_MEASURE": asked.measure,
        "SIDECAR_SCOPES": "\n".join(asked.scopes),
    }
