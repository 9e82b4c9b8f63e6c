"""Cancels and replacements: one chain of ClOrdIDs, every venue order in it followed until it has ended."""

from decimal import Decimal
from typing import Any

from desks import Desk, intent, serving
from order_desks import breaks, committed, order, position, resting, told, trade, wanted

from sidecar.core.orders import open_orders
from sidecar.messages.events import BreakFound
from sidecar.messages.orders import Evidence, OrderDenied, OrderGranted, OrderUnknown


def replacing(desk: Desk, name: str, orig: str, **fields: Any) -> None:
    """A replacement that was granted and sent."""
    desk.queue(intent(name, kind="REPLACE", orig_cl_ord_id=orig, **fields))
    desk.queue(OrderUnknown(component="exec-a", cl_ord_id=name, reason="the link went down"))


def test_cancel_replace_race() -> None:
    """A replacement that the venue made a second order of is followed beside the first: two alive are a break."""
    desk = resting("o1")
    replacing(desk, "r1", "o1")
    desk.queue(told("r1", "NEW", order_id="V2"))
    assert order(desk).replaced_by == "r1"
    assert not order(desk).ended
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book)] == ["o1", "r1"]
    for _ in range(3):
        desk.tick(10_100)
        desk.queue(Evidence(reconciler="r", source="query", report=told("o1", "NEW").report))
    assert breaks(desk) == ["STILL_OPEN"]
    desk.queue(trade(cum="100", qty="100"))
    assert position(desk) == 100


def test_cancel_replace_race_of_an_order_that_nobody_has_heard_of() -> None:
    """An order that was replaced before the venue named it is asked about, and followed when it turns out another."""
    desk = serving()
    desk.queue(intent("o1"))
    desk.queue(OrderUnknown(component="exec-a", cl_ord_id="o1", reason="the link went down"))
    replacing(desk, "r1", "o1")
    desk.sent.clear()
    desk.queue(told("r1", "NEW", order_id="V2"))
    assert wanted(desk) == ["o1"]
    for _ in range(3):
        desk.queue(Evidence(reconciler="r", source="query", report=told("o1", "NEW").report))
        desk.tick(10_100)
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book)] == ["o1", "r1"]
    assert breaks(desk) == ["STILL_OPEN"]


def test_cancel_replace_race_that_ends_well() -> None:
    """The first order's own end closes the matter, whichever of the two reports comes first."""
    desk = resting("o1")
    replacing(desk, "r1", "o1")
    desk.queue(told("r1", "NEW", order_id="V2"))
    desk.queue(told("o1", "CANCELED"))
    desk.tick(60_000)
    assert breaks(desk) == []
    assert order(desk).finished
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book)] == ["r1"]


def test_a_chain_is_one_venue_order() -> None:
    """Under one OrderID the next ClOrdID takes over, carries the fills, and no fill of the chain counts twice."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40", exec_id="f1"))
    replacing(desk, "r1", "o1", qty=Decimal(150))
    desk.queue(told("r1", "PARTIALLY_FILLED", exec_type="REPLACED", cum="40", order_qty=Decimal(150)))
    assert (order(desk).superseded, order(desk).finished, position(desk)) == (True, True, 40)
    desk.queue(trade("r1", qty="40", cum="40", exec_id="f1", order_qty=Decimal(150)))
    assert position(desk) == 40
    desk.queue(trade("r1", qty="10", cum="50", exec_id="f2", order_qty=Decimal(150)))
    desk.queue(trade("o1", qty="10", cum="50", exec_id="f2"))
    desk.queue(trade("r1", qty="20", cum="70", exec_id="f3", order_qty=Decimal(150)))
    assert position(desk) == 70
    bust = trade(
        "r1", qty="40", cum="30", exec_id="b1", exec_type="TRADE_CANCEL", exec_ref_id="f1", order_qty=Decimal(150)
    )
    desk.queue(bust)
    assert position(desk) == 30
    assert breaks(desk) == []


def test_one_replacement_at_a_time() -> None:
    """An order is replaced once at a time, by its newest ClOrdID, and a failed replacement frees it."""
    desk = resting("o1")
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.queue(intent("r2", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.queue(told("r1", "REJECTED"))
    desk.queue(intent("r3", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.queue(told("r3", "NEW", exec_type="REPLACED"))
    desk.queue(intent("r4", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.queue(intent("r5", kind="REPLACE", orig_cl_ord_id="nobody"))
    desk.queue(intent("r6", kind="REPLACE", orig_cl_ord_id="r3", symbol="ABC"))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["r1", "r3"]
    codes = {each.cl_ord_id: each.code for each in desk.replies(OrderDenied)}
    assert codes == {"r2": "REPLACE_PENDING", "r4": "NO_ORIGINAL", "r5": "NO_ORIGINAL", "r6": "NO_ORIGINAL"}


def test_batch_cancel() -> None:
    """Each order that a mass cancel concerns is registered, asked about, and a break of its own when it stays."""
    desk = resting("o1", "o2", "o3")
    desk.queue(intent("o4", account="OTHER"))
    desk.queue(intent("m1", kind="MASS_CANCEL", symbol="", qty=Decimal(0)))
    assert [each.cancel_by for each in (order(desk, f"o{n}") for n in (1, 2, 3, 4))] == ["m1", "m1", "m1", ""]
    desk.queue(committed("m1", ""))
    desk.queue(told("m1", "CANCELED", symbol="", order_id=""))
    desk.queue(told("o1", "CANCELED"))
    desk.sent.clear()
    desk.tick(10_100)
    assert set(wanted(desk)) >= {"o2", "o3"}
    assert "o1" not in wanted(desk)
    for _ in range(2):
        desk.queue(Evidence(reconciler="r", source="query", report=told("o2", "NEW", order_id="V2").report))
        desk.queue(Evidence(reconciler="r", source="query", report=told("o3", "CANCELED", order_id="V3").report))
        desk.tick(2_100)
    assert [(each.cl_ord_id, each.kind) for each in desk.events(BreakFound)] == [("o2", "STILL_OPEN")]
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book, account="ACC")] == ["o2"]


def test_a_failed_cancel_spares_its_order() -> None:
    """An order whose cancel was rejected, or never sent, is open as before."""
    desk = resting("o1", "o2")
    desk.queue(intent("c1", kind="CANCEL", orig_cl_ord_id="o1"))
    desk.queue(intent("m1", kind="MASS_CANCEL"))
    assert [order(desk, each).cancel_by for each in ("o1", "o2")] == ["m1", "m1"]
    desk.queue(told("m1", "REJECTED"))
    assert [order(desk, each).cancel_by for each in ("o1", "o2")] == ["", ""]
    desk.tick(60_000)
    assert breaks(desk) == []
