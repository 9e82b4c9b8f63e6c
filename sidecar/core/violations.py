"""Whether the folded state can be true: sums that must be equal, and states that nothing legal leads to.

Owns the checks and what makes two violations the same one. It must not know who looks and what follows
(`integrity.py`).

| what                                                                       | scope that is halted |
|----------------------------------------------------------------------------|----------------------|
| a position's result less its cost is not its cash                          | its account          |
| an order filled by less than nothing, or by fills that do not add up       | its account          |
| an order that was never sent, and that the venue has, without a break      | its account          |
| an order that ended for a replacement without a name                       | its account          |
| a slot whose holder's token is newer than the newest given                 | its group            |
| the sums over open orders are not what the orders add up to                | all                  |
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Final

from sidecar.core.exact import ZERO, add, multiply, plain, subtract
from sidecar.core.fills import stood
from sidecar.core.order import Order
from sidecar.core.orders import OrderBook
from sidecar.core.positions import NetPosition
from sidecar.core.state import State
from sidecar.core.working import Working

SUMS_MAX: Final = 5_000
"""Open orders above which their sums are not added up again: that cannot be done in slices."""
PARTS_IN_A_BILLION: Final = 10**9
"""How exact a position's sums are: each closing trade divides once, with 40 digits."""
_ROUGH: Final = Context(prec=9, traps=[])


@dataclass(frozen=True, slots=True)
class Violation:
    """What cannot be, and the scope that must not trade on.

    `mark` is what is wrong about `subject` in so many words: while that stays the same it is the same finding, though
    the figures in `text` may change with every fill.
    """

    scope: str
    text: str
    subject: str = ""
    mark: str = ""

    @property
    def name(self) -> str:
        """The finding's name, the same on every arbiter: ten hexadecimal digits."""
        parts = "\n".join(f"{len(each)} {each}" for each in (self.scope, self.subject, self.mark or self.text))
        return hashlib.blake2b(parts.encode(), digest_size=5).hexdigest()


def checks(state: State) -> Iterator[Violation | None]:
    """Every check, one after the other; None for what is as it should be. The state may change in between."""
    yield from (_holding(state, slot) for slot in list(state.holders))
    yield from (_position(state.book, name) for name in list(state.book.exposure.positions))
    yield from (_order(state.book, name) for name in list(state.book.unfinished()))
    yield _sums(state.book)


def _holding(state: State, slot: str) -> Violation | None:
    holder, newest = state.holders.get(slot), state.epochs.get(slot, 0)
    if holder is None or holder.token.epoch <= newest:
        return None
    text = f"slot {slot} is held under token {holder.token}, newer than epoch {newest}"
    return Violation(f"group:{slot.partition('/')[0]}", text, f"slot {slot}")


def _sums(book: OrderBook) -> Violation | None:
    if book.open_count > SUMS_MAX:
        return None
    again = Working()
    for cl_ord_id in book.unfinished():
        again.change(None, book.orders[cl_ord_id].work)
    kept, found = vars(book.working), vars(again)
    if kept == found:
        return None
    unlike = sorted(each for name in kept for each in _unlike(name, kept[name], found[name]))
    text = f"the sums over open orders are not what the orders add up to: {', '.join(unlike)}"
    return Violation("all", text, "sums over open orders")


def _unlike(name: str, kept: dict[Any, Any], found: dict[Any, Any]) -> Iterator[str]:
    for key in kept.keys() | found.keys():
        if kept.get(key) != found.get(key):
            yield f"{name} of {key} {kept.get(key, 0)} and not {found.get(key, 0)}"


def _position(book: OrderBook, name: str) -> Violation | None:
    held = book.exposure.positions.get(name)
    if held is None or balanced(held):
        return None
    text = (
        f"the sums of {held.symbol} at {held.venue} differ: result {held.realised}, cost {held.cost}, cash {held.cash}"
    )
    mark = f"{plain(_ROUGH.plus(_off(held)))} {not held.qty and bool(held.cost)}"
    return Violation(f"account:{held.account}", text, f"position {name}", mark)


def balanced(held: NetPosition) -> bool:
    """Whether a position's result less its cost is its cash, and nothing is left where nothing is held."""
    size = max(held.cost.copy_abs(), held.cash.copy_abs(), held.realised.copy_abs())
    return multiply(_off(held).copy_abs(), Decimal(PARTS_IN_A_BILLION)) <= size and (bool(held.qty) or not held.cost)


def _off(held: NetPosition) -> Decimal:
    """What is missing between a position's sums; the same for ever once it is, whatever is traded on."""
    return subtract(subtract(held.realised, held.cost), held.cash)


def _order(book: OrderBook, cl_ord_id: str) -> Violation | None:
    order = book.orders.get(cl_ord_id)
    text = order_problem(order) if order is not None else ""
    if order is None or not text:
        return None
    return Violation(f"account:{order.intent.account}", f"order {cl_ord_id} {text}", f"order {cl_ord_id}")


def order_problem(order: Order) -> str:
    """Why this order's state cannot be, as words after its name; empty when it can."""
    fills = order.fills
    if fills.cum_qty < 0 or fills.carried < 0 or (fills.trades < 0 and not fills.voided):
        return f"was filled by less than nothing: CumQty {fills.cum_qty}, executions {fills.trades}"
    if order.never_sent and order.executions and not order.breaks:
        return "was never sent, and the venue has it, and there is no break"
    if order.superseded and not order.replaced_by and not order.adopted:  # An adopted one may prove to be ours.
        return "has ended for a replacement that has no name"
    if not fills.uncounted and not fills.voided and not _adds_up(order):
        return f"has executions that do not add up to {fills.trades}"
    return ""


def _adds_up(order: Order) -> bool:
    """Whether the executions that stand are the sum that was kept; those of its chain may be counted elsewhere."""
    found = ZERO
    for each in order.executions.values():
        if stood(each, order.fills.voided):
            found = add(found, each.last_qty)
    chained = order.intent.kind == "REPLACE" or bool(order.replaced_by)
    return found == order.fills.trades or (chained and found > order.fills.trades)
