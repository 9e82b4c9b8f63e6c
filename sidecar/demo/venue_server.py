"""The simulated venue: order entry, queries and audit over TCP, and a drop copy over the broker.

Owns the sessions, the clockwork of fills and delays, and the audit of what arrived when. The book is the truth
(`venue_book.py`), the behaviour is decided elsewhere (`venue_behaviour.py`). It must not know arbiters or gates: a real
venue does not. The lines are those of `messages/venue.py`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from sidecar import __version__
from sidecar.broker.interface import Broker
from sidecar.demo.drop_copies import DropCopies
from sidecar.demo.venue_behaviour import Behaviour, Fate, Plan, plan_order, refuses_cancel
from sidecar.demo.venue_book import Book, Request
from sidecar.demo.venue_quirks import STEP_MS, Step, after_cancel, course
from sidecar.messages.orders import ExecutionReport
from sidecar.messages.venue import (
    AUDIT_PAGE_MAX,
    VENUE_LINE_BYTES_MAX,
    AuditEntry,
    AuditPage,
    AuditQuery,
    CancelAllAfter,
    CancelOrder,
    Executed,
    Instruct,
    Instructed,
    LoggedOn,
    Logon,
    MassCancel,
    NewOrder,
    OrderFound,
    OrderNotFound,
    OrderQuery,
    Quirk,
    Refused,
    ReplaceOrder,
    TimerSet,
    VenueAnswer,
    VenueRequest,
)
from sidecar.telemetry.endpoint import HealthEndpoint
from sidecar.telemetry.metrics import VenueMetrics

SESSIONS_MAX: Final = 256
UNREAD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Answers a peer may leave unread before its connection is cut. Raising it lets a slow peer hold more memory."""
AUDIT_MAX: Final = 200_000
"""Orders whose arrival is remembered; a venue that has seen more is busy for ever."""
QUIRKS_MAX: Final = 10_000
"""Orders that are to be treated in a way of their own."""
DEAD_MEN_MAX: Final = 1_000
"""Accounts with a cancel-all-after timer."""
DRAIN_S: Final = 3.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOptions:
    """Where it listens and how it behaves. `telemetry_port` None serves no health endpoint, 0 takes a free port."""

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    behaviour: Behaviour = field(default_factory=Behaviour)
    telemetry_host: str = "127.0.0.1"
    telemetry_port: int | None = None


@dataclass(slots=True, eq=False)
class _Session:
    """One connection. It is an order entry session once `logon` is set."""

    writer: asyncio.StreamWriter
    logon: Logon | None = None

    def send(self, answer: VenueAnswer) -> None:
        """Never waits: the venue's clock must not depend on a peer that does not read."""
        if self.writer.is_closing():
            return
        self.writer.write(msgspec.json.encode(answer) + b"\n")
        if self.writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            _log.warning("a peer does not read its answers; its connection is cut")
            self.writer.transport.abort()


class Venue:
    """The venue of `options.name`. `run` serves until `stop`; the broker is started and closed by it."""

    def __init__(self, options: VenueOptions, broker: Broker) -> None:
        self._options = options
        self._broker = broker
        self._metrics = VenueMetrics(__version__)
        self._metrics.broker_connected.set_function(lambda: not broker.trouble)
        self._book = Book(options.name)
        self._copies = DropCopies(options.name, broker, self._metrics)
        self._audit: list[AuditEntry] = []
        self._quirks: dict[str, Quirk] = {}
        self._sessions: dict[_Session, asyncio.Task[None]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._dead_men: dict[str, asyncio.TimerHandle] = {}
        self._decoder = msgspec.json.Decoder(VenueRequest)
        self._stopping = asyncio.Event()
        self.listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves to the port once sessions are taken."""

    async def run(self) -> None:
        """Serve until `stop`; then give the drop copies a bounded time to be confirmed."""
        await self._broker.start()
        endpoint = HealthEndpoint("venue", self._health, self._metrics.registry)
        copying = asyncio.create_task(self._copies.run(), name="drop-copies")
        server = await asyncio.start_server(
            self._serve, self._options.host, self._options.port, limit=VENUE_LINE_BYTES_MAX
        )
        try:
            if self._options.telemetry_port is not None:
                port = await endpoint.start(self._options.telemetry_host, self._options.telemetry_port)
                _log.info("health endpoint", port=port)
            self.listening.set_result(server.sockets[0].getsockname()[1])
            _log.info("venue takes orders", venue=self._options.name, port=self.listening.result())
            await self._stopping.wait()
            await self._copies.drain(DRAIN_S)
        finally:
            server.close()
            if self._timers:
                _log.warning("stopped before everything was told", pending=len(self._timers))
            for timer in (*self._timers, *self._dead_men.values()):
                timer.cancel()
            for session in list(self._sessions):
                session.writer.transport.abort()
            await asyncio.gather(*self._sessions.values(), return_exceptions=True)
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)
            await endpoint.stop()
            await self._broker.close()

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def _health(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        reasons = [self._broker.trouble] if self._broker.trouble else []
        if self._copies.busy:
            reasons.append(f"{self._copies.waiting} drop copies wait for the broker; no orders are taken")
        return not reasons, tuple(reasons), {"orders": len(self._audit), "drop_copies_waiting": self._copies.waiting}

    # --- sessions ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(writer)
        task = asyncio.current_task()
        if task is None or len(self._sessions) >= SESSIONS_MAX:
            writer.transport.abort()
            return
        self._sessions[session] = task
        try:
            while line := await reader.readline():
                request = self._decoder.decode(line)
                self._handle(session, request, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        except (msgspec.DecodeError, ValueError) as error:  # ValueError: the line is longer than the limit.
            session.send(Refused(code="BAD_LINE", text=str(error)[:200]))
        except ConnectionError:
            pass
        finally:
            del self._sessions[session]
            writer.close()

    def _handle(self, session: _Session, request: VenueRequest, received_ns: int) -> None:
        match request:
            case Logon():
                session.logon = request
                session.send(LoggedOn(venue=self._options.name))
            case NewOrder() | CancelOrder() | ReplaceOrder() | MassCancel():
                self._order(session, request, received_ns)
            case Instruct(cl_ord_id=cl_ord_id, quirk=quirk) if len(self._quirks) < QUIRKS_MAX:
                self._quirks[cl_ord_id] = quirk
                session.send(Instructed(cl_ord_id=cl_ord_id))
            case Instruct(cl_ord_id=cl_ord_id):
                session.send(Refused(cl_ord_id=cl_ord_id, code="BUSY", text="too many orders are to be treated so"))
            case OrderQuery(query_id=query_id, cl_ord_id=cl_ord_id):
                reports = self._book.reports(cl_ord_id)
                if reports:
                    session.send(OrderFound(query_id=query_id, cl_ord_id=cl_ord_id, reports=reports))
                else:
                    session.send(OrderNotFound(query_id=query_id, cl_ord_id=cl_ord_id))
            case CancelAllAfter():
                session.send(self._dead_man(request))
            case AuditQuery(start=start):
                first = max(0, start)
                session.send(AuditPage(entries=tuple(self._audit[first : first + AUDIT_PAGE_MAX])))

    def _dead_man(self, request: CancelAllAfter) -> VenueAnswer:
        """Set an account's timer anew; the one before is off."""
        known = self._dead_men.pop(request.account, None)
        if known is not None:
            known.cancel()
        if request.after_ms > 0:
            if len(self._dead_men) >= DEAD_MEN_MAX:
                return Refused(code="BUSY", text="too many accounts have timers")
            call = partial(self._dead_man_fires, request.account)
            self._dead_men[request.account] = asyncio.get_running_loop().call_later(request.after_ms / 1000, call)
        return TimerSet(query_id=request.query_id, after_ms=request.after_ms)

    def _dead_man_fires(self, account: str) -> None:
        del self._dead_men[account]
        reports = self._book.cancel_account(account)
        _log.warning("nobody renewed the timer: orders are cancelled", account=account, count=len(reports))
        for report in reports:
            self._copies.add(report)

    def _order(self, session: _Session, request: Request, received_ns: int) -> None:
        refusal = self._refusal(session, request)
        if refusal is not None:
            session.send(refusal)
            return
        self._metrics.orders_received.inc()
        self._note(session, request, received_ns)
        if not isinstance(request, NewOrder):
            self._change(session, request)
            return
        quirk = self._quirks.get(request.cl_ord_id)
        if quirk is not None:
            self._follow(session, course(quirk, request, self._book))
            return
        plan = plan_order(request.cl_ord_id, request.qty, self._options.behaviour)
        if plan.fate is not Fate.LOST:
            self._execute(session, request, plan)

    def _change(self, session: _Session, request: CancelOrder | ReplaceOrder | MassCancel) -> None:
        match request:
            case CancelOrder(orig_cl_ord_id=target):
                refused = refuses_cancel(target, self._options.behaviour)
                reports = self._book.refuse_cancel(request) if refused else self._book.cancel(request)
                self._follow(session, after_cancel(self._quirks.get(target), target, self._book), STEP_MS)
            case ReplaceOrder():
                reports = self._book.replace(request)
            case MassCancel():
                reports = self._book.mass_cancel(request)
        for report in reports:
            self._tell(session, report)

    def _follow(self, session: _Session, steps: list[Step], after_ms: int = 0) -> None:
        """Take the steps of a quirk, one each STEP_MS."""

        def take(step: Step) -> None:
            for told in step():
                if told.session:
                    session.send(Executed(report=told.report))
                if told.copy:
                    self._copies.add(told.report)

        for number, step in enumerate(steps):
            delay_ms = after_ms + number * STEP_MS
            if delay_ms:
                self._later(delay_ms, partial(take, step))
            else:
                take(step)

    def _refusal(self, session: _Session, request: Request) -> Refused | None:
        cl_ord_id = request.cl_ord_id
        if session.logon is None:
            return Refused(cl_ord_id=cl_ord_id, code="NO_LOGON", text="log on before sending orders")
        if self._book.knows(cl_ord_id):
            return Refused(cl_ord_id=cl_ord_id, code="DUPLICATE", text="this ClOrdID was received before")
        if self._book.full or self._copies.busy or len(self._audit) >= AUDIT_MAX:
            return Refused(cl_ord_id=cl_ord_id, code="BUSY", text="the venue takes no orders right now")
        if not isinstance(request, MassCancel) and (request.qty <= 0 or not request.qty.is_finite()):
            return Refused(cl_ord_id=cl_ord_id, code="BAD_QTY", text="the quantity must be positive")
        return None

    # --- executions ---

    def _execute(self, session: _Session, order: NewOrder, plan: Plan) -> None:
        if plan.fate is Fate.REJECTED:
            self._tell(session, self._book.reject(order))
            return
        self._tell_later(session, self._book.accept(order), plan.report_delay_ms)
        for after_ms, qty in plan.fills:
            self._later(after_ms, partial(self._fill, session, order, qty, plan.report_delay_ms))

    def _fill(self, session: _Session, order: NewOrder, qty: Decimal, delay_ms: int) -> None:
        report = self._book.fill(order.cl_ord_id, qty)
        if report is not None:
            self._tell_later(session, report, delay_ms)

    def _tell_later(self, session: _Session, report: ExecutionReport, delay_ms: int) -> None:
        if delay_ms:
            self._later(delay_ms, partial(self._tell, session, report))
        else:
            self._tell(session, report)

    def _tell(self, session: _Session, report: ExecutionReport) -> None:
        session.send(Executed(report=report))
        self._copies.add(report)

    def _later(self, after_ms: int, call: Callable[[], None]) -> None:
        """Bounded by the book: each order has at most a handful of timers."""

        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(after_ms / 1000, run)
        self._timers.add(timer)

    def _note(self, session: _Session, request: Request, received_ns: int) -> None:
        logon = session.logon
        self._audit.append(
            AuditEntry(
                received_ns=received_ns,
                component=logon.component if logon else "",
                run=logon.run if logon else "",
                account=request.account,
                token=request.token,
                cl_ord_id=request.cl_ord_id,
            )
        )
