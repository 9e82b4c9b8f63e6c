"""Limits on orders: is this order within those of its scopes?

Owns the rules, their order and the numbers of each denial. Pure: figures come from the folded state, and whatever
cannot be judged is denied. It must not know who sets limits (`limit_desk.py`).

| code              | denied when                                                         | asked, limit, current      |
|-------------------|---------------------------------------------------------------------|----------------------------|
| LIMIT_QTY         | qty > qty_max                                                       | qty, max, -                |
| NO_REFERENCE      | a collar, or money of a market order, and no price is known         | qty, max, -                |
| LIMIT_NOTIONAL    | qty * price > notional_max                                          | notional, max, price       |
| LIMIT_COLLAR      | price further than collar_percent from the last fill's price        | price, percent, last price |
| LIMIT_POSITION    | the position, were every open order of this side and this one filled | that, max, position now   |
| LIMIT_EXPOSURE    | the same in money, over all symbols of the account at the venue     | that, max, exposure now    |
| LIMIT_OPEN_ORDERS | one more open order than open_orders_max                            | 1, max, open now           |
| LIMIT_RATE        | more orders in a second than orders_per_second_max                  | 1, max, in the last second |
| LIMIT_LOSS        | realised loss of the UTC day >= loss_per_day_max                    | -, max, loss               |
| LIMIT_DUPLICATE   | the same order was granted less than duplicate_window_ms ago        | -, window, age in ms       |
| LIMIT_SELF_TRADE  | it could trade with an open order of ours                           | price, -, the other price  |

Cancels are never limited. What can only shrink a position, counted with every open order of its side, passes
LIMIT_POSITION, LIMIT_EXPOSURE and LIMIT_LOSS, so that no limit traps a position. A REPLACE is judged as if its order
were gone. A TRANSFER has no position: qty_max and orders_per_second_max concern it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from sidecar.core.exact import ZERO, add, divide, multiply, negated, subtract, total
from sidecar.core.order import TRADING
from sidecar.core.orders import OrderBook
from sidecar.core.positions import prefix_of, scopes_of
from sidecar.messages.journal import LimitsSet
from sidecar.messages.limits import LimitSet
from sidecar.messages.orders import OrderIntent, Side

MS = 1_000_000
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Why a limit forbids an order; the table says what the numbers are."""

    code: str
    text: str
    scope: str = ""
    asked: Decimal | None = None
    limit: Decimal | None = None
    current: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One order before the limits: the book as it stands, the groups of its component, and the time.

    `members` are the components of each group, for figures that are counted by component.
    """

    intent: OrderIntent
    book: OrderBook
    members: Mapping[str, Iterable[str]]
    at_ns: int

    @property
    def replaced(self) -> Decimal:
        """What the order that this one replaces may still trade."""
        if self.intent.kind != "REPLACE":
            return ZERO
        target = self.book.orders.get(self.intent.orig_cl_ord_id)
        work = target.work if target is not None else None
        return work.leaves if work is not None else ZERO

    @property
    def more(self) -> Decimal:
        """How much the order can trade, beside what was traded of the one it replaces."""
        target = self.book.orders.get(self.intent.orig_cl_ord_id) if self.intent.kind == "REPLACE" else None
        traded = target.cum_qty if target is not None else ZERO
        return max(subtract(self.intent.qty, traded), ZERO)

    @property
    def position(self) -> Decimal:
        """The position now, seen from the order's side: negative when the order shrinks it."""
        held = self.book.exposure.position(self.intent.venue, self.intent.account, self.intent.symbol)
        return held if self.intent.side == "BUY" else negated(held)

    @property
    def worst(self) -> Decimal:
        """That position once every open order of this side and this one were filled."""
        intent = self.intent
        pending = self.book.working.pending(intent.venue, intent.account, intent.symbol, intent.side)
        return add(add(self.position, subtract(pending, self.replaced)), self.more)

    @property
    def reduces(self) -> bool:
        """Whether all that together can only shrink the position."""
        return self.intent.kind in TRADING and self.position < 0 and self.worst <= 0

    def price(self, reference: Decimal | None) -> Decimal | None:
        """The order's price, for a market order that of the last fill or the one given; None when none is known."""
        return self.intent.price if self.intent.price is not None else self.reference(reference)

    def reference(self, given: Decimal | None) -> Decimal | None:
        """The last fill's price, or before the first one the price that the limits give."""
        mark = self.book.exposure.mark(self.intent.venue, self.intent.symbol)
        return mark if mark is not None else given

    def counted(self, scope: str) -> tuple[str, ...]:
        """The scopes that the figures of `scope` are the sum of."""
        kind, _, name = scope.partition(":")
        return tuple(f"component:{each}" for each in self.members.get(name, ())) if kind == "group" else (scope,)


def scopes_for(intent: OrderIntent, groups: Iterable[str]) -> tuple[str, ...]:
    """Every scope whose limits concern an order, the widest first."""
    everything, *others = scopes_of(intent)
    return (everything, *(f"group:{each}" for each in groups if each), *others)


def in_force(found: LimitsSet, *, degraded: bool) -> LimitSet:
    """The limits of one scope now."""
    limits = found.limits or LimitSet()
    if not degraded:
        return limits
    told = {name: getattr(found.degraded, name) for name in limits.__struct_fields__}
    tighter = {name: each for name, each in told.items() if each is not None and each is not False}  # Zero is a limit.
    return msgspec.structs.replace(limits, **tighter)


def breach(case: Case, table: Mapping[str, LimitsSet], scopes: Iterable[str], *, degraded: bool) -> Breach | None:
    """The first limit that forbids this order, or None. May raise: whoever asks must deny then."""
    kind = case.intent.kind
    if kind not in TRADING and kind != "TRANSFER":
        return None
    for scope in scopes:
        found = table.get(scope)
        if found is None:
            continue
        limits = in_force(found, degraded=degraded)
        rules = _trading(case, scope, limits) if kind in TRADING else _any(case, scope, limits)
        first = next(rules, None)
        if first is not None:
            return first
    return None


def _any(case: Case, scope: str, limits: LimitSet) -> Iterator[Breach]:
    intent = case.intent
    if limits.qty_max is not None and intent.qty > limits.qty_max:
        text = f"quantity {intent.qty} is above {limits.qty_max}"
        yield Breach(code="LIMIT_QTY", text=_of(scope, text), scope=scope, asked=intent.qty, limit=limits.qty_max)
    if limits.orders_per_second_max is not None:
        rate = total(case.book.exposure.rate(each, case.at_ns) for each in case.counted(scope))
        if rate + 1 > limits.orders_per_second_max:
            text = f"{rate} orders were granted in the last second, at most {limits.orders_per_second_max} are"
            yield _counted("LIMIT_RATE", scope, text, limits.orders_per_second_max, rate)


def _trading(case: Case, scope: str, limits: LimitSet) -> Iterator[Breach]:
    yield from _any(case, scope, limits)
    yield from _prices(case, scope, limits)
    if not case.reduces:
        yield from _positions(case, scope, limits)
    yield from _counts(case, scope, limits)
    yield from _likes(case, scope, limits)


def _prices(case: Case, scope: str, limits: LimitSet) -> Iterator[Breach]:
    intent, price = case.intent, case.price(limits.reference_price)
    if limits.notional_max is not None:
        if price is None:
            yield _unknown(case, scope, limits.notional_max)
        elif (notional := multiply(intent.qty, price)) > limits.notional_max:
            text = f"{intent.qty} at {price} is {notional}, above {limits.notional_max}"
            yield Breach(
                code="LIMIT_NOTIONAL",
                text=_of(scope, text),
                scope=scope,
                asked=notional,
                limit=limits.notional_max,
                current=price,
            )
    if limits.collar_percent is not None and intent.price is not None:
        reference = case.reference(limits.reference_price)
        if reference is None:
            yield _unknown(case, scope, limits.collar_percent)
        elif multiply(subtract(intent.price, reference).copy_abs(), HUNDRED) > multiply(
            limits.collar_percent, reference
        ):
            away = divide(multiply(subtract(intent.price, reference).copy_abs(), HUNDRED), reference)
            text = (
                f"price {intent.price} is {away:.4} % away from {reference}, at most {limits.collar_percent} % may be"
            )
            yield Breach(
                code="LIMIT_COLLAR",
                text=_of(scope, text),
                scope=scope,
                asked=intent.price,
                limit=limits.collar_percent,
                current=reference,
            )


def _positions(case: Case, scope: str, limits: LimitSet) -> Iterator[Breach]:
    if limits.position_max is not None and case.worst > limits.position_max:
        text = f"the position could become {case.worst}, above {limits.position_max}; it is {case.position.copy_abs()}"
        yield Breach(
            code="LIMIT_POSITION",
            text=_of(scope, text),
            scope=scope,
            asked=case.worst,
            limit=limits.position_max,
            current=case.position,
        )
    if limits.exposure_max is not None:
        price = case.price(limits.reference_price)
        if price is None:
            yield _unknown(case, scope, limits.exposure_max)
            return
        now = exposure(case.book, case.intent.venue, case.intent.account, limits.reference_price)
        asked = add(now, multiply(case.more, price))
        if asked > limits.exposure_max:
            text = f"the account's exposure could become {asked}, above {limits.exposure_max}; it is {now}"
            yield Breach(
                code="LIMIT_EXPOSURE",
                text=_of(scope, text),
                scope=scope,
                asked=asked,
                limit=limits.exposure_max,
                current=now,
            )
    if limits.loss_per_day_max is not None:
        result = total(case.book.exposure.result(each, case.at_ns) for each in case.counted(scope))
        if negated(result) >= limits.loss_per_day_max:
            text = f"{negated(result)} was lost today, at most {limits.loss_per_day_max} may be"
            yield Breach(
                code="LIMIT_LOSS",
                text=_of(scope, text),
                scope=scope,
                limit=limits.loss_per_day_max,
                current=negated(result),
            )


def _counts(case: Case, scope: str, limits: LimitSet) -> Iterator[Breach]:
    if limits.open_orders_max is None or case.replaced:
        return
    count = sum(case.book.working.count(each) for each in case.counted(scope))
    if count + 1 > limits.open_orders_max:
        text = f"{count} orders are open, at most {limits.open_orders_max} may be"
        yield _counted("LIMIT_OPEN_ORDERS", scope, text, limits.open_orders_max, Decimal(count))


def _likes(case: Case, scope: str, limits: LimitSet) -> Iterator[Breach]:
    intent = case.intent
    if limits.duplicate_window_ms:
        age_ns = case.book.exposure.alike_ns(intent, case.at_ns)
        if age_ns is not None and abs(age_ns) < limits.duplicate_window_ms * MS:
            age_ms = Decimal(abs(age_ns) // MS)
            text = (
                f"the same order was granted {age_ms} ms ago; alike ones need {limits.duplicate_window_ms} ms between"
            )
            window = Decimal(limits.duplicate_window_ms)
            yield Breach(code="LIMIT_DUPLICATE", text=_of(scope, text), scope=scope, limit=window, current=age_ms)
    if limits.no_self_trade:
        crossed = case.book.working.crossing(intent)
        if crossed:
            theirs = next((each for each in crossed if each is not None), None)
            text = f"it could trade with an open order of ours at {'the market' if theirs is None else theirs}"
            yield Breach(
                code="LIMIT_SELF_TRADE", text=_of(scope, text), scope=scope, asked=intent.price, current=theirs
            )


def exposure(book: OrderBook, venue: str, account: str, reference: Decimal | None) -> Decimal:
    """What an account could come to hold at a venue, in money, whichever side of its open orders were filled.

    A symbol without any fill counts at `reference`, or at nothing: an order in it was judged at its own price.
    """
    start = prefix_of(venue, account)
    sides: dict[str, dict[Side, Decimal]] = {}
    for (name, side), leaves in book.working.leaves.items():
        if name.startswith(start):
            sides.setdefault(name, {})[side] = leaves
    held = {name: each.qty for name, each in book.exposure.positions.items() if name.startswith(start)}
    for symbol, qty in book.exposure.held_before(venue, account).items():
        held[start + symbol] = add(held.get(start + symbol, ZERO), qty)
    found = ZERO
    for name in sorted(sides.keys() | held.keys()):
        price = book.exposure.mark(venue, name.removeprefix(start)) or reference or ZERO
        qty, open_ = held.get(name, ZERO), sides.get(name, {})
        most = max(add(qty, open_.get("BUY", ZERO)).copy_abs(), subtract(qty, open_.get("SELL", ZERO)).copy_abs())
        found = add(found, multiply(most, price))
    return found


def _unknown(case: Case, scope: str, limit: Decimal) -> Breach:
    symbol = case.intent.symbol
    text = f"no price of {symbol} is known yet: set reference_price in the limits of symbol:{symbol}"
    return Breach(code="NO_REFERENCE", text=_of(scope, text), scope=scope, asked=case.intent.qty, limit=limit)


def _counted(code: str, scope: str, text: str, limit: int, current: Decimal) -> Breach:
    return Breach(
        code=code, text=_of(scope, text), scope=scope, asked=Decimal(1), limit=Decimal(limit), current=current
    )


def _of(scope: str, text: str) -> str:
    return f"{text} (limits of {scope})"
