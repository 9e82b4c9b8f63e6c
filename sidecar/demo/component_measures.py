"""What a toy component does when a halt asks for it: cancel its orders, close its positions, hand over its state, stop.

Owns the handlers of one session. Each returns what remains, from what the venue said and not from what was sent; the
sidecar asks again until that is nothing. Cancels and closing orders go the way of every order, through pre-commit: an
order that it may not cancel any more remains, and is named.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from sidecar.client import MeasureAsked, Session, SidecarClient
from sidecar.client.measures import Handler
from sidecar.core.ladder import ORDER_SCOPE_KINDS
from sidecar.demo.component_trading import IN_FLIGHT_MAX, STRATEGY, Trading
from sidecar.demo.component_venue import OrderEntry
from sidecar.messages.measures import Measure

SETTLES_S: Final = 0.3
"""How long a handler waits for the venue's word on what it sent. Less than the sidecar's retry interval."""
PENDING_S: Final = 5.0
"""A closing order that the venue left unanswered may still come; for so long no second one is sent for its symbol."""


class Measuring:
    """The handlers of one component. `entry` and `trading` are None for one that does not trade."""

    def __init__(
        self,
        client: SidecarClient,
        session: Session,
        stop: Callable[[], None],
        entry: OrderEntry | None = None,
        trading: Trading | None = None,
    ) -> None:
        self._client = client
        self._session = session
        self._stop_component = stop
        self._entry = entry
        self._trading = trading
        self._closing: dict[str, float] = {}

    @property
    def handlers(self) -> dict[Measure, Handler]:
        """For `client.do_measures`."""
        return {"cancel": self.cancel, "flatten": self.flatten, "persist": self.persist, "stop": self.stop}

    async def cancel(self, asked: MeasureAsked) -> Iterable[str]:
        """Cancel every open order in scope; ClOrdIDs of those that are open still."""
        entry, trading = self._entry, self._trading
        if entry is None or trading is None:
            return ()
        await trading.settle(SETTLES_S)  # What was on its way when the gate closed has arrived, or nobody knows.
        orders = entry.open_orders.values()
        concerned = [each for each in orders if self._concerns(asked, each.venue, each.account, each.symbol)]
        names = {each.cl_ord_id for each in concerned}
        await asyncio.gather(*(trading.cancel_now(each) for each in concerned[:IN_FLIGHT_MAX]))
        await entry.until(lambda: not names & entry.open_orders.keys(), SETTLES_S)
        return sorted((names & entry.open_orders.keys()) | trading.under_way)

    async def flatten(self, asked: MeasureAsked) -> Iterable[str]:
        """Cancel what is open in scope, and close every position there; symbols of those that are open still."""
        entry, trading = self._entry, self._trading
        if entry is None or trading is None:
            return ()
        resting = await self.cancel(asked)
        if resting:
            return sorted({entry.open_orders[each].symbol for each in resting if each in entry.open_orders})
        held = {key: qty for key, qty in entry.positions.items() if qty and self._concerns(asked, *key)}
        await asyncio.gather(*(self._close(trading, *key, qty) for key, qty in held.items()))
        await entry.until(lambda: not any(entry.positions[each] for each in held), SETTLES_S)
        return sorted({key[2] for key in held if entry.positions[key]})

    async def persist(self, asked: MeasureAsked) -> Iterable[str]:
        """Hand the positions over to the sidecar, for the next run; a component that trades nothing has none."""
        entry = self._entry
        page = self._session.gate.read()
        if entry is None or page.role != "ACTIVE":
            return ()
        before = await self._client.get_state()
        state = {"/".join(key): str(qty) for key, qty in entry.positions.items() if qty}
        await self._client.put_state(json.dumps(state).encode(), (before.version if before else 0) + 1)
        return ()

    async def stop(self, asked: MeasureAsked) -> Iterable[str]:
        """End this process."""
        self._stop_component()
        return ()

    async def _close(self, trading: Trading, venue: str, account: str, symbol: str, qty: Decimal) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._closing.get(symbol, 0.0):
            return
        self._closing[symbol] = now_s + PENDING_S
        answered = await trading.close_now(venue, account, symbol, qty)
        if answered:
            del self._closing[symbol]

    def _concerns(self, asked: MeasureAsked, venue: str, account: str, symbol: str) -> bool:
        where = {"venue": venue, "account": account, "symbol": symbol}
        return in_scope(asked.scopes, where, self._session.component)


def in_scope(scopes: Iterable[str], where: Mapping[str, str], component: str) -> bool:
    """Whether an order or a position with this venue, account and symbol is within these scopes.

    A scope that is no order's concerns all of ours: our sidecar asks only what concerns us. One of another component
    does not.
    """
    for each in scopes:
        kind, _, name = each.partition(":")
        if kind == "component":
            found = name == component
        elif kind in ORDER_SCOPE_KINDS:
            found = name == (STRATEGY if kind == "strategy" else where[kind])
        else:
            found = True
        if found:
            return True
    return False
