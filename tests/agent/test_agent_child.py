"""The component as a child of its sidecar."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from sidecar_world import PATIENCE_S, World, world

from sidecar.client import SessionLost
from sidecar.messages.health import Released

STUBBORN = "trap '' TERM; echo ready > {fifo}; exec tail -f /dev/null"
PATIENT = "echo ready > {fifo}; exec tail -f /dev/null"


def shell(script: str) -> list[str]:
    """A child that is a shell script."""
    return ["/bin/sh", "-c", script]


def fifo_in(here: World) -> Path:
    """A pipe by which a child says that it is ready."""
    path = here.directory / "ready"
    os.mkfifo(path)
    return path


async def test_exit_code_is_the_childs() -> None:
    """The sidecar ends with its child, with the child's exit code."""
    async with world() as here, here.sidecar(child=shell("exit 7")):
        assert await here.ended() == 7


async def test_child_is_told_where() -> None:
    """The child finds the socket and the gate page in its environment."""
    async with world() as here:
        script = (
            f'test "$SIDECAR_SOCKET" = {here.socket} && test "$SIDECAR_GATE" = {here.gate} && test -S "$SIDECAR_SOCKET"'
        )
        async with here.sidecar(child=shell(script)):
            assert await here.ended() == 0


async def test_child_exit_detaches_at_once() -> None:
    """The child's exit closes the gate and gives the slot back even while its session still lives."""
    async with world() as here:
        fifo = fifo_in(here)
        async with here.sidecar(child=shell(f"read line < {fifo}; exit 3")) as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            await asyncio.to_thread(fifo.write_text, "go\n")
            with pytest.raises(SessionLost, match="its process exited with code 3"):
                async with asyncio.timeout(PATIENCE_S):
                    async for _ in session.changes():
                        pass
            assert not session.gate.check()
            await here.arbiter.saw(Released)
            assert await here.ended() == 3


async def test_stop_stops_the_child() -> None:
    """A sidecar that is stopped ends its child with SIGTERM and takes its exit code."""
    async with world() as here:
        fifo = fifo_in(here)
        async with here.sidecar(child=shell(PATIENT.format(fifo=fifo))):
            await asyncio.to_thread(fifo.read_text)
            await here.stop()
            assert await here.ended() == 128 + signal.SIGTERM


async def test_stubborn_child_is_killed() -> None:
    """A child that ignores SIGTERM is killed after the grace period."""
    async with world() as here:
        fifo = fifo_in(here)
        child = shell(STUBBORN.format(fifo=fifo))
        async with here.sidecar(child=child, component={"stop_grace_ms": 50}):
            await asyncio.to_thread(fifo.read_text)
            await here.stop()
            assert await here.ended() == 128 + signal.SIGKILL


@pytest.mark.parametrize(("command", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)])
async def test_child_that_cannot_start(command: str, code: int) -> None:
    """A command that cannot be run ends the sidecar with the shell's code for it."""
    async with world() as here, here.sidecar(child=[command]):
        assert await here.ended() == code


async def test_child_holds_its_own_session() -> None:
    """A Python child finds its sidecar by itself and sees its gate open."""
    script = (
        "from sidecar.client import SidecarSyncClient as Client\n"
        "with Client() as client, client.session() as session:\n"
        "    session.until_open(10)\n"
        "    raise SystemExit(0 if session.gate.check() else 1)\n"
    )
    async with world() as here, here.sidecar(child=[sys.executable, "-c", script]):
        assert await here.ended() == 0
