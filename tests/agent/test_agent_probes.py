"""Probes of a running sidecar, each against the real thing: a server, a process, a command, a component that hangs."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sidecar_world import PATIENCE_S, World, world
from test_agent_gate import HOLDER

from sidecar.agent.probe_runs import ask_tcp, bounded, look_at_process, probe_run, run_command
from sidecar.client import SessionLost
from sidecar.config.probes import ProbeSettings
from sidecar.gate.reader import GateReader
from sidecar.messages.health import HealthReport, Heartbeat, Released

FAST = {"period_ms": 20, "timeout_ms": 5_000, "failures": 2}


def component(here: World, **probes: dict[str, Any]) -> dict[str, Any]:
    """The component's section with these probes, each fast unless it says otherwise."""
    return {
        "name": "exec-a",
        "socket": here.socket,
        "gate": str(here.gate),
        "probes": {name: {**FAST, **each} for name, each in probes.items()},
    }


@contextlib.asynccontextmanager
async def server(status: list[int]) -> AsyncIterator[str]:
    """An HTTP server that answers with the last of `status`; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status[-1]} It\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/ready"


async def test_an_unready_component_takes_no_slot() -> None:
    """While its readiness probe fails a component is not ready, and says why; once it passes it takes the slot."""
    status = [503]
    async with (
        world() as here,
        server(status) as url,
        here.sidecar(component=component(here, web={"http": url})) as client,
        client.session() as session,
    ):
        unready = await here.arbiter.saw(Heartbeat, lambda each: "503" in "".join(each.reasons))
        assert (unready.ready, unready.incarnation) == (False, session.incarnation)
        assert not session.gate.check()
        status.append(204)
        await session.until_open(PATIENCE_S)
        assert session.gate.check()


async def test_nothing_is_ready_before_its_first_probe() -> None:
    """No heartbeat calls a component ready that was not probed yet."""
    async with (
        world() as here,
        server([200]) as url,
        here.sidecar(component=component(here, web={"http": url})) as client,
        client.session() as session,
    ):
        await session.until_open(PATIENCE_S)
        mine = [
            each
            for each in here.arbiter.heard
            if isinstance(each, Heartbeat) and each.incarnation == session.incarnation
        ]
        assert not mine[0].ready
        assert "has not passed yet" in mine[0].reasons[0]


async def test_a_component_that_hangs_with_its_session_open_loses_its_slot() -> None:
    """A component that stops pushing its health is dead: gate closed, slot given back, session ended."""
    async with world() as here:
        probes = component(here, beat={"push": True, "purpose": "liveness", "period_ms": 100})
        async with here.sidecar(component=probes) as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            with pytest.raises(SessionLost, match="has not pushed its health in time"):
                async with asyncio.timeout(PATIENCE_S):
                    async for _ in session.changes():
                        pass
            released = await here.arbiter.saw(Released)
            assert (released.incarnation, released.ended) == (session.incarnation, True)
            assert not GateReader(here.gate).check()


async def test_a_push_is_heard_by_its_probe() -> None:
    """A component that has not pushed its health is not ready, and ready again once it does."""
    async with world() as here:
        probes = component(here, beat={"push": True, "period_ms": 50, "failures": 1})
        async with here.sidecar(component=probes) as client, client.session():
            await here.arbiter.saw(Heartbeat, lambda each: "has not pushed" in "".join(each.reasons))
            here.arbiter.forget()
            ready = asyncio.create_task(here.arbiter.saw(Heartbeat, lambda each: each.ready))
            while not ready.done():
                await client.push_health()
            await ready


async def test_a_stopped_child_is_found_and_ended() -> None:
    """A child of ours that is stopped (SIGSTOP) is dead to the process probe, and the sidecar ends with it."""
    async with world() as here:
        probes = component(here, alive={"process": True, "purpose": "liveness"}) | {"stop_grace_ms": 100}
        child = (sys.executable, "-c", HOLDER.replace("sys.stdin.read()", "import signal; signal.pause()"))
        async with here.sidecar(child=child, component=probes):
            await here.arbiter.saw(Heartbeat, lambda each: each.role == "ACTIVE")
            (holder,) = [each for each in psutil.Process().children() if here.socket in each.environ().values()]
            os.kill(holder.pid, signal.SIGSTOP)
            assert await here.ended() == 128 + signal.SIGKILL
        assert here.released()[0].reason.startswith("liveness probe alive failed: process")


async def test_probes_reach_the_health_report() -> None:
    """What a probe finds is a reason in the health report, and makes it DEGRADED."""
    async with world() as here, server([500]) as url:
        web = component(here, web={"http": url})
        async with here.sidecar(component=web, health={"report_interval_ms": 100}) as client, client.session():
            report = await here.arbiter.saw(HealthReport, lambda each: "500" in "".join(each.reasons))
            assert report.status == "DEGRADED"


async def test_tcp() -> None:
    """A port that accepts is well, one that refuses is not."""
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        assert await ask_tcp("127.0.0.1", port) == ""
    assert str(port) in await ask_tcp("127.0.0.1", port)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("true",), ""),
        (("sh", "-c", "echo the feed is stale >&2; exit 3"), "sh exited with 3: the feed is stale"),
        (("sh", "-c", "yes complaint | head -c 300000 >&2; exit 1"), "sh exited with 1: complaint"),
        (("/no/such/program",), "/no/such/program cannot be run: No such file or directory"),
    ],
)
async def test_commands(command: tuple[str, ...], expected: str) -> None:
    """A command is well when it exits with 0; else its last line on standard error is the reason."""
    assert await run_command(command) == expected


async def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """At its time limit a command and its children are gone, and the result is bad."""
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    command = ("sh", "-c", f"sleep 600 & echo $! > {pids}; wait")
    probe = asyncio.create_task(bounded(probe_run(ProbeSettings(command=command), lambda: None), 1.0))
    child = int(await asyncio.to_thread(pids.read_text))
    assert await probe == "no answer within 1 s"
    with contextlib.suppress(psutil.NoSuchProcess):  # Gone altogether, if its new parent was quick.
        await asyncio.to_thread(psutil.Process(child).wait, PATIENCE_S)


async def test_processes(tmp_path: Path) -> None:
    """A process file that is missing, or says nonsense, or names nobody, is a bad result and no error."""
    file = tmp_path / "pid"
    assert "No such file" in await look_at_process(str(file), lambda: None)
    file.write_text("nobody\n")
    assert "no process id" in await look_at_process(str(file), lambda: None)
    file.write_text(f"{2**22 + 1}\n")
    assert "there is no process" in await look_at_process(str(file), lambda: None)
    file.write_text(f"{os.getpid()}\n")
    assert await look_at_process(str(file), lambda: None) == ""
    assert "not started the component" in await look_at_process("", lambda: None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "exactly one of"),
        ({"http": "http://h/", "tcp": "h:1"}, "this one is http, tcp"),
        ({"http": "h:80"}, "http is a URL"),
        ({"tcp": "h"}, "HOST:PORT"),
        ({"tcp": "h:99999"}, "HOST:PORT"),
        ({"push": True, "pid_file": "/run/x"}, "belongs to a probe with process"),
        ({"push": True, "period_ms": 0}, "greater than or equal to 10"),
    ],
)
def test_configuration_that_cannot_be(fields: dict[str, Any], expected: str) -> None:
    """A probe of no kind, of two kinds, or of a place that is none is refused with the mend."""
    with pytest.raises(ValueError, match=expected):
        ProbeSettings.model_validate(fields)


async def test_a_broken_rule_is_told_and_may_forbid_a_slot() -> None:
    """A pushed figure above its rule's bound makes the report worse, and with `unready` the component unready."""
    rules = {"market-data": {"metric": "market_data_age_s", "above": 5, "unready": True}}
    async with (
        world() as here,
        here.sidecar(health={"report_interval_ms": 100, "rules": rules}) as client,
        client.session(),
    ):
        await client.push_health(metrics={"market_data_age_s": 9.0, "errors_per_minute": 11.0})
        report = await here.arbiter.saw(HealthReport, lambda each: len(each.reasons) == 2)
        errors, stale = report.reasons
        assert errors == "errors_per_minute is 11, above 10"
        assert stale.startswith("market_data_age_s is ")
        assert report.status == "DEGRADED"
        unready = await here.arbiter.saw(Heartbeat, lambda each: each.incarnation and not each.ready)
        assert unready.reasons[0].endswith(", above 5")
        await client.push_health(metrics={"market_data_age_s": 1.0})
        here.arbiter.forget()
        await here.arbiter.saw(Heartbeat, lambda each: each.ready)
