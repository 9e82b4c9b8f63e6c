"""A statement's way: file, reconciler, arbiter, event."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from venue_peer import WAIT_S

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Delivery, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import events_queue
from sidecar.client.operator import Operator
from sidecar.config.models import Settings
from sidecar.messages.base import Message
from sidecar.messages.codec import decode
from sidecar.messages.control import CommandResult
from sidecar.messages.reconcile import DifferenceChanged
from sidecar.reconciler.process import Reconciler

Wanted = TypeVar("Wanted", bound=Message)


class Watcher:
    """Hears the arbiter's events."""

    def __init__(self, hub: MemoryHub) -> None:
        self.broker = MemoryBroker(hub, name="watcher")
        self.heard: list[Message] = []
        self._news = asyncio.Event()
        self.broker.subscribe(Subscription(queue=events_queue("watcher", "t"), on_delivery=self._hear, no_ack=True))

    def _hear(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        assert isinstance(message, Message)
        self.heard.append(message)
        self._news.set()

    async def first(self, kind: type[Wanted], test: Callable[[Wanted], object]) -> Wanted:
        """The first event of that kind that passes `test`."""
        async with asyncio.timeout(WAIT_S):
            while True:
                for each in self.heard:
                    if isinstance(each, kind) and test(each):
                        return each
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def running(process: ArbiterProcess | Reconciler) -> AsyncIterator[None]:
    """The process, stopped at the end."""
    task: asyncio.Task[object] = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        async with asyncio.timeout(WAIT_S):
            await task


async def resolve(hub: MemoryHub) -> CommandResult:
    """An operator takes the venue's word."""
    broker = MemoryBroker(hub, name="dana")
    operator = Operator(broker, "dana")
    await broker.start()
    try:
        return await operator.resolve_difference("BANK", "ACC", "ACME", "moved by hand", timeout_s=WAIT_S)
    finally:
        await broker.close()


@pytest.mark.parametrize("policy", ["tell", "halt"])
async def test_a_wrong_statement_becomes_a_difference(tmp_path: Path, policy: str) -> None:
    """A position that changes in the statement on its own is told with both sides, and halts where policy says so."""
    hub, positions = MemoryHub(), tmp_path / "positions.csv"
    positions.write_text("Symbol,Qty\nACME,10\n")
    venue = {"adapter": "csv", "account": "ACC", "directory": str(tmp_path)}
    reconciler = {"settle_ms": 100, "on_break": policy}
    security = {"operators": ["embedded"]}
    settings = Settings.model_validate({"venues": {"BANK": venue}, "reconciler": reconciler, "security": security})
    watcher = Watcher(hub)
    await watcher.broker.start()
    arbiter = ArbiterProcess(settings, MemoryBroker(hub, name="arbiter-1"))
    carrier = Reconciler(settings, MemoryBroker(hub, name="reconciler-1"))
    async with running(arbiter), running(carrier):
        told = asyncio.create_task(watcher.first(DifferenceChanged, lambda each: each.change == "OPENED"))
        while not told.done():  # Until what it shows has stood for settle_ms, twice.
            await carrier._checks["BANK"].check()
            if arbiter._core.state.openings:
                positions.write_text("Symbol,Qty\nACME,7\n")
            await asyncio.wait({told}, timeout=0.02)
        difference = told.result()
        assert (difference.name, str(difference.ours), str(difference.theirs)) == ("ACME", "10", "7")
        halted = [each.scopes for each in arbiter._core.state.halts.values()]
        assert halted == ([("account:ACC",)] if policy == "halt" else [])
        resolved = await resolve(hub)
        assert (resolved.ok, arbiter._core.state.differences) == (True, {})
        assert (await resolve(hub)).code == "REFUSED"
    await watcher.broker.close()
