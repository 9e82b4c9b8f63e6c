"""The demo's processes: started, killed, stopped, and never left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from sidecar.demo import launcher
from sidecar.demo.launcher import ProcessLauncher, ProcessSpec, Running
from sidecar.demo.system import System

WAIT_S = 20.0
SLEEPER = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


@pytest.fixture
async def sleepers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    """A system whose components are the programs named by their arguments."""
    monkeypatch.setitem(launcher._COMMANDS, "component", ("run_argument",))
    (tmp_path / "run_argument.py").write_text("import sys; exec(sys.argv[1])")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SIDECAR_SECRET", "not for children")
    system = System(ProcessLauncher(tmp_path))
    yield system
    await system.stop()


async def until(seen: Callable[[], bool]) -> None:
    """Another process's doings wake nobody here, so look again and again."""
    async with asyncio.timeout(WAIT_S):
        while not seen():  # noqa: ASYNC110  # See above.
            await asyncio.sleep(0)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; its new parent may not have noticed yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def up(system: System, name: str, program: str, log_dir: Path) -> Running:
    """Start it and wait until it has said so in its log."""
    spec = ProcessSpec(role="component", name=name, arguments=(program,))
    await system.start(spec)
    log = log_dir / f"component-{name}.log"
    await until(lambda: "up" in log.read_text())
    return system._running["component", name]


async def test_stop_is_in_order(sleepers: System, tmp_path: Path) -> None:
    """A process that is stopped gets SIGTERM, and ended as it was meant to."""
    running = await up(sleepers, "a", SLEEPER, tmp_path)
    await sleepers.stop("component")
    assert not running.alive
    assert running.ended == "killed by SIGTERM"
    assert sleepers.unexpectedly_ended() == []


async def test_stubborn_process_is_killed(sleepers: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed after the grace period."""
    monkeypatch.setattr(launcher, "STOP_GRACE_S", 0.05)
    running = await up(sleepers, "a", STUBBORN, tmp_path)
    await sleepers.stop()
    assert running.ended == "killed by SIGKILL"


async def test_kill_and_restart(sleepers: System, tmp_path: Path) -> None:
    """A killed process is gone when `kill` returns, was meant to go, and can be started again."""
    first = await up(sleepers, "a", SLEEPER, tmp_path)
    await sleepers.kill("component", "a")
    assert first.ended == "killed by SIGKILL"
    assert not sleepers.alive("component", "a")
    assert sleepers.unexpectedly_ended() == []
    second = await up(sleepers, "a", SLEEPER, tmp_path)
    assert second.pid != first.pid
    assert sleepers.alive("component", "a")


async def test_unexpected_end_is_named(sleepers: System, tmp_path: Path) -> None:
    """A process that ends by itself is named with its exit code."""
    running = await up(sleepers, "a", "print('up', flush=True); raise SystemExit(3)", tmp_path)
    await until(lambda: not running.alive)
    assert sleepers.unexpectedly_ended() == ["component a: exit code 3"]


async def test_no_sidecar_variables(sleepers: System, tmp_path: Path) -> None:
    """Variables SIDECAR_* of our own environment do not reach the processes."""
    program = "import os; print('up', [each for each in os.environ if each.startswith('SIDECAR_')], flush=True)"
    spec = ProcessSpec(role="component", name="a", arguments=(program,))
    await sleepers.start(spec)
    log = tmp_path / "component-a.log"
    await until(lambda: "]" in log.read_text())
    assert "up []" in log.read_text()


async def test_children_die_with_their_parent(tmp_path: Path) -> None:
    """When the demo itself is killed with kill -9, the kernel ends what it started."""
    leash = Path(launcher.__file__).with_name("leash.py")
    child = [sys.executable, "-c", SLEEPER]
    program = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-I', '-S', {str(leash)!r}, str(os.getpid()), *{child!r}])\n"
        "sys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(WAIT_S):
        assert await parent.stdout.readline() == b"up\n"  # From the child, which shares the pipe.
    (started,) = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await until(lambda: gone(started))
