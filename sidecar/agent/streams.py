"""Lines of JSON on their way to one reader, for as long as both live.

Owns the bounded line, its writing and its end. It must not know what the lines say, nor what the stream's end means.
A reader that does not read is cut, with the reason.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from sidecar.messages.local import SessionAlive, SessionEnded, StateArrived

EVENTS_MAX: Final = 256
"""Lines that wait for a reader that reads slowly. Higher lets it sleep longer before it is cut."""
ALIVE_INTERVAL_S: Final = 1.0
STALLED_S: Final = 3.0
"""How long one line may wait for the reader. With ALIVE_INTERVAL_S less than `ConnectionLimits.stalled_s`, which cuts
the connection without a reason."""
LAST_LINE_S: Final = 6.0
"""How long a stream that is over may take to read its last line. More than `ConnectionLimits.stalled_s`, which cuts who
does not."""

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Stream:
    """The lines to one reader."""

    def __init__(self, component: str) -> None:
        self.component = component
        self.end_reason = ""
        self.ended = asyncio.Event()
        self._lines: deque[msgspec.Struct] = deque()
        self._waiting = asyncio.Event()

    def tell(self, line: msgspec.Struct) -> None:
        """Add a line; who does not read its lines is cut. Of states that arrived only the newest of a slot waits."""
        if isinstance(line, StateArrived):
            self._lines = deque(each for each in self._lines if not _replaces(line, each))
        if len(self._lines) >= EVENTS_MAX:
            self.end(f"it did not read its lines: {EVENTS_MAX} were waiting")
            return
        self._lines.append(line)
        self._waiting.set()

    def end(self, reason: str) -> None:
        """End it from our side. The first reason counts."""
        if self.ended.is_set():
            return
        self.end_reason = reason
        self.ended.set()
        self._waiting.set()

    async def write(self, send: Send) -> None:
        """Send the lines as they come, and one each second, until the last."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        more = True
        while more:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._waiting.wait(), ALIVE_INTERVAL_S)
            self._waiting.clear()
            more = not self.ended.is_set()
            if not self._lines:
                self._lines.append(SessionAlive(component=self.component))
            if not more:
                self._lines.append(SessionEnded(component=self.component, reason=self.end_reason))
            # All at once, so that a burst of changes cannot fill the line of a component that reads.
            body = b"".join(msgspec.json.encode(each) + b"\n" for each in self._lines)
            self._lines.clear()
            async with asyncio.timeout(STALLED_S):
                await send({"type": "http.response.body", "body": body, "more_body": more})

    async def serve(self, receive: Receive, send: Send, over: Callable[[str], None]) -> None:
        """Until either side ends it; `over` is told why, at once, and again when it may have been told already."""
        gone = asyncio.create_task(_disconnect(receive))
        writing = asyncio.create_task(self._write_out(send))
        ended = asyncio.create_task(self.ended.wait())
        try:
            await asyncio.wait({gone, writing, ended}, return_when=asyncio.FIRST_COMPLETED)
            over(self.end_reason or "its connection closed")
            if not gone.done():
                await asyncio.wait({gone, writing}, timeout=LAST_LINE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over("its connection was cut")
            for task in (gone, writing, ended):
                task.cancel()
            await asyncio.gather(gone, writing, ended, return_exceptions=True)

    async def _write_out(self, send: Send) -> None:
        try:
            await self.write(send)
        except TimeoutError:
            self.end(f"it did not read its lines: one waited for {STALLED_S:g} s")
            await asyncio.Event().wait()  # The connection is cut by its own limit; this task with it.


def _replaces(line: StateArrived, before: msgspec.Struct) -> bool:
    return isinstance(before, StateArrived) and before.slot == line.slot


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_HEADERS: Final = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
