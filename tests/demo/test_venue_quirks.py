"""The simulated venue's misbehaviour: its steps, and that its book stays the truth."""

from decimal import Decimal
from typing import Any, get_args

import pytest

from sidecar.demo.venue_book import Book
from sidecar.demo.venue_quirks import Told, after_cancel, course
from sidecar.messages.base import Token
from sidecar.messages.venue import CancelOrder, MassCancel, NewOrder, Quirk, ReplaceOrder

TOKEN = Token(1, 1)


def new(name: str = "o1", account: str = "ACC", symbol: str = "ACME") -> NewOrder:
    """A buy of ten."""
    return NewOrder(cl_ord_id=name, account=account, symbol=symbol, side="BUY", qty=Decimal(10), token=TOKEN)


def cancel(target: str) -> CancelOrder:
    """A cancel of it."""
    return CancelOrder(
        cl_ord_id="c1", orig_cl_ord_id=target, account="ACC", symbol="ACME", side="BUY", qty=Decimal(10), token=TOKEN
    )


def replacement(target: str, qty: int, name: str = "r1") -> ReplaceOrder:
    """Another quantity for it."""
    return ReplaceOrder(
        cl_ord_id=name,
        orig_cl_ord_id=target,
        account="ACC",
        symbol="ACME",
        side="BUY",
        qty=Decimal(qty),
        token=TOKEN,
    )


def run(quirk: Quirk) -> tuple[Book, list[Told]]:
    """The whole course of an order that is treated so."""
    book = Book("SIM")
    return book, [told for step in course(quirk, new(), book) for told in step()]


@pytest.mark.parametrize(
    ("quirk", "copied", "known"),
    [
        ("REST", [("o1", "NEW", 0)], [("NEW", 0)]),
        ("FILL_BEFORE_ACK", [("", "TRADE", 10), ("o1", "NEW", 0)], [("NEW", 0), ("TRADE", 10)]),
        ("LATE_STATUS", [("o1", "TRADE", 10), ("o1", "NEW", 0)], [("NEW", 0), ("TRADE", 10)]),
        ("DUPLICATE_EXEC_ID", [("o1", "NEW", 0), ("o1", "TRADE", 5), ("o1", "TRADE", 10)], [("NEW", 0), ("TRADE", 5)]),
        (
            "CORRECT",
            [("o1", "NEW", 0), ("o1", "TRADE", 10), ("o1", "TRADE_CORRECT", 5)],
            [("NEW", 0), ("TRADE", 10), ("TRADE_CORRECT", 5)],
        ),
        (
            "BUST",
            [("o1", "NEW", 0), ("o1", "TRADE", 5), ("o1", "TRADE_CANCEL", 0)],
            [("NEW", 0), ("TRADE", 5), ("TRADE_CANCEL", 0)],
        ),
        (
            "OVERFILL",
            [("o1", "NEW", 0), ("o1", "TRADE", 10), ("o1", "TRADE", 15)],
            [("NEW", 0), ("TRADE", 10), ("TRADE", 15)],
        ),
        (
            "RESEND",
            [("o1", "NEW", 0), ("o1", "NEW", 0), ("o1", "TRADE", 10), ("o1", "TRADE", 10)],
            [("NEW", 0), ("TRADE", 10)],
        ),
        ("HIDE_FILLS", [("o1", "NEW", 0)], [("NEW", 0), ("TRADE", 10)]),
        ("NO_ANSWER", [], [("NEW", 0), ("TRADE", 10)]),
        ("FORGET", [("o1", "NEW", 0), ("o1", "TRADE", 5)], []),
        ("KEEP", [("o1", "NEW", 0)], [("NEW", 0)]),
        ("FILL_AFTER_CANCEL", [("o1", "NEW", 0)], [("NEW", 0)]),
        ("TWO_ORDERS", [("o1", "NEW", 0)], [("NEW", 0)]),
        (
            "INFERRED",
            [("o1", "NEW", 0), ("o1", "TRADE", 5)],
            [("NEW", 0), ("ORDER_STATUS", 5), ("TRADE", 5)],
        ),
        ("ONE_TRADE_ID", [("o1", "NEW", 0), ("o1", "TRADE", 10)], [("NEW", 0), ("TRADE", 10)]),
    ],
)
def test_each_quirk(quirk: Quirk, copied: list[tuple[str, str, int]], known: list[tuple[str, int]]) -> None:
    """Each quirk tells the drop copy what it is about, and a query shows what really happened."""
    book, steps = run(quirk)
    told: list[Any] = steps
    reports: list[Any] = list(book.reports("o1"))
    assert [(each.report.cl_ord_id, each.report.exec_type, each.report.cum_qty) for each in told if each.copy] == copied
    assert [(each.exec_type, each.cum_qty) for each in reports] == known
    assert quirk in get_args(Quirk)


def test_cancels_of_misbehaving_orders() -> None:
    """A kept order outlives its confirmed cancel, and a cancelled one can still be filled."""
    kept, _ = run("KEEP")
    assert [each.cl_ord_id for each in kept.cancel(cancel("o1"))] == ["c1"]
    assert kept.fill("o1", Decimal(1)) is not None
    filled, _ = run("FILL_AFTER_CANCEL")
    filled.cancel(cancel("o1"))
    (step,) = after_cancel("FILL_AFTER_CANCEL", "o1", filled)
    report: Any = step()[0].report
    assert (report.ord_status, report.cum_qty) == ("CANCELED", 5)


def test_replace() -> None:
    """A replaced order goes on under its OrderID with what was filled; too small a quantity is rejected."""
    book = Book("SIM")
    order_id = book.accept(new()).order_id
    book.fill("o1", Decimal(4))
    reports: list[Any] = book.replace(replacement("o1", 20))
    taken, old = reports
    assert (taken.exec_type, taken.order_id, taken.cum_qty, taken.leaves_qty) == ("REPLACED", order_id, 4, 16)
    assert (taken.orig_cl_ord_id, old.ord_status) == ("o1", "REPLACED")
    assert book.fill("o1", Decimal(1)) is None
    filled = book.fill("r1", Decimal(1))
    assert filled is not None
    assert filled.cum_qty == 5
    assert [each.ord_status for each in book.replace(replacement("r1", 5, "r2"))] == ["REJECTED"]


def test_a_replacement_beside_its_order() -> None:
    """A venue that was told so makes a replacement a second order, and keeps the first one open."""
    book, _ = run("TWO_ORDERS")
    (second,) = book.replace(replacement("o1", 7))
    assert second.order_id != book.reports("o1")[0].order_id
    assert book.fill("o1", Decimal(1)) is not None


def test_mass_cancel() -> None:
    """A mass cancel ends every open order of the account, of one symbol if it names one, and reports each."""
    book = Book("SIM")
    for name, account, symbol in (
        ("a", "ACC", "ACME"),
        ("b", "ACC", "OTHER"),
        ("c", "NOT", "ACME"),
        ("d", "ACC", "ACME"),
    ):
        book.accept(new(name, account, symbol))
    book.fill("d", Decimal(10))
    one = book.mass_cancel(MassCancel(cl_ord_id="m1", account="ACC", symbol="OTHER", token=TOKEN))
    rest = book.mass_cancel(MassCancel(cl_ord_id="m2", account="ACC", token=TOKEN))
    assert [each.cl_ord_id for each in one] == ["m1", "b"]
    assert [each.cl_ord_id for each in rest] == ["m2", "a"]
