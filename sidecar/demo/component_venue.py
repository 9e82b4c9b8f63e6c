"""A toy component's order entry session at the simulated venue.

Owns one connection, made again with a pause after it broke, the first answer to each order, and what this run has open
and holds by the venue's word. It must not know gates or grants. What was handed to the socket may have arrived,
whatever happens next; only `NotSent` says it did not.
"""

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec
import structlog

from sidecar.messages.orders import ExecutionReport
from sidecar.messages.venue import (
    VENUE_LINE_BYTES_MAX,
    CancelOrder,
    Executed,
    LoggedOn,
    Logon,
    NewOrder,
    Refused,
    VenueAnswer,
)

RECONNECT_S: Final = 0.2
Place = tuple[str, str, str]
"""Venue, account and symbol of a position."""
OPEN_ORDERS_MAX: Final = 1_000
"""Open orders remembered as candidates for a cancel; the oldest are forgotten first."""

_ANSWER: Final = msgspec.json.Decoder(VenueAnswer)
_log = structlog.get_logger(__name__)


class NotSent(Exception):
    """The order certainly never left this process."""


class VenueSilent(Exception):
    """Nobody knows whether the venue has it: no answer in time, a lost connection, or a refusal that says nothing."""


class OrderEntry:
    """The session of one run of a component at the venue at `address`; `run` names the run in the venue's audit."""

    def __init__(self, address: tuple[str, int], component: str, *, run: str) -> None:
        self._address = address
        self._logon = Logon(component=component, run=run)
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[str, asyncio.Future[ExecutionReport]] = {}
        self.open_orders: dict[str, ExecutionReport] = {}
        self.positions: dict[Place, Decimal] = {}
        self._told = asyncio.Event()
        self.changed = asyncio.Event()
        """Set when the session came up or was lost; whoever waits for it clears it."""

    @property
    def connected(self) -> bool:
        """Whether orders can be sent right now."""
        return self._writer is not None and not self._writer.is_closing()

    async def run(self) -> None:
        """Keep the session for ever; cancel to end it."""
        while True:
            try:
                await self._session()
            except (OSError, ValueError, msgspec.DecodeError) as error:
                _log.warning("no session at the venue", why=str(error) or type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    async def send(self, order: NewOrder | CancelOrder, timeout_s: float) -> ExecutionReport:
        """Send it and wait for the venue's first word on it. Raises NotSent or VenueSilent."""
        writer = self._writer
        if writer is None or writer.is_closing():
            raise NotSent("there is no session at the venue")
        waiting: asyncio.Future[ExecutionReport] = asyncio.get_running_loop().create_future()
        self._waiting[order.cl_ord_id] = waiting
        try:
            writer.write(msgspec.json.encode(order) + b"\n")
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError as error:
            raise VenueSilent(f"the venue said nothing within {timeout_s * 1000:.0f} ms") from error
        finally:
            del self._waiting[order.cl_ord_id]

    async def until(self, found: Callable[[], bool], timeout_s: float) -> None:
        """Return when `found` holds, asked again at each word of the venue, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not found():
                    self._told.clear()
                    await self._told.wait()

    async def _session(self) -> None:
        reader, writer = await asyncio.open_connection(*self._address, limit=VENUE_LINE_BYTES_MAX)
        try:
            writer.write(msgspec.json.encode(self._logon) + b"\n")
            while line := await reader.readline():
                self._hear(_ANSWER.decode(line), writer)
            _log.warning("the venue closed the session")
        finally:
            self._writer = None
            self.changed.set()
            writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(VenueSilent("the session at the venue was lost"))

    def _hear(self, answer: VenueAnswer, writer: asyncio.StreamWriter) -> None:
        match answer:
            case LoggedOn():
                self._writer = writer
                self.changed.set()
            case Executed(report=report):
                self._note(report)
                self._resolve(report.cl_ord_id, report)
            case Refused(cl_ord_id=cl_ord_id, code=code, text=text):
                self._resolve(cl_ord_id, VenueSilent(f"the venue refused the message, {code}: {text}"))
            case _:
                pass

    def _resolve(self, cl_ord_id: str, answer: ExecutionReport | VenueSilent) -> None:
        waiting = self._waiting.get(cl_ord_id)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, VenueSilent):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def _note(self, report: ExecutionReport) -> None:
        self.open_orders.pop(report.cl_ord_id, None)
        if report.leaves_qty > 0:
            self.open_orders[report.cl_ord_id] = report
        if len(self.open_orders) > OPEN_ORDERS_MAX:
            del self.open_orders[next(iter(self.open_orders))]
        if report.exec_type == "TRADE":
            place = (report.venue, report.account, report.symbol)
            bought = report.last_qty if report.side == "BUY" else -report.last_qty
            self.positions[place] = self.positions.get(place, Decimal(0)) + bought
        self._told.set()
