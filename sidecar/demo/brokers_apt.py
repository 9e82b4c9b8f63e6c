"""Install rabbitmq-server from the distribution, for root on a Debian-like system, without starting its service.

Owns the installation and the ban on service starts during it. What runs afterwards is a private node. Who comes while
another process installs waits for it: apt-get itself would fail at the lock of its lists.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from sidecar.demo.brokers_command import CommandFailed, run_command
from sidecar.demo.brokers_found import FoundBroker, Say, WayClosed
from sidecar.demo.brokers_node import by_private_node, server_program

# Debian Policy 9.3.3.1: invoke-rc.d asks this program, and 101 forbids the action.
POLICY = Path("/usr/sbin/policy-rc.d")
TURN = Path("/run/lock/trading-sidecar-apt")
"""Locked by the process that installs."""
LOCK = ("-o", "DPkg::Lock::Timeout=120")
UPDATE_S = 180.0
INSTALL_S = 600.0


async def by_apt(say: Say) -> FoundBroker:
    """Install the package, then start a private node. WayClosed when we may not or cannot."""
    if shutil.which("apt-get") is None:
        raise WayClosed("there is no apt-get here")
    if os.geteuid() != 0:
        raise WayClosed("only root may apt-get install rabbitmq-server")
    try:
        async with turn():
            if server_program() is None:  # Otherwise somebody installed it while we waited.
                await _install(say)
    except CommandFailed as error:
        raise WayClosed(f"apt-get could not install rabbitmq-server: {error}") from error
    return replace(await by_private_node(say), started_by="apt")


async def _install(say: Say) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    say("refreshing the package lists (apt-get update)")
    await run_command("apt-get", *LOCK, "-qq", "update", timeout_s=UPDATE_S, environment=quiet)
    say("installing rabbitmq-server (apt-get install, about a minute)")
    install = ("apt-get", *LOCK, "-qq", "install", "-y", "--no-install-recommends", "rabbitmq-server")
    with no_service_starts():
        await run_command(*install, timeout_s=INSTALL_S, environment=quiet)
    if shutil.which("systemctl") is not None:
        # The package enables a system node for the next boot; nobody asked for one.
        with contextlib.suppress(CommandFailed):
            await run_command("systemctl", "disable", "rabbitmq-server.service", timeout_s=30.0)


@contextlib.asynccontextmanager
async def turn(lock: Path = TURN) -> AsyncIterator[None]:
    """Nobody else in here meanwhile; the end of a process is the end of its turn."""
    with lock.open("a") as held:
        await asyncio.to_thread(fcntl.flock, held, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def no_service_starts(policy: Path = POLICY) -> Iterator[None]:
    """Forbid that packages start services meanwhile; a policy that stands already is left as it is."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
