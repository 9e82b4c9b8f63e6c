"""The events stream: what the component's session hears, for anybody else on this host who wants to watch.

Owns the open streams and their number. It must not know the session: a watcher's end means nothing to anybody.
"""

from typing import Final

import msgspec

from sidecar.agent.streams import Receive, Send, Stream

STREAMS_MAX: Final = 16
"""Watchers at once. Each one keeps a connection; higher leaves fewer of them to everybody else."""


class TooManyStreams(Exception):
    """There are `STREAMS_MAX` watchers already."""


class Events:
    """Told what the session is told. `closed` says why nobody can watch any more; empty while one can."""

    def __init__(self, component: str) -> None:
        self.closed = ""
        self._component = component
        self._streams: set[Stream] = set()

    def tell(self, line: msgspec.Struct) -> None:
        """Tell everybody who watches."""
        for each in self._streams:
            each.tell(line)

    async def serve(self, receive: Receive, send: Send, first: tuple[msgspec.Struct, ...]) -> None:
        """Hold one stream open, with these first lines, until either side ends it. Raises TooManyStreams."""
        if len(self._streams) >= STREAMS_MAX:
            raise TooManyStreams(f"{STREAMS_MAX} streams of events are open already: close one")
        stream = Stream(self._component)
        for line in first:
            stream.tell(line)
        self._streams.add(stream)
        try:
            await stream.serve(receive, send, stream.end)
        finally:
            self._streams.discard(stream)

    def close(self, reason: str) -> None:
        """End every stream, and take no more."""
        self.closed = reason
        for each in self._streams:
            each.end(reason)
