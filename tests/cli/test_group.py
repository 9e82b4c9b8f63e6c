"""Groups registered at run time, as an operator does it: by the command, against real processes over a real broker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cli_world import PATIENCE_S, Ended, arbiter, sidecar_command, write_config

from sidecar.agent.process import Agent
from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.errors import ExitCode
from sidecar.client import SidecarClient
from sidecar.client.session import Session
from sidecar.config.load import load_settings

pytestmark = pytest.mark.broker
WHY = ("--reason", "a test", "--actor", "dana")
QUOTES = {"quotes": {"components": ["q-a", "q-b"]}}


@pytest.fixture
def config(clean_amqp_url: str, tmp_path: Path) -> Path:
    """A configuration for a broker whose journal is empty; it knows nothing of the group `quotes`."""
    return write_config(tmp_path, clean_amqp_url)


def groups_file(folder: Path, content: dict[str, Any]) -> Path:
    """A file to register from."""
    path = folder / "groups.json"
    path.write_text(json.dumps(content))
    return path


@contextlib.asynccontextmanager
async def component(url: str, folder: Path, name: str) -> AsyncIterator[Session]:
    """A real sidecar whose configuration names no group for it, and a component's session with it."""
    folder = folder / name
    folder.mkdir(exist_ok=True)
    section = {"name": name, "gate": str(folder / "gate"), "socket": str(folder / "s"), "group_registered": True}
    settings = load_settings(write_config(folder, url, component=section), environ={})
    process = Agent(settings, RabbitBroker([url], name=name))
    running = asyncio.create_task(process.run())
    try:
        await asyncio.wait_for(process.listening.wait(), PATIENCE_S)
        async with SidecarClient(str(folder / "s"), timeout_s=PATIENCE_S) as client, client.session() as session:
            yield session
    finally:
        process.stop()
        await running


async def group(*arguments: str | Path, config: Path) -> Ended:
    """`sidecar group ARGUMENTS`."""
    return await sidecar_command("group", *arguments, "-c", config, "--timeout", "20")


async def until_next(config: Path, component: str) -> None:
    """Wait until this component is in line for the group's slot."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            ended = await sidecar_command("explain", "quotes", "--json", "-c", config, "--timeout", "20")
            if ended.code == ExitCode.OK and component in ended.json["slots"][0]["line"]:
                return


async def test_registered_group_end_to_end(clean_amqp_url: str, tmp_path: Path, config: Path) -> None:
    """A group registered at run time is joined by two sidecars, fails over, and outlives the arbiter that took it."""
    second_config = write_config(_made(tmp_path / "second"), clean_amqp_url, arbiter={"id": "arbiter-2"})
    async with contextlib.AsyncExitStack() as stack:
        leader = await stack.enter_async_context(contextlib.AsyncExitStack())
        await leader.enter_async_context(arbiter(config))
        done = await group("register", groups_file(tmp_path, {"groups": QUOTES}), *WHY, config=config)
        assert (done.code, done.out.startswith("registered quotes")) == (ExitCode.OK, True)
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        session = await first.enter_async_context(component(clean_amqp_url, tmp_path, "q-a"))
        await session.until_open(PATIENCE_S)
        other = await stack.enter_async_context(component(clean_amqp_url, tmp_path, "q-b"))
        await until_next(config, "q-b")
        await stack.enter_async_context(arbiter(second_config))
        await leader.aclose()
        await until_next(config, "q-b")  # Answered by the second one, which was never told.
        await first.aclose()
        await other.until_open(PATIENCE_S)
        history = await sidecar_command("history", "quotes", "--json", "-c", config)
        assert [each["component"] for each in history.json] == ["q-a", "q-b"]
        status = await sidecar_command("status", "--json", "-c", config)
        assert status.json["arbiter"] == "arbiter-2"


async def test_halt_of_a_registered_group(clean_amqp_url: str, tmp_path: Path, config: Path) -> None:
    """A halt of a registered group closes the gate of a sidecar whose own configuration names no group."""
    async with arbiter(config):
        assert (await group("register", groups_file(tmp_path, {"groups": QUOTES}), *WHY, config=config)).code == 0
        async with component(clean_amqp_url, tmp_path, "q-a") as session:
            await session.until_open(PATIENCE_S)
            halted = await sidecar_command(
                "halt", "--scope", "group:quotes", "--reason", "a test", "-c", config, "--timeout", "20", "--json"
            )
            assert halted.code == ExitCode.OK
            assert halted.json["closed"]


async def test_what_the_command_refuses_and_lists(tmp_path: Path, config: Path) -> None:
    """list, register and remove say what stands where, refuse what contradicts it, and try nothing on a dry run."""
    async with arbiter(config):
        block = {"high_availability": {"failover_groups": QUOTES, "health_check_interval_seconds": 5}}
        path = groups_file(tmp_path, block)
        dry = await group("register", path, "--dry-run", *WHY, config=config)
        assert (dry.code, "would register quotes" in dry.out) == (ExitCode.OK, True)
        assert "health_check_interval_seconds" in dry.err
        done = await group("register", path, *WHY, "--json", config=config)
        assert [(each["ok"], each["code"]) for each in done.json] == [(True, "REGISTERED")]
        again = await group("register", path, *WHY, "--json", config=config)
        assert [each["code"] for each in again.json] == ["UNCHANGED"]
        listed = await group("list", "--json", config=config)
        assert [(each["group"], each["components"], each["origin"]) for each in listed.json] == [
            ("execution", ["exec-a", "exec-b"], "configured"),
            ("quotes", ["q-a", "q-b"], "registered by dana"),
        ]
        assert "registered by dana" in (await group("list", config=config)).out
        taken = {"groups": {"other": {"components": ["exec-a"]}}}
        refused = await group("register", groups_file(tmp_path, taken), *WHY, config=config)
        assert (refused.code, "execution (configured)" in refused.err) == (ExitCode.NO, True)
        wrong = await group("register", groups_file(tmp_path, {"timing": {}}), *WHY, config=config)
        assert wrong.code == ExitCode.USAGE
        configured = await group("remove", "execution", *WHY, config=config)
        assert (configured.code, "configuration" in configured.err) == (ExitCode.NO, True)
        assert "would remove" in (await group("remove", "quotes", "--dry-run", *WHY, config=config)).out
        assert (await group("remove", "quotes", *WHY, config=config)).code == ExitCode.OK
        assert len((await group("list", "--json", config=config)).json) == 1


async def test_an_arbiter_that_starts_with_another_word(clean_amqp_url: str, tmp_path: Path, config: Path) -> None:
    """An arbiter whose configuration contradicts the journal says so in list, status and explain until it is mended."""
    async with arbiter(config):
        path = groups_file(tmp_path, {"groups": QUOTES})
        assert (await group("register", path, *WHY, config=config)).code == ExitCode.OK
    differing = {"execution": {"components": ["exec-a", "exec-b"]}, "quotes": {"components": ["q-b", "q-c"]}}
    other = write_config(_made(tmp_path / "other"), clean_amqp_url, groups=differing, arbiter={"id": "arbiter-2"})
    async with arbiter(other):
        listed = await group("list", config=config)
        assert (listed.code, "q-a, q-b against q-b, q-c" in listed.err) == (ExitCode.NO, True)
        for command in (("status",), ("explain", "quotes")):
            said = await sidecar_command(*command, "-c", config, "--timeout", "20")
            assert "quotes is frozen" in said.out
        found = (await sidecar_command("doctor", "--json", "-c", config, "--timeout", "20")).json["findings"]
        assert [each["level"] for each in found if each["subject"] == "group quotes"] == ["critical"]
        assert (await group("remove", "quotes", *WHY, config=config)).code == ExitCode.OK
        assert (await group("list", config=config)).code == ExitCode.OK


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
