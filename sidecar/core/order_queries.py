"""Lists of orders and breaks, and one order whole: the leader's answers to questions about its order book.

Owns the pages: what is looked at for one, where the next begins, how large it may be. It decides nothing and walks over
a bounded number of orders, so that asking holds no order up for long.

A page's cursor is the (term, n) of the last order that was looked at: orders stand in the book in the order of their
records. Of denials and breaks it is a ClOrdID: they leave their tables in order, so where that one is gone, whatever
stood before it is gone too.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from sidecar.core.differences import difference_name
from sidecar.core.order import Order
from sidecar.core.outputs import Now
from sidecar.core.sanity import clip
from sidecar.core.standing_since import difference_key, order_of_halt
from sidecar.core.waits import wait_of
from sidecar.messages.codec import encode
from sidecar.messages.journal import OrderRefused
from sidecar.messages.order_queries import (
    CHAIN_MAX,
    LINES_MAX,
    PAGE_BYTES_MAX,
    REPORTS_MAX,
    SIDE_MAX,
    BreakLine,
    BreaksPage,
    BreaksQuery,
    DifferenceLine,
    OpenBreak,
    OrderLine,
    OrderQuery,
    OrderReport,
    OrdersPage,
    OrdersQuery,
    Remembered,
)
from sidecar.messages.orders import OrderIntent, Phase

LOOKED_MAX: Final = 2_000
"""Orders that are looked at for one page, found or not: a few milliseconds. Lower takes a rare one more pages."""
HALTS_MAX: Final = 100
"""Halts that are named of one order."""
_NAMES: Final = ("account", "venue", "symbol", "component", "strategy", "slot")

if TYPE_CHECKING:
    from sidecar.core.arbiter import Arbiter


def answered(
    arbiter: "Arbiter", query: OrdersQuery | OrderQuery | BreaksQuery, now: Now
) -> OrdersPage | OrderReport | BreaksPage:
    """The answer to any of the three questions."""
    match query:
        case OrdersQuery():
            return orders_page(arbiter, query)
        case OrderQuery():
            return order_report(arbiter, query, now)
        case BreaksQuery():
            return breaks_page(arbiter, query)


# --- lists of orders ---


def orders_page(arbiter: "Arbiter", query: OrdersQuery) -> OrdersPage:
    """One page of the orders that match, the newest first."""
    limit = max(1, min(query.limit, LINES_MAX))
    lines, after = _denied(arbiter, query, limit) if Phase.DENIED in query.phases else _held(arbiter, query, limit)
    return OrdersPage(arbiter=arbiter.rules.name, request_id=query.request_id, orders=tuple(lines), next=after)


def _held(arbiter: "Arbiter", query: OrdersQuery, limit: int) -> tuple[list[OrderLine], str]:
    lines: list[OrderLine] = []
    room, looked = PAGE_BYTES_MAX, ""
    for count, order in enumerate(_newest(arbiter.state.book.orders, _place(query.after))):
        if len(lines) == limit or count == LOOKED_MAX:
            return lines, looked
        if _wanted(order, query):
            line = order_line(order)
            room -= len(encode(line))
            if room < 0:
                return lines, looked
            lines.append(line)
        looked = f"{order.term}.{order.n}"
    return lines, ""


def _newest(orders: dict[str, Order], before: tuple[int, int] | None) -> Iterable[Order]:
    """The orders, the newest first, from the one before that place on."""
    if before is None:
        return reversed(orders.values())
    held = list(orders.values())
    end = bisect_left(held, before, key=lambda each: (each.term, each.n))
    return map(held.__getitem__, range(end - 1, -1, -1))


def _wanted(order: Order, query: OrdersQuery) -> bool:
    intent = order.intent
    for name in _NAMES:
        asked = getattr(query, name)
        if asked and getattr(intent, name) != asked:
            return False
    if query.open_only and not order.resting:
        return False
    if query.phases and order.phase not in query.phases:
        return False
    return not query.statuses or (order.venue_status or order.ord_status) in query.statuses


def _denied(arbiter: "Arbiter", query: OrdersQuery, limit: int) -> tuple[list[OrderLine], str]:
    rows = list(arbiter.state.book.refused.items())
    end = len(rows)
    if query.after:
        end = next((at for at, (name, _) in enumerate(rows) if name == query.after), 0)
    lines: list[OrderLine] = []
    room, at = PAGE_BYTES_MAX, end
    for at in range(end - 1, -1, -1):
        intent = rows[at][1].intent
        if any(getattr(query, name) not in ("", getattr(intent, name)) for name in _NAMES):
            continue
        line = _refused_line(rows[at][1])
        room -= len(encode(line))
        if room < 0:
            return lines, rows[at + 1][0]
        lines.append(line)
        if len(lines) == limit:
            break
    return lines, rows[at][0] if at > 0 else ""


def order_line(order: Order) -> OrderLine:
    """One order, as a row of a list."""
    wait = wait_of(order)
    return replace(
        _asked_for(order.intent, order.phase),
        ord_status=order.venue_status or order.ord_status,
        order_id=order.venue_order_id or order.order_id,
        cum_qty=order.cum_qty,
        granted_ns=order.granted_ns,
        open=order.resting,
        waits=wait.value if wait is not None else "",
        breaks=order.breaks,
    )


def _refused_line(refused: OrderRefused) -> OrderLine:
    return replace(_asked_for(refused.intent, Phase.DENIED), code=refused.code, text=clip(refused.text))


def _asked_for(intent: OrderIntent, phase: Phase) -> OrderLine:
    return OrderLine(
        cl_ord_id=intent.cl_ord_id,
        kind=intent.kind,
        component=intent.component,
        slot=intent.slot,
        account=intent.account,
        venue=intent.venue,
        symbol=intent.symbol,
        side=intent.side,
        qty=intent.qty,
        price=intent.price,
        strategy=intent.strategy,
        phase=phase,
    )


def _place(after: str) -> tuple[int, int] | None:
    """The (term, n) of a cursor; None for none, and the book's beginning for one that nobody gave out."""
    if not after:
        return None
    term, _, n = after.partition(".")
    return (int(term), int(n)) if _is_count(term) and _is_count(n) else (0, 0)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


# --- one order ---


def order_report(arbiter: "Arbiter", query: OrderQuery, now: Now) -> OrderReport:
    """All that is in memory of one order."""
    state = arbiter.state
    name, remembered = _found(arbiter, query.order)
    report = OrderReport(
        arbiter=arbiter.rules.name,
        request_id=query.request_id,
        term=state.position.term,
        offset=arbiter.offset,
        remembered=remembered,
        cl_ord_id=clip(name),
        breaks=_sides(state.opened.get(name, ())),
        halts=_halts(state.halts).get(name, ()),
    )
    order = state.book.orders.get(name)
    if order is not None:
        return _whole(arbiter, report, order, now)
    refused = state.book.refused.get(name)
    if refused is not None:
        return replace(report, line=_refused_line(refused), intent=refused.intent)
    return report


def _found(arbiter: "Arbiter", asked: str) -> tuple[str, Remembered]:
    """The ClOrdID of the order that is asked for, by that or as VENUE/OrderID, and how much is known of it."""
    book = arbiter.state.book
    if asked in book.orders:
        return asked, "WHOLE"
    if asked in book.refused:
        return asked, "DENIED"
    if asked in book.external:
        return asked, "EXTERNAL"
    if book.remembers(asked):
        return asked, "NAME"
    venue, _, order_id = asked.partition("/")
    owner = book.owner(venue, order_id) if order_id else None
    return (owner.intent.cl_ord_id, "WHOLE") if owner is not None else (asked, "NOT")


def _whole(arbiter: "Arbiter", report: OrderReport, order: Order, now: Now) -> OrderReport:
    until_ns = arbiter.verifier.waits.until_ns(order.intent.cl_ord_id)
    held = list(order.executions.values())
    return replace(
        report,
        line=order_line(order),
        intent=order.intent,
        granted_term=order.term,
        granted_n=order.n,
        begins=_begins(arbiter, order),
        adopted=order.adopted,
        reports=tuple(held[-REPORTS_MAX:]),
        reports_count=len(held),
        absences=tuple(sorted(order.absences)),
        replaces=_along(arbiter, order, forward=False),
        replaced_by=_along(arbiter, order, forward=True),
        replacing=order.replacing if order.replacing != order.replaced_by else "",
        cancelled_by=order.cancel_by,
        wait_left_ns=max(0, until_ns - now.boot_ns) if until_ns is not None and wait_of(order) is not None else 0,
    )


def _begins(arbiter: "Arbiter", order: Order) -> int:
    """Where in the journal to look for the beginning of its chain; 0, the journal's, where that left memory."""
    orders = arbiter.state.book.orders
    chain = [order, *(orders.get(each) for each in _along(arbiter, order, forward=False))]
    return min(arbiter.milestones.before(each.term, each.n) if each is not None else 0 for each in chain)


def _along(arbiter: "Arbiter", order: Order, *, forward: bool) -> tuple[str, ...]:
    """ClOrdIDs of the orders that replaced this one, or that it replaced, the nearest first; out of memory too."""
    orders, found = arbiter.state.book.orders, list[str]()
    at: Order | None = order
    while at is not None and len(found) < CHAIN_MAX:
        name = at.replaced_by if forward else (at.intent.orig_cl_ord_id if at.intent.kind == "REPLACE" else "")
        if not name or name in found:
            break
        found.append(name)
        at = orders.get(name)
    return tuple(found)


# --- breaks ---


def breaks_page(arbiter: "Arbiter", query: BreaksQuery) -> BreaksPage:
    """One page of orders with open breaks, the oldest first; with the first one the open differences."""
    state, lines, room, last = arbiter.state, list[BreakLine](), PAGE_BYTES_MAX, ""
    halts = _halts(state.halts)
    for name in _behind(state.opened, query.after):
        if len(lines) == LINES_MAX:
            break
        line = _break_line(arbiter, name, halts.get(name, ()))
        room -= len(encode(line))
        if room < 0:
            break
        lines.append(line)
        last = name
    else:
        last = ""
    return BreaksPage(
        arbiter=arbiter.rules.name,
        request_id=query.request_id,
        breaks=tuple(lines),
        breaks_count=len(state.opened),
        differences=() if query.after else tuple(_differences(arbiter)),
        differences_count=len(state.differences),
        next=last,
    )


def _behind(table: Iterable[str], after: str) -> Iterator[str]:
    """The names behind that one; all of them if it is gone, which then stood before them."""
    if not after:
        return iter(table)
    names = list(table)
    begin = names.index(after) + 1 if after in names else 0
    return islice(names, begin, None)


def _break_line(arbiter: "Arbiter", name: str, halts: tuple[str, ...]) -> BreakLine:
    state = arbiter.state
    order, opened = state.book.orders.get(name), state.opened[name]
    return BreakLine(
        cl_ord_id=name,
        breaks=_sides(opened),
        line=order_line(order) if order is not None else None,
        evidence=next(reversed(order.executions.values()), None) if order is not None else None,
        halts=halts,
    )


def _sides(opened: Iterable[OpenBreak]) -> tuple[OpenBreak, ...]:
    return tuple(replace(each, ours=each.ours[:SIDE_MAX], theirs=each.theirs[:SIDE_MAX]) for each in opened)


def _halts(halts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Halts in force that came with a break, by the ClOrdID of its order."""
    found: dict[str, tuple[str, ...]] = {}
    for halt_id in halts:
        name = order_of_halt(halt_id)
        if name and len(found.get(name, ())) < HALTS_MAX:
            found[name] = (*found.get(name, ()), halt_id)
    return found


def _differences(arbiter: "Arbiter") -> Iterator[DifferenceLine]:
    state, room = arbiter.state, PAGE_BYTES_MAX
    for each in state.differences.values():
        key = difference_key(difference_name(each.venue, each.account, each.holds, each.name))
        halt_id = clip(f"difference-{each.venue}-{each.account}-{each.name}")
        line = DifferenceLine(
            venue=each.venue,
            account=each.account,
            holds=each.holds,
            name=each.name,
            ours=each.ours,
            theirs=each.theirs,
            at_ns=state.dated.get(key, 0),
            halts=(halt_id,) if halt_id in state.halts else (),
        )
        room -= len(encode(line))
        if room < 0:
            return
        yield line
