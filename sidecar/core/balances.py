"""One account's balances against what its fills have moved: is anything gone, or there, that nobody traded?

Owns what each balance is compared with. It must not ask a venue, nor open a difference (`reconciliation.py`).

| the currencies of all symbols traded in the account       | a balance                                               |
|-----------------------------------------------------------|---------------------------------------------------------|
| are known, it is one of them, a tolerance is configured   | is what it was plus what fills moved; fees at most the  |
|                                                           | tolerance, in percent of what was turned over           |
| else                                                      | is what it was while nothing trades in the account;     |
|                                                           | what changes together with a fill is not seen           |

Fees, funding and interest are in no execution report, so without a word on them nothing that trades is compared. What a
balance is compared with begins anew whenever the account was quiet for as long as a difference takes to settle: the
tolerance is of what was traded since then only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from sidecar.core.exact import ZERO, add, multiply, subtract
from sidecar.core.positions import NetPosition
from sidecar.core.settling import Settling
from sidecar.messages.reconcile import Market

PERCENT: Final = Decimal("0.01")


class Moved(NamedTuple):
    """What fills have moved of one currency since the journal began: in sum, and turned over in all."""

    net: Decimal = ZERO
    turned: Decimal = ZERO


class Gap(NamedTuple):
    """A balance that is not what it must be."""

    name: str
    ours: Decimal
    theirs: Decimal


@dataclass(frozen=True, slots=True)
class _Base:
    """What a balance was, and what had been moved by then."""

    qty: Decimal = ZERO
    moved: Moved = Moved()


class AccountBalances:
    """The balances of one account, statement by statement. `tolerance` is in percent, None where fills do not count."""

    def __init__(self, settle_ns: int, tolerance: Decimal | None = None) -> None:
        self._settle_ns = settle_ns
        self._tolerance = tolerance
        self._settling = Settling(settle_ns)
        self._bases: dict[str, _Base] = {}
        self._anew: set[str] | None = None  # Of these begin anew; None is of all.
        self._kinds: tuple[bool, frozenset[str]] = (False, frozenset())
        self._traded: object = None
        self._theirs: Mapping[str, Decimal] = {}
        self._changed_ns = 0

    def agreed(self, name: str) -> None:
        """The venue agrees again: the next statement says what this balance is compared with from then on."""
        if self._anew is not None:
            self._anew.add(name)

    def stated(
        self, theirs: Mapping[str, Decimal], held: tuple[NetPosition, ...], markets: Iterable[Market], now_ns: int
    ) -> list[Gap]:
        """The gaps that are believed after one more statement. Of each the venue's word is what counts from then on."""
        found = moved_by(held, markets) if self._tolerance is not None else None
        moved, traded = found or {}, _figures(held)
        names = theirs.keys() | self._bases.keys() | moved.keys()
        self._begin(names - moved.keys() if traded != self._traded else set(), theirs, moved)
        kinds = (found is not None, frozenset(each.symbol for each in held))
        if self._anew is None or kinds[0] is not self._kinds[0] or not kinds[1] >= self._kinds[1]:
            self._begin(names, theirs, moved)  # As after a position was forgotten, which moves the sums back.
        else:
            self._begin(self._anew, theirs, moved)
        self._anew, self._kinds = set(), kinds
        gaps = {each.name: each for each in self._gaps(sorted(names), theirs, moved)}
        believed = self._settling.settled(
            {each.name: subtract(each.theirs, each.ours) for each in gaps.values()}, now_ns
        )
        self._begin(believed, theirs, moved)
        if (traded, theirs) != (self._traded, self._theirs):
            self._traded, self._theirs, self._changed_ns = traded, dict(theirs), now_ns
        elif now_ns - self._changed_ns >= self._settle_ns:
            self._begin(names - gaps.keys(), theirs, moved)
        return [gaps[name] for name in sorted(believed)]

    def _begin(self, names: Iterable[str], theirs: Mapping[str, Decimal], moved: Mapping[str, Moved]) -> None:
        """Compare these with what they are now from here on."""
        for name in names:
            self._bases[name] = _Base(theirs.get(name, ZERO), moved.get(name, Moved()))

    def _gaps(self, names: Iterable[str], theirs: Mapping[str, Decimal], moved: Mapping[str, Moved]) -> Iterator[Gap]:
        for name in names:
            base, now = self._bases.get(name, _Base()), moved.get(name, Moved())
            ours = add(base.qty, subtract(now.net, base.moved.net))
            turned = subtract(now.turned, base.moved.turned)
            allowed = multiply(multiply(turned, PERCENT), self._tolerance or ZERO)
            qty = theirs.get(name, ZERO)
            if subtract(qty, ours).copy_abs() > allowed:
                yield Gap(name, ours, qty)


def moved_by(held: Iterable[NetPosition], markets: Iterable[Market]) -> dict[str, Moved] | None:
    """What fills moved of each currency; None when the currencies of any symbol are not known."""
    known = {each.symbol: each for each in markets}
    found: dict[str, Moved] = {}
    for each in held:
        market = known.get(each.symbol)
        if market is None:
            return None
        _move(found, market.quote, each.cash, each.turned)
        if market.base:
            _move(found, market.base, each.qty, each.turned_qty)
    return found


def _move(found: dict[str, Moved], currency: str, net: Decimal, turned: Decimal) -> None:
    before = found.get(currency, Moved())
    found[currency] = Moved(add(before.net, net), add(before.turned, turned))


def _figures(held: Iterable[NetPosition]) -> tuple[tuple[str, Decimal, Decimal], ...]:
    """What changes with every fill of an account."""
    return tuple(sorted((each.symbol, each.qty, each.cash) for each in held))
