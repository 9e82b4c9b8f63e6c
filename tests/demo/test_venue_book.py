"""The simulated venue's truth: its book and how it decides."""

from collections import Counter
from decimal import Decimal

from sidecar.demo.venue_behaviour import Behaviour, Fate, plan_order
from sidecar.demo.venue_book import Book
from sidecar.messages.base import Token
from sidecar.messages.venue import CancelOrder, NewOrder

TOKEN = Token(1, 1)


def new(cl_ord_id: str = "a-1", qty: int = 10) -> NewOrder:
    return NewOrder(cl_ord_id=cl_ord_id, account="ACC", symbol="ACME", side="BUY", qty=Decimal(qty), token=TOKEN)


def cancel(target: str, cl_ord_id: str = "c-1", account: str = "ACC") -> CancelOrder:
    return CancelOrder(
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=target,
        account=account,
        symbol="ACME",
        side="BUY",
        qty=Decimal(10),
        token=TOKEN,
    )


def test_fate_is_repeatable() -> None:
    """The same seed and ClOrdID meet the same fate, and another seed may differ."""
    fates = [plan_order(f"x-{n}", Decimal(10), Behaviour(seed=7)).fate for n in range(200)]
    assert fates == [plan_order(f"x-{n}", Decimal(10), Behaviour(seed=7)).fate for n in range(200)]
    assert fates != [plan_order(f"x-{n}", Decimal(10), Behaviour(seed=8)).fate for n in range(200)]


def test_every_fate_occurs() -> None:
    """Over many orders every fate occurs, in about its share."""
    behaviour = Behaviour()
    seen = Counter(plan_order(f"x-{n}", Decimal(10), behaviour).fate for n in range(5_000))
    assert set(seen) == set(Fate)
    assert abs(seen[Fate.PARTIAL] / 50 - behaviour.partial_percent) < 5


def test_partial_fills_add_up() -> None:
    """The two halves of a partly filled order are its whole quantity."""
    behaviour = Behaviour(rejected_percent=0, slow_percent=0, lost_percent=0, resting_percent=0, partial_percent=100)
    for qty in (Decimal(1), Decimal(7), Decimal("2.5")):
        assert sum(each for _, each in plan_order("a", qty, behaviour).fills) == qty


def test_fills() -> None:
    """Fills raise CumQty to OrderQty and no further."""
    book = Book("SIM")
    accepted = book.accept(new())
    first, second, third = (book.fill("a-1", Decimal(6)) for _ in range(3))
    assert accepted.ord_status == "NEW"
    assert accepted.leaves_qty == 10
    assert first is not None
    assert first.ord_status == "PARTIALLY_FILLED"
    assert (first.cum_qty, first.leaves_qty) == (Decimal(6), Decimal(4))
    assert second is not None
    assert second.ord_status == "FILLED"
    assert (second.cum_qty, second.last_qty) == (Decimal(10), Decimal(4))
    assert third is None
    assert book.reports("a-1") == (accepted, first, second)
    assert len({each.exec_id for each in book.reports("a-1")}) == 3


def test_cancel_open_order() -> None:
    """A cancel is reported on the request and on the order, under the order's OrderID."""
    book = Book("SIM")
    accepted = book.accept(new())
    reports = book.cancel(cancel("a-1"))
    assert [(each.cl_ord_id, each.ord_status, each.order_id) for each in reports] == [
        ("c-1", "CANCELED", accepted.order_id),
        ("a-1", "CANCELED", accepted.order_id),
    ]
    assert book.fill("a-1", Decimal(1)) is None


def test_cancel_too_late() -> None:
    """A cancel of a filled, an unknown or another account's order rejects the request and changes no order."""
    book = Book("SIM")
    book.accept(new())
    book.fill("a-1", Decimal(10))
    book.accept(new("a-2"))
    for number, request in enumerate(
        (cancel("a-1", "c-1"), cancel("nobody", "c-2"), cancel("a-2", "c-3", account="OTHER"))
    ):
        assert [(each.cl_ord_id, each.ord_status) for each in book.cancel(request)] == [(f"c-{number + 1}", "REJECTED")]
    assert book.reports("a-1")[-1].ord_status == "FILLED"
    assert book.reports("a-2")[-1].ord_status == "NEW"


def test_bound() -> None:
    """A full book says so, and still knows what it has."""
    book = Book("SIM", orders_max=1)
    book.reject(new())
    assert book.full
    assert book.knows("a-1")
    assert book.reports("a-2") == ()
