"""What a start action prints, in our log.

Owns a pipe and its reading. It is a pipe of our own and not the process's: whatever the action leaves behind may keep
it open, and the wait for the action's end must not wait for that.
"""

import asyncio
import contextlib
import os
from typing import Final, Self

import structlog

LINES_MAX: Final = 200
"""Lines of one action that are logged; the rest is read and dropped, so that no writer is ever blocked."""
LINE_BYTES_MAX: Final = 4096
"""Longer lines are logged in pieces."""


class ActionOutput:
    """One action's output. `writer` is the descriptor for its standard output and error, to be closed once it runs."""

    def __init__(self, reader: int, writer: int) -> None:
        self.writer = writer
        self._reader = open(reader, "rb", buffering=0)  # noqa: SIM115  # Closed with the transport that reads it.
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._log = structlog.get_logger(__name__)

    @classmethod
    def make(cls) -> Self:
        """A new pipe. OSError when there is none to be had."""
        return cls(*os.pipe())

    def begin(self) -> None:
        """The action has its end of the pipe: read the other."""
        os.close(self.writer)
        self._task = asyncio.create_task(self._run(), name="start-action-output")

    async def stop(self) -> None:
        """Read no more, or never; who still writes is told so by the pipe. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        elif not self._reader.closed:
            os.close(self.writer)
        if not self._connected:
            self._reader.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), self._reader)
        self._connected = True
        with contextlib.closing(transport):
            lines = 0
            while piece := await _line(stream):
                lines += 1
                if lines <= LINES_MAX:
                    self._log.info("the start action says", line=piece.decode(errors="replace").rstrip())
                elif lines == LINES_MAX + 1:
                    self._log.warning("the start action says more than is logged", lines_max=LINES_MAX)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or a piece of one that is too long; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        return await stream.read(LINE_BYTES_MAX)
    except asyncio.IncompleteReadError as error:
        return error.partial
