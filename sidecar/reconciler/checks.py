"""Periodic checks of one venue: open orders, fills, positions and balances, whatever it offers.

Owns when a check is due and what it hands over. It must not judge: the arbiter compares. A check that fails at any part
is no check; the next one begins anew, and looks back as far. What is handed over twice changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

import structlog

from sidecar.broker.interface import BrokerError
from sidecar.config.venues import VenueSettings
from sidecar.messages.base import Message
from sidecar.messages.orders import Evidence, ExecutionReport
from sidecar.messages.reconcile import (
    LINES_MAX,
    Holds,
    Market,
    OpenOrdersSeen,
    Statement,
    StatementLine,
    VenueCheck,
)
from sidecar.reconciler.adapter import Holding, NoAnswer, VenueAdapter

Carry = Callable[[Message], Awaitable[None]]
"""Hands one message to the arbiters and waits for the broker's confirm; raises BrokerError."""
CHECKED: Final = frozenset({"open_orders", "fills", "positions", "balances"})
FIRST_AFTER_S: Final = 1.0
"""The first check comes soon after the start, whatever the interval."""

_log = structlog.get_logger(__name__)


class Checks:
    """The checks of one venue. `trouble` says why the last one failed, or is empty."""

    def __init__(
        self, reconciler: str, venue: str, settings: VenueSettings, adapter: VenueAdapter, carry: Carry
    ) -> None:
        self.trouble = ""
        self._reconciler = reconciler
        self._venue = venue
        self._settings = settings
        self._adapter = adapter
        self._carry = carry
        self._began_s = self._checked_s = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether there is anything to check, ever."""
        return bool(self._settings.check_interval_s and CHECKED & self._adapter.offers)

    def state(self, trouble: str = "") -> VenueCheck:
        """How it stands; `trouble` is that of targeted questions."""
        age_ms = int((time.monotonic() - self._checked_s) * 1000) if self.due else None
        return VenueCheck(venue=self._venue, trouble=(self.trouble or trouble)[:256], checked_ms_ago=age_ms)

    async def run(self) -> NoReturn:
        """Check for ever."""
        await asyncio.sleep(min(FIRST_AFTER_S, self._settings.check_interval_s))
        while True:
            await self.check()
            await asyncio.sleep(self._settings.check_interval_s or FIRST_AFTER_S)

    async def check(self) -> None:
        """One whole check."""
        if not self.due:
            return
        try:
            await self._parts()
        except (NoAnswer, BrokerError) as error:
            self._adapter.forget()
            if str(error) != self.trouble:
                _log.warning("a check failed", venue=self._venue, why=str(error))
            self.trouble = str(error) or type(error).__name__
            return
        if self.trouble:
            _log.info("checks succeed again", venue=self._venue)
        self.trouble, self._checked_s = "", time.monotonic()

    async def _parts(self) -> None:
        """Fills first, so that positions that follow from them are not compared without them."""
        offers, adapter = self._adapter.offers, self._adapter
        if "fills" in offers:
            since_ms = time.time_ns() // 1_000_000 - self._settings.look_back_s * 1_000
            await self._evidence(await adapter.fills(since_ms))
        if "open_orders" in offers:
            await self._open_orders(await adapter.open_orders())
        if "positions" in offers:
            await self._statement("positions", await adapter.positions())
        if "balances" in offers:
            await self._statement("balances", await adapter.balances())

    async def _evidence(self, reports: Sequence[ExecutionReport]) -> None:
        for each in reports:
            await self._carry(Evidence(reconciler=self._reconciler, source="query", report=each))

    async def _open_orders(self, reports: Sequence[ExecutionReport]) -> None:
        await self._evidence(reports)
        if len(reports) > LINES_MAX:
            raise NoAnswer(f"{len(reports)} open orders are too many to be compared, at most {LINES_MAX} are")
        seen = OpenOrdersSeen(
            reconciler=self._reconciler,
            venue=self._venue,
            account=self._adapter.account,
            cl_ord_ids=tuple(each.cl_ord_id for each in reports if each.cl_ord_id),
        )
        await self._carry(seen)

    async def _statement(self, holds: Holds, found: Sequence[Holding]) -> None:
        lines = tuple(StatementLine(name=each.name, qty=each.qty) for each in found if each.qty)
        if len(lines) > LINES_MAX:
            raise NoAnswer(f"{len(lines)} {holds} are too many for one statement, at most {LINES_MAX} are compared")
        statement = Statement(
            reconciler=self._reconciler,
            venue=self._venue,
            account=self._adapter.account,
            holds=holds,
            lines=lines,
            markets=self._markets() if holds == "balances" else (),
        )
        await self._carry(statement)

    def _markets(self) -> tuple[Market, ...]:
        """What is configured, and what the adapter knows beside it."""
        configured = self._settings.quote_currencies
        told = [Market(symbol, quote) for symbol, quote in configured.items()]
        told += [each for each in self._adapter.markets() if each.symbol not in configured]
        return tuple(told[:LINES_MAX])
