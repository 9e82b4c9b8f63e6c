"""Positions and what was traded, folded from fills: the figures that limits are compared with.

Owns the net position of each (venue, account, symbol) with its cost, the last price of each symbol, the realised result
of each UTC day, and how many orders were granted lately. Deterministic and bounded; days and seconds are those of the
record's `at_ns`, so that every reader of the journal counts the same. It must not know orders or what the limits are.

What is traded begins at nothing where the journal begins; what an account held before, by the venue's own word
(`before`, see `reconciliation.py`), is added where a position is asked for, and has no cost. `cost` is what the open
quantity was traded for, signed as the quantity is; what closes part of it realises its share (average cost). Always

    realised - cost = cash        # All that was received less all that was paid, to the precision of one division.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

import msgspec

from sidecar.core.bounded import drop_oldest
from sidecar.core.exact import ZERO, add, divide, multiply, negated, plain, subtract
from sidecar.messages.orders import OrderIntent

POSITIONS_MAX = 20_000
"""Positions kept at about 400 bytes each. When all are in use, orders in further symbols are denied (`CAPACITY`)."""
SCOPES_MAX = 20_000
"""Scopes whose day's result and rate of orders are kept; of others those that traded longest ago are forgotten."""
RECENT_MAX = 20_000
"""Orders that are compared with a new one to find duplicates; older ones are forgotten first."""
NAMES_CACHED = 10_000
"""Names that are not put together anew for each order. More of them cost about 500 bytes each."""
DAY_NS = 86_400 * 10**9
SECOND_NS = 10**9


class NetPosition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is held of one symbol in one account; negative is short. `turned` is the value of all that was traded."""

    venue: str
    account: str
    symbol: str
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    cash: Decimal = ZERO
    turned_qty: Decimal = ZERO
    turned: Decimal = ZERO

    def traded(self, qty: Decimal, value: Decimal) -> "NetPosition":
        """The position after buying `qty` (selling where negative) for `value`, which has the same sign.

        A quantity of zero changes the price of what was traded before.
        """
        cash = subtract(self.cash, value)
        if not qty and self.qty:
            after = (self.qty, add(self.cost, value), self.realised)
        elif not qty:
            after = (self.qty, self.cost, subtract(self.realised, value))
        elif not self.qty or (self.qty > 0) is (qty > 0):
            after = (add(self.qty, qty), add(self.cost, value), self.realised)
        elif qty.copy_abs() < self.qty.copy_abs():
            share = divide(multiply(self.cost, qty.copy_abs()), self.qty.copy_abs())
            realised = subtract(self.realised, add(value, share))
            after = (add(self.qty, qty), subtract(self.cost, share), realised)
        else:
            rest = add(self.qty, qty)
            opening = divide(multiply(value, rest), qty)
            after = (rest, opening, subtract(self.realised, add(subtract(value, opening), self.cost)))
        turned_qty, turned = add(self.turned_qty, qty.copy_abs()), add(self.turned, value.copy_abs())
        return NetPosition(self.venue, self.account, self.symbol, *after, cash, turned_qty, turned)


class DayResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one scope realised on one day, counted in days since 1970."""

    day: int
    amount: Decimal


class Rate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Orders granted in the latest second and in the one before it, counted in seconds since 1970."""

    second: int
    count: int
    before: int


class Exposure:
    """The fold. Positions by account and symbol; the other tables by name, those changed last at the end.

    `before` is what accounts held before their first fill here, by `account_name` and symbol. It follows from the
    statements that were adopted (`state.openings`): a snapshot does not carry it twice.
    """

    def __init__(self) -> None:
        self.positions: dict[str, NetPosition] = {}
        self.marks: dict[str, Decimal] = {}
        self.results: dict[str, DayResult] = {}
        self.rates: dict[str, Rate] = {}
        self.recent: dict[str, int] = {}
        self.before: dict[str, dict[str, Decimal]] = {}

    def copy(self) -> "Exposure":
        """An independent fold with the same figures."""
        twin = Exposure()
        twin.positions, twin.marks, twin.results = dict(self.positions), dict(self.marks), dict(self.results)
        twin.rates, twin.recent = dict(self.rates), dict(self.recent)
        twin.before = dict(self.before)
        return twin

    def restore(
        self,
        positions: Iterable[NetPosition],
        marks: Mapping[str, Decimal],
        results: Mapping[str, DayResult],
        rates: Mapping[str, Rate],
        recent: Mapping[str, int],
    ) -> None:
        """Take these rows of a snapshot in, behind those that came before."""
        self.positions.update((position_name(each.venue, each.account, each.symbol), each) for each in positions)
        self.marks.update(marks)
        self.results.update(results)
        self.rates.update(rates)
        self.recent.update(recent)

    # --- folding ---

    def granted(self, intent: OrderIntent, at_ns: int) -> None:
        """Count an order that was granted."""
        second = at_ns // SECOND_NS
        for scope in scopes_of(intent):
            rate = self.rates.pop(scope, None)
            self.rates[scope] = _next(rate, second)
        drop_oldest(self.rates, SCOPES_MAX)
        name = likeness(intent)
        self.recent.pop(name, None)
        self.recent[name] = at_ns
        drop_oldest(self.recent, RECENT_MAX)

    def traded(self, intent: OrderIntent, qty: Decimal, value: Decimal, price: Decimal, at_ns: int) -> None:
        """Book `qty` for `value` (both without a sign, or negative for what is taken back) at the order's side."""
        signed = (qty, value) if intent.side == "BUY" else (negated(qty), negated(value))
        name = position_name(intent.venue, intent.account, intent.symbol)
        before = self.positions.get(name) or NetPosition(intent.venue, intent.account, intent.symbol)
        after = before.traded(*signed)
        self.positions[name] = after
        if len(self.positions) > POSITIONS_MAX:
            self._forget_flat()
        if price:
            mark = mark_name(intent.venue, intent.symbol)
            self.marks.pop(mark, None)
            self.marks[mark] = price
            drop_oldest(self.marks, POSITIONS_MAX)
        gained = subtract(after.realised, before.realised)
        if gained:
            self._realise(intent, gained, at_ns // DAY_NS)

    def _realise(self, intent: OrderIntent, gained: Decimal, day: int) -> None:
        for scope in scopes_of(intent):
            known = self.results.pop(scope, None)
            amount = add(known.amount, gained) if known is not None and known.day == day else gained
            self.results[scope] = DayResult(day, amount)
        drop_oldest(self.results, SCOPES_MAX)

    def _forget_flat(self) -> None:
        """Drop positions that are closed, the oldest first; those that are open are never dropped."""
        flat = [name for name, each in self.positions.items() if not each.qty]
        for name in flat[: max(1, POSITIONS_MAX // 8)]:
            del self.positions[name]

    # --- asking ---

    def position(self, venue: str, account: str, symbol: str) -> Decimal:
        """The net quantity held: what was held before the first fill here, and the fills of this journal."""
        found = self.positions.get(position_name(venue, account, symbol))
        traded = found.qty if found is not None else ZERO
        return add(traded, self.held_before(venue, account).get(symbol, ZERO)) if self.before else traded

    def held_before(self, venue: str, account: str) -> Mapping[str, Decimal]:
        """What an account held by symbol before its first fill here, as far as it is known."""
        return self.before.get(account_name(venue, account), {})

    def full(self, venue: str, account: str, symbol: str) -> bool:
        """Whether there is no room for a position in this symbol."""
        if len(self.positions) < POSITIONS_MAX:
            return False
        return position_name(venue, account, symbol) not in self.positions

    def mark(self, venue: str, symbol: str) -> Decimal | None:
        """The price of the last fill in this symbol."""
        return self.marks.get(mark_name(venue, symbol))

    def result(self, scope: str, at_ns: int) -> Decimal:
        """What a scope has realised on the day of `at_ns` (UTC)."""
        known = self.results.get(scope)
        return known.amount if known is not None and known.day == at_ns // DAY_NS else ZERO

    def rate(self, scope: str, at_ns: int) -> Decimal:
        """Orders granted in the second before `at_ns`: all of this second's, and of the last one its rest's share."""
        known = self.rates.get(scope)
        second, into_ns = divmod(at_ns, SECOND_NS)
        if known is None or known.second not in (second, second - 1):
            return ZERO
        count, before = (known.count, known.before) if known.second == second else (0, known.count)
        return Decimal(count) + Decimal(before * (SECOND_NS - into_ns) // SECOND_NS)

    def alike_ns(self, intent: OrderIntent, at_ns: int) -> int | None:
        """How long ago an order like this one was granted; None when none is remembered."""
        last_ns = self.recent.get(likeness(intent))
        return None if last_ns is None else at_ns - last_ns


def scopes_of(intent: OrderIntent) -> tuple[str, ...]:
    """Every scope that an order is counted in, beside its group, whose members are counted each."""
    return _scopes(intent.component, intent.venue, intent.account, intent.symbol, intent.strategy)


@lru_cache(NAMES_CACHED)
def _scopes(component: str, venue: str, account: str, symbol: str, strategy: str) -> tuple[str, ...]:
    named = ("all", f"component:{component}", f"venue:{venue}", f"account:{account}", f"symbol:{symbol}")
    return (*named, f"strategy:{strategy}") if strategy else named


@lru_cache(NAMES_CACHED)
def position_name(venue: str, account: str, symbol: str) -> str:
    """The key of a position; no two triples of names share one."""
    return prefix_of(venue, account) + symbol


def prefix_of(venue: str, account: str) -> str:
    """What the keys of all positions of one account begin with, and of no other."""
    return f"{len(venue)} {len(account)} {venue} {account} "


def account_name(venue: str, account: str) -> str:
    """The key of an account; no two pairs of names share one."""
    return f"{len(venue)} {venue} {account}"


def account_of(name: str) -> tuple[str, str]:
    """Venue and account of an `account_name`."""
    length, _, rest = name.partition(" ")
    return rest[: int(length)], rest[int(length) + 1 :]


def mark_name(venue: str, symbol: str) -> str:
    """The key of a price."""
    return f"{len(venue)} {venue} {symbol}"


def likeness(intent: OrderIntent) -> str:
    """The key that orders share which a person would call the same order."""
    price = "market" if intent.price is None else plain(intent.price)
    what = f"{intent.kind} {intent.side} {plain(intent.qty)} {price} {len(intent.component)} {intent.component}"
    return f"{what} {position_name(intent.venue, intent.account, intent.symbol)}"


def _next(rate: Rate | None, second: int) -> Rate:
    if rate is None or rate.second not in (second, second - 1):
        return Rate(second, 1, 0)  # Also when the clock of the arbiters was set back: nothing is held against anybody.
    return Rate(second, rate.count + 1, rate.before) if rate.second == second else Rate(second, 1, rate.count)
