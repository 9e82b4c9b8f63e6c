"""The gate of a running sidecar: what opens it, and all that closes it."""

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
from sidecar_world import PATIENCE_S, SLOT, World, world

from sidecar.agent import Agent, heartbeats
from sidecar.agent.sessions import Session
from sidecar.agent.streams import EVENTS_MAX
from sidecar.broker.memory import MemoryBroker
from sidecar.client import SessionLost, SidecarClient, SidecarProblem
from sidecar.core.timing import MS
from sidecar.gate.layout import GateError
from sidecar.gate.reader import GateReader
from sidecar.messages.base import Token
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.health import HealthReport, Heartbeat, Released
from sidecar.messages.local import SessionAlive

SHORT = {"holder_lease_ms": 300, "holder_wait_ms": 400}
HOLDER = """
import sys
from sidecar.client import SidecarSyncClient
with SidecarSyncClient() as client, client.session() as session:
    session.until_open(10)
    sys.stdout.write("open\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


class LateBroker(MemoryBroker):
    """Does not connect when it is started, like a broker that is not there yet; `mend` brings it."""

    async def start(self) -> None:
        """Begin, without success."""
        self._started = True


async def test_gate_opens_with_a_lease() -> None:
    """The gate page opens when an arbiter grants the slot, and not before."""
    async with world() as here:
        here.arbiter.granting = False
        async with here.sidecar() as client, client.session() as session:
            assert not session.gate.check()
            here.arbiter.granting = True
            status = await session.until_open(PATIENCE_S)
            assert session.gate.check()
            assert [(each.slot, each.token) for each in status.slots] == [(SLOT, Token(1, 1))]
            assert status.incarnation == session.incarnation


async def test_a_won_slot_is_told_at_once() -> None:
    """The sidecar says that it acts when its gate has opened, not only with the next regular heartbeat."""
    rare = {"heartbeat_ms": 19_000, "holder_lease_ms": 58_000, "holder_wait_ms": 60_000}  # Longer than our patience.
    async with world() as here, here.sidecar(timing=rare) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        acting = await here.arbiter.saw(Heartbeat, lambda each: each.role == "ACTIVE")
        assert acting.incarnation == session.incarnation


async def test_session_end_closes_then_releases() -> None:
    """When the session ends the page is closed first, and then the slots are given back."""
    async with world() as here, here.sidecar() as client:
        async with client.session() as session:
            await session.until_open(PATIENCE_S)
        released = await here.arbiter.saw(Released)
        assert not GateReader(here.gate).check()
        assert (released.incarnation, released.ended) == (session.incarnation, True)
        assert [each.slot for each in released.slots] == [SLOT]


async def test_killed_component_releases() -> None:
    """A component that dies by SIGKILL loses its slot at once, without waiting for the lease."""
    async with world() as here, here.sidecar():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            HOLDER,
            env={**os.environ, "SIDECAR_SOCKET": here.socket},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"open\n"
            process.kill()
            await here.arbiter.saw(Released)
            assert not GateReader(here.gate).check()
        finally:
            assert await process.wait() == -signal.SIGKILL


async def test_newer_session_takes_over() -> None:
    """A newer session ends the older one, which is told why, and gets an incarnation of its own."""
    async with world() as here, here.sidecar() as client, client.session() as older:
        await older.until_open(PATIENCE_S)
        async with client.session() as newer:
            with pytest.raises(SessionLost, match="a new session took over"):
                async with asyncio.timeout(PATIENCE_S):
                    async for _ in older.changes():
                        pass
            assert newer.incarnation != older.incarnation
            await newer.until_open(PATIENCE_S)


async def test_silent_arbiter_closes_the_gate() -> None:
    """When no arbiter answers any more, the gate closes at its deadline and the component is told."""
    async with world() as here, here.sidecar(timing=SHORT) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.granting = False
        async with asyncio.timeout(PATIENCE_S):
            async for status in session.changes():
                if "lease ran out" in status.reason:
                    break
        assert not session.gate.check()


async def test_unready_component_stands_by() -> None:
    """A component that says it is not ready gets no slot."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await client.push_health(ready=False, reasons=("no session at the venue",))
        heartbeat = await here.arbiter.saw(Heartbeat, lambda each: each.reasons == ("no session at the venue",))
        assert not heartbeat.ready
        async with asyncio.timeout(PATIENCE_S):
            async for status in session.changes():
                if not status.open:
                    break
        released = await here.arbiter.saw(Released)
        assert not released.ended


async def test_stop_closes_and_releases() -> None:
    """A sidecar that is stopped closes its gate, gives the slot back, tells the component and exits with 0."""
    async with world() as here:
        async with here.sidecar() as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            await here.stop()
            with pytest.raises(SessionLost, match="the sidecar is stopping"):
                async with asyncio.timeout(PATIENCE_S):
                    async for _ in session.changes():
                        pass
            assert not session.gate.check()
        await here.arbiter.saw(Released)
        assert here.exit_code == 0
        assert not Path(here.socket).exists()


async def test_one_sidecar_for_a_component() -> None:
    """A second sidecar for the same component refuses to start and leaves the first alone."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        second = Agent(here.settings(), MemoryBroker(here.hub, name="again", user="exec-a"))
        with pytest.raises(GateError, match="has a writer already"):
            await second.run()
        assert session.gate.check()


async def test_broker_not_there_at_start() -> None:
    """Without a broker the gate is closed and the local interface says why; when it comes the gate opens."""
    async with world() as here:
        broker = LateBroker(here.hub, name="exec-a", user="exec-a")
        async with here.sidecar(broker=broker) as client, client.session() as session:
            status = await client.status()
            assert not status.healthy
            assert "not connected" in status.trouble
            assert not session.gate.check()
            broker.mend()
            await session.until_open(PATIENCE_S)


class OtherNodes(MemoryBroker):
    """Says when it is left for another node."""

    def __init__(self, here: World) -> None:
        super().__init__(here.hub, name="exec-a", user="exec-a")
        self.left = asyncio.Event()

    def move_on(self) -> None:
        """Leave."""
        self.left.set()


async def test_unanswered_asks_at_another_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sidecar that no arbiter answers leaves its node of the broker, and one that is answered stays."""
    monkeypatch.setattr(heartbeats, "UNANSWERED_NS", 500 * MS)
    async with world() as here:
        broker = OtherNodes(here)
        async with here.sidecar(broker=broker) as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            assert not broker.left.is_set()
            await here.arbiter.broker.close()
            async with asyncio.timeout(PATIENCE_S):
                await broker.left.wait()


async def test_gate_survives_a_short_cut() -> None:
    """A broken link neither closes the gate before its deadline nor keeps it from being renewed afterwards."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        first = await session.until_open(PATIENCE_S)
        assert here.broker is not None
        here.broker.cut()
        assert session.gate.check()
        here.arbiter.forget()
        here.broker.mend()
        await here.arbiter.saw(Heartbeat)
        while (await client.gate()).deadline_ns <= first.deadline_ns:
            pass
        assert session.gate.check()


async def test_health_reports_carry_figures() -> None:
    """Health reports carry the component's figures beside the sidecar's own."""
    often = {"report_interval_ms": 100}
    async with world() as here, here.sidecar(health=often) as client, client.session():
        await client.push_health(status="DEGRADED", reasons=("late feed",), metrics={"feed_age_s": 2.5})
        report = await here.arbiter.saw(
            HealthReport, lambda each: {"feed_age_s", "sidecar_rss_bytes"} <= each.metrics.keys()
        )
        assert report.status == "DEGRADED"
        assert report.metrics["feed_age_s"] >= 2.5  # It grows while nothing newer is pushed.
        assert {"sidecar_cpu_ratio", "sidecar_rss_bytes", "sidecar_loop_lag_s"} <= report.metrics.keys()


async def test_health_endpoint_on_tcp() -> None:
    """Where a port is configured, health and metrics are there too, and nothing else is."""
    async with world() as here, here.sidecar(telemetry={"port": 0}) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        assert here.agent is not None
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{here.agent.health_port}", verify=False) as raw:
            assert (await raw.get("/health")).json()["status"] == "ok"
            assert "sidecar_gate_open 1.0" in (await raw.get("/metrics")).text
            assert (await raw.get("/v1/gate")).status_code == 404


async def test_health_needs_a_session() -> None:
    """Health that is pushed without a session is refused with the mend."""
    async with world() as here, here.sidecar() as client:
        with pytest.raises(SidecarProblem, match="open GET /v1/session first") as refused:
            await client.push_health()
        assert refused.value.code == "NO_SESSION"


async def test_unread_session_is_cut() -> None:
    """A component that does not read its session loses it, and only it: the next one is served."""
    async with world() as here, here.sidecar() as client:
        _, writer = await asyncio.open_unix_connection(here.socket, limit=1024)
        writer.write(b"GET /v1/session HTTP/1.1\r\nHost: sidecar\r\n\r\n")
        await here.arbiter.saw(Heartbeat, lambda each: each.incarnation != "")
        reason = "r" * 256  # Long lines fill the kernel's buffer sooner.
        async with asyncio.timeout(PATIENCE_S):
            for burst in itertools.count():
                halt = Halt(halt_id="h", scopes=("all",), level=TradingState.HALTED, reason=reason, actor="ops")
                for version in range(100):
                    here.arbiter.control(100 * burst + version, halt)
                await here.arbiter.quiet()
                if any("did not read" in each.reason for each in here.released()):
                    break
        here.arbiter.control(here.arbiter.control_version + 1)
        writer.close()
        await attach_again(here, client)


async def attach_again(here: World, client: SidecarClient) -> None:
    """Open a session and see its gate open."""
    async with client.session() as session:
        await session.until_open(PATIENCE_S)


async def test_full_line_ends_a_session() -> None:
    """A session whose line of events is full ends with that reason."""
    session = Session("exec-a")
    for _ in range(EVENTS_MAX + 1):
        session.tell(SessionAlive(component="exec-a"))
    assert session.ended.is_set()
    assert "did not read" in session.end_reason
