"""Many processes, one key, over a real broker: one runs. `make once-race` lets fifty race."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from commands import Shown, sidecar_process
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


async def race(socket: str, key: str, ledger: Path, *middle: str) -> list[str]:
    """What came of it for each process that lived to tell; `middle` is what happens to whoever runs it."""
    command = (sys.executable, str(RACERS), socket, str(COUNT), key, str(ledger), *middle)
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


@pytest.mark.broker
async def test_an_arbiter_that_is_killed_in_the_middle_changes_nothing(clean_amqp_url: str, tmp_path: Path) -> None:
    """One runs it under the first arbiter, which is killed meanwhile, and all get its result from the next one."""
    ledger, go = tmp_path / "ledger", tmp_path / "ledger.go"
    os.mkfifo(go)
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(world(peer=False))
        await stack.enter_async_context(asyncio.timeout(6 * PATIENCE_S))
        common: dict[str, Any] = {
            "orders": {"precommit_timeout_ms": 20_000},
            "security": {"arbiters": ["guest"]},
        }
        first, second = (here.settings(arbiter={"id": each}, **common) for each in ("arbiter-1", "arbiter-2"))
        config = tmp_path / "sidecar.json"
        url = {"broker": {"urls": [clean_amqp_url]}}
        config.write_text(json.dumps(first.model_dump(mode="json", exclude_unset=True) | url))
        killed = await stack.enter_async_context(sidecar_process(Shown(), "arbiter", "-c", config, environment={}))
        agent = Agent(first, RabbitBroker([clean_amqp_url], name="exec-a"))
        next_one = ArbiterProcess(second, RabbitBroker([clean_amqp_url], name="arbiter-2"))
        running = [asyncio.create_task(agent.run())]
        try:
            await agent.listening.wait()
            racing = asyncio.create_task(race(here.socket, "k-1", ledger, "hold"))
            writing = asyncio.create_task(asyncio.to_thread(go.open, "w"))  # Opens once somebody runs it and reads.
            with await writing as middle:
                killed.send_signal(signal.SIGKILL)
                await killed.wait()
                running.append(asyncio.create_task(next_one.run()))
                middle.write("go on")
            results = await racing
        finally:
            os.close(os.open(go, os.O_RDWR | os.O_NONBLOCK))  # Whoever still opens it need not wait.
            agent.stop()
            next_one.stop()
            await asyncio.gather(*running)
    (runner,) = ledger.read_text().splitlines()
    assert results == [f"run by {runner}"] * COUNT
