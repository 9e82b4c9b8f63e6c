"""A component's session with its sidecar: while it is open, this run of the component lives.

Owns the reading of the stream and what was last heard. It must not decide whether the component may act: the gate
page does, see `Session.gate`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import httpx
import msgspec

from sidecar.client.errors import SessionLost
from sidecar.client.protocol import ASKED_MAX, CHANGES_MAX, decode_line
from sidecar.gate.reader import GateReader
from sidecar.messages.control import Halt
from sidecar.messages.local import GateStatus, HaltsInForce, MeasureAsked, SessionEnded, SessionOpened, StateArrived


class Session:
    """An open session. `gate` answers in well under a microsecond; `status` is the last word of the sidecar.

    `halts` are all latched ones that it knows of, whether they concern this component or not.
    """

    def __init__(self, opened: SessionOpened, gate: GateReader) -> None:
        self.component = opened.component
        self.incarnation = opened.incarnation
        self.gate = gate
        self.status: GateStatus | None = None
        self.halts: tuple[Halt, ...] = ()
        self.lost = ""
        self._changes: deque[GateStatus] = deque(maxlen=CHANGES_MAX)
        self._news = asyncio.Event()
        self._asked: deque[MeasureAsked] = deque(maxlen=ASKED_MAX)
        self._asked_news = asyncio.Event()
        self._arrived: dict[str, StateArrived] = {}
        self._arrived_news = asyncio.Event()

    async def states(self) -> AsyncIterator[StateArrived]:
        """Each state that arrived here from the active, of each slot only the newest; raises SessionLost at the end.

        A hot standby reads it with `SidecarClient.get_state`, and so is ready before it is promoted.
        """
        while True:
            while self._arrived:
                yield self._arrived.pop(next(iter(self._arrived)))
            if self.lost:
                raise SessionLost(self.lost)
            self._arrived_news.clear()
            await self._arrived_news.wait()

    async def measures(self) -> AsyncIterator[MeasureAsked]:
        """Each asking of a measure, repetitions too; raises SessionLost when the session ends.

        `client.do_measures` runs a handler for each and answers.
        """
        while True:
            while self._asked:
                yield self._asked.popleft()
            if self.lost:
                raise SessionLost(self.lost)
            self._asked_news.clear()
            await self._asked_news.wait()

    async def changes(self) -> AsyncIterator[GateStatus]:
        """Each change of the gate, the state at opening first; raises SessionLost when the session ends."""
        while True:
            while self._changes:
                yield self._changes.popleft()
            if self.lost:
                raise SessionLost(self.lost)
            self._news.clear()
            await self._news.wait()

    async def until_open(self, timeout_s: float | None = None) -> GateStatus:
        """Wait for the gate to open; raises SessionLost, or TimeoutError after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            async for status in self.changes():
                if status.open:
                    return status
        raise SessionLost(self.lost)

    async def follow(self, lines: AsyncIterator[bytes]) -> None:
        """Read the stream to its end; run by the client as a task."""
        try:
            async for line in lines:
                self._hear(line)
            self._lose("the sidecar closed the stream")
        except httpx.ReadTimeout:
            self._lose("the sidecar fell silent")
        except httpx.HTTPError as error:
            self._lose(f"the sidecar is gone: {error or type(error).__name__}")
        except msgspec.DecodeError as error:
            self._lose(f"the sidecar sent a line that is not ours: {error}")

    def _hear(self, line: bytes) -> None:
        match decode_line(line):
            case GateStatus() as status:
                self.status = status
                self._changes.append(status)
                self._news.set()
            case HaltsInForce(halts=halts):
                self.halts = halts
            case MeasureAsked() as asked:
                self._asked.append(asked)
                self._asked_news.set()
            case StateArrived() as arrived:
                self._arrived[arrived.slot] = arrived
                self._arrived_news.set()
            case SessionEnded(reason=reason):
                self._lose(reason)
            case _:
                pass

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self._news.set()
        self._asked_news.set()
        self._arrived_news.set()
