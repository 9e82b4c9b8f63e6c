"""The local interface: what a component in any language asks of its sidecar, HTTP on a Unix socket.

Owns the routes and the waits of their callers. It must not decide: it hands each request to the part that does, and
their words back. docs/local-interface.md describes it for users.
"""

import asyncio
import time
import uuid
from typing import Any, Final

from litestar import Litestar, Request, asgi, get, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send

from sidecar.agent.bodies import check_cl_ord_id, check_health, check_order, check_report, read_body
from sidecar.agent.clock import boottime_ns
from sidecar.agent.orders import TooManyOrders
from sidecar.agent.parts import Parts
from sidecar.agent.postbox import Postbox
from sidecar.agent.problems import BODY_BYTES_MAX, EXCEPTION_HANDLERS, Refused
from sidecar.agent.reports import OutboxFull, Report
from sidecar.agent.sessions import Sessions
from sidecar.broker.interface import BrokerAway, BrokerError
from sidecar.broker.topology import COMMANDS, CONTROL
from sidecar.core.ladder import halt_problem
from sidecar.messages.control import Halt
from sidecar.messages.local import (
    CommitReport,
    GateStatus,
    HaltPush,
    HealthPush,
    LocalStatus,
    OrderRequest,
)
from sidecar.messages.orders import (
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderUnknown,
    ReportRecorded,
)

CALLER_WAITS_S: Final = 2.0
"""How long a caller waits for a report's record or a halt's confirm; what it waited for goes on without it."""

Call = Request[Any, Any, Any]


def local_api(parts: Parts, health_routes: list[HTTPRouteHandler]) -> Litestar:
    """The application; `health_routes` are GET /health and GET /metrics."""
    handlers = [get_gate, get_status, ask_order, report_order, push_health, push_halt, _session_route(parts.sessions)]
    return Litestar(
        [*handlers, *health_routes],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


def _session_route(sessions: Sessions) -> Any:
    @asgi("/v1/session", copy_scope=True)
    async def session(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "GET":
            raise Refused(405, "NO_SUCH_METHOD", "a session is opened with GET", "use GET /v1/session")
        if sessions.closed:
            raise Refused(503, "STOPPING", f"no session can be opened: {sessions.closed}", "start the sidecar again")
        await sessions.serve(receive, send)

    return session


@get("/v1/gate")
async def get_gate(parts: NamedDependency[Parts]) -> GateStatus:
    """The gate in words."""
    return parts.gatekeeper.status()


@get("/v1/status")
async def get_status(parts: NamedDependency[Parts]) -> LocalStatus:
    """The sidecar's view of itself."""
    return parts.status()


@post("/v1/orders", status_code=200)
async def ask_order(request: Call, parts: NamedDependency[Parts]) -> OrderGranted | OrderDenied:
    """Phase one."""
    order = await read_body(request, OrderRequest)
    check_order(order)
    try:
        return await parts.desk.ask(order)
    except TooManyOrders as error:
        raise Refused(503, "TOO_MANY_ORDERS", str(error), "wait for answers, or raise orders.in_flight_max") from error


@post("/v1/orders/{cl_ord_id:str}/report", status_code=200)
async def report_order(request: Call, cl_ord_id: FromPath[str], parts: NamedDependency[Parts]) -> ReportRecorded:
    """Phase two."""
    check_cl_ord_id(cl_ord_id)
    report = await read_body(request, CommitReport)
    check_report(report)
    try:
        recorded = parts.reports.keep(_report(parts.gatekeeper.core.component, cl_ord_id, report))
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


@post("/v1/health", status_code=200)
async def push_health(request: Call, parts: NamedDependency[Parts]) -> GateStatus:
    """The component's own word on itself."""
    push = await read_body(request, HealthPush)
    check_health(push)
    if not parts.gatekeeper.core.incarnation:
        raise Refused(409, "NO_SESSION", "no component session is open", "open GET /v1/session first")
    parts.health.push(push)
    parts.probes.pushed()
    return parts.gatekeeper.status()


@post("/v1/halt", status_code=200)
async def push_halt(request: Call, parts: NamedDependency[Parts]) -> Halt:
    """Stop ourselves or others: our own gate first, then everybody's."""
    push = await read_body(request, HaltPush)
    core = parts.gatekeeper.core
    halt = Halt(
        halt_id=f"{core.component}-{uuid.uuid4().hex[:12]}",
        scopes=push.scopes,
        level=push.level,
        reason=push.reason,
        actor=core.component,
        issued_ns=time.time_ns(),
    )
    if problem := halt_problem(halt):
        raise Refused(400, "WRONG_FIELD", problem, "correct the halt")
    parts.gatekeeper.do(core.on_halt(halt, boottime_ns()))
    await _publish_halt(parts.postbox, halt)
    return halt


async def _publish_halt(postbox: Postbox, halt: Halt) -> None:
    """To every sidecar and to the arbiters. Unpublished, it is latched here and travels with each heartbeat."""
    try:
        places = ((CONTROL, ""), (COMMANDS, "halt"))
        sent = [postbox.submit(exchange, key, halt, answered=False) for exchange, key in places]
        async with asyncio.timeout(CALLER_WAITS_S):
            await asyncio.gather(*sent)
    except (BrokerError, TimeoutError) as error:
        what = "nothing was sent" if isinstance(error, BrokerAway) else "the broker did not confirm it"
        raise Refused(
            504,
            "NOT_PUBLISHED",
            f"halt {halt.halt_id} is in force here, but {what}: other sidecars may not know it yet",
            "stop the others by other means; the arbiters learn it from our next heartbeat that arrives",
        ) from error


def _report(component: str, cl_ord_id: str, report: CommitReport) -> Report:
    match report.outcome:
        case "committed":
            return OrderCommitted(
                component=component, cl_ord_id=cl_ord_id, order_id=report.order_id, ord_status=report.ord_status
            )
        case "aborted":
            return OrderAborted(component=component, cl_ord_id=cl_ord_id, reason=report.reason)
        case "unknown":
            return OrderUnknown(component=component, cl_ord_id=cl_ord_id, reason=report.reason)
