"""What a trading component wants next, drawn from the dice.

Owns the choice of an order's kind and of what it is about, as far as a component sees that: what rests at the venue,
and what it asked for last, which may not be there yet. It must not know whether any of it is granted.
"""

import random
from decimal import Decimal
from typing import get_args

from sidecar.messages.local import OrderRequest
from sidecar.messages.orders import OrderKind, Side
from sidecar.simulator.exchange import Exchange
from sidecar.simulator.operators import ORDER_SCOPES

KINDS: dict[OrderKind, float] = {
    "NEW": 0.5,
    "CANCEL": 0.15,
    "REPLACE": 0.2,
    "MASS_CANCEL": 0.03,
    "CLOSE_POSITION": 0.07,
    "TRANSFER": 0.05,
}
"""Shares of the kinds. Where nothing is known to cancel or replace, it is a new order."""
TOO_EARLY = 0.3
"""So many cancels are of what was asked for last, before anything was heard of it."""
REDUCING = 0.3
"""Of so many orders the component says that they reduce risk."""
LOTS, LOT = 4, 2
"""Quantities are up to so many lots, and can be halved twice."""
VENUE, ACCOUNT, SYMBOL, STRATEGY = (each.partition(":")[2] for each in ORDER_SCOPES)
SIDES: tuple[Side, ...] = get_args(Side)


class Wishes:
    """One component's."""

    def __init__(self, dice: random.Random, exchange: Exchange) -> None:
        self._dice = dice
        self._exchange = exchange
        self._last = ""
        self._kinds, self._weights = tuple(KINDS), tuple(KINDS.values())

    def next(self, cl_ord_id: str, slot: str) -> OrderRequest:
        """The next order, under this ClOrdID."""
        dice, (kind,) = self._dice, self._dice.choices(self._kinds, self._weights)
        side, symbol, orig, qty = dice.choice(SIDES), SYMBOL, "", Decimal(LOT * dice.randint(1, LOTS))
        open_orders = self._exchange.open_orders() if kind in ("CANCEL", "REPLACE") else ()
        if kind == "CANCEL" and self._last and dice.random() < TOO_EARLY:
            orig = self._last
        elif open_orders:
            chosen = dice.choice(open_orders)
            orig, side = chosen.intent.cl_ord_id, chosen.intent.side
            qty = chosen.cum_qty + qty
        elif kind in ("CANCEL", "REPLACE"):
            kind = "NEW"
        if kind == "MASS_CANCEL":
            symbol = dice.choice((SYMBOL, ""))
        if kind == "TRANSFER":
            side = "SELL"
        if not orig:
            self._last = cl_ord_id
        return OrderRequest(
            cl_ord_id=cl_ord_id,
            account=ACCOUNT,
            venue=VENUE,
            symbol=symbol,
            side=side,
            qty=qty,
            price=Decimal(10),
            strategy=STRATEGY,
            reduces_risk=kind == "CLOSE_POSITION" or dice.random() < REDUCING,
            slot=slot,
            kind=kind,
            orig_cl_ord_id=orig,
            to_account="reserve" if kind == "TRANSFER" else "",
        )
