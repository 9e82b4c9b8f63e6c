"""Watching gate pages."""

import asyncio
import time
from pathlib import Path

from sidecar.core.page import CLOSED, Page
from sidecar.demo.gates import GateWatch
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState

FAR_NS = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12
OPEN = Page(role="ACTIVE", trading_state=TradingState.ACTIVE, deadline_ns=FAR_NS, token=Token(1, 1), incarnation="a-1")


async def test_turns(tmp_path: Path) -> None:
    """Each opening and closing is seen with its time, and a gate without a page is closed."""
    path = tmp_path / "a.gate"
    watch = GateWatch({"a": path, "b": tmp_path / "b.gate"})
    assert watch.look() == frozenset()
    writer = GateWriter(path)
    began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    writer.write(OPEN)
    assert watch.look() == {"a"}
    assert watch.page("a").token == Token(1, 1)
    assert watch.closed_since(began_ns) == frozenset()
    writer.write(CLOSED)
    assert watch.look() == frozenset()
    assert watch.closed_since(began_ns) == {"a"}
    assert [(each.component, each.open) for each in watch.turns] == [("a", True), ("a", False)]
    assert all(each.at_ns >= began_ns for each in watch.turns)
    writer.close()


async def test_until(tmp_path: Path) -> None:
    """Whoever waits for a gate is woken by the look that sees it open."""
    writer = GateWriter(tmp_path / "a.gate")
    watch = GateWatch({"a": tmp_path / "a.gate"})
    running = asyncio.create_task(watch.run())
    with watch.staring():
        waiting = asyncio.create_task(watch.until(lambda: "a" in watch.open))
        writer.write(OPEN)
        async with asyncio.timeout(5):
            await waiting
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    writer.close()
