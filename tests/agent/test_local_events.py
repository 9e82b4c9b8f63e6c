"""The session's lines and the stream of events: what is told, to whom, and when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from sidecar_world import PATIENCE_S, World, world

from sidecar.agent.events import STREAMS_MAX
from sidecar.agent.sessions import OPENINGS_MAX
from sidecar.agent.streams import Stream
from sidecar.client import SidecarProblem, SidecarSyncClient
from sidecar.messages.local import SessionAlive

NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)


class Watcher:
    """Reads one stream of events."""

    def __init__(self, response: httpx.Response) -> None:
        self.status_code = response.status_code
        self._lines = response.aiter_lines()

    async def line(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next line of that type with these fields."""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                found: dict[str, Any] = json.loads(line)
                if found["type"] == kind and fields.items() <= found.items():
                    return found
        raise AssertionError(f"the stream ended without {kind}")


@asynccontextmanager
async def watching(here: World) -> AsyncIterator[Watcher]:
    """A stream of events, open for as long as the block."""
    transport = httpx.AsyncHTTPTransport(uds=here.socket, verify=False, limits=NO_LIMITS)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://sidecar", timeout=PATIENCE_S) as http,
        http.stream("GET", "/v1/events") as response,
    ):
        watcher = Watcher(response)  # Kept: its lines are read no further once it is collected.
        yield watcher


async def test_roles_and_halts_are_told() -> None:
    """A watcher is told the present first, then each change of role and of halts, whoever they concern."""
    async with world() as here, here.sidecar() as client, watching(here) as watcher:
        assert (await watcher.line("gate-status.v1"))["role"] == "STANDBY"
        assert (await watcher.line("halts-in-force.v1"))["halts"] == []
        async with client.session():
            await watcher.line("gate-status.v1", role="ACTIVE", open=True)
            here.arbiter.halt("symbol:XYZ", halt_id="h-1")
            told = await watcher.line("halts-in-force.v1")
            assert [each["halt_id"] for each in told["halts"]] == ["h-1"]
            here.arbiter.control(1, lifted=["h-1"])
            assert (await watcher.line("halts-in-force.v1", control_version=1))["halts"] == []
        await watcher.line("gate-status.v1", role="STANDBY", incarnation="")


async def test_a_session_hears_of_halts() -> None:
    """A session is told of the halts that are latched when it opens, and of each one that comes."""
    async with world() as here, here.sidecar() as client:
        here.arbiter.halt("symbol:XYZ", halt_id="h-1")
        async with client.session() as session, watching(here) as watcher:
            await watcher.line("halts-in-force.v1")
            here.arbiter.halt("symbol:ABC", halt_id="h-2")
            while [each["halt_id"] for each in (await watcher.line("halts-in-force.v1"))["halts"]] != ["h-1", "h-2"]:
                pass
            await session.until_open(PATIENCE_S)
            here.arbiter.halt("all", halt_id="h-3")
            async with asyncio.timeout(PATIENCE_S):
                async for status in session.changes():
                    if status.trading_state.name == "HALTED":
                        break
            assert {"h-1", "h-2"} <= {each.halt_id for each in session.halts}


async def test_any_reason_can_be_told() -> None:
    """A reason with every separator that Unicode has is told like any other, and costs no component its session."""
    odd = "a\u2028b\u2029c\x85d\x0be\x1cf\ng\rh"
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        with SidecarSyncClient(here.socket, timeout_s=PATIENCE_S) as blocking:
            here.arbiter.halt(reason=odd)
            async with asyncio.timeout(PATIENCE_S):
                async for status in session.changes():
                    if odd in status.reason:
                        break
            opened = await asyncio.to_thread(heard_by, blocking)
        assert odd in opened


def heard_by(client: SidecarSyncClient) -> str:
    """Why the gate is closed, as a blocking session hears it."""
    with client.session() as session:
        with pytest.raises(TimeoutError):
            session.until_open(0.2)
        assert session.status is not None and not session.lost
        return session.status.reason


async def test_a_watcher_is_no_component() -> None:
    """A watcher that comes or goes opens and closes nothing, and is told when the sidecar stops."""
    async with world() as here, here.sidecar() as client, watching(here) as stays:
        async with client.session() as session:
            await session.until_open(PATIENCE_S)
            async with watching(here) as goes:
                await goes.line("gate-status.v1", open=True)
            assert (await client.gate()).open
            assert session.gate.check()
        await here.stop()
        assert "stopping" in (await stays.line("session-ended.v1"))["reason"]


async def test_watchers_are_bounded() -> None:
    """One watcher too many is refused with the mend, and there is room again when one has gone."""
    async with world() as here, here.sidecar(), AsyncExitStack() as others:
        async with AsyncExitStack() as one:
            await (await one.enter_async_context(watching(here))).line("gate-status.v1")
            for _ in range(STREAMS_MAX - 1):
                await (await others.enter_async_context(watching(here))).line("gate-status.v1")
            async with watching(here) as refused:
                assert refused.status_code == 429
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with watching(here) as again:
                    if again.status_code == 200:
                        break


async def test_sessions_in_a_ring_are_refused() -> None:
    """A component that opens session after session is refused, and the last one that was opened goes on."""
    async with world() as here, here.sidecar() as client:
        for _ in range(OPENINGS_MAX - 1):
            async with client.session():
                pass
        async with client.session() as session:
            with pytest.raises(SidecarProblem) as refused:
                async with client.session():
                    pass
            assert refused.value.code == "TOO_MANY_SESSIONS"
            await session.until_open(PATIENCE_S)
            assert session.gate.check()


async def test_a_stalled_reader_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose reader takes nothing ends with that reason, however few its lines are."""
    monkeypatch.setattr("sidecar.agent.streams.STALLED_S", 0.05)
    monkeypatch.setattr("sidecar.agent.streams.LAST_LINE_S", 0.05)
    stream, never = Stream("exec-a"), asyncio.Event()
    reasons: list[str] = []

    async def receive() -> Any:
        await never.wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await never.wait()

    stream.tell(SessionAlive(component="exec-a"))
    async with asyncio.timeout(PATIENCE_S):
        await stream.serve(receive, send, reasons.append)
    assert "did not read" in reasons[0]
