"""The health endpoint of every process: GET /health, /status, /uptime, /snapshot and /metrics, read-only.

Owns these routes and their answers. It must not decide what healthy means: the process hands in a `HealthView`.
A view that raises is answered as unhealthy, because uncertain means closed.
"""

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from litestar import Litestar, MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sidecar import __version__
from sidecar.telemetry.serving import HttpServer, bind_tcp

_FRESH: Final = {"Cache-Control": "no-store"}


class HealthView(Protocol):
    """The process's word on itself: (healthy, sentences that say why not, named details that JSON can hold)."""

    def __call__(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]: ...


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of GET /health and of GET /status."""

    status: str
    process: str
    reasons: tuple[str, ...] = ()
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class UptimeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of GET /uptime. `up_s` goes on through suspend; `began` is of the wall clock, ISO 8601 in UTC."""

    process: str
    version: str
    up_s: float
    began: str


class LastSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The newest snapshot that a process knows of. What is unknown is None: nothing may be read as young by mistake.

    `of` says whose state it is; `offset` its place in the journal, where it has one; `trouble` why an attempt failed.
    """

    of: str
    known: bool = False
    age_s: float | None = None
    offset: int | None = None
    trouble: str = ""


SnapshotView = Callable[[], LastSnapshot]


def no_snapshots() -> LastSnapshot:
    """Of a process that keeps no state."""
    return LastSnapshot(of="nothing")


def health_routes(
    process: str, health: HealthView, registry: CollectorRegistry, snapshot: SnapshotView = no_snapshots
) -> list[HTTPRouteHandler]:
    """The handlers, for this module's endpoint and for mounting on the sidecar's local interface.

    GET /health answers 200 or 503 with a `HealthAnswer`, GET /status the same with 200 in any case; GET /uptime counts
    from this call; GET /metrics answers the Prometheus text format.
    """
    began_ns, began = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    @get("/health", sync_to_thread=False, opt={"also": {503: "It is not well; the reasons say why."}})
    def health_now() -> Response[HealthAnswer]:
        """Whether this process is well."""
        answer = ask(process, health)
        return Response(answer, status_code=200 if answer.status == "ok" else 503, headers=_FRESH)

    @get("/status", sync_to_thread=False)
    def status_now() -> Response[HealthAnswer]:
        """The same as /health, for whoever wants to know and not to decide: 200 in any case."""
        return Response(ask(process, health), headers=_FRESH)

    @get("/uptime", sync_to_thread=False)
    def uptime_now() -> Response[UptimeAnswer]:
        """How long this process has been up."""
        up_s = round((time.clock_gettime_ns(time.CLOCK_BOOTTIME) - began_ns) / 1e9, 3)
        return Response(UptimeAnswer(process=process, version=__version__, up_s=up_s, began=began), headers=_FRESH)

    @get("/snapshot", sync_to_thread=False)
    def snapshot_now() -> Response[LastSnapshot]:
        """The newest snapshot that it knows of."""
        return Response(snapshot(), headers=_FRESH)

    @get("/metrics", sync_to_thread=False, media_type=MediaType.TEXT)
    def metrics_now() -> Response[str]:
        """Its figures, in the text format of Prometheus."""
        return Response(generate_latest(registry).decode(), media_type=CONTENT_TYPE_LATEST, headers=_FRESH)

    return [health_now, status_now, uptime_now, snapshot_now, metrics_now]


def ask(process: str, health: HealthView) -> HealthAnswer:
    """What `health` says now, as the body of the answer."""
    try:
        ok, reasons, details = health()
    except Exception as error:
        return HealthAnswer(
            status="unhealthy", process=process, reasons=(f"the health check itself failed: {type(error).__name__}",)
        )
    return HealthAnswer(status="ok" if ok else "unhealthy", process=process, reasons=reasons, details=details)


class HealthEndpoint:
    """The HTTP endpoint of one process on TCP. Start it inside the running event loop."""

    def __init__(
        self, process: str, health: HealthView, registry: CollectorRegistry, snapshot: SnapshotView = no_snapshots
    ) -> None:
        self._routes = health_routes(process, health, registry, snapshot)
        self._server: HttpServer | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and answer; returns the port taken. Raises CannotListen when the address cannot be had."""
        listener = bind_tcp(host, port)
        app = Litestar(self._routes, openapi_config=None, logging_config=None)
        self._server = HttpServer(app, listener)
        await self._server.start()
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop answering; safe to call twice or before `start`."""
        if self._server is not None:
            await self._server.stop()
