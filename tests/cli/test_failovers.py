"""explain, history, switchover, drain, pause and dry run as processes, against a real arbiter over a real broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_world import PATIENCE_S, arbiter, sidecar_command, write_config

from sidecar.agent.process import Agent
from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.errors import ExitCode
from sidecar.client import SidecarClient
from sidecar.client.session import Session
from sidecar.config.load import load_settings

pytestmark = pytest.mark.broker
WHY = ("--reason", "a test", "--actor", "dana")


@pytest.fixture
def config(clean_amqp_url: str, tmp_path: Path) -> Path:
    """A configuration for a broker whose journal is empty."""
    return write_config(tmp_path, clean_amqp_url)


@contextlib.asynccontextmanager
async def component(url: str, folder: Path, name: str) -> AsyncIterator[Session]:
    """A real sidecar in this process, and a component's session with it."""
    folder = folder / name
    folder.mkdir()
    section = {"name": name, "gate": str(folder / "gate"), "socket": str(folder / "s")}
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


@contextlib.asynccontextmanager
async def pair(url: str, folder: Path, config: Path) -> AsyncIterator[tuple[Session, Session]]:
    """An arbiter, exec-a with its gate open, and exec-b standing by, heard and in line."""
    async with arbiter(config), component(url, folder, "exec-a") as first:
        await first.until_open(PATIENCE_S)
        async with component(url, folder, "exec-b") as second:
            async with asyncio.timeout(PATIENCE_S):
                while "exec-b" not in await line(config):
                    continue
            yield first, second


async def line(config: Path) -> list[str]:
    """Who is next in line for the one slot."""
    ended = await sidecar_command("explain", "execution", "--json", "-c", config, "--timeout", "20")
    return list(ended.json["slots"][0]["line"]) if ended.code == ExitCode.OK else []


async def test_switchover(clean_amqp_url: str, tmp_path: Path, config: Path) -> None:
    """A planned switchover ends with the new gate open, prints its time, and stands in the history with its phases."""
    async with pair(clean_amqp_url, tmp_path, config) as (_, second):
        dry = await sidecar_command("failover", "execution", "--dry-run", *WHY, "-c", config)
        assert dry.code == ExitCode.OK
        assert "would move from exec-a to exec-b" in dry.out
        moved = await sidecar_command("switchover", "execution", "--to", "exec-b", *WHY, "--json", "-c", config)
        assert moved.code == ExitCode.OK
        await second.until_open(PATIENCE_S)
        (entry,) = moved.json["moved"]
        assert (entry["previous"], entry["component"], entry["asked_by"]) == ("exec-a", "exec-b", "dana")
        assert entry["asked_ns"] <= entry["vacated_ns"] <= entry["granted_ns"] <= entry["taken_ns"]
        assert entry["durations_ms"]["total"] >= entry["durations_ms"]["vacant"] >= 0
        history = await sidecar_command("history", "execution", "--json", "-c", config)
        assert [each["component"] for each in history.json] == ["exec-a", "exec-b"]
        assert history.json[-1] == entry
        in_words = await sidecar_command("history", "--last", "1", "-c", config)
        assert "exec-b" in in_words.out
        assert "a test" in in_words.out
        again = await sidecar_command("switchover", "execution", "--to", "exec-b", *WHY, "-c", config)
        assert again.code == ExitCode.NO


async def test_drain(clean_amqp_url: str, tmp_path: Path, config: Path) -> None:
    """Draining a component moves what it holds, in words with the time it took; one that holds nothing is done."""
    async with pair(clean_amqp_url, tmp_path, config):
        drained = await sidecar_command("drain", "exec-a", *WHY, "-c", config)
        assert drained.code == ExitCode.OK
        assert "execution/0: from exec-a to exec-b under token" in drained.out
        nothing = await sidecar_command("drain", "exec-a", *WHY, "-c", config)
        assert (nothing.code, nothing.out.strip()) == (ExitCode.OK, "nothing had to move")
        unknown = await sidecar_command("drain", "exec-z", *WHY, "-c", config)
        assert unknown.code == ExitCode.NO
        assert "exec-z" in unknown.err


async def test_a_crash_in_the_history(clean_amqp_url: str, tmp_path: Path, config: Path) -> None:
    """A failover that nobody asked for is in the history with its cause, and explain says why the dead one waits."""
    async with arbiter(config), contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(component(clean_amqp_url, tmp_path, "exec-a"))
        await first.until_open(PATIENCE_S)
        async with component(clean_amqp_url, tmp_path, "exec-b") as second:
            async with asyncio.timeout(PATIENCE_S):
                while "exec-b" not in await line(config):
                    continue
            await stack.aclose()
            await second.until_open(PATIENCE_S)
            history = await sidecar_command("history", "--json", "-c", config)
            last = history.json[-1]
            assert (last["previous"], last["component"], last["asked_by"]) == ("exec-a", "exec-b", "")
            assert last["cause"].startswith("released")
            explained = await sidecar_command("explain", "execution", "--json", "-c", config)
            assert explained.json["slots"][0]["line"] == []
            assert [each["candidate"] for each in explained.json["members"]] == [False, False]
            assert explained.json["members"][0]["obstacles"]
            in_words = await sidecar_command("explain", "execution", "-c", config)
            assert "already holds execution/0" in in_words.out


async def test_pause(config: Path) -> None:
    """A pause is granted and ended by an operator, shown by explain, and refused where it is not in force."""
    async with arbiter(config):
        paused = await sidecar_command("pause", "execution", "--for", "10m", *WHY, "-c", config, "--timeout", "20")
        assert paused.code == ExitCode.OK
        explained = await sidecar_command("explain", "execution", "--json", "-c", config)
        assert any(each.startswith("paused by dana") for each in explained.json["waits"])
        assert (await sidecar_command("unpause", "execution", *WHY, "-c", config)).code == ExitCode.OK
        assert (await sidecar_command("unpause", "execution", *WHY, "-c", config)).code == ExitCode.NO


async def test_no_such_group(config: Path) -> None:
    """A group that is not configured is refused by name, by every command that names one."""
    async with arbiter(config):
        for command in (("explain",), ("history",), ("switchover", *WHY), ("pause", "--for", "10m", *WHY)):
            ended = await sidecar_command(command[0], "executon", *command[1:], "-c", config, "--timeout", "20")
            assert ended.code == ExitCode.NO
            assert "executon" in ended.err
            assert len(ended.err.strip().splitlines()) == 1
