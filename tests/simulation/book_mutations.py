"""Rules of what a venue's words mean, each with a way to break it, for the simulator to catch."""

from typing import Any

import pytest
from mutations import Mutation
from order_mutations import BRISK

from sidecar.core import fills, order, orders
from sidecar.core.exact import add
from sidecar.core.fills import Fills
from sidecar.core.orders import OrderBook


def busts_change_nothing(patch: pytest.MonkeyPatch) -> None:
    """What was traded once stays traded."""
    patch.setattr(fills, "_revised", lambda now, *arguments, **named: now)


def busts_open(patch: pytest.MonkeyPatch) -> None:
    """The OrdStatus of a bust or correction counts, whatever was said before it."""
    original = order._status

    def status(known: Any, report: Any, after: Fills) -> Any:
        return report.ord_status if report.exec_ref_id else original(known, report, fills.NONE)

    patch.setattr(order, "_status", status)


def busts_by_their_word(patch: pytest.MonkeyPatch) -> None:
    """The CumQty of a bust or correction counts, however late it comes."""
    original = fills._revised

    def revised(now: Fills, report: Any, *arguments: Any, **named: Any) -> Fills:
        after = original(now, report, *arguments, **named)
        return Fills(
            report.cum_qty, after.trades, after.value, after.carried, after.price, after.uncounted, after.voided
        )

    patch.setattr(fills, "_revised", revised)


def nothing_is_carried(patch: pytest.MonkeyPatch) -> None:
    """A replacement's CumQty is taken for its own."""
    patch.setattr(orders, "carrying", lambda now, before: now)


def sums_of_both(patch: pytest.MonkeyPatch) -> None:
    """A fill is added to what a status has said was filled."""
    original = fills.filled

    def filled(before: Fills, report: Any, known: Any, *, counted: bool, elsewhere: bool = False) -> Fills:
        after = original(before, report, known, counted=counted, elsewhere=elsewhere)
        if report.exec_type != "TRADE" or counted:
            return after
        cum_qty = add(before.cum_qty, report.last_qty)
        return Fills(cum_qty, after.trades, after.value, after.carried, after.price, after.uncounted, after.voided)

    patch.setattr(order, "filled", filled)


def replaced_stay(patch: pytest.MonkeyPatch) -> None:
    """Under the same OrderID the old ClOrdID goes on, too."""
    patch.setattr(OrderBook, "_supersede", lambda self, new, at_ns: None)


BOOK_MUTATIONS = (
    Mutation("busts change nothing", "books agree", 0, busts_change_nothing, BRISK),
    Mutation("late busts open what is gone", "books agree", 0, busts_open, BRISK),
    Mutation("a bust's CumQty is believed", "books agree", 0, busts_by_their_word, BRISK),
    Mutation("a replacement carries nothing", "books agree", 0, nothing_is_carried, BRISK),
    Mutation("fills are added to what a status says", "books agree", 0, sums_of_both, BRISK),
    Mutation("replaced orders go on", "books agree", 0, replaced_stay, BRISK),
)
