"""Peers that misbehave on the local interface: each is cut with a reason, and nobody else notices."""

import asyncio
import contextlib
import json
import socket
from typing import Any

import httpx
import pytest
from sidecar_world import PATIENCE_S, World, world

from sidecar.agent.own_halts import NEW_MAX
from sidecar.client import SidecarProblem
from sidecar.messages.control import Halt
from sidecar.messages.health import Heartbeat
from sidecar.telemetry.connections import ConnectionLimits

QUICK = ConnectionLimits(connections_max=8, request_s=0.15, stalled_s=0.15)
HEAD = b"POST /v1/orders HTTP/1.1\r\nHost: sidecar\r\nContent-Length: 1000\r\n\r\n"


async def answer_to(here: World, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    """The status and problem that a peer gets that says this and then waits; (0, {}) when it is only cut."""
    reader, writer = await asyncio.open_unix_connection(here.socket)
    for piece in pieces:
        writer.write(piece)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    if not answer:
        return 0, {}
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def cuts(here: World, code: str) -> float:
    """How many were cut for this, by the metrics."""
    transport = httpx.AsyncHTTPTransport(uds=here.socket, verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as raw:
        text = (await raw.get("/metrics")).text
    name = f'sidecar_connections_cut_total{{code="{code}"}} '
    return next(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


async def test_slow_requests_are_cut() -> None:
    """Who says nothing, half a head or half a body is told so and cut, while a session goes on."""
    async with world() as here:
        here.limits = QUICK
        async with here.sidecar() as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            for pieces in ((b"",), (b"GET /v1/ga",), (HEAD, b"{")):
                status_code, problem = await answer_to(here, *pieces)
                assert (status_code, problem["code"]) == (408, "REQUEST_TOO_SLOW"), pieces
                assert problem["mend"]
            assert await cuts(here, "REQUEST_TOO_SLOW") == 3
            assert session.gate.check()


async def test_drip_does_not_win_time() -> None:
    """A peer that sends a byte now and then is cut as one that sends nothing."""
    loop = asyncio.get_running_loop()
    async with world() as here:
        here.limits = QUICK
        async with here.sidecar():
            with socket.socket(socket.AF_UNIX) as peer:
                peer.setblocking(False)
                await loop.sock_connect(peer, here.socket)
                async with asyncio.timeout(PATIENCE_S):
                    with contextlib.suppress(ConnectionError):
                        while True:
                            await loop.sock_sendall(peer, b"G")
                            here.arbiter.forget()
                            await here.arbiter.saw(Heartbeat)  # One each 20 ms.
                    assert b"408" in await loop.sock_recv(peer, 4096)


async def test_connections_are_bounded() -> None:
    """One connection too many is refused with the reason, and those that are open go on."""
    async with world() as here:
        here.limits = ConnectionLimits(connections_max=8)
        async with here.sidecar() as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            others = [await asyncio.open_unix_connection(here.socket) for _ in range(7)]
            status_code, problem = await answer_to(here)
            assert (status_code, problem["code"]) == (503, "TOO_MANY_CONNECTIONS")
            here.arbiter.forget()
            await here.arbiter.saw(Heartbeat)
            assert session.gate.check()
            for _, writer in others:
                writer.close()


async def test_what_is_not_http_is_a_problem() -> None:
    """A peer that does not speak HTTP gets a problem and is counted."""
    async with world() as here, here.sidecar():
        status_code, problem = await answer_to(here, b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        assert (status_code, problem["code"]) == (400, "NOT_HTTP")
        assert await cuts(here, "NOT_HTTP") == 1


async def test_garbage_on_a_session_ends_it() -> None:
    """A component that writes into its session is cut, which is its death, and the next one is served."""
    async with world() as here:
        here.limits = QUICK
        async with here.sidecar() as client:
            reader, writer = await asyncio.open_unix_connection(here.socket)
            writer.write(b"GET /v1/session HTTP/1.1\r\nHost: sidecar\r\n\r\n")
            await here.arbiter.saw(Heartbeat, lambda each: each.incarnation != "")
            writer.write(b"garbage" * 1000)
            async with asyncio.timeout(PATIENCE_S):
                with contextlib.suppress(ConnectionError):
                    while await reader.read(65536):
                        pass
            writer.close()
            async with client.session() as session:
                await session.until_open(PATIENCE_S)


async def test_unread_answers_are_cut() -> None:
    """A peer that asks and asks and never reads is cut, and a session goes on."""
    async with world() as here:
        here.limits = QUICK
        async with here.sidecar() as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            _, writer = await asyncio.open_unix_connection(here.socket, limit=1024)
            asking = b"GET /metrics HTTP/1.1\r\nHost: sidecar\r\n\r\n"
            async with asyncio.timeout(PATIENCE_S):
                while not writer.is_closing():  # The next word to a connection that is gone tells.
                    writer.write(asking)
                    cut = await cuts(here, "ANSWER_NOT_READ")
            assert cut == 1
            assert session.gate.check()


async def test_a_repeated_halt_is_one_halt() -> None:
    """A component that repeats a halt is answered with the one in force, and floods nobody with it."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        raised = {(await client.halt("lost my feed", ("symbol:XYZ",))).halt_id for _ in range(30)}
        assert len(raised) == len((await client.status()).halts) == 1
        await here.arbiter.quiet()
        assert here.arbiter.count(Halt) < 2 * 30  # Each goes to two places.
        other = await client.halt("lost my feed", ("symbol:ABC",))
        assert {other.halt_id} | raised == {each.halt_id for each in (await client.status()).halts}


async def test_a_flood_of_halts_ends() -> None:
    """A component that raises different halts without end is refused, and those that it raised stay in force."""
    async with world() as here, here.sidecar() as client:
        for number in range(NEW_MAX):
            await client.halt(f"reason {number}")
        with pytest.raises(SidecarProblem, match="TOO_MANY_HALTS"):
            await client.halt("one more")
        assert (await client.gate()).trading_state.name == "HALTED"


async def test_flood_of_requests_leaves_heartbeats_alone() -> None:
    """Peers that ask without pause on every connection there is delay no lease: the gate stays open throughout."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        over = asyncio.Event()

        async def flood() -> None:
            transport = httpx.AsyncHTTPTransport(uds=here.socket, verify=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://sidecar", timeout=PATIENCE_S) as raw:
                while not over.is_set():
                    assert (await raw.get("/v1/gate")).json()["open"]

        flooding = [asyncio.create_task(flood()) for _ in range(16)]
        for _ in range(10):
            here.arbiter.forget()
            await here.arbiter.saw(Heartbeat)
            assert session.gate.check()
        over.set()
        await asyncio.gather(*flooding)
