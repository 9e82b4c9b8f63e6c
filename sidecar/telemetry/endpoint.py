"""The health endpoint of every process: GET /health and GET /metrics, read-only.

Owns the two routes and their answers. It must not decide what healthy means: the process hands in a `HealthView`.
A view that raises is answered as unhealthy, because uncertain means closed.
"""

from typing import Any, Final, Protocol

import msgspec
from litestar import Litestar, MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sidecar.telemetry.serving import HttpServer, bind_tcp

_FRESH: Final = {"Cache-Control": "no-store"}


class HealthView(Protocol):
    """The process's word on itself: (healthy, sentences that say why not, named details that JSON can hold)."""

    def __call__(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]: ...


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of GET /health."""

    status: str
    process: str
    reasons: tuple[str, ...] = ()
    details: dict[str, Any] = msgspec.field(default_factory=dict)


def health_routes(process: str, health: HealthView, registry: CollectorRegistry) -> list[HTTPRouteHandler]:
    """The two handlers, for this module's endpoint and for mounting on the sidecar's local interface.

    GET /health answers 200 or 503 with a `HealthAnswer`; GET /metrics answers the Prometheus text format.
    """

    @get("/health", sync_to_thread=False)
    def health_now() -> Response[HealthAnswer]:
        answer = ask(process, health)
        return Response(answer, status_code=200 if answer.status == "ok" else 503, headers=_FRESH)

    @get("/metrics", sync_to_thread=False, media_type=MediaType.TEXT)
    def metrics_now() -> Response[bytes]:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers=_FRESH)

    return [health_now, metrics_now]


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

    def __init__(self, process: str, health: HealthView, registry: CollectorRegistry) -> None:
        self._routes = health_routes(process, health, registry)
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
