"""A whole small trading system in one process: arbiter, sidecar, toy component, venue, reconciler, operators."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

from venue_peer import running_venue

from sidecar.agent import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker
from sidecar.client.operator import NoAnswer, Operator
from sidecar.config.models import Settings
from sidecar.demo.audit import read_audit
from sidecar.demo.component import Component, ComponentOptions
from sidecar.demo.component_trading import Desk
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.messages.events import HaltStatus, StatusReport
from sidecar.messages.measures import MEASURES
from sidecar.reconciler.process import Reconciler

PATIENCE_S = 60.0


class Process(Protocol):
    """What can be run and stopped."""

    async def run(self) -> Any:
        """Until stopped."""

    def stop(self) -> None:
        """End it."""


class TradingSystem:
    """Its parts by name; each can be ended and started again."""

    def __init__(self, connect: Callable[[str], Broker], folder: Path, venue_port: int, rate: float) -> None:
        self.port = venue_port
        self.folder = folder
        self.operator: Operator
        self._connect = connect
        self._rate = rate
        self._running: dict[str, tuple[Process, asyncio.Task[Any]]] = {}
        self._makers: dict[str, Callable[[], Process]] = {
            "arbiter": lambda: ArbiterProcess(self.settings, connect("arbiter-1")),
            "reconciler": lambda: Reconciler(self.settings, connect("reconciler-1")),
            "sidecar": lambda: Agent(self.settings, connect("exec-a")),
            "component": self._component,
        }

    @property
    def settings(self) -> Settings:
        """Of every process."""
        return Settings.model_validate(
            {
                "run_dir": str(self.folder),
                "groups": {"execution": {"components": ["exec-a", "exec-b"]}},
                "component": {"name": "exec-a", "gate": str(self.folder / "a.gate")},
                "venues": {"SIM": {"address": f"127.0.0.1:{self.port}"}},
                "security": {"operators": ["guest", "embedded"]},
                # On a busy machine nothing may be late: whatever goes well ends long before these.
                "measures": {"retry_ms": 250, **{each: {"limit_ms": 20_000} for each in MEASURES}},
                "orders": {"precommit_timeout_ms": 10_000, "report_deadline_ms": 2_000, "query_interval_ms": 200},
                "timing": {
                    "heartbeat_ms": 50,
                    "holder_lease_ms": 8_000,
                    "gate_to_effect_ms": 50,
                    "holder_wait_ms": 9_000,
                    "leader_lease_ms": 600,
                    "leader_wait_ms": 700,
                    "tick_ms": 30,
                    "probe_ms": 120,
                },
            }
        )

    def start(self, *names: str) -> None:
        """Start these, in this order."""
        for name in names:
            process = self._makers[name]()
            self._running[name] = (process, asyncio.create_task(process.run(), name=name))

    async def end(self, *names: str) -> None:
        """Stop these, in this order, each to its end."""
        for name in names:
            process, task = self._running.pop(name)
            process.stop()
            async with asyncio.timeout(PATIENCE_S):
                await task

    async def end_all(self) -> None:
        """Stop whatever runs, the component first."""
        await self.end(*reversed(self._running))

    async def ended(self, name: str) -> None:
        """It ends by itself."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.shield(self._running[name][1])

    def runs(self, name: str) -> bool:
        """Whether it runs still."""
        return not self._running[name][1].done()

    async def arrived(self, found: Callable[[list[str]], bool]) -> list[str]:
        """ClOrdIDs at the venue, once they are as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                names = [each.cl_ord_id for each in await read_audit(self.port)]
                if found(names):
                    return names
                await asyncio.sleep(0.01)

    async def status(self, found: Callable[[StatusReport], bool]) -> StatusReport:
        """The leader's view, once it is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(NoAnswer):
                    report = await self.operator.status(timeout_s=2.0)
                    if found(report):
                        return report
                await asyncio.sleep(0.02)

    async def halt_status(self, found: Callable[[HaltStatus], bool]) -> HaltStatus:
        """What it says of the only halt that is followed, once that is as wanted."""
        report = await self.status(lambda each: len(each.halt_status) == 1 and found(each.halt_status[0]))
        return report.halt_status[0]

    def _component(self) -> Component:
        desk = Desk(venue="SIM", account="ACC", rate=self._rate, answer_timeout_s=5)
        options = ComponentOptions(
            name="exec-a",
            kind="execution",
            socket=str(self.folder / "exec-a.sock"),
            venue_address=("127.0.0.1", self.port),
            desk=desk,
        )
        return Component(options)


@contextlib.asynccontextmanager
async def trading_system(
    connect: Callable[[str], Broker], behaviour: Behaviour, *, rate: float = 20
) -> AsyncIterator[TradingSystem]:
    """All of it, trading."""
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/dev/shm"))  # A short name: a socket's path holds 107 bytes.
    broker = connect("operator")
    try:
        async with running_venue(connect("venue"), behaviour) as port:
            system = TradingSystem(connect, folder, port, rate)
            system.operator = Operator(broker, "dana")
            await broker.start()
            system.start("arbiter", "reconciler", "sidecar", "component")
            try:
                yield system
            finally:
                await system.end_all()
    finally:
        await broker.close()
        shutil.rmtree(folder)
