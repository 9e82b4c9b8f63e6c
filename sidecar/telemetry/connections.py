"""What one HTTP connection may cost: how many there are, how long a request may take to arrive, how long an answer may
lie unread.

Owns these bounds and the answer to whoever passes one: a `Problem`, then the end of the connection. It must not know
the routes. What is cut is counted by its code and not logged line by line: a flood must not become a flood of logs.

| what a peer does                             | it is answered             | within       |
|----------------------------------------------|----------------------------|--------------|
| opens more connections than `connections_max`| 503 TOO_MANY_CONNECTIONS   | at once      |
| sends what is not HTTP                       | 400 NOT_HTTP               | at once      |
| sends nothing, or a request bit by bit       | 408 REQUEST_TOO_SLOW       | `request_s`  |
| sends more while its answer is still to come | cut, as REQUEST_TOO_SLOW   | `request_s`  |
| does not read its answer                     | cut, as ANSWER_NOT_READ    | `stalled_s`  |
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from sidecar.messages.local import Problem

CUT_CODES: Final = ("TOO_MANY_CONNECTIONS", "NOT_HTTP", "REQUEST_TOO_SLOW", "ANSWER_NOT_READ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Of one server. Higher lets one peer cost more memory, descriptors or time."""

    connections_max: int = 256
    request_s: float = 5.0
    stalled_s: float = 5.0


class BoundedProtocol(H11Protocol):
    """One connection; `on_cut` is told the code of each cut."""

    def __init__(self, *, limits: ConnectionLimits, on_cut: Callable[[str], None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.logger = logging.getLogger(__name__)
        self.logger.setLevel(logging.ERROR)  # uvicorn warns of each request that is not HTTP.
        self._limits = limits
        self._on_cut = on_cut
        self._arriving: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        """Begin to wait for a request, unless there are too many of us."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # Whatever the kernel does not take at once counts as not read.
        most = self._limits.connections_max
        if len(self.connections) > most:
            text = f"{most} connections are open already"
            self._cut(503, "TOO_MANY_CONNECTIONS", text, "close some, and use one for many requests")
        else:
            self._arriving = self.loop.call_later(self._limits.request_s, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and allow the rest of what they begin its time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._is_arriving():
            self._whole()
        elif self._arriving is None:
            self._arriving = self.loop.call_later(self._limits.request_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the waits with the connection."""
        self._whole()
        self._read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.stalled_s, self._not_read)

    def resume_writing(self) -> None:
        """The peer has read."""
        self._read()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._cut(400, "NOT_HTTP", f"this is not HTTP: {msg}", "send HTTP/1.1 requests")

    # --- inside ---

    def _is_arriving(self) -> bool:
        """Whether a request, or what follows one that is not answered yet, is here in part."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY) or bool(self.conn.trailing_data[0])

    def _whole(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _too_slow(self) -> None:
        self._arriving = None
        if self._is_arriving():
            text = f"no whole request came within {self._limits.request_s:g} s"
            self._cut(408, "REQUEST_TOO_SLOW", text, "send a request in one go, and the next one after its answer")

    def _not_read(self) -> None:
        self._on_cut("ANSWER_NOT_READ")
        self.transport.abort()

    def _cut(self, status_code: int, code: str, text: str, mend: str) -> None:
        """Answer, if no answer has begun, and hang up."""
        self._on_cut(code)
        self._whole()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = msgspec.json.encode(Problem(code=code, text=text, mend=mend))
            head = h11.Response(status_code=status_code, headers=[*_HEADERS, ("content-length", str(len(body)))])
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


_HEADERS: Final = [("content-type", "application/json"), ("connection", "close")]
