"""The simulated venue misbehaves as real ones do: the course of an order that it was told to treat so.

Owns each quirk's steps. Pure: a step says what happens in the book and who is told what; the server waits and sends.

| quirk             | what the venue does                                                                           |
|-------------------|-----------------------------------------------------------------------------------------------|
| REST              | acknowledges, and leaves it open                                                              |
| FILL_BEFORE_ACK   | tells the drop copy of the fill first, by its OrderID alone, and of the order afterwards      |
| LATE_STATUS       | tells of the fill first, and of NEW last                                                      |
| DUPLICATE_EXEC_ID | tells of one execution twice, the second time with another quantity                           |
| CORRECT           | fills all of it, then corrects that to a half                                                 |
| BUST              | fills a half, then takes it back                                                              |
| OVERFILL          | fills all of it, and then a half more                                                         |
| RESEND            | tells everything twice                                                                        |
| HIDE_FILLS        | acknowledges, then fills it and tells nobody; a query shows all                               |
| NO_ANSWER         | takes it, fills it, and says nothing; a query shows all                                       |
| FORGET            | fills a half, and then knows nothing of it                                                    |
| KEEP              | confirms each cancel of it, and keeps it open                                                 |
| FILL_AFTER_CANCEL | cancels it when asked, and then fills a half                                                  |
| TWO_ORDERS        | makes a replacement a second order, and keeps the first one open                              |
| INFERRED          | fills a half, shows that in a status only, and tells of the fill itself half a second later   |
| ONE_TRADE_ID      | gives its fill the one trade id that every such order gets                                    |
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from sidecar.demo.venue_book import Book
from sidecar.messages.orders import ExecutionReport
from sidecar.messages.venue import NewOrder, Quirk

STEP_MS = 20
INFERRED_STEPS = 25
"""So many steps pass between a status and the fill that it was inferred from."""
TRADE_ID = "T-1"


@dataclass(frozen=True, slots=True)
class Told:
    """One report, and who hears it."""

    report: ExecutionReport
    session: bool = True
    copy: bool = True


Step = Callable[[], list[Told]]


def course(quirk: Quirk, order: NewOrder, book: Book) -> list[Step]:
    """What happens to this order, a step each STEP_MS. Each step is done once, in order."""
    name, half = order.cl_ord_id, order.qty / 2

    def accept() -> list[Told]:
        return [Told(book.accept(order))]

    def fill(qty: Decimal, *, beyond: bool = False) -> Step:
        return lambda: [Told(each) for each in [book.fill(name, qty, beyond=beyond)] if each is not None]

    def silently(step: Step) -> Step:
        return lambda: [Told(each.report, session=False, copy=False) for each in step()]

    match quirk:
        case "FILL_BEFORE_ACK":
            return [lambda: _nameless_first(book, order), lambda: [Told(book.reports(name)[0])]]
        case "LATE_STATUS":
            return [silently(accept), fill(order.qty), lambda: [Told(book.reports(name)[0])]]
        case "DUPLICATE_EXEC_ID":
            return [accept, fill(half), lambda: _twisted(book, name)]
        case "CORRECT":
            return [accept, fill(order.qty), lambda: _revised(book, name, half)]
        case "BUST":
            return [accept, fill(half), lambda: _revised(book, name, Decimal(0))]
        case "OVERFILL":
            return [accept, fill(order.qty), fill(half, beyond=True)]
        case "RESEND":
            return [_twice(accept), _twice(fill(order.qty))]
        case "HIDE_FILLS":
            return [accept, silently(fill(order.qty))]
        case "NO_ANSWER":
            return [silently(accept), silently(fill(order.qty))]
        case "FORGET":
            return [accept, fill(half), lambda: _forgotten(book, name)]
        case "INFERRED":
            real = [lambda: [Told(book.execute_inferred(name, half))]]
            return [accept, lambda: _inferred(book, name, half), *[_nothing] * INFERRED_STEPS, *real]
        case "ONE_TRADE_ID":
            return [accept, lambda: [Told(each) for each in _renamed(book, name, order.qty)]]
        case "KEEP" | "TWO_ORDERS":
            return [lambda: _kept(book, order, doubled=quirk == "TWO_ORDERS")]
        case "FILL_AFTER_CANCEL" | "REST":
            return [accept]


def after_cancel(quirk: Quirk | None, target: str, book: Book) -> list[Step]:
    """What follows the cancel of an order that was treated so."""
    if quirk != "FILL_AFTER_CANCEL":
        return []
    half = book.reports(target)[0].order_qty / 2
    return [lambda: [Told(each) for each in [book.fill(target, half, beyond=True)] if each is not None]]


def _nameless_first(book: Book, order: NewOrder) -> list[Told]:
    book.accept(order)
    report = book.fill(order.cl_ord_id, order.qty)
    return [] if report is None else [Told(replace(report, cl_ord_id=""), session=False)]


def _twisted(book: Book, name: str) -> list[Told]:
    last = book.reports(name)[-1]
    return [Told(replace(last, last_qty=last.last_qty * 2, cum_qty=last.cum_qty * 2), session=False)]


def _revised(book: Book, name: str, qty: Decimal) -> list[Told]:
    return [Told(book.revise(name, book.reports(name)[-1].exec_id, qty))]


def _twice(step: Step) -> Step:
    return lambda: [told for each in step() for told in (each, each)]


def _nothing() -> list[Told]:
    return []


def _inferred(book: Book, name: str, qty: Decimal) -> list[Told]:
    book.infer(name, qty)
    return []


def _renamed(book: Book, name: str, qty: Decimal) -> list[ExecutionReport]:
    return [] if book.fill(name, qty) is None else [book.rename_last(name, TRADE_ID)]


def _forgotten(book: Book, name: str) -> list[Told]:
    book.forget(name)
    return []


def _kept(book: Book, order: NewOrder, *, doubled: bool) -> list[Told]:
    accepted = book.accept(order)
    book.keep(order.cl_ord_id, doubled=doubled)
    return [Told(accepted)]
