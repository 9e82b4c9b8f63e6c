"""Busts, corrections and repeated trades along chains of replaced orders, when reports overtake each other."""

from decimal import Decimal
from typing import Any

from desks import Desk, intent
from msgspec.structs import replace
from order_desks import breaks, committed, order, position, resting, told, trade

from sidecar.messages.orders import Evidence


def bust(cl_ord_id: str = "o1", qty: str = "40", *, cum: str, ref: str = "f1", **fields: Any) -> Evidence:
    """A trade is taken back."""
    values = {"exec_id": f"b.{ref}", "exec_type": "TRADE_CANCEL", "exec_ref_id": ref, **fields}
    return trade(cl_ord_id, qty, cum=cum, **values)


def replaced(*, told_so: bool = True, **fields: Any) -> Desk:
    """o1 rests under V1, and r1 replaces it under the same OrderID."""
    desk = resting("o1")
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1", **fields))
    desk.queue(committed("r1", "V1"))
    if told_so:
        desk.queue(told("r1", "NEW", exec_type="REPLACED", order_qty=fields.get("qty", Decimal(100))))
    return desk


def nameless(evidence: Evidence) -> Evidence:
    """The same with the venue's OrderID only."""
    return replace(evidence, report=replace(evidence.report, cl_ord_id=""))


def test_a_late_bust_opens_nothing() -> None:
    """A cancelled order stays cancelled when a bust of before it comes afterwards, whatever that says."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40"))
    desk.queue(told("o1", "CANCELED", cum="0"))
    desk.queue(bust(cum="0", status="NEW"))
    assert (order(desk).venue_status, order(desk).cum_qty, position(desk)) == ("CANCELED", 0, 0)


def test_revisions_that_overtake_each_other() -> None:
    """Of two revisions the later one's CumQty does not come back when the earlier one arrives after it."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40"))
    desk.queue(trade(qty="20", cum="60", exec_id="f2"))
    desk.queue(bust(qty="20", cum="20", ref="f2"))  # Made after the correction below.
    desk.queue(bust(qty="20", cum="40", ref="f1", exec_type="TRADE_CORRECT"))
    assert (order(desk).cum_qty, position(desk)) == (20, 20)


def test_a_bust_along_a_chain_takes_back_once() -> None:
    """A trade of the first ClOrdID that is busted under the second is in neither, nor in a late status of either."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40"))
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.queue(committed("r1", "V1"))
    desk.queue(told("r1", "PARTIALLY_FILLED", exec_type="REPLACED", cum="40"))
    desk.queue(bust("r1", cum="0", status="NEW"))
    desk.queue(told("r1", "CANCELED", cum="0"))
    assert (order(desk, "r1").cum_qty, order(desk, "r1").venue_status, position(desk)) == (0, "CANCELED", 0)


def test_a_trade_that_comes_after_its_bust() -> None:
    """A bust under the second ClOrdID comes before the first one's trade: it never counts, under any of them."""
    desk = replaced()
    desk.queue(told("o1", "REPLACED", cum="40"))
    desk.queue(bust("r1", cum="0", status="NEW"))
    desk.queue(trade(qty="40", cum="40"))
    desk.queue(trade("r1", qty="60", cum="60", exec_id="f2"))
    assert (position(desk), breaks(desk)) == (60, [])


def test_one_execution_told_under_two_names() -> None:
    """A venue that tells a trade again under the ClOrdID that came later has not filled it twice."""
    desk = replaced()
    desk.queue(trade(qty="100", cum="100"))
    desk.queue(trade("r1", qty="100", cum="100"))
    assert (position(desk), breaks(desk)) == (100, [])


def test_an_order_under_another_order_id_carries_nothing() -> None:
    """A replacement that was taken for the same venue order, until its OrderID was known, is an order of its own."""
    desk = resting()
    desk.queue(intent("o1"))
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.queue(told("r1", "NEW", order_id="V2"))
    assert order(desk).superseded
    desk.queue(trade(qty="40", cum="40"))
    assert not order(desk).superseded
    desk.queue(trade("r1", qty="100", cum="100", exec_id="f2", order_id="V2"))
    assert (position(desk), breaks(desk)) == (140, [])


def test_a_nameless_trade_of_a_replacement_that_nobody_told_of() -> None:
    """A trade with an OrderID only is of the replacement that has its quantity, though nothing was heard of it yet."""
    desk = replaced(told_so=False, qty=Decimal(150))
    desk.queue(nameless(trade("r1", qty="40", cum="40", order_qty=Decimal(150))))
    assert (order(desk, "r1").cum_qty, position(desk), breaks(desk)) == (40, 40, [])


def test_a_nameless_trade_goes_where_it_is_missing() -> None:
    """Of two that have its quantity, a trade is of the one whose status says that more was filled than is known."""
    desk = replaced()
    desk.queue(told("o1", "REPLACED", cum="40"))
    desk.queue(nameless(trade(qty="40", cum="40")))
    desk.queue(told("r1", "CANCELED", cum="40"))
    assert position(desk) == 40
    assert order(desk).execution("f1") is not None


def test_a_nameless_trade_whose_bust_came_first() -> None:
    """A trade with an OrderID only is of the order under which its bust was told, and counts nowhere."""
    desk = replaced()
    desk.queue(bust(cum="0", status="NEW"))
    desk.queue(nameless(trade(qty="40", cum="40")))
    assert (position(desk), order(desk).execution("f1") is not None) == (0, True)


def test_a_nameless_transfer_is_ours() -> None:
    """A transfer is found by its OrderID, and moves no position."""
    desk = resting()
    desk.queue(intent("t1", kind="TRANSFER", side="SELL", to_account="B"))
    desk.queue(committed("t1", "V9"))
    desk.queue(nameless(trade("t1", qty="100", cum="100", side="SELL", order_id="V9")))
    desk.tick(20_000)
    assert (position(desk), breaks(desk)) == (0, [])
