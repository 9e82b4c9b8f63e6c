"""The local interface: what a component in any language asks of its sidecar, HTTP on a Unix socket.

Owns the routes and the waits of their callers. It must not decide: it hands each request to the part that does, and
their words back. docs/local-interface.md describes it for users.
"""

import asyncio
from typing import Any, Final

from litestar import Litestar, Request, asgi, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send
from prometheus_client import CollectorRegistry

from sidecar.agent.bodies import check_cl_ord_id, check_health, check_order, check_report, read_body
from sidecar.agent.events import TooManyStreams
from sidecar.agent.halt_routes import push_halt
from sidecar.agent.measure_routes import answer_measure
from sidecar.agent.once_routes import claim_once, report_once
from sidecar.agent.openapi import described, openapi
from sidecar.agent.orders import TooManyOrders
from sidecar.agent.parts import Parts
from sidecar.agent.problems import BODY_BYTES_MAX, EXCEPTION_HANDLERS, Refused
from sidecar.agent.reports import OutboxFull, report_of
from sidecar.agent.sessions import TooManySessions
from sidecar.agent.state_routes import get_state, put_state
from sidecar.messages.local import (
    ClOrdID,
    CommitReport,
    GateStatus,
    HaltsInForce,
    HealthPush,
    LocalStatus,
    MeasureAsked,
    OrderRequest,
    SessionAlive,
    SessionEnded,
    SessionOpened,
    StateArrived,
)
from sidecar.messages.orders import OrderDenied, OrderGranted, ReportRecorded
from sidecar.telemetry.endpoint import health_routes

CALLER_WAITS_S: Final = 2.0
"""How long a caller waits for a report's record; it is kept and repeated without them."""

Call = Request[Any, Any, Any]


_PARTS: Final = "parts"
_TOO_MANY_OPEN: Final = "close one of them, and keep one open rather than opening new ones"


def local_api(parts: Parts, health: list[HTTPRouteHandler]) -> Litestar:
    """The application; `health` are GET /health and GET /metrics."""
    return Litestar(
        [*ROUTES, *health],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        state=State({_PARTS: parts}),
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


_LINES: Final = (HaltsInForce, MeasureAsked, StateArrived, SessionAlive, SessionEnded)


@asgi(
    "/v1/session",
    copy_scope=True,
    opt=described(
        lines=(SessionOpened, GateStatus, *_LINES),
        refuses={429: "TOO_MANY_SESSIONS: they are opened in a ring.", 503: "STOPPING: the sidecar stops."},
    ),
)
async def open_session(scope: Scope, receive: Receive, send: Send) -> None:
    """This run of the component lives for as long as this stream is open."""
    sessions = _parts_for_stream(scope, "a session").sessions
    try:
        await sessions.serve(receive, send)
    except TooManySessions as error:
        raise Refused(429, "TOO_MANY_SESSIONS", str(error), _TOO_MANY_OPEN) from error


@asgi(
    "/v1/events",
    copy_scope=True,
    opt=described(
        lines=(GateStatus, *_LINES),
        refuses={429: "TOO_MANY_STREAMS: too many watch already.", 503: "STOPPING: the sidecar stops."},
    ),
)
async def watch_events(scope: Scope, receive: Receive, send: Send) -> None:
    """What the session is told, for anybody who watches; opens no session and ends none."""
    sessions = _parts_for_stream(scope, "a stream of events").sessions
    try:
        await sessions.watch(receive, send)
    except TooManyStreams as error:
        raise Refused(429, "TOO_MANY_STREAMS", str(error), _TOO_MANY_OPEN) from error


def _parts_for_stream(scope: Scope, what: str) -> Parts:
    if scope.get("method") != "GET":
        raise Refused(405, "NO_SUCH_METHOD", f"{what} is opened with GET", f"use GET {scope['path']}")
    parts: Parts = scope["litestar_app"].state[_PARTS]
    if closed := parts.sessions.closed:
        raise Refused(503, "STOPPING", f"{what} cannot be opened: {closed}", "start the sidecar again")
    return parts


@get("/v1/gate")
async def get_gate(parts: NamedDependency[Parts]) -> GateStatus:
    """The gate in words."""
    return parts.gatekeeper.status()


@get("/v1/status")
async def get_status(parts: NamedDependency[Parts]) -> LocalStatus:
    """The sidecar's view of itself."""
    return parts.status()


@post(
    "/v1/orders",
    status_code=200,
    opt=described(
        takes=OrderRequest,
        refuses={400: "NOT_JSON, WRONG_FIELD: the body is not an order.", 503: "TOO_MANY_ORDERS: they wait already."},
    ),
)
async def ask_order(request: Call, parts: NamedDependency[Parts]) -> OrderGranted | OrderDenied:
    """Phase one."""
    order = await read_body(request, OrderRequest)
    check_order(order)
    try:
        return await parts.desk.ask(order)
    except TooManyOrders as error:
        raise Refused(503, "TOO_MANY_ORDERS", str(error), "wait for answers, or raise orders.in_flight_max") from error


@post(
    "/v1/orders/{cl_ord_id:str}/report",
    status_code=200,
    opt=described(
        takes=CommitReport,
        path={"cl_ord_id": ClOrdID},
        refuses={
            400: "NOT_JSON, WRONG_FIELD: the body is not a report.",
            503: "TOO_MANY_REPORTS: they wait for an arbiter already.",
            504: "NOT_RECORDED_YET: no arbiter has recorded it; it is kept and repeated.",
        },
    ),
)
async def report_order(request: Call, cl_ord_id: FromPath[str], parts: NamedDependency[Parts]) -> ReportRecorded:
    """Phase two."""
    check_cl_ord_id(cl_ord_id)
    report = await read_body(request, CommitReport)
    check_report(report)
    try:
        recorded = parts.reports.keep(report_of(parts.gatekeeper.core.component, cl_ord_id, report))
    except OutboxFull as error:
        raise Refused(503, "TOO_MANY_REPORTS", str(error), "report again when an arbiter answers") from error
    await asyncio.wait({recorded}, timeout=CALLER_WAITS_S)
    if not recorded.done():
        raise Refused(
            504,
            "NOT_RECORDED_YET",
            f"no arbiter recorded the report within {CALLER_WAITS_S:g} s; it is kept and repeated",
            "nothing: do not report again",
        )
    return recorded.result()


@post(
    "/v1/health",
    status_code=200,
    opt=described(
        takes=HealthPush,
        refuses={400: "NOT_JSON, WRONG_FIELD: the body is no health.", 409: "NO_SESSION: no session is open."},
    ),
)
async def push_health(request: Call, parts: NamedDependency[Parts]) -> GateStatus:
    """The component's own word on itself."""
    push = await read_body(request, HealthPush)
    check_health(push)
    if not parts.gatekeeper.core.incarnation:
        raise Refused(409, "NO_SESSION", "no component session is open", "open GET /v1/session first")
    parts.strategies.told(push.strategies)
    parts.health.push(push)
    parts.probes.pushed()
    return parts.gatekeeper.status()


ROUTES: Final[tuple[BaseRouteHandler, ...]] = (
    open_session,
    watch_events,
    get_gate,
    get_status,
    ask_order,
    report_order,
    push_health,
    push_halt,
    answer_measure,
    claim_once,
    report_once,
    put_state,
    get_state,
)
"""All but those for health, which every process has."""


def describe_api() -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    nobody = health_routes("sidecar", lambda: (True, (), {}), CollectorRegistry())
    return openapi((*ROUTES, *nobody))
