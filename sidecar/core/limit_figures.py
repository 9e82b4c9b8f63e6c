"""Where positions and exposures stand that limits are compared with: the largest of each scope, for people.

Owns finding the position or account that is nearest to a scope's limit, and the list of what is held. The arithmetic
is that of `limits.py`. It must not decide about orders.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from sidecar.core.exact import ZERO, add, subtract
from sidecar.core.limits import exposure as money_exposed
from sidecar.core.orders import OrderBook
from sidecar.core.positions import Exposure, NetPosition, account_of, position_name
from sidecar.core.sanity import clip
from sidecar.messages.limits import LimitSet, PositionStatus

POSITIONS_MAX: Final = 5_000
"""With more positions and open symbols than these nothing is told: looking at them would hold the leader up."""
ACCOUNTS_MAX: Final = 100
"""Accounts whose exposure is added up for one answer."""
ALL: Final = "all"


class Place(NamedTuple):
    """What a position is of."""

    venue: str
    account: str
    symbol: str

    def within(self, scope: str) -> bool:
        """Whether limits of this scope concern it, whoever trades."""
        kind, _, name = scope.partition(":")
        return scope == ALL or (kind in self._fields and getattr(self, kind) == name)


class Figure(NamedTuple):
    """The largest figure of a scope, and what it is of."""

    amount: Decimal
    of: str


class LimitFigures:
    """One look at the book, for the limits of many scopes."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._worst = dict(_worst(book)) if _few(book) else None
        self._exposures: dict[tuple[str, str, Decimal | None], Decimal] = {}

    def position(self, scope: str, limits: LimitSet) -> Figure | None:
        """The largest position within the scope, were its open orders of one side filled."""
        if limits.position_max is None or self._worst is None:
            return None
        found = [(qty, place) for place, qty in self._worst.items() if place.within(scope)]
        if not found:
            return Figure(ZERO, "") if _is_of_positions(scope) else None
        qty, place = max(found)
        return Figure(qty, clip(f"{place.symbol} in {place.account} at {place.venue}"))

    def exposure(self, scope: str, limits: LimitSet) -> Figure | None:
        """The largest exposure of an account within the scope."""
        if limits.exposure_max is None or self._worst is None or scope.startswith("symbol:"):
            return None
        accounts = sorted({(each.venue, each.account) for each in self._worst if each.within(scope)})
        if not accounts:
            return Figure(ZERO, "") if _is_of_positions(scope) else None
        if len(accounts) > ACCOUNTS_MAX:
            return None
        amount, venue, account = max((self._money(*each, limits.reference_price), *each) for each in accounts)
        return Figure(amount, clip(f"{account} at {venue}"))

    def _money(self, venue: str, account: str, reference: Decimal | None) -> Decimal:
        key = (venue, account, reference)
        if key not in self._exposures:
            self._exposures[key] = money_exposed(self._book, venue, account, reference)
        return self._exposures[key]


def holdings(exposure: Exposure) -> Iterator[PositionStatus]:
    """Every open position, in no order that means anything."""
    for each in exposure.positions.values():
        before = exposure.held_before(each.venue, each.account).get(each.symbol, ZERO)
        if qty := add(each.qty, before):
            yield _status(exposure, each, qty, before)
    for account, lines in exposure.before.items():
        venue, name = account_of(account)
        for symbol, qty in lines.items():
            if qty and position_name(venue, name, symbol) not in exposure.positions:
                yield _status(exposure, NetPosition(venue, name, symbol), qty, qty)


def _status(exposure: Exposure, held: NetPosition, qty: Decimal, before: Decimal) -> PositionStatus:
    return PositionStatus(
        venue=held.venue,
        account=held.account,
        symbol=held.symbol,
        qty=qty,
        cost=held.cost,
        realised=held.realised,
        price=exposure.mark(held.venue, held.symbol),
        before=before,
    )


def _few(book: OrderBook) -> bool:
    before = sum(map(len, book.exposure.before.values()))
    return len(book.exposure.positions) + before + len(book.working.leaves) <= POSITIONS_MAX


def _is_of_positions(scope: str) -> bool:
    return scope == ALL or scope.partition(":")[0] in Place._fields


def _worst(book: OrderBook) -> Iterator[tuple[Place, Decimal]]:
    places = {Place(each.venue, each.account, each.symbol) for each in book.exposure.positions.values() if each.qty}
    for account, lines in book.exposure.before.items():
        places |= {Place(*account_of(account), symbol) for symbol in lines}
    names = {name for name, _ in book.working.leaves}
    places |= {place for name in names if (place := _place_of(name)) is not None}
    for place in sorted(places):
        held = book.exposure.position(*place)
        buys, sells = (book.working.pending(*place, side) for side in ("BUY", "SELL"))
        yield place, max(add(held, buys).copy_abs(), subtract(held, sells).copy_abs())


def _place_of(name: str) -> Place | None:
    """A position's key taken apart; see `positions.position_name`."""
    venue_length, account_length, rest = name.split(" ", 2)
    venue = rest[: int(venue_length)]
    account = rest[len(venue) + 1 :][: int(account_length)]
    place = Place(venue, account, rest[len(venue) + len(account) + 2 :])
    return place if position_name(*place) == name else None
