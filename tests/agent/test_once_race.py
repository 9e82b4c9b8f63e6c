"""Many processes, one key, over a real broker: one runs. `make once-race` lets fifty race."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sidecar_world import PATIENCE_S, world

from sidecar.agent import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.rabbit import RabbitBroker

RACERS = Path(__file__).parent / "once_racers.py"
COUNT = int(os.environ.get("ONCE_RACERS", "8"))


@contextlib.asynccontextmanager
async def sidecar_of(url: str) -> AsyncIterator[str]:
    """The socket of a sidecar whose arbiter stands on this broker."""
    async with world(peer=False) as here, asyncio.timeout(6 * PATIENCE_S):
        settings = here.settings(orders={"precommit_timeout_ms": 20_000}, security={"arbiters": ["guest"]})
        arbiter = ArbiterProcess(settings, RabbitBroker([url], name="arbiter-1"))
        agent = Agent(settings, RabbitBroker([url], name="exec-a"))
        running = [asyncio.create_task(arbiter.run()), asyncio.create_task(agent.run())]
        try:
            await agent.listening.wait()
            yield here.socket
        finally:
            agent.stop()
            arbiter.stop()
            await asyncio.gather(*running)


async def race(socket: str, key: str, ledger: Path, *crash: str) -> list[str]:
    """What came of it for each process that lived to tell."""
    command = (sys.executable, str(RACERS), socket, str(COUNT), key, str(ledger), *crash)
    racers = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, start_new_session=True)
    try:
        told, _ = await racers.communicate()
    finally:
        if racers.returncode is None:
            os.killpg(racers.pid, signal.SIGKILL)
            await racers.wait()
    return told.decode().splitlines()


@pytest.mark.broker
async def test_one_of_many_processes_runs_it(clean_amqp_url: str, tmp_path: Path) -> None:
    """One process runs it and all get its result; where that one is killed in the middle, all are told UNKNOWN."""
    ledger, crashed = tmp_path / "ledger", tmp_path / "crashed"
    async with sidecar_of(clean_amqp_url) as socket:
        results = await race(socket, "k-1", ledger)
        unknown = await race(socket, "k-2", crashed, "crash")
    (runner,) = ledger.read_text().splitlines()
    assert results == [f"run by {runner}"] * COUNT
    assert len(crashed.read_text().splitlines()) == 1
    assert unknown == ["UNKNOWN"] * (COUNT - 1)
