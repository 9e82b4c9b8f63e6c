"""The command as its users call it, as a process; and a small system beside it on a real broker."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.agent.process import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import HEALTH, reply_queue
from sidecar.config.load import load_settings
from sidecar.core.ladder import ControlMemory
from sidecar.core.sidecar import Sidecar
from sidecar.messages.base import message_type
from sidecar.messages.codec import decode, encode
from sidecar.messages.health import Lease

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Everything on stdout, which must be JSON."""
        return json.loads(self.out)


async def sidecar_command(*arguments: str | Path) -> Ended:
    """Run `sidecar ARGUMENTS` to its end, without our own SIDECAR_* variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sidecar.cli.main",
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, out.decode(), err.decode())


def write_config(folder: Path, url: str, **sections: Any) -> Path:
    """A configuration with one group, whose operator is the broker user of `url`."""
    path = folder / "sidecar.json"
    settings = {
        "broker": {"urls": [url]},
        "run_dir": str(folder),
        "groups": {"execution": {"components": ["exec-a", "exec-b"]}},
        "component": {"name": "exec-a", "gate": str(folder / "exec-a.gate")},
        "security": {"operators": [urlsplit(url).username or "guest"]},
    }
    path.write_text(json.dumps(settings | sections))
    return path


async def until(met: Callable[[], bool]) -> None:
    """Return once this is so. Pages and processes tell nobody when they change, so it looks again and again."""
    async with asyncio.timeout(PATIENCE_S):
        while not met():  # noqa: ASYNC110  # There is no event to wait for.
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def arbiter(config: Path) -> AsyncIterator[None]:
    """A real arbiter in this process."""
    settings = load_settings(config, environ={})
    urls = [each.get_secret_value() for each in settings.broker.urls]
    async with _running(ArbiterProcess(settings, RabbitBroker(urls, name="arbiter-1"))):
        yield


@contextlib.asynccontextmanager
async def agent(config: Path) -> AsyncIterator[None]:
    """A real sidecar in this process; no component is attached to it."""
    settings = load_settings(config, environ={})
    urls = [each.get_secret_value() for each in settings.broker.urls]
    async with _running(Agent(settings, RabbitBroker(urls, name="exec-a"))):
        yield


@contextlib.asynccontextmanager
async def _running(process: ArbiterProcess | Agent) -> AsyncIterator[None]:
    running = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        await running


@contextlib.asynccontextmanager
async def deaf_holder(config: Path) -> AsyncIterator[None]:
    """A sidecar that holds its slot and beats, and never hears a halt; returns once it holds the slot."""
    settings = load_settings(config, environ={})
    broker = RabbitBroker([each.get_secret_value() for each in settings.broker.urls], name="deaf")
    core = Sidecar("exec-a", "execution", settings.timing.to_core(), ControlMemory(), run="deaf")
    core.attach("deaf-1", _now_ns())
    holds, replies = asyncio.Event(), reply_queue("deaf", "1")

    def hear(delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if isinstance(message, Lease):
            core.on_lease(message, _now_ns())
        if core.slots:
            holds.set()

    async def beat() -> None:
        while True:
            heartbeat = core.heartbeat(_now_ns())
            out = Outgoing(
                exchange=HEALTH,
                routing_key="heartbeat.exec-a",
                body=encode(heartbeat),
                type=message_type(heartbeat),
                app_id="exec-a",
                reply_to=replies.name,
            )
            broker.post(out)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), settings.timing.heartbeat_ms / 1000)

    broker.subscribe(Subscription(queue=replies, on_delivery=hear, no_ack=True))
    await broker.start()
    try:
        await broker.wait_ready(PATIENCE_S)
        beating = asyncio.create_task(beat())
        try:
            await asyncio.wait_for(holds.wait(), PATIENCE_S)
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
    finally:
        await broker.close()


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
