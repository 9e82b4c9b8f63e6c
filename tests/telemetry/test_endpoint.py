"""The health endpoint, over real HTTP."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.response import Stream

from sidecar import __version__
from sidecar.telemetry.endpoint import HealthEndpoint, HealthView, health_routes
from sidecar.telemetry.metrics import SidecarMetrics
from sidecar.telemetry.serving import CannotListen, HttpServer


def healthy() -> tuple[bool, tuple[str, ...], dict[str, Any]]:
    return True, (), {"role": "ACTIVE"}


def broken() -> tuple[bool, tuple[str, ...], dict[str, Any]]:
    raise ZeroDivisionError


@asynccontextmanager
async def serving(health: HealthView = healthy) -> AsyncIterator[httpx.AsyncClient]:
    endpoint = HealthEndpoint("sidecar", health, SidecarMetrics("1").registry)
    port = await endpoint.start("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await endpoint.stop()


async def test_healthy() -> None:
    """A healthy process answers 200 with its details."""
    async with serving() as client:
        answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "process": "sidecar", "reasons": [], "details": {"role": "ACTIVE"}}
    assert answer.headers["cache-control"] == "no-store"


async def test_unhealthy() -> None:
    """An unhealthy process answers 503 and says why."""
    async with serving(lambda: (False, ("no broker answers",), {})) as client:
        answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["no broker answers"]


async def test_broken_view() -> None:
    """A health check that raises is unhealthy, and shows no more than the error's name."""
    async with serving(broken) as client:
        answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the health check itself failed: ZeroDivisionError"]


async def test_metrics() -> None:
    """GET /metrics answers the Prometheus text format."""
    async with serving() as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "sidecar_gate_open 0.0" in answer.text


async def test_status() -> None:
    """GET /status says the same as GET /health, and answers 200 to whoever only wants to know."""
    async with serving(lambda: (False, ("no broker answers",), {"role": "STANDBY"})) as client:
        health, status = await client.get("/health"), await client.get("/status")
    assert (health.status_code, status.status_code) == (503, 200)
    assert status.json() == health.json()


async def test_uptime() -> None:
    """GET /uptime grows, and says which version runs since when."""
    async with serving() as client:
        first, second = (await client.get("/uptime")).json(), (await client.get("/uptime")).json()
    assert 0 <= first["up_s"] <= second["up_s"] < 600
    assert (first["process"], first["version"]) == ("sidecar", __version__)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["began"])


async def test_no_snapshot() -> None:
    """A process that keeps no snapshot says so, and no age."""
    async with serving() as client:
        found = (await client.get("/snapshot")).json()
    assert found == {"of": "nothing", "known": False, "age_s": None, "offset": None, "trouble": ""}


@pytest.mark.parametrize("path", ["/health", "/status", "/uptime", "/snapshot", "/metrics"])
async def test_read_only(path: str) -> None:
    """Nothing but GET is answered."""
    async with serving() as client:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await client.request(method, path)).status_code == 405


async def test_signals_stay_with_the_process() -> None:
    """Serving HTTP leaves the process's signal handlers alone."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    async with serving() as client:
        await client.get("/health")
        assert {each: signal.getsignal(each) for each in before} == before


async def test_port_taken() -> None:
    """A port in use is a sentence that names it and the mend."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        endpoint = HealthEndpoint("sidecar", healthy, SidecarMetrics("1").registry)
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1 port {port} .*set telemetry\.port"):
            await endpoint.start("127.0.0.1", port)
        await endpoint.stop()


async def test_stop_frees_the_port() -> None:
    """After stop nobody answers, and stopping again does no harm."""
    endpoint = HealthEndpoint("sidecar", healthy, SidecarMetrics("1").registry)
    port = await endpoint.start("127.0.0.1", 0)
    await endpoint.stop()
    await endpoint.stop()
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/health")


async def test_mounted_on_a_unix_socket(tmp_path: Path) -> None:
    """The same two routes work on another application and on a Unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "local.sock"))
    listener.listen()
    routes = health_routes("sidecar", healthy, SidecarMetrics("1").registry)
    server = HttpServer(Litestar(routes, openapi_config=None, logging_config=None), listener)
    await server.start()
    try:
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "local.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
    finally:
        await server.stop()


async def test_stop_cuts_endless_responses() -> None:
    """A response that never ends does not keep the server from stopping within its grace period."""

    @get("/endless")
    async def endless() -> Stream:
        async def lines() -> AsyncIterator[bytes]:
            yield b"first\n"
            await asyncio.Event().wait()

        return Stream(lines())

    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(Litestar([endless], openapi_config=None, logging_config=None), listener, stop_grace_s=0)
    await server.start()
    async with asyncio.timeout(10), httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/endless"
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("GET", url) as response:
                async for chunk in response.aiter_bytes():
                    assert chunk == b"first\n"
                    await server.stop()
