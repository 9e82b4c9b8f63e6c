"""The reader's process, and what it has said.

Owns its start, its lines and its end. It must not judge them (`figures.py` does).
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.deadman.page_watch import Closing, Opening, OpenTooLong, Seen
from sidecar.demo import leash

SEEN_MAX: Final = 100_000
"""Lines kept. A run of 20 rounds has a few hundred."""


class Witness:
    """What the reader saw so far."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        """Gates that were open at the last look."""
        self.closings: deque[Closing] = deque(maxlen=SEEN_MAX)
        self.open_too_long: deque[OpenTooLong] = deque(maxlen=SEEN_MAX)
        self._news = asyncio.Condition()
        self._ended = False

    async def opened(self, component: str) -> None:
        """Return once the reader sees this gate open. Bound it with a timeout."""
        async with self._news:
            await self._news.wait_for(lambda: component in self.open or self._ended)

    async def closed(self, components: Iterable[str], since_ns: int) -> dict[str, Closing]:
        """The first closing of each of these gates that was over after `since_ns`. Bound it with a timeout."""
        wanted = sorted(components)
        async with self._news:
            while True:
                if self._ended:
                    raise RuntimeError("the reader's process has ended")
                found = {each: self._first(each, since_ns) for each in wanted}
                if all(found.values()):
                    return {name: each for name, each in found.items() if each is not None}
                await self._news.wait()

    async def listen(self, lines: asyncio.StreamReader) -> None:
        """Take the reader's lines until its end."""
        async for line in lines:
            seen = msgspec.json.decode(line, type=Seen)
            async with self._news:
                self._take(seen)
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()

    def _take(self, seen: Seen) -> None:
        match seen:
            case Opening():
                self.open.add(seen.component)
            case Closing():
                self.open.discard(seen.component)
                self.closings.append(seen)
            case OpenTooLong():
                self.open_too_long.append(seen)

    def _first(self, component: str, since_ns: int) -> Closing | None:
        mine = (each for each in self.closings if each.component == component and each.closed_by_ns > since_ns)
        return next(mine, None)


@contextlib.asynccontextmanager
async def witness(pages: Mapping[str, Path]) -> AsyncIterator[Witness]:
    """A reader of these pages, for as long as the block lasts."""
    tied = (sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid()))
    named = (f"{name}={path}" for name, path in pages.items())
    reader = await asyncio.create_subprocess_exec(
        *tied, sys.executable, "-m", "benchmarks.deadman.reader", *named, stdout=asyncio.subprocess.PIPE
    )
    if reader.stdout is None:
        raise RuntimeError("the reader has no standard output")  # A mistake of ours: it was asked for.
    made = Witness()
    listening = asyncio.create_task(made.listen(reader.stdout), name="witness")
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            reader.kill()
        await reader.wait()
        await listening
