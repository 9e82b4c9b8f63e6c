"""The whole demo: embedded, over a real broker, and when it goes wrong."""

import asyncio
import contextlib
import io
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import psutil
import pytest
import structlog
from rich.console import Console

from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import QUEUES
from sidecar.cli.embedded import EmbeddedLauncher
from sidecar.demo import runner, scenario
from sidecar.demo.launcher import ProcessLauncher, ProcessSpec, Running
from sidecar.demo.runner import FAILED, OK, DemoOptions, run_demo


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Embedded parts set up the logs of this process; put them back."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where demos make their directories: short, because of Unix sockets, and looked at afterwards."""
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


@pytest.fixture
async def blank_url(amqp_url: str) -> AsyncIterator[str]:
    """A broker without a journal or halts of other tests, and without ours afterwards."""
    await _forget(amqp_url)
    yield amqp_url
    await _forget(amqp_url)


async def _forget(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        for queue in QUEUES:
            async with connection.channel() as channel:
                await channel.queue_delete(queue.name)


def options(output: Path, broker_settings: dict[str, Any]) -> DemoOptions:
    return DemoOptions(broker_settings=broker_settings, started_by="test", output=output)


def page() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=200), text


def check_figures(path: Path) -> None:
    """Exactly the promised keys, and figures that a run in which everything happened can have."""
    figures = json.loads(path.read_text())
    assert list(figures) == [
        "broker",
        "failover_ms",
        "halt_ms",
        "gates",
        "arbiter_takeover_ms",
        "leases_lost",
        "orders",
    ]
    assert list(figures["broker"]) == ["version", "started_by"]
    assert list(figures["orders"]) == ["granted", "denied", "verified", "aborted", "unknown", "broken"]
    assert figures["failover_ms"] > 0
    assert figures["halt_ms"] > 0
    assert figures["arbiter_takeover_ms"] > 0
    assert figures["gates"] == 3
    assert figures["leases_lost"] == 0
    orders = figures["orders"]
    assert orders["denied"] >= scenario.DENIED
    assert orders["granted"] >= scenario.VERIFIED_FIRST + 3 * scenario.VERIFIED_NEXT
    assert orders["granted"] == orders["verified"] + orders["aborted"] + orders["unknown"] + orders["broken"]
    assert (orders["unknown"], orders["broken"]) == (0, 0)


def demo_processes(workspace: Path) -> list[psutil.Process]:
    """Whatever still runs with a configuration below the demo's directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(workspace) in each for each in process.cmdline()):
                found.append(process)
    return found


async def test_embedded(workspace: Path, tmp_path: Path) -> None:
    """In one process over the in-process broker every step happens, and the figures say so."""
    launcher = EmbeddedLauncher()
    console, text = page()
    output = tmp_path / "build" / "demo.json"
    code = await run_demo(options(output, {"embedded": True}), launcher.broker("demo"), launcher.logging_to, console)
    launcher.close()
    assert code == OK, text.getvalue()
    check_figures(output)
    assert list(workspace.iterdir()) == []


@pytest.mark.broker
async def test_processes(blank_url: str, broker_version: tuple[int, int], workspace: Path, tmp_path: Path) -> None:
    """As operating-system processes over RabbitMQ every step happens, and no process is left behind."""
    console, text = page()
    output = tmp_path / "demo.json"
    broker = RabbitBroker([blank_url], name="demo-test")
    code = await run_demo(options(output, {"urls": [blank_url]}), broker, ProcessLauncher, console)
    assert code == OK, text.getvalue()
    check_figures(output)
    version = json.loads(output.read_text())["broker"]["version"]
    assert version.startswith(f"{broker_version[0]}.{broker_version[1]}.")
    assert demo_processes(workspace) == []


class Nothing:
    """A launcher whose processes do nothing at all."""

    def __init__(self, directory: Path) -> None:
        self.started: list[Idle] = []
        self.begun = asyncio.Event()

    async def start(self, spec: ProcessSpec) -> Running:
        """See `Launcher`."""
        self.started.append(Idle(spec))
        self.begun.set()
        return self.started[-1]


class Idle:
    """A process that does nothing."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.pid = None
        self.alive = True
        self.ended = ""

    async def kill(self) -> None:
        """Gone."""
        self.alive, self.ended = False, "killed"

    async def stop(self) -> None:
        """Gone."""
        self.alive, self.ended = False, "exit code 0"


async def test_a_step_that_does_not_happen(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a step does not happen the demo fails, says what it expected and saw, keeps the logs and stops all."""
    monkeypatch.setattr(scenario, "START_S", 0.2)
    console, text = page()
    launcher = Nothing(tmp_path)
    output = tmp_path / "demo.json"
    broker = MemoryBroker(MemoryHub(), name="demo")
    assert await run_demo(options(output, {"embedded": True}), broker, lambda _: launcher, console) == FAILED
    assert "expected that an arbiter leads and answers" in text.getvalue()
    (kept,) = workspace.iterdir()
    assert str(kept) in text.getvalue()
    assert launcher.started
    assert not any(each.alive for each in launcher.started)
    assert not output.exists()


async def test_total_time_limit(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that takes too long fails and names the step it was in."""
    monkeypatch.setattr(runner, "TOTAL_S", 0.2)
    console, text = page()
    broker = MemoryBroker(MemoryHub(), name="demo")
    code = await run_demo(options(tmp_path / "demo.json", {"embedded": True}), broker, Nothing, console)
    assert code == FAILED
    assert "in the step 'start'" in text.getvalue()


async def test_cancelled(workspace: Path, tmp_path: Path) -> None:
    """A demo that is interrupted stops everything it started."""
    console, text = page()
    launcher = Nothing(tmp_path)
    broker = MemoryBroker(MemoryHub(), name="demo")
    running = asyncio.create_task(
        run_demo(options(tmp_path / "demo.json", {"embedded": True}), broker, lambda _: launcher, console)
    )
    async with asyncio.timeout(5):
        await launcher.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(each.alive for each in launcher.started)
    assert "stopped; the logs of all processes are in" in text.getvalue()
