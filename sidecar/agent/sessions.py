"""The component's session: a stream that is open for as long as this run of the component lives.

Owns the one session of the moment, its bounded line of events and its end. It must not know HTTP beyond the ASGI
messages it sends. The session's end is the component's death: the gate is closed before anything else is done.
"""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.heartbeats import Heartbeats
from sidecar.messages.base import SlotToken
from sidecar.messages.local import GateStatus, SessionAlive, SessionEnded, SessionOpened

EVENTS_MAX: Final = 256
"""Lines that wait for a component that reads slowly. Higher lets it sleep longer before it is cut."""
ALIVE_INTERVAL_S: Final = 1.0
LAST_LINE_S: Final = 1.0
"""How long a session that we end may take to read its last line."""

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Session:
    """One run of the component."""

    def __init__(self, component: str) -> None:
        self.component = component
        self.incarnation = uuid.uuid4().hex
        self.end_reason = ""
        self.ended = asyncio.Event()
        self._lines: deque[msgspec.Struct] = deque()
        self._waiting = asyncio.Event()

    def tell(self, line: msgspec.Struct) -> None:
        """Add a line; a component that does not read its lines is cut."""
        if len(self._lines) >= EVENTS_MAX:
            self.end(f"it did not read its session: {EVENTS_MAX} lines were waiting")
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
            await send({"type": "http.response.body", "body": body, "more_body": more})


class Sessions:
    """At most one session at a time; a newer one takes over."""

    def __init__(self, gatekeeper: Gatekeeper, heartbeats: Heartbeats, gate_path: str) -> None:
        self.current: Session | None = None
        self._gatekeeper = gatekeeper
        self._heartbeats = heartbeats
        self._held: frozenset[SlotToken] = frozenset()
        self._gate_path = gate_path
        self._closed = ""
        self._log = structlog.get_logger(__name__)

    @property
    def closed(self) -> str:
        """Why no session can be opened any more; empty while one can."""
        return self._closed

    def announce(self, status: GateStatus) -> None:
        """Tell the session of a change of the gate, and the arbiters at once of slots that were won.

        Without the extra heartbeat their history would know of it only with the next one.
        """
        if self.current is not None:
            self.current.tell(status)
        held, self._held = self._held, frozenset(status.slots)
        if self._held - held:
            self._heartbeats.send()

    async def serve(self, receive: Receive, send: Send) -> None:
        """Hold one session open on a connection; returns when it is over."""
        session = self._open()
        gone = asyncio.create_task(_disconnect(receive))
        writing = asyncio.create_task(session.write(send))
        ended = asyncio.create_task(session.ended.wait())
        try:
            await asyncio.wait({gone, writing, ended}, return_when=asyncio.FIRST_COMPLETED)
            self._over(session, session.end_reason or "its session closed")
            if not gone.done():
                await asyncio.wait({gone, writing}, timeout=LAST_LINE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._over(session, "its session was cut")
            for task in (gone, writing, ended):
                task.cancel()
            await asyncio.gather(gone, writing, ended, return_exceptions=True)

    def detach(self, reason: str) -> None:
        """The component is dead whatever its session says: its process exited, or we stop."""
        if self.current is not None:
            self._over(self.current, reason)

    def close(self, reason: str) -> None:
        """Detach, and take no more sessions."""
        self._closed = reason
        self.detach(reason)

    def _open(self) -> Session:
        session = Session(self._gatekeeper.core.component)
        previous, self.current = self.current, None
        if previous is not None:
            previous.end("a new session took over")
        session.tell(
            SessionOpened(component=session.component, incarnation=session.incarnation, gate_path=self._gate_path)
        )
        self._gatekeeper.do(self._gatekeeper.core.attach(session.incarnation, boottime_ns()))
        session.tell(self._gatekeeper.status())
        self.current = session
        self._log.info("a component attached", incarnation=session.incarnation)
        self._heartbeats.send()
        return session

    def _over(self, session: Session, reason: str) -> None:
        """Once, and only for the session of the moment: an old one's end is no news of the new one."""
        if session is self.current:
            # The gate first; the session hears of it as its last change.
            self._gatekeeper.do(self._gatekeeper.core.detach(reason, boottime_ns()))
            self.current = None
            self._log.info("the component detached", incarnation=session.incarnation, reason=reason)
            self._heartbeats.send()
        session.end(reason)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_HEADERS: Final = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
