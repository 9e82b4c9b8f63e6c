"""A cold standby from end to end: a real arbiter, two sidecars, and a component that its sidecar starts."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sidecar.agent import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker
from sidecar.client import SidecarClient
from sidecar.config.models import Settings

PATIENCE_S = 30.0
COMPONENT = """
import asyncio, os
from sidecar.client import SidecarClient

async def main():
    async with SidecarClient(os.environ["SIDECAR_SOCKET"]) as client, client.session() as session:
        async for status in session.changes():
            print("open" if status.open else "closed", flush=True)

asyncio.run(main())
"""
"""A component that only holds its session open, in the foreground."""


def settings(directory: Path, component: str, *start: str) -> Settings:
    """One of the two sidecars, or the arbiter's view of both."""
    document: dict[str, Any] = {
        "run_dir": str(directory),
        "component": {"name": component, "gate": str(directory / f"{component}.gate"), "start": start},
        "groups": {
            "execution": {
                "components": ["exec-a", "exec-b"],
                "standby": {"exec-b": "cold"},
                "start_limit_ms": 30_000,
            }
        },
        "timing": {"heartbeat_ms": 50},
    }
    return Settings.model_validate(document)


@contextlib.asynccontextmanager
async def running(process: Agent | ArbiterProcess) -> AsyncIterator[None]:
    """A process of ours, as a task; stopped in order."""
    task = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task


@contextlib.asynccontextmanager
async def sidecar(broker: Broker, mine: Settings) -> AsyncIterator[SidecarClient]:
    """A sidecar that listens, and a client of it."""
    agent = Agent(mine, broker)
    async with running(agent):
        async with asyncio.timeout(PATIENCE_S):
            await agent.listening.wait()
        async with SidecarClient(str(agent.places.socket), timeout_s=PATIENCE_S) as client:
            yield client


async def test_the_death_of_the_active_starts_the_cold_one(connect: Callable[[str], Broker]) -> None:
    """When the only hot member dies the cold one is started by its sidecar's own action and takes the slot."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/dev/shm") as name:
        directory = Path(name)
        b = settings(directory, "exec-b", sys.executable, "-c", COMPONENT)
        async with (
            running(ArbiterProcess(settings(directory, "exec-a"), connect("arbiter-1"))),
            sidecar(connect("exec-a"), settings(directory, "exec-a")) as hot,
            sidecar(connect("exec-b"), b) as cold,
        ):
            async with hot.session() as session:
                held = (await session.until_open(PATIENCE_S)).slots
                assert not (await cold.gate()).incarnation
            async with asyncio.timeout(PATIENCE_S):
                while not (taken := await cold.gate()).open:
                    pass
            assert [each.slot for each in taken.slots] == ["execution/0"]
            assert taken.slots[0].token > held[0].token
