"""What a toy execution component does while its session lives: orders, in three phases, at a steady rate.

Owns the order flow of one incarnation. It must not trade outside a session, and asks its gate page before every order
and again before the order leaves. ClOrdIDs are the incarnation and a number, so a run can never use one twice.
"""

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog

from sidecar.client import OrderDenied, OrderRequest, Session, SidecarClient, SidecarError, SidecarProblem
from sidecar.client.protocol import KEPT
from sidecar.core.page import Page
from sidecar.demo.component_venue import NotSent, OrderEntry, VenueSilent
from sidecar.messages.base import Token
from sidecar.messages.local import CommitReport
from sidecar.messages.orders import ExecutionReport, Side
from sidecar.messages.venue import CancelOrder, NewOrder

SYMBOLS: Final = ("ACME", "GLOBEX", "INITECH")
STRATEGY: Final = "toy"
IN_FLIGHT_MAX: Final = 64
"""Orders between pre-commit and report; at this many, new ones wait. Higher loads the sidecar."""
CANCEL_EVERY: Final = 7
DENIED_PAUSE_S: Final = 0.2
"""Between attempts while halted: slow, but visible."""
REPORT_TRIES: Final = 5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What an execution component trades. `rate` is in orders per second."""

    venue: str
    account: str
    rate: float
    answer_timeout_s: float


class Trading:
    """The order flow of one session."""

    def __init__(self, desk: Desk, client: SidecarClient, session: Session, entry: OrderEntry) -> None:
        self._desk = desk
        self._client = client
        self._session = session
        self._entry = entry
        self._count = 0
        self._tasks: set[asyncio.Task[str]] = set()
        self._cancelling: set[str] = set()
        self.under_way: set[str] = set()
        """ClOrdIDs of orders that were granted and that the venue has not answered yet."""

    async def run(self) -> None:
        """Trade for ever, whenever the gate lets orders pass; cancel to end it."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            page = self._session.gate.read()
            holding = page.role == "ACTIVE" and time.clock_gettime_ns(time.CLOCK_BOOTTIME) < page.deadline_ns
            if holding and len(self._tasks) < IN_FLIGHT_MAX:
                # A halted holder asks all the same: the denial, with its reason, is what people should see.
                self._begin(page)
            halted = holding and not self._may_enter()
            next_s = max(next_s + (DENIED_PAUSE_S if halted else 1 / self._desk.rate), loop.time())
            await asyncio.sleep(next_s - loop.time())

    async def finish(self, timeout_s: float) -> None:
        """Wait until what is under way has been reported."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settle(self, timeout_s: float) -> None:
        """Wait a little until what is under way has been reported."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout_s)

    async def cancel_now(self, order: ExecutionReport) -> None:
        """Ask for a cancel of this open order, whatever the gate says of entries."""
        await self._trade(self._cancel_of(order), self._session.gate.read())

    async def close_now(self, venue: str, account: str, symbol: str, position: Decimal) -> bool:
        """Send an order that closes this position; false when nobody knows whether it arrived."""
        request = OrderRequest(
            cl_ord_id=self._name(),
            account=account,
            venue=venue,
            symbol=symbol,
            side="SELL" if position > 0 else "BUY",
            qty=abs(position),
            strategy=STRATEGY,
            reduces_risk=True,
        )
        return await self._trade(request, self._session.gate.read()) != "unknown"

    def _begin(self, page: Page) -> None:
        task = asyncio.create_task(self._trade(self._next(), page))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- one order ---

    async def _trade(self, request: OrderRequest, page: Page) -> str:
        """One order through all three phases; its outcome, empty when it was not granted."""
        try:
            answer = await self._client.precommit(request)
        except SidecarError as error:
            _log.warning("not granted, not sent", cl_ord_id=request.cl_ord_id, why=str(error))
            return ""
        if isinstance(answer, OrderDenied):
            _log.info("denied", cl_ord_id=answer.cl_ord_id, code=answer.code, text=answer.text)
            return ""
        self.under_way.add(request.cl_ord_id)
        try:
            report = await self._send(request, page)
        finally:
            self.under_way.discard(request.cl_ord_id)
        await self._report(request.cl_ord_id, report)
        return report.outcome

    async def _send(self, request: OrderRequest, page: Page) -> CommitReport:
        """Send a granted order, if the gate is still open under the same token, and say what became of it."""
        token = self._session.gate.read().token
        if token is None or token != page.token or not self._allowed(request):
            return CommitReport(outcome="aborted", reason="the gate closed between the grant and the sending")
        try:
            execution = await self._entry.send(_venue_order(request, token), self._desk.answer_timeout_s)
        except NotSent as error:
            return CommitReport(outcome="aborted", reason=str(error))
        except VenueSilent as error:
            _log.warning("unknown", cl_ord_id=request.cl_ord_id, why=str(error))
            return CommitReport(outcome="unknown", reason=str(error))
        return CommitReport(outcome="committed", order_id=execution.order_id, ord_status=execution.ord_status)

    async def _report(self, cl_ord_id: str, report: CommitReport) -> None:
        """Until it is recorded, or kept by the sidecar; an unreported order becomes UNKNOWN by its deadline."""
        for attempt in range(REPORT_TRIES):
            try:
                await self._client.report(cl_ord_id, report)
                return
            except SidecarProblem as problem:
                if problem.code == KEPT:
                    return
                _log.warning("report not taken", cl_ord_id=cl_ord_id, why=str(problem))
            except SidecarError as error:
                _log.warning("report not taken", cl_ord_id=cl_ord_id, why=str(error))
            await asyncio.sleep(0.1 * 2**attempt)

    # --- what to send next ---

    def _may_enter(self) -> bool:
        return self._session.gate.check(venue=self._desk.venue, account=self._desk.account, strategy=STRATEGY)

    def _allowed(self, request: OrderRequest) -> bool:
        return self._session.gate.check(
            symbol=request.symbol,
            venue=request.venue,
            account=request.account,
            strategy=request.strategy,
            kind=request.kind,
            reduces_risk=request.reduces_risk,
        )

    def _next(self) -> OrderRequest:
        """The next order; now and then a cancel of the oldest that is open."""
        n = self._count
        if n % CANCEL_EVERY == CANCEL_EVERY - 1 and (target := self._oldest()) is not None:
            return self._cancel_of(target)
        side: Side = "BUY" if n % 2 == 0 else "SELL"
        return OrderRequest(
            cl_ord_id=self._name(),
            account=self._desk.account,
            venue=self._desk.venue,
            symbol=SYMBOLS[n % len(SYMBOLS)],
            side=side,
            qty=Decimal(10 * (1 + n % 5)),
            price=Decimal(100 + n % 7),
            strategy=STRATEGY,
        )

    def _name(self) -> str:
        n, self._count = self._count, self._count + 1
        return f"{self._session.incarnation}-{n}"

    def _oldest(self) -> ExecutionReport | None:
        """The open order that is asked to be cancelled next; each once, as far as this is a matter of routine."""
        self._cancelling &= self._entry.open_orders.keys()
        found = (each for name, each in self._entry.open_orders.items() if name not in self._cancelling)
        return next(found, None)

    def _cancel_of(self, target: ExecutionReport) -> OrderRequest:
        self._cancelling.add(target.cl_ord_id)
        return OrderRequest(
            cl_ord_id=self._name(),
            orig_cl_ord_id=target.cl_ord_id,
            account=target.account,
            venue=target.venue,
            symbol=target.symbol,
            side=target.side,
            qty=target.order_qty,
            kind="CANCEL",
            strategy=STRATEGY,
        )


def _venue_order(request: OrderRequest, token: Token) -> NewOrder | CancelOrder:
    if request.kind == "CANCEL":
        return CancelOrder(
            cl_ord_id=request.cl_ord_id,
            orig_cl_ord_id=request.orig_cl_ord_id,
            account=request.account,
            symbol=request.symbol,
            side=request.side,
            qty=request.qty,
            token=token,
        )
    return NewOrder(
        cl_ord_id=request.cl_ord_id,
        account=request.account,
        symbol=request.symbol,
        side=request.side,
        qty=request.qty,
        token=token,
        price=request.price,
    )
