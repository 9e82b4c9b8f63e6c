"""The short form of the dead-man benchmark: a sidecar is stopped, and killed; its gate is watched from outside.

The whole form, with the broker, the arbiters and the link as well, is `make bench-deadman`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sidecar_alone import TIMING
from sidecar_world import PATIENCE_S

from benchmarks.deadman.page_watch import Closing
from benchmarks.deadman.witness import Witness, witness
from benchmarks.failover.watch import boottime_ns
from sidecar.client import SidecarClient
from sidecar.core.timing import MS

LEASE_NS = TIMING["holder_lease_ms"] * MS
HEARTBEAT_NS = TIMING["heartbeat_ms"] * MS


@dataclass(frozen=True)
class Alone:
    """The process, its places, and who watches its gate."""

    process: asyncio.subprocess.Process
    socket: str
    gate: Path
    witness: Witness

    async def struck(self, number: signal.Signals) -> tuple[int, Closing]:
        """Send it this signal, and wait for its gate to close."""
        struck_ns = boottime_ns()
        os.kill(self.process.pid, number)
        async with asyncio.timeout(PATIENCE_S):
            return struck_ns, (await self.witness.closed(["exec-a"], struck_ns))["exec-a"]


@contextlib.asynccontextmanager
async def alone() -> AsyncIterator[Alone]:
    """A sidecar in a process of its own, and a reader in another."""
    script = str(Path(__file__).with_name("sidecar_alone.py"))
    process = await asyncio.create_subprocess_exec(sys.executable, script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    directory: Path | None = None
    try:
        async with asyncio.timeout(3 * PATIENCE_S):
            socket, gate = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
            directory = Path(gate).parent
            async with witness({"exec-a": Path(gate)}) as seen:
                yield Alone(process, socket, Path(gate), seen)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=lambda each: each.name)
async def test_the_gate_of_a_dead_sidecar_closes_at_its_deadline(number: signal.Signals) -> None:
    """The gate of a sidecar that is stopped or killed is closed at its deadline, which is a lease away at most."""
    async with alone() as here, SidecarClient(here.socket, timeout_s=PATIENCE_S) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            await here.witness.opened("exec-a")
        struck_ns, closing = await here.struck(number)
        assert closing.last_open_ns < closing.deadline_ns <= closing.closed_by_ns
        assert closing.deadline_ns <= struck_ns + LEASE_NS + HEARTBEAT_NS
        assert not here.witness.open_too_long
        assert not session.gate.check()
