"""Emergency shutdown, from the operator's command to the last component's end, over a real broker."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cli_world import arbiter, sidecar_command, until, write_config

from sidecar.agent.process import Agent
from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.errors import ExitCode
from sidecar.config.load import load_settings
from sidecar.gate.reader import GateReader

pytestmark = pytest.mark.broker
NAMES = ("exec-a", "exec-b", "exec-c")
COMPONENT = Path(__file__).parents[2] / "benchmarks" / "shutdown_component.py"
FAST = {"retry_ms": 50}


def config_of(folder: Path, url: str, name: str) -> Path:
    """The configuration of one sidecar, each in a directory of its own; every component has a slot to itself."""
    own = folder / name
    own.mkdir()
    groups = {f"group-{each}": {"components": [each]} for each in NAMES}
    component = {"name": name, "gate": str(own / "page.gate"), "socket": str(own / "s")}
    return write_config(own, url, groups=groups, component=component, measures=FAST)


@contextlib.asynccontextmanager
async def sidecar_with_child(config: Path, folder: Path) -> AsyncIterator[asyncio.Task[int]]:
    """A real sidecar as a task in this process, and a component as its child."""
    settings = load_settings(config, environ={})
    urls = [each.get_secret_value() for each in settings.broker.urls]
    child = (sys.executable, "-I", "-S", str(COMPONENT), str(folder))
    agent = Agent(settings, RabbitBroker(urls, name=config.parent.name), child=child)
    running = asyncio.create_task(agent.run())
    try:
        yield running
    finally:
        agent.stop()
        await running


def lives(pid: int) -> bool:
    """Whether a process is there that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_shutdown(clean_amqp_url: str, tmp_path: Path) -> None:
    """Gates close, every callback has a result, every component ends, its state is saved, and the sidecars live on."""
    configs = {each: config_of(tmp_path, clean_amqp_url, each) for each in NAMES}
    first = configs[NAMES[0]]
    gates = [GateReader(tmp_path / each / "page.gate") for each in NAMES]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(arbiter(first))
        sidecars = [await stack.enter_async_context(sidecar_with_child(each, tmp_path)) for each in configs.values()]
        await until(lambda: all(each.check() for each in gates))
        pids = [int((tmp_path / f"{each}.pid").read_text()) for each in NAMES]
        ended = await sidecar_command("shutdown", "--reason", "a test", "--json", "--timeout", "20", "-c", first)
        assert ended.code == ExitCode.OK, ended.out + ended.err
        assert not any(each.check() for each in gates)
        assert not any(map(lives, pids))
        assert _results(ended.json) == {each: ["cancel", "flatten", "persist", "stop"] for each in NAMES}
        assert [json.loads((tmp_path / f"{each}.saved").read_text())["position"] for each in NAMES] == [0, 0, 0]
        assert (ended.json["incomplete"], ended.json["concerned"]) == (0, 3)
        assert not any(each.done() for each in sidecars)


def _results(answer: dict[str, Any]) -> dict[str, list[str]]:
    """Which measures are done, by component, in their order."""
    return {
        each["component"]: [one["measure"] for one in each["outcomes"] if one["state"] == "done"]
        for each in answer["components"]
    }
