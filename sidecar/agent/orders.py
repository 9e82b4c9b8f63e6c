"""Phase one of an order: the question to the arbiter and the wait for its answer.

Owns the intents that are under way and what became of late answers. It must not decide what an arbiter decides; the
core's own denial comes first and last, so that a halt that arrives during the wait still stops the order.

Each ClOrdID is passed on as granted at most once. A grant that comes after we gave up was never passed on, so the
order was never sent: it is reported aborted.
"""

import asyncio
from collections import OrderedDict
from typing import Final

import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.postbox import Postbox
from sidecar.agent.reports import OutboxFull, ReportOutbox
from sidecar.broker.topology import ORDERS
from sidecar.config.models import OrderSettings
from sidecar.core.sidecar import Denial, Sidecar
from sidecar.messages.local import OrderRequest
from sidecar.messages.orders import OrderAborted, OrderDenied, OrderGranted, OrderIntent
from sidecar.telemetry.metrics import OTHER, BoundedCounter, SidecarMetrics

REMEMBERED_MAX: Final = 100_000
"""ClOrdIDs remembered as settled or given up. Higher recognises older repetitions, at about 200 bytes each."""
ATTEMPTS: Final = 2
"""The intent is sent again halfway through the wait; the arbiter answers a repetition as it answered the first."""
DENIAL_CODES: Final = (
    "NO_SESSION", "NO_LEASE", "NO_SLOT", "REDUCING", "CANCEL_ONLY", "HALTED",
    "NO_ANSWER", "NO_BROKER", "DUPLICATE", "SESSION_CHANGED", "STALE_TOKEN", "CAPACITY", "NO_ORIGINAL",
    "REPLACE_PENDING", "LIMIT_QTY", "LIMIT_NOTIONAL", "LIMIT_COLLAR", "LIMIT_POSITION", "LIMIT_EXPOSURE",
    "LIMIT_OPEN_ORDERS", "LIMIT_RATE", "LIMIT_LOSS", "LIMIT_DUPLICATE", "LIMIT_SELF_TRADE", "NO_REFERENCE",
    "PREDECESSOR", OTHER,
)  # fmt: skip

Answer = OrderGranted | OrderDenied


class TooManyOrders(Exception):
    """The component asks for more orders at once than `orders.in_flight_max`."""


class OrderDesk:
    """Asks for one component's orders."""

    def __init__(
        self, core: Sidecar, postbox: Postbox, reports: ReportOutbox, settings: OrderSettings, metrics: SidecarMetrics
    ) -> None:
        self._core = core
        self._postbox = postbox
        self._reports = reports
        self._attempt_s = settings.precommit_timeout_ms / 1000 / ATTEMPTS
        self._in_flight_max = settings.in_flight_max
        self._metrics = metrics
        self._denials = BoundedCounter(
            "sidecar_orders_denied", "Orders refused, by code.", "code", DENIAL_CODES, metrics.registry
        )
        self._waiting: dict[str, asyncio.Future[Answer | None]] = {}
        self._settled = _Remembered()
        self._given_up = _Remembered()
        self._log = structlog.get_logger(__name__)

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, request: OrderRequest) -> Answer:
        """The grant or the denial; waits at most `orders.precommit_timeout_ms`. Raises TooManyOrders."""
        denial = self._core.deny(request, boottime_ns()) or self._repetition(request.cl_ord_id)
        intent = self._core.intent(request) if denial is None else None
        if denial is not None or intent is None:
            return self._denied(request, denial or Denial("NO_SLOT", "the slot was lost: ask again"))
        if len(self._waiting) >= self._in_flight_max:
            raise TooManyOrders(f"{self._in_flight_max} orders wait for a grant already")
        answer = await self._exchange(intent)
        match answer:
            case Denial():
                return self._denied(request, answer)
            case OrderDenied():
                self._denied(request, Denial(answer.code, answer.text), answer.arbiter)
                return answer  # With its numbers, where a limit denies.
        return self._pass_on(request, intent, answer)

    def on_answer(self, answer: Answer) -> None:
        """The arbiter's answer; one that nobody waits for any more is aborted if it is a grant."""
        waiting = self._waiting.get(answer.cl_ord_id)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(answer)
            return
        if isinstance(answer, OrderGranted) and self._given_up.forget(answer.cl_ord_id):
            self._settled.add(answer.cl_ord_id)  # Spent all the same: it is never asked for again.
            self._abort(answer.cl_ord_id, "granted too late, never passed on")

    def _repetition(self, cl_ord_id: str) -> Denial | None:
        if cl_ord_id in self._waiting or cl_ord_id in self._settled or cl_ord_id in self._given_up:
            return Denial("DUPLICATE", f"ClOrdID {cl_ord_id!r} was asked for before: take a new one for a new order")
        return None

    async def _exchange(self, intent: OrderIntent) -> Answer | Denial:
        if not self._send(intent):
            return Denial("NO_BROKER", f"the broker is away, nothing was sent: {self._postbox.trouble}")
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Answer | None] = loop.create_future()
        self._waiting[intent.cl_ord_id] = waiting
        attempts = [loop.call_later(self._attempt_s * each, self._send, intent) for each in range(1, ATTEMPTS)]
        end = loop.call_later(self._attempt_s * ATTEMPTS, _give_up, waiting)
        try:
            answer = await waiting
        finally:
            # Also when the caller went away: nobody will hear a grant that comes from now on.
            for timer in (*attempts, end):
                timer.cancel()
            del self._waiting[intent.cl_ord_id]
            if not waiting.done() or waiting.cancelled() or waiting.result() is None:
                self._given_up.add(intent.cl_ord_id)
        return answer or Denial("NO_ANSWER", "no arbiter answered in time: the order must not be sent")

    def _send(self, intent: OrderIntent) -> bool:
        return self._postbox.ask(ORDERS, f"intent.{intent.component}", intent, correlation_id=intent.cl_ord_id)

    def _pass_on(self, request: OrderRequest, intent: OrderIntent, granted: OrderGranted) -> Answer:
        """The last look before the component is told: what was true at the question may not be any more."""
        denial = self._core.recheck(request, intent, boottime_ns())
        self._settled.add(request.cl_ord_id)
        if denial is not None:
            self._abort(request.cl_ord_id, f"granted, but not passed on: {denial.code}")
            return self._denied(request, denial)
        self._metrics.orders.inc("PRECOMMITTED")
        return granted

    def _denied(self, request: OrderRequest, denial: Denial, arbiter: str = "") -> OrderDenied:
        self._metrics.orders.inc("DENIED")
        self._denials.inc(denial.code)
        self._log.info(
            "an order was denied",
            cl_ord_id=request.cl_ord_id,
            code=denial.code,
            reason=denial.text,
            by=arbiter or "sidecar",
        )
        return OrderDenied(arbiter=arbiter, cl_ord_id=request.cl_ord_id, code=denial.code, text=denial.text)

    def _abort(self, cl_ord_id: str, reason: str) -> None:
        self._log.warning("a grant was not passed on", cl_ord_id=cl_ord_id, reason=reason)
        try:
            self._reports.keep(OrderAborted(component=self._core.component, cl_ord_id=cl_ord_id, reason=reason))
        except OutboxFull as error:
            self._log.error("an abort could not be reported", cl_ord_id=cl_ord_id, error=str(error))


def _give_up(waiting: "asyncio.Future[Answer | None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class _Remembered:
    """The last REMEMBERED_MAX names."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        self._names[name] = None
        if len(self._names) > REMEMBERED_MAX:
            self._names.popitem(last=False)

    def forget(self, name: str) -> bool:
        """Whether it was remembered until now."""
        return self._names.pop(name, self) is None
