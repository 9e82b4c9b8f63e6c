"""One order's evidence, and the phase that follows from it."""

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from desks import intent, report
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core import order as single
from sidecar.core import orders
from sidecar.core.order import Order, contradiction, fill_key
from sidecar.core.orders import OrderBook
from sidecar.messages.journal import (
    BreakOpened,
    EvidenceSeen,
    Fact,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    Record,
)
from sidecar.messages.orders import Phase

REPORTED = OrderReported(cl_ord_id="o1", order_id="V1", ord_status="NEW")
LOST = OrderLost(cl_ord_id="o1", reason="")
NEVER = OrderNeverSent(cl_ord_id="o1", reason="")


def book_of(*facts: Fact) -> OrderBook:
    """The fold of these facts."""
    book = OrderBook()
    for n, fact in enumerate(facts):
        book.apply(Record(term=1, n=n, arbiter="a", at_ns=0, fact=fact))  # type: ignore[arg-type]  # All are AnyFact.
    return book


def seen(**fields: Any) -> EvidenceSeen:
    """A venue's report as a fact."""
    return EvidenceSeen(report=report(**fields), source="drop_copy")


def order_of(*facts: Fact) -> Order:
    """The order o1 after these facts."""
    return book_of(OrderPrecommitted(intent=intent()), *facts).orders["o1"]


@pytest.mark.parametrize(
    ("reported", "lost", "never_sent", "evidence", "broken"), list(product((False, True), repeat=5))
)
def test_the_phase_table(reported: bool, lost: bool, never_sent: bool, evidence: bool, broken: bool) -> None:
    """Every combination of what is journaled has the phase of the table in core/orders.py."""
    parts = [
        (reported, REPORTED),
        (lost, LOST),
        (never_sent, NEVER),
        (evidence, seen()),
        (broken, BreakOpened(cl_ord_id="o1", kind="K", ours="", theirs="")),
    ]
    if broken:
        expected = Phase.BREAK
    elif never_sent:
        expected = Phase.ABORTED
    elif not reported and not lost:
        expected = Phase.PRECOMMITTED
    elif evidence:
        expected = Phase.VERIFIED
    else:
        expected = Phase.COMMITTED if reported else Phase.UNKNOWN
    assert order_of(*[fact for wanted, fact in parts if wanted]).phase is expected


@given(st.permutations([REPORTED, LOST, seen(cum="40", status="PARTIALLY_FILLED", exec_id="f1"), seen()]))
def test_fill_before_ack(facts: list[Fact]) -> None:
    """Reports and evidence lead to the same phase and quantity in whatever order they arrive."""
    order = order_of(*facts)
    assert order.phase is Phase.VERIFIED
    assert (order.cum_qty, order.venue_status) == (Decimal(40), "PARTIALLY_FILLED")


def test_late_status_regression() -> None:
    """CumQty never goes down, and a late NEW does not overwrite FILLED."""
    order = order_of(seen(cum="100", status="FILLED", exec_id="f1"), seen())
    assert (order.cum_qty, order.venue_status) == (Decimal(100), "FILLED")


def test_fill_after_cancel() -> None:
    """A terminal state is revised by a fill, and by nothing else."""
    canceled = seen(status="CANCELED", exec_id="c1", exec_type="CANCELED")
    order = order_of(canceled, seen(cum="30", status="CANCELED", exec_id="f1"))
    assert order.cum_qty == 30
    assert order_of(canceled, seen(exec_id="n1")).venue_status == "CANCELED"


def test_a_status_that_was_asked_for_is_not_newer_unless_terminal() -> None:
    """An answer to a status query does not replace a status of the same quantity, unless only a fill can follow it."""
    asked: dict[str, Any] = {"cum": "40", "exec_id": "0", "exec_type": "ORDER_STATUS"}
    partly = seen(cum="40", status="PARTIALLY_FILLED", exec_id="f1")
    assert order_of(partly, seen(**asked, status="NEW")).venue_status == "PARTIALLY_FILLED"
    assert order_of(partly, seen(**asked, status="EXPIRED")).venue_status == "EXPIRED"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, None),
        ({"cum": "40", "status": "PARTIALLY_FILLED"}, None),
        ({"cum": "101", "status": "FILLED"}, "OVERFILL"),
        ({"order_qty": Decimal(99)}, "OTHER_QUANTITY"),
        ({"account": "OTHER"}, "OTHER_ORDER"),
        ({"symbol": "OTHER"}, "OTHER_ORDER"),
        ({"side": "SELL"}, "OTHER_ORDER"),
        ({"venue": "OTHER"}, "OTHER_ORDER"),
        ({"order_id": "V2"}, "OTHER_ORDER_ID"),
    ],
)
def test_contradictions(change: dict[str, Any], kind: str | None) -> None:
    """Each way in which evidence can differ from the intent or the report is a break of its own kind."""
    found = contradiction(order_of(REPORTED), report(**change))
    assert (found[0] if found else None) == kind


def test_duplicate_exec_id() -> None:
    """The same key with another payload is a break; the same ExecID on the other side is another execution."""
    order = order_of(seen(cum="40", status="PARTIALLY_FILLED", exec_id="f1"))
    same = report(cum="40", status="PARTIALLY_FILLED", exec_id="f1")
    assert contradiction(order, same) is None
    changed = contradiction(order, report(cum="50", status="PARTIALLY_FILLED", exec_id="f1"))
    assert changed is not None
    assert changed[0] == "EXECUTION_CHANGED"
    assert fill_key(report(side="BUY")) != fill_key(report(side="SELL"))


def test_status_answers_may_repeat_one_exec_id() -> None:
    """FIX lets every answer to a status request carry ExecID 0, so two different ones are no break."""
    order = order_of(seen(exec_id="0", exec_type="ORDER_STATUS"))
    assert contradiction(order, report(exec_id="0", exec_type="ORDER_STATUS", cum="10")) is None


def test_aborted_but_at_venue() -> None:
    """Evidence for an order that was never sent is a break."""
    found = contradiction(order_of(NEVER), report())
    assert found is not None
    assert found[0] == "ABORTED_BUT_AT_VENUE"


def test_counts_follow_the_phases() -> None:
    """Each order is counted once, where it stands now, and an external order as broken."""
    book = book_of(
        OrderPrecommitted(intent=intent("o1")),
        OrderPrecommitted(intent=intent("o2")),
        REPORTED,
        seen(cum="100", status="FILLED"),
        OrderRefused(intent=intent("o3"), code="HALTED", text=""),
        BreakOpened(cl_ord_id="x", kind="EXTERNAL_ORDER", ours="", theirs=""),
    )
    counts = book.counts()
    assert (counts.granted, counts.denied, counts.precommitted, counts.verified, counts.broken) == (2, 1, 1, 1, 1)
    assert (book.open_count, list(book.unfinished())) == (1, ["o2"])


def test_finished_orders_leave_memory_and_stay_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are bounded: finished orders are forgotten but for their ClOrdIDs, and unfinished ones stay."""
    monkeypatch.setattr(orders, "FINISHED_MAX", 16)
    monkeypatch.setattr(orders, "REMEMBERED_MAX", 32)
    facts: list[Fact] = [OrderPrecommitted(intent=intent("open"))]
    for n in range(100):
        cl_ord_id = f"o{n}"
        facts += [
            OrderPrecommitted(intent=intent(cl_ord_id)),
            OrderNeverSent(cl_ord_id=cl_ord_id, reason=""),
        ]
    book = book_of(*facts)
    assert "open" in book.orders
    assert len(book.orders) <= 17
    assert book.remembers("o80")
    assert not book.remembers("o1")
    assert book.counts().aborted == 100


def test_executions_of_one_order_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order with many executions keeps its quantity and the newest of them."""
    monkeypatch.setattr(single, "EXECUTIONS_MAX", 5)
    order = order_of(*[seen(cum=str(n), status="PARTIALLY_FILLED", exec_id=f"f{n}") for n in range(1, 50)])
    assert order.cum_qty == 49
    assert len(order.executions) == 5
