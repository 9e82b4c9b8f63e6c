"""Whether the folded state can be true: sums that must be equal, and states that nothing legal leads to.

Owns the checks, at the start of a leader's term and then each `CHECK_NS`, a slice of the orders at a time. A violation
halts its scope: like every halt it is latched, and only an operator who says why lifts it. What was found once is not
raised again while that halt is in force. That the journal has neither gaps nor doubles is `log.py`'s, that snapshots
agree `checkpoints.py`'s. It must not mend anything.

| what                                                                       | scope that is halted |
|----------------------------------------------------------------------------|----------------------|
| a position's result less its cost is not its cash                          | its account          |
| an order filled by less than nothing, or by fills that do not add up       | its account          |
| an order that was never sent, and that the venue has, without a break      | its account          |
| an order that ended for a replacement without a name                       | its account          |
| a slot whose holder's token is newer than the newest given                 | its group            |
| the sums over open orders are not what the orders add up to                | all                  |
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.core.exact import ZERO, add, multiply, subtract
from sidecar.core.fills import stood
from sidecar.core.leadership import Desk
from sidecar.core.order import Order
from sidecar.core.orders import OrderBook
from sidecar.core.outputs import Now
from sidecar.core.positions import NetPosition
from sidecar.core.sanity import clip
from sidecar.core.state import State
from sidecar.core.timing import MS
from sidecar.core.working import Working
from sidecar.messages.control import Halt, TradingState

CHECK_NS: Final = 60_000 * MS
"""From one look at everything to the next. Lower finds a violation sooner and costs the leader more."""
SLICE: Final = 500
"""Orders and positions looked at in one tick: a few milliseconds."""
SUMS_MAX: Final = 5_000
"""Open orders above which their sums are not added up again: that cannot be done in slices."""
PARTS_IN_A_BILLION: Final = 10**9
"""How exact a position's sums are: each closing trade divides once, with 40 digits."""
MARK: Final = "integrity: "


@dataclass(frozen=True, slots=True)
class Violation:
    """What cannot be, and the scope that must not trade on."""

    scope: str
    text: str


class Integrity:
    """The checks at one leader's desk. `impose` journals a halt of ours."""

    def __init__(self, name: str, desk: Desk, impose: Callable[[Halt], None]) -> None:
        self._name = name
        self._desk = desk
        self._impose = impose
        self._left: Iterator[Violation | None] = iter(())
        self._next_ns = 0

    def begin_term(self, now: Now) -> None:
        """Look at everything from the next tick on."""
        self._left, self._next_ns = iter(()), now.boot_ns

    def tick(self, now: Now) -> None:
        """Look at the next slice."""
        if now.boot_ns >= self._next_ns:
            self._next_ns = now.boot_ns + CHECK_NS
            self._left = checks(self._desk.state)
        for _ in range(SLICE):
            found = next(self._left, _OVER)
            if found is _OVER:
                return
            if found is not None:
                self._stop(found)

    def _stop(self, violation: Violation) -> None:
        in_force = self._desk.state.halts.values()
        if any(each.reason.startswith(MARK) and violation.scope in each.scopes for each in in_force):
            return
        self._impose(
            Halt(
                halt_id=f"integrity-{self._desk.term}-{self._desk.decided + 1}",
                scopes=(violation.scope,),
                level=TradingState.HALTED,
                reason=clip(MARK + violation.text),
                actor=self._name,
            )
        )


_OVER: Final = Violation("", "over")


def checks(state: State) -> Iterator[Violation | None]:
    """Every check, one after the other; None for what is as it should be. The state may change in between."""
    yield from (_holding(state, slot) for slot in list(state.holders))
    yield _sums(state.book)
    yield from (_position(state.book, name) for name in list(state.book.exposure.positions))
    yield from (_order(state.book, name) for name in list(state.book.unfinished()))


def _holding(state: State, slot: str) -> Violation | None:
    holder, newest = state.holders.get(slot), state.epochs.get(slot, 0)
    if holder is None or holder.token.epoch <= newest:
        return None
    group = slot.partition("/")[0]
    return Violation(f"group:{group}", f"slot {slot} is held under token {holder.token}, newer than epoch {newest}")


def _sums(book: OrderBook) -> Violation | None:
    if book.open_count > SUMS_MAX:
        return None
    again = Working()
    for cl_ord_id in book.unfinished():
        again.change(None, book.orders[cl_ord_id].work)
    if vars(again) == vars(book.working):
        return None
    return Violation("all", "the sums over open orders are not what the orders add up to")


def _position(book: OrderBook, name: str) -> Violation | None:
    held = book.exposure.positions.get(name)
    if held is None or balanced(held):
        return None
    text = (
        f"the sums of {held.symbol} at {held.venue} differ: result {held.realised}, cost {held.cost}, cash {held.cash}"
    )
    return Violation(f"account:{held.account}", text)


def balanced(held: NetPosition) -> bool:
    """Whether a position's result less its cost is its cash, and nothing is left where nothing is held."""
    off = subtract(subtract(held.realised, held.cost), held.cash).copy_abs()
    size = max(held.cost.copy_abs(), held.cash.copy_abs(), held.realised.copy_abs())
    return multiply(off, type(off)(PARTS_IN_A_BILLION)) <= size and (bool(held.qty) or not held.cost)


def _order(book: OrderBook, cl_ord_id: str) -> Violation | None:
    order = book.orders.get(cl_ord_id)
    text = order_problem(order) if order is not None else ""
    if order is None or not text:
        return None
    return Violation(f"account:{order.intent.account}", f"order {cl_ord_id} {text}")


def order_problem(order: Order) -> str:
    """Why this order's state cannot be, as words after its name; empty when it can."""
    fills = order.fills
    if fills.cum_qty < 0 or fills.carried < 0 or (fills.trades < 0 and not fills.voided):
        return f"was filled by less than nothing: CumQty {fills.cum_qty}, executions {fills.trades}"
    if order.never_sent and order.executions and not order.breaks:
        return "was never sent, and the venue has it, and there is no break"
    if order.superseded and not order.replaced_by:
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
