"""Orders that may be filled, summed: what limits on open orders, worst-case positions and self-trades look at.

Owns sums over an order book, changed with each order that enters, moves or leaves. They follow from the orders and from
nothing else, so a snapshot does not carry them. Sums are exact, so the way to them cannot matter.
"""

from decimal import Decimal

import msgspec

from sidecar.core.exact import ZERO, add, subtract
from sidecar.core.positions import position_name, scopes_of
from sidecar.messages.orders import OrderIntent, Side


class Work(msgspec.Struct, frozen=True, gc=False):
    """What one open order may still do."""

    intent: OrderIntent
    leaves: Decimal


class Working:
    """The sums. `prices` counts open orders by (venue, symbol, side) and price, None for market orders."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.leaves: dict[tuple[str, Side], Decimal] = {}
        self.prices: dict[tuple[str, str, Side], dict[Decimal | None, int]] = {}

    def copy(self) -> "Working":
        """An independent copy."""
        twin = Working()
        twin.counts, twin.leaves = dict(self.counts), dict(self.leaves)
        twin.prices = {key: dict(each) for key, each in self.prices.items()}
        return twin

    def change(self, before: Work | None, after: Work | None) -> None:
        """One order's work is another now; None is none."""
        if before == after:
            return
        if before is not None and after is not None and before.intent is after.intent:
            self._leave(after.intent, subtract(after.leaves, before.leaves))
            return
        for work, step in ((before, -1), (after, 1)):
            if work is not None:
                self._count(work.intent, step)
                self._leave(work.intent, work.leaves if step > 0 else work.leaves.copy_negate())

    def count(self, scope: str) -> int:
        """Open orders in this scope."""
        return self.counts.get(scope, 0)

    def pending(self, venue: str, account: str, symbol: str, side: Side) -> Decimal:
        """How much all open orders of one side may still trade."""
        return self.leaves.get((position_name(venue, account, symbol), side), ZERO)

    def crossing(self, intent: OrderIntent) -> tuple[Decimal | None, ...]:
        """Prices of our open orders on the other side that this order could trade with, None for market orders."""
        other: Side = "SELL" if intent.side == "BUY" else "BUY"
        levels = self.prices.get((intent.venue, intent.symbol, other), {})
        return tuple(each for each in levels if _crosses(intent, each))

    def _count(self, intent: OrderIntent, step: int) -> None:
        counts = self.counts
        for scope in scopes_of(intent):  # As `_step`, without a call for each: it is done for every order, twice.
            count = counts.get(scope, 0) + step
            if count > 0:
                counts[scope] = count
            else:
                counts.pop(scope, None)
        key = (intent.venue, intent.symbol, intent.side)
        levels = self.prices.setdefault(key, {})
        _step(levels, intent.price, step)
        if not levels:
            del self.prices[key]

    def _leave(self, intent: OrderIntent, change: Decimal) -> None:
        key = (position_name(intent.venue, intent.account, intent.symbol), intent.side)
        leaves = add(self.leaves.get(key, ZERO), change)
        if leaves:
            self.leaves[key] = leaves
        else:
            self.leaves.pop(key, None)


def _crosses(intent: OrderIntent, theirs: Decimal | None) -> bool:
    if intent.price is None or theirs is None:
        return True
    return intent.price >= theirs if intent.side == "BUY" else intent.price <= theirs


def _step(table: dict[Decimal | None, int], price: Decimal | None, step: int) -> None:
    count = table.get(price, 0) + step
    if count > 0:
        table[price] = count
    else:
        table.pop(price, None)
