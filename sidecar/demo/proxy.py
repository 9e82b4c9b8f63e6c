"""A TCP proxy inside the event loop of a test or a benchmark, for breaking one client's link and no other's.

Owns the sockets on both sides. It knows no protocol: it forwards bytes, late, one way only, or not at all.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from yarl import URL

CHUNK_BYTES = 64 * 1024


class Proxy:
    """Forwards a local port to `host`:`port`. `delay_s` is added to each chunk, both ways."""

    def __init__(self, host: str, port: int, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.accepted = 0
        self._target = (host, port)
        self._up = True
        self._flows = {"to_server": asyncio.Event(), "to_client": asyncio.Event()}
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.resume()

    @classmethod
    def before(cls, url: str, *, delay_s: float = 0.0) -> "Proxy":
        """A proxy for the server that `url` names."""
        parsed = URL(url)
        return cls(parsed.host or "127.0.0.1", parsed.port or 5672, delay_s=delay_s)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where clients connect, on 127.0.0.1."""
        if self._server is None:
            raise RuntimeError("the proxy was not started")
        return int(self._server.sockets[0].getsockname()[1])

    def url(self, url: str) -> str:
        """The same URL, through this proxy."""
        return str(URL(url).with_host("127.0.0.1").with_port(self.port))

    def cut(self) -> None:
        """Reset every connection, and each new one as it comes."""
        self._up = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let new connections through again."""
        self._up = True

    def inject(self, data: bytes) -> None:
        """Say something to every client in the server's name. The link must be quiet, so that no frame is torn."""
        for writer in self._clients:
            writer.write(data)

    def stall(self, *flows: str) -> None:
        """Stop forwarding without a word: `to_server`, `to_client`, or both."""
        for flow in flows or tuple(self._flows):
            self._flows[flow].clear()

    def resume(self) -> None:
        """Forward again, what was held back first."""
        for flow in self._flows.values():
            flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if not self._up:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(server_writer)
        self._clients.add(writer)
        self._start(reader, server_writer, self._flows["to_server"])
        self._start(server_reader, writer, self._flows["to_client"])

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
        pump = asyncio.create_task(self._pump(reader, writer, flow))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
        try:
            with suppress(ConnectionError):
                while chunk := await reader.read(CHUNK_BYTES):
                    await flow.wait()
                    if self.delay_s:
                        await asyncio.sleep(self.delay_s)
                    writer.write(chunk)
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            self._clients.discard(writer)
            writer.transport.abort() if not self._up else writer.close()
