"""The async client of the local interface.

Owns the calls and the order block. It must not retry: what was asked and not answered was not granted, and a report
that was kept is repeated by the sidecar itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec

from sidecar.client.errors import OrderRefused, SidecarError, SidecarProblem, SidecarUnreachable
from sidecar.client.protocol import (
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
    lines_of,
    measure_answer,
    measure_path,
    report_path,
    socket_path,
    state_headers,
    state_query,
    unreachable,
)
from sidecar.client.session import Session
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
    SessionOpened,
    StateKept,
    StrategyState,
)
from sidecar.messages.measures import MeasureOutcome
from sidecar.messages.once import OnceAnswer, OnceRecorded
from sidecar.messages.orders import OrderDenied, OrderGranted, OrdStatus, ReportRecorded

Answer = TypeVar("Answer")


class SidecarClient:
    """One component's client. `socket` defaults to the environment variable SIDECAR_SOCKET.

    `timeout_s` bounds each call; keep it above the sidecar's `orders.precommit_timeout_ms`. Every call raises
    SidecarUnreachable when there is no answer and SidecarProblem when the answer is an error. Where the sidecar listens
    on loopback TCP, `url` (`http://127.0.0.1:PORT`) and `token` reach it without the socket.
    """

    def __init__(
        self, socket: str | None = None, timeout_s: float = 3.0, *, url: str | None = None, token: str = ""
    ) -> None:
        self.socket = url or socket_path(socket)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=None if url else self.socket,
                verify=False,  # There is no TLS on a Unix socket; loading the authorities would cost 20 ms.
                limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX),
            ),
            base_url=url or BASE_URL,
            headers=headers_of(token),
            timeout=timeout_s,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a session that is still open ends."""
        await self._http.aclose()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Attach this run of the component for as long as the block lasts; its end closes the gate.

        Raises SidecarUnreachable or SidecarProblem on entering.
        """
        timeout = httpx.Timeout(self._timeout_s, read=SILENCE_S)
        async with contextlib.AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(self._http.stream("GET", "/v1/session", timeout=timeout))
                if response.status_code != 200:
                    decode_answer(response.status_code, await response.aread(), SessionOpened)
                lines = lines_of(response)
                opened = decode_line(await anext(lines, b""))
            except httpx.HTTPError as error:
                raise unreachable(self.socket, error) from error
            except msgspec.DecodeError as error:
                raise SidecarUnreachable(f"the session began with a line that is not ours: {error}") from error
            if not isinstance(opened, SessionOpened):
                raise SidecarUnreachable("the session did not begin with session-opened")
            session = Session(opened, GateReader(Path(opened.gate_path)))
            reading = asyncio.create_task(session.follow(lines), name="sidecar-session")
            try:
                yield session
            finally:
                reading.cancel()
                await asyncio.wait({reading})

    @contextlib.asynccontextmanager
    async def order(self, request: OrderRequest) -> AsyncIterator["Ticket"]:
        """Pre-commit `request`; send it inside the block and say what happened on the ticket.

        Raises OrderRefused when it is DENIED. A block that ends without a word, by an exception or not, reports
        UNKNOWN: only `Ticket.not_sent` says that the order never left.
        """
        answer = await self.precommit(request)
        if isinstance(answer, OrderDenied):
            raise OrderRefused(answer)
        ticket = Ticket(self, answer)
        try:
            yield ticket
        except BaseException as error:
            if not ticket.told:
                try:
                    await ticket.unknown(f"the order block ended by {type(error).__name__}")
                except SidecarError as more:
                    error.add_note(f"the order {ticket.cl_ord_id} could not be reported UNKNOWN: {more}")
            raise
        if not ticket.told:
            await ticket.unknown("the order block ended without a report")

    async def gate(self) -> GateStatus:
        """The gate in words; to decide, read `Session.gate` instead."""
        return await self._call("GET", "/v1/gate", GateStatus)

    async def status(self) -> LocalStatus:
        """The sidecar's view of itself."""
        return await self._call("GET", "/v1/status", LocalStatus)

    async def precommit(self, request: OrderRequest) -> OrderAnswer:
        """Phase one. The order may be sent only after OrderGranted; after an error it must not be."""
        answer: OrderAnswer = await self._call("POST", "/v1/orders", OrderGranted | OrderDenied, request)  # type: ignore[arg-type]  # A union is a type to msgspec, not to type[].
        return answer

    async def report(self, cl_ord_id: str, report: CommitReport) -> ReportRecorded:
        """Phase two. SidecarProblem with code NOT_RECORDED_YET means: kept, and repeated by the sidecar."""
        return await self._call("POST", report_path(cl_ord_id), ReportRecorded, report)

    async def claim_once(self, request: OnceRequest) -> OnceAnswer:
        """The bare claim of a side effect; `client.once` is what to use. After an error nothing may be run."""
        return await self._call("POST", "/v1/once/claim", OnceAnswer, request)

    async def report_once(self, push: OncePush) -> OnceRecorded:
        """What became of a claim. SidecarProblem with code NOT_RECORDED_YET means: kept, and repeated."""
        return await self._call("POST", "/v1/once/report", OnceRecorded, push)

    async def push_health(
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
        await self._call("POST", "/v1/health", GateStatus, push)

    async def halt(
        self, reason: str, scopes: tuple[str, ...] = ("all",), level: TradingState = TradingState.HALTED
    ) -> Halt:
        """Raise the level of these scopes; only an operator can lower it again."""
        return await self._call("POST", "/v1/halt", Halt, HaltPush(scopes=scopes, reason=reason, level=level))

    async def answer_measure(
        self, asked: MeasureAsked, remaining: Iterable[str] = (), *, failed: str = ""
    ) -> MeasureOutcome:
        """What came of a measure: done, unless something remains or `failed` says why it did not work.

        It is asked again until it is done.
        """
        return await self._call("POST", measure_path(asked), MeasureOutcome, measure_answer(remaining, failed))

    async def put_state(
        self, state: bytes, version: int, slot: str = "", *, replicas: int = 0, wait_ms: int = 1_000
    ) -> StateKept:
        """Hand over what the next to hold `slot` shall begin with; on this host's disk when it returns.

        Versions only grow. `slot` may be left out by a component that holds one. With `replicas` it is on so many
        standbys' disks too, or after `wait_ms` (less than `timeout_s`) SidecarProblem has code NOT_REPLICATED: it goes
        on being sent. Other codes: NOT_ACTIVE, STALE_VERSION, TOO_LARGE, NOT_KEPT.
        """
        query = state_query(slot, replicas, wait_ms if replicas else None)
        response = await self._request("PUT", "/v1/state", state, state_headers(version), query)
        return decode_answer(response.status_code, response.content, StateKept)

    async def get_state(self, slot: str = "", *, wait_ms: int = 0) -> HandedOver | None:
        """The newest state of the slot that is known here; None when there is none.

        A component that was promoted calls it before it acts, with `wait_ms` for what is known to be the last one.
        """
        query = state_query(slot, wait_ms=wait_ms or None)
        return decode_state(await self._request("GET", "/v1/state", params=query))

    async def _call(self, method: str, path: str, wanted: type[Answer], body: msgspec.Struct | None = None) -> Answer:
        content = None if body is None else msgspec.json.encode(body)
        response = await self._request(method, path, content)
        return decode_answer(response.status_code, response.content, wanted)

    async def _request(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx.Response:
        try:
            return await self._http.request(method, path, content=content, headers=headers, params=params)
        except httpx.HTTPError as error:
            raise unreachable(self.socket, error) from error


class Ticket:
    """A granted order inside its block; say once what became of it."""

    def __init__(self, client: SidecarClient, granted: OrderGranted) -> None:
        self.cl_ord_id = granted.cl_ord_id
        self.granted = granted
        self.told = False
        self._client = client

    async def committed(self, order_id: str, ord_status: OrdStatus = "NEW") -> ReportRecorded:
        """It was sent, and the venue answered with this OrderID and OrdStatus."""
        return await self._tell(CommitReport(outcome="committed", order_id=order_id, ord_status=ord_status))

    async def not_sent(self, reason: str) -> ReportRecorded:
        """It certainly never left this process."""
        return await self._tell(CommitReport(outcome="aborted", reason=reason))

    async def unknown(self, reason: str) -> ReportRecorded:
        """It may or may not have reached the venue; evidence will decide."""
        return await self._tell(CommitReport(outcome="unknown", reason=reason))

    async def _tell(self, report: CommitReport) -> ReportRecorded:
        try:
            recorded = await self._client.report(self.cl_ord_id, report)
        except SidecarProblem as problem:
            self.told = self.told or problem.code == KEPT
            raise
        self.told = True
        return recorded
