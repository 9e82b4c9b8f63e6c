"""An HTTP server inside the running event loop, on a socket that is already bound.

Owns the starting and stopping of uvicorn. Signals stay with the process that called us, uvicorn's own logs are off
below WARNING, and what is still open after the grace period is cut. It must not know which routes it serves.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from sidecar.telemetry.connections import BoundedProtocol, ConnectionLimits

BACKLOG: Final = 128
STOP_GRACE_S: Final = 1


class CannotListen(Exception):
    """The address cannot be bound; the text names it and the mend."""


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one, found in `getsockname()[1]`. Raises CannotListen."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host} port {port} ({error.strerror or error}): "
            "set telemetry.port to a free port or to 0, and telemetry.host to an address of this machine"
        ) from error


class HttpServer:
    """Serves one ASGI application in the loop that started it.

    `lifespan` runs the application's own start-up and shutdown hooks. `stop` takes up to `stop_grace_s`, in whole
    seconds, for responses that are under way. `on_cut` is told the code of each connection that passed a limit.
    """

    def __init__(
        self,
        app: Any,
        listener: socket.socket,
        *,
        lifespan: bool = False,
        stop_grace_s: int = STOP_GRACE_S,
        limits: ConnectionLimits | None = None,
        on_cut: Callable[[str], None] = lambda code: None,
    ):
        protocol: Any = partial(BoundedProtocol, limits=limits or ConnectionLimits(), on_cut=on_cut)
        config = uvicorn.Config(
            app,
            http=protocol,
            lifespan="on" if lifespan else "off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=stop_grace_s,
        )
        self._listener = listener
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when requests are answered; raises what uvicorn raised if it could not begin."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http-server")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._listener.close()
            await self._task

    async def stop(self) -> None:
        """Stop accepting, let responses finish within the grace period, cut the rest. Safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        self._server.should_exit = True
        await task
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, not to one of its HTTP servers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()
