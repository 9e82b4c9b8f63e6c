"""The blocking client of the local interface, for components without an event loop.

Owns the same calls as `aio.py`; the session is read by one background thread. It must not retry.
"""

import contextlib
import socket as sockets
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from sidecar.client.errors import OrderRefused, SessionLost, SidecarError, SidecarProblem, SidecarUnreachable
from sidecar.client.protocol import (
    ASKED_MAX,
    BASE_URL,
    CONNECTIONS_MAX,
    KEPT,
    SILENCE_S,
    HandedOver,
    OrderAnswer,
    decode_answer,
    decode_line,
    decode_state,
    headers_of,
    measure_answer,
    measure_path,
    report_path,
    socket_path,
    state_headers,
    state_query,
    sync_lines_of,
    unreachable,
)
from sidecar.gate.reader import GateReader
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.health import HealthStatus
from sidecar.messages.local import (
    CommitReport,
    GateStatus,
    HaltPush,
    HealthPush,
    LocalStatus,
    MeasureAsked,
    OncePush,
    OnceRequest,
    OrderRequest,
    QueueState,
    SessionEnded,
    SessionOpened,
    StateArrived,
    StateKept,
    StrategyState,
)
from sidecar.messages.measures import MeasureOutcome
from sidecar.messages.once import OnceAnswer, OnceRecorded
from sidecar.messages.orders import OrderDenied, OrderGranted, OrdStatus, ReportRecorded

Answer = TypeVar("Answer")


class SidecarSyncClient:
    """As `SidecarClient`, blocking. Safe to use from several threads."""

    def __init__(
        self, socket: str | None = None, timeout_s: float = 3.0, *, url: str | None = None, token: str = ""
    ) -> None:
        self.socket = url or socket_path(socket)
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(
                uds=None if url else self.socket,
                verify=False,  # There is no TLS on a Unix socket; loading the authorities would cost 20 ms.
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX),
            ),
            base_url=url or BASE_URL,
            headers=headers_of(token),
            timeout=timeout_s,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @contextlib.contextmanager
    def session(self) -> "Iterator[SyncSession]":
        """Attach this run of the component for as long as the block lasts; its end closes the gate."""
        timeout = httpx.Timeout(self._timeout_s, read=SILENCE_S)
        with contextlib.ExitStack() as stack:
            try:
                response = stack.enter_context(self._http.stream("GET", "/v1/session", timeout=timeout))
                if response.status_code != 200:
                    decode_answer(response.status_code, response.read(), SessionOpened)
                lines = sync_lines_of(response)
                opened = decode_line(next(lines, b""))
            except httpx.HTTPError as error:
                raise unreachable(self.socket, error) from error
            except msgspec.DecodeError as error:
                raise SidecarUnreachable(f"the session began with a line that is not ours: {error}") from error
            if not isinstance(opened, SessionOpened):
                raise SidecarUnreachable("the session did not begin with session-opened")
            session = SyncSession(opened, GateReader(Path(opened.gate_path)))
            reading = threading.Thread(target=session.follow, args=(lines,), name="sidecar-session", daemon=True)
            reading.start()
            try:
                yield session
            finally:
                _cut(response)  # Wakes the thread, which would else sit in recv until the next line.
                reading.join(timeout=SILENCE_S)

    @contextlib.contextmanager
    def order(self, request: OrderRequest) -> "Iterator[SyncTicket]":
        """As `SidecarClient.order`: a block that ends without a word reports UNKNOWN."""
        answer = self.precommit(request)
        if isinstance(answer, OrderDenied):
            raise OrderRefused(answer)
        ticket = SyncTicket(self, answer)
        try:
            yield ticket
        except BaseException as error:
            if not ticket.told:
                try:
                    ticket.unknown(f"the order block ended by {type(error).__name__}")
                except SidecarError as more:
                    error.add_note(f"the order {ticket.cl_ord_id} could not be reported UNKNOWN: {more}")
            raise
        if not ticket.told:
            ticket.unknown("the order block ended without a report")

    def gate(self) -> GateStatus:
        """The gate in words; to decide, read `SyncSession.gate` instead."""
        return self._call("GET", "/v1/gate", GateStatus)

    def status(self) -> LocalStatus:
        """The sidecar's view of itself."""
        return self._call("GET", "/v1/status", LocalStatus)

    def precommit(self, request: OrderRequest) -> OrderAnswer:
        """Phase one. The order may be sent only after OrderGranted; after an error it must not be."""
        answer: OrderAnswer = self._call("POST", "/v1/orders", OrderGranted | OrderDenied, request)  # type: ignore[arg-type]  # A union is a type to msgspec, not to type[].
        return answer

    def report(self, cl_ord_id: str, report: CommitReport) -> ReportRecorded:
        """Phase two. SidecarProblem with code NOT_RECORDED_YET means: kept, and repeated by the sidecar."""
        return self._call("POST", report_path(cl_ord_id), ReportRecorded, report)

    def claim_once(self, request: OnceRequest) -> OnceAnswer:
        """The bare claim of a side effect; `client.once` is what to use. After an error nothing may be run."""
        return self._call("POST", "/v1/once/claim", OnceAnswer, request)

    def report_once(self, push: OncePush) -> OnceRecorded:
        """What became of a claim. SidecarProblem with code NOT_RECORDED_YET means: kept, and repeated."""
        return self._call("POST", "/v1/once/report", OnceRecorded, push)

    def push_health(
        self,
        *,
        ready: bool = True,
        status: HealthStatus = "HEALTHY",
        reasons: tuple[str, ...] = (),
        metrics: dict[str, float] | None = None,
        errors: int = 0,
        execution_queue: QueueState | None = None,
        strategies: Mapping[str, StrategyState] | None = None,
    ) -> None:
        """The component's own word on itself; an unready one is no candidate for a slot.

        `strategies` are the states that changed; a step that the table of docs/health.md has not halts its strategy.
        """
        push = HealthPush(
            ready=ready,
            status=status,
            reasons=reasons,
            metrics=metrics or {},
            errors=errors,
            execution_queue=execution_queue,
            strategies=dict(strategies or {}),
        )
        self._call("POST", "/v1/health", GateStatus, push)

    def halt(self, reason: str, scopes: tuple[str, ...] = ("all",), level: TradingState = TradingState.HALTED) -> Halt:
        """Raise the level of these scopes; only an operator can lower it again."""
        return self._call("POST", "/v1/halt", Halt, HaltPush(scopes=scopes, reason=reason, level=level))

    def answer_measure(self, asked: MeasureAsked, remaining: Iterable[str] = (), *, failed: str = "") -> MeasureOutcome:
        """As `SidecarClient.answer_measure`."""
        return self._call("POST", measure_path(asked), MeasureOutcome, measure_answer(remaining, failed))

    def put_state(
        self, state: bytes, version: int, slot: str = "", *, replicas: int = 0, wait_ms: int = 1_000
    ) -> StateKept:
        """As `SidecarClient.put_state`."""
        query = state_query(slot, replicas, wait_ms if replicas else None)
        response = self._request("PUT", "/v1/state", state, state_headers(version), query)
        return decode_answer(response.status_code, response.content, StateKept)

    def get_state(self, slot: str = "", *, wait_ms: int = 0) -> HandedOver | None:
        """As `SidecarClient.get_state`."""
        query = state_query(slot, wait_ms=wait_ms or None)
        return decode_state(self._request("GET", "/v1/state", params=query))

    def _call(self, method: str, path: str, wanted: type[Answer], body: msgspec.Struct | None = None) -> Answer:
        content = None if body is None else msgspec.json.encode(body)
        response = self._request(method, path, content)
        return decode_answer(response.status_code, response.content, wanted)

    def _request(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx.Response:
        try:
            return self._http.request(method, path, content=content, headers=headers, params=params)
        except httpx.HTTPError as error:
            raise unreachable(self.socket, error) from error


class SyncSession:
    """An open session. `gate` may be read from any one thread; `status` is the last word of the sidecar."""

    def __init__(self, opened: SessionOpened, gate: GateReader) -> None:
        self.component = opened.component
        self.incarnation = opened.incarnation
        self.gate = gate
        self.status: GateStatus | None = None
        self.lost = ""
        self._news = threading.Condition()
        self._asked: deque[MeasureAsked] = deque(maxlen=ASKED_MAX)
        self._arrived: dict[str, StateArrived] = {}

    def next_state(self, timeout_s: float | None = None) -> StateArrived | None:
        """The next state that arrived here from the active, None after `timeout_s` without one; raises SessionLost.

        Of each slot only the newest is kept; `SidecarSyncClient.get_state` reads it.
        """
        with self._news:
            self._news.wait_for(lambda: self.lost or self._arrived, timeout_s)
            if self._arrived:
                return self._arrived.pop(next(iter(self._arrived)))
            if self.lost:
                raise SessionLost(self.lost)
            return None

    def next_measure(self, timeout_s: float | None = None) -> MeasureAsked | None:
        """The next measure that a halt asks for, None after `timeout_s` without one; raises SessionLost.

        Answer with `SidecarSyncClient.answer_measure`; it is asked again until that says that nothing remains.
        """
        with self._news:
            self._news.wait_for(lambda: self.lost or self._asked, timeout_s)
            if self._asked:
                return self._asked.popleft()
            if self.lost:
                raise SessionLost(self.lost)
            return None

    def until_open(self, timeout_s: float | None = None) -> GateStatus:
        """Wait for the gate to open; raises SessionLost, or TimeoutError after `timeout_s`."""
        with self._news:
            if not self._news.wait_for(lambda: self.lost or (self.status and self.status.open), timeout_s):
                raise TimeoutError(f"the gate did not open within {timeout_s} s")
            if self.lost or self.status is None:
                raise SessionLost(self.lost)
            return self.status

    def follow(self, lines: Iterator[bytes]) -> None:
        """Read the stream to its end; run by the client in a thread."""
        reason = "the sidecar closed the stream"
        try:
            for line in lines:
                message = decode_line(line)
                if isinstance(message, SessionEnded):
                    reason = message.reason
                if isinstance(message, MeasureAsked):
                    with self._news:
                        self._asked.append(message)
                        self._news.notify_all()
                if isinstance(message, StateArrived):
                    with self._news:
                        self._arrived[message.slot] = message
                        self._news.notify_all()
                if isinstance(message, GateStatus):
                    with self._news:
                        self.status = message
                        self._news.notify_all()
        except (httpx.HTTPError, httpx.StreamError, msgspec.DecodeError) as error:
            reason = f"the sidecar is gone: {error or type(error).__name__}"
        with self._news:
            self.lost = reason
            self._news.notify_all()


class SyncTicket:
    """A granted order inside its block; say once what became of it."""

    def __init__(self, client: SidecarSyncClient, granted: OrderGranted) -> None:
        self.cl_ord_id = granted.cl_ord_id
        self.granted = granted
        self.told = False
        self._client = client

    def committed(self, order_id: str, ord_status: OrdStatus = "NEW") -> ReportRecorded:
        """It was sent, and the venue answered with this OrderID and OrdStatus."""
        return self._tell(CommitReport(outcome="committed", order_id=order_id, ord_status=ord_status))

    def not_sent(self, reason: str) -> ReportRecorded:
        """It certainly never left this process."""
        return self._tell(CommitReport(outcome="aborted", reason=reason))

    def unknown(self, reason: str) -> ReportRecorded:
        """It may or may not have reached the venue; evidence will decide."""
        return self._tell(CommitReport(outcome="unknown", reason=reason))

    def _tell(self, report: CommitReport) -> ReportRecorded:
        try:
            recorded = self._client.report(self.cl_ord_id, report)
        except SidecarProblem as problem:
            self.told = self.told or problem.code == KEPT
            raise
        self.told = True
        return recorded


def _cut(response: httpx.Response) -> None:
    stream = response.extensions.get("network_stream")
    raw = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(raw, sockets.socket):
        with contextlib.suppress(OSError):
            raw.shutdown(sockets.SHUT_RDWR)
