"""The start action of a cold standby's sidecar: real small processes, orders from a peer arbiter."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from sidecar_world import ARBITER, PATIENCE_S, World, world

from sidecar.broker.topology import reply_queue
from sidecar.messages.base import Token
from sidecar.messages.health import Heartbeat, StartComponent, StartFailed
from sidecar.messages.measures import MeasuresReport


def action(script: str, **fields: Any) -> dict[str, Any]:
    """A component section whose start action is a shell script."""
    return {"start": ["/bin/sh", "-c", script], **fields}


async def startable(here: World, count: int = 1) -> Heartbeat:
    """A heartbeat that says it could start, once so many of them were heard."""
    found: list[Heartbeat] = []

    def counted(heartbeat: Heartbeat) -> bool:
        found.append(heartbeat) if heartbeat.startable else None
        return len(found) >= count

    heartbeat: Heartbeat = await here.arbiter.saw(Heartbeat, counted)
    return heartbeat


async def order(here: World, n: int) -> StartComponent:
    """The n-th order to start, to this run of the sidecar."""
    run = (await here.arbiter.saw(Heartbeat)).run
    message = StartComponent(arbiter=ARBITER, component="exec-a", run=run, order=Token(1, n))
    here.arbiter.send("", reply_queue("exec-a", run).name, message)
    return message


async def failure(here: World, n: int) -> str:
    """Why the n-th order failed."""
    failed: StartFailed = await here.arbiter.saw(StartFailed, lambda each: each.order == Token(1, n))
    return failed.reason


def fifo(here: World, name: str = "told") -> Path:
    """A pipe by which an action says something; who reads it waits until every writer has closed it."""
    path = here.directory / name
    os.mkfifo(path)
    return path


async def text(path: Path) -> str:
    """What was written into the pipe."""
    stream, pipe = asyncio.StreamReader(), os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    with contextlib.closing(transport):
        async with asyncio.timeout(PATIENCE_S):
            return (await stream.read()).decode()


async def test_an_order_runs_the_action_once() -> None:
    """The action is told where socket and gate are and runs once for an order, however often that comes."""
    async with world() as here:
        ran, told = here.directory / "ran", fifo(here)
        script = f'echo "$SIDECAR_SOCKET $SIDECAR_GATE" >> {ran}; echo ran > {told}'
        async with here.sidecar(component=action(script)) as client:
            await startable(here)
            await order(here, 1)
            await order(here, 1)
            await text(told)
            async with client.session():
                await here.arbiter.saw(Heartbeat, lambda each: each.incarnation)
                await order(here, 2)  # Not obeyed: a component is attached.
            here.arbiter.forget()
            await startable(here)
            await order(here, 3)
            await text(told)
            assert ran.read_text().splitlines() == [f"{here.socket} {here.gate}"] * 2
            assert here.arbiter.count(StartFailed) == 0


async def test_an_action_that_fails_is_told_at_once() -> None:
    """An exit code other than 0 ends the start with that reason, and the sidecar can be asked again."""
    async with world() as here, here.sidecar(component=action("exit 3")):
        await startable(here)
        await order(here, 1)
        assert await failure(here, 1) == "the start action exited with code 3"
        here.arbiter.forget()
        await startable(here)
        await order(here, 2)
        await failure(here, 2)


@pytest.mark.parametrize(
    ("command", "reason"),
    [("/no/such/program", "cannot be run: No such file or directory"), ("/etc/passwd", "cannot be run: Permission")],
)
async def test_an_action_that_cannot_be_run(command: str, reason: str) -> None:
    """A program that is not there, or is none, is told as the reason."""
    async with world() as here, here.sidecar(component={"start": [command]}):
        await startable(here)
        await order(here, 1)
        assert reason in await failure(here, 1)


async def test_an_action_without_a_component_is_stopped_at_the_limit() -> None:
    """An action that still runs at the limit is stopped with all it started, also if it ignores SIGTERM."""
    async with world() as here:
        alive = fifo(here)
        script = f"trap '' TERM; exec 3> {alive}; echo up >&3; sleep 1000 & sleep 1000"
        async with here.sidecar(component=action(script, start_timeout_ms=300, stop_grace_ms=50)):
            await startable(here)
            await order(here, 1)
            assert await text(alive) == "up\n"  # Read to its end: everybody who had it open is dead.
            assert await failure(here, 1) == "the start action still runs, and no component attached within 0.3 s"


async def test_an_action_that_returned_still_needs_a_component() -> None:
    """An action that returned 0 has failed when no component attached within the limit."""
    async with world() as here, here.sidecar(component=action("exit 0", start_timeout_ms=200)):
        await startable(here)
        await order(here, 1)
        assert await failure(here, 1) == "the start action returned, and no component attached within 0.2 s"


async def test_one_action_at_a_time() -> None:
    """While an action runs the sidecar does not offer to start, and refuses another order."""
    async with world() as here:
        told = fifo(here)
        async with here.sidecar(component=action(f"echo up > {told}; exec sleep 1000")) as client:
            await startable(here)
            await order(here, 1)
            await text(told)
            await order(here, 2)
            assert await failure(here, 2) == "an earlier start action still runs"
            async with client.session():
                await here.arbiter.saw(Heartbeat, lambda each: each.incarnation)
            here.arbiter.forget()
            await here.arbiter.saw(Heartbeat)
            await order(here, 3)
            assert await failure(here, 3) == "an earlier start action still runs"


async def test_a_foreground_component_ends_with_its_sidecar() -> None:
    """What the action runs in the foreground is stopped when the sidecar stops."""
    async with world() as here:
        told, alive = fifo(here), fifo(here, "alive")
        async with here.sidecar(component=action(f"echo up > {told}; exec 3> {alive}; exec sleep 1000")) as client:
            await startable(here)
            await order(here, 1)
            await text(told)
            end = asyncio.create_task(text(alive))
            async with client.session():
                await here.arbiter.saw(Heartbeat, lambda each: each.incarnation)
            await here.stop()
            await here.ended()
            await end  # Nobody has it open any more.


async def test_what_a_returned_action_left_behind_outlives_the_sidecar() -> None:
    """A process that the action handed over to is not ours: the sidecar's end leaves it alone."""
    async with world() as here:
        told = fifo(here)
        async with here.sidecar(component=action(f"sleep 1000 & echo $! > {told}")) as client:
            await startable(here)
            await order(here, 1)
            left = await text(told)
            async with client.session():
                await here.arbiter.saw(Heartbeat, lambda each: each.incarnation)
            await here.stop()
            await here.ended()
            os.kill(int(left), 9)  # It raises if nobody is there.


async def test_an_action_that_talks_is_not_blocked() -> None:
    """Output beyond what is logged is read all the same, so that an action never waits for us."""
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 4"
    async with world() as here, here.sidecar(component=action(script)):
        await startable(here)
        await order(here, 1)
        assert await failure(here, 1) == "the start action exited with code 4"


async def test_a_sidecar_without_an_action_says_so() -> None:
    """Without a start action a heartbeat offers none, and an order is refused; the same beside a child."""
    async with world() as here, here.sidecar():
        assert not (await here.arbiter.saw(Heartbeat)).startable
        await order(here, 1)
        assert await failure(here, 1) == "its sidecar has no component.start"
    async with world() as here, here.sidecar(child=["sleep", "1000"], component={"start": ["true"]}):
        assert not (await here.arbiter.saw(Heartbeat)).startable


async def test_only_arbiters_may_order_a_start() -> None:
    """An order from a user that is no arbiter runs nothing and is a dead letter."""
    async with world() as here:
        ran = here.directory / "ran"
        async with here.sidecar(security={"arbiters": ["another"]}, component=action(f"echo > {ran}")):
            await startable(here)
            await order(here, 1)
            assert b"start-component.v1" in (await here.arbiter.buried()).body
            assert not ran.exists()


async def test_a_shutdown_ends_what_an_action_started() -> None:
    """The stop of an emergency shutdown ends a component that its start action keeps running."""
    async with world() as here:
        told = fifo(here)
        script = f"trap '' TERM; echo ran > {told}; exec tail -f /dev/null"
        measures = {"stop": {"limit_ms": 50}}
        async with here.sidecar(component=action(script), measures=measures) as client:
            await startable(here)
            await order(here, 1)
            await text(told)
            async with client.session():
                await here.arbiter.saw(Heartbeat, lambda each: each.incarnation)
                here.arbiter.halt(measures=("stop",))
                report = await here.arbiter.saw(MeasuresReport, lambda each: each.completed)
                assert report.outcomes[0].text == "the process of its start action was ended"
            here.arbiter.forget()
            await startable(here)
