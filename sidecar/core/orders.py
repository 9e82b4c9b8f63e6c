"""The book of orders as a fold of facts, and what one order's news means for others.

Owns every table about orders, their bounds, and the chains of replaced orders. What is known of one order is in
`order.py`; the positions that follow from fills in `positions.py`. It must not decide anything.

A chain: a REPLACE is an order of its own whose OrigClOrdID names the one before. Once the venue took it, that one is
`replaced_by` it. Where the venue's OrderID stayed the same the old id is *superseded*: it has ended, and its fills are
*carried* by the next. Where the venue made another order the old one is waited for: two of them may live.
A CANCEL or MASS_CANCEL marks each order that it concerns (`cancel_by`) from its grant until it is known to have failed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from sidecar.core.bounded import drop_oldest
from sidecar.core.chains import CHAIN_MAX, along, counting, meant
from sidecar.core.exact import add, subtract
from sidecar.core.fills import NONE, REVISIONS, carrying, carrying_nothing, revised_elsewhere
from sidecar.core.order import CANCELS, NOT_TAKEN, TRADING, Order, failed, fill_key, folded, seen
from sidecar.core.positions import Exposure
from sidecar.core.sanity import OURS, clip
from sidecar.core.working import Working
from sidecar.messages.base import Token
from sidecar.messages.events import OrderCounts
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakClosed,
    BreakOpened,
    EvidenceSeen,
    OrderAdopted,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    OrphanSeen,
    Record,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent, Phase

FINISHED_MAX = 100_000
"""Finished orders whose whole story stays in memory, at 4.5 KB each; at 6 KB in a leader, which folds twice."""
REMEMBERED_MAX = 1_000_000
"""ClOrdIDs of older orders that are still refused as duplicates, at 100 bytes each; at 200 in a leader."""
REFUSED_MAX = 10_000
"""Denials that are still repeated word for word to whoever asks again."""
ORPHANS_MAX = 10_000
"""OrderIDs with reports that have no ClOrdID and wait for whoever names them; of more, the oldest are forgotten."""
ORPHANS_EACH_MAX = 100
"""Such reports of one OrderID; of more, the oldest are forgotten."""


def open_orders(
    book: "OrderBook", *, component: str = "", venue: str = "", account: str = "", symbol: str = "", strategy: str = ""
) -> tuple[Order, ...]:
    """Orders that may rest at a venue, in the order in which they were granted; empty names match everything.

    Granted orders count from their grant until the venue says that they ended, or until it is proven that they were
    never sent. Cancels and transfers rest nowhere. It walks over every order in memory that is not finished.
    """
    wanted = {"component": component, "venue": venue, "account": account, "symbol": symbol, "strategy": strategy}
    asked = [(name, value) for name, value in wanted.items() if value]
    found = (book.orders[each] for each in book.unfinished())
    return tuple(
        each for each in found if each.resting and all(getattr(each.intent, name) == value for name, value in asked)
    )


@dataclass(slots=True, kw_only=True)
class BookParts:
    """All that an OrderBook is made of; the tables are its own, not copies."""

    orders: dict[str, Order] = field(default_factory=dict)
    refused: dict[str, OrderRefused] = field(default_factory=dict)
    external: dict[str, BreakOpened] = field(default_factory=dict)
    finished: dict[str, None] = field(default_factory=dict)
    remembered: dict[str, None] = field(default_factory=dict)
    granted: int = 0
    denied: int = 0
    phases: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    orphans: dict[str, tuple[OrphanSeen, ...]] = field(default_factory=dict)
    exposure: Exposure = field(default_factory=Exposure)


class OrderBook:
    """All orders, folded from facts. Deterministic: no clock, bounded by the constants above.

    `working` and `owners` follow from the orders: a snapshot carries neither, and no fact is folded by what they say.
    """

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.refused: dict[str, OrderRefused] = {}
        self.external: dict[str, BreakOpened] = {}
        self._finished: dict[str, None] = {}
        self._remembered: dict[str, None] = {}
        self._granted = 0
        self._denied = 0
        self._phases: dict[Phase, int] = dict.fromkeys(Phase, 0)
        self.orphans: dict[str, tuple[OrphanSeen, ...]] = {}
        self.exposure = Exposure()
        self.working = Working()
        self.owners: dict[tuple[str, str], str] = {}
        """ClOrdIDs of orders in memory, by venue and the venue's OrderID."""

    def copy(self) -> "OrderBook":
        """An independent book with the same orders."""
        twin = OrderBook()
        twin.orders, twin.refused, twin.external = dict(self.orders), dict(self.refused), dict(self.external)
        twin._finished, twin._remembered = dict(self._finished), dict(self._remembered)
        twin._granted, twin._denied, twin._phases = self._granted, self._denied, dict(self._phases)
        twin.orphans, twin.exposure = dict(self.orphans), self.exposure.copy()
        twin.working, twin.owners = self.working.copy(), dict(self.owners)
        return twin

    def parts(self) -> BookParts:
        """What a snapshot needs, to be read only."""
        return BookParts(
            orders=self.orders,
            refused=self.refused,
            external=self.external,
            finished=self._finished,
            remembered=self._remembered,
            granted=self._granted,
            denied=self._denied,
            phases=self._phases,
            orphans=self.orphans,
            exposure=self.exposure,
        )

    @classmethod
    def of(cls, parts: BookParts) -> "OrderBook":
        """The book of these parts, which it takes over."""
        book = cls()
        book.orders, book.refused, book.external = parts.orders, parts.refused, parts.external
        book._finished, book._remembered = parts.finished, parts.remembered
        book._granted, book._denied = parts.granted, parts.denied
        book._phases.update(parts.phases)
        book.orphans, book.exposure = parts.orphans, parts.exposure
        for order in book.orders.values():
            book.working.change(None, order.work)
            book._own(order)
        return book

    def remembers(self, cl_ord_id: str) -> bool:
        """Whether this ClOrdID was granted and has left memory since."""
        return cl_ord_id in self._remembered

    @property
    def size(self) -> int:
        """How many orders are in memory in any form."""
        return len(self.orders) + len(self.refused) + len(self.external) + len(self._remembered)

    @property
    def open_count(self) -> int:
        """How many orders still wait for something."""
        return len(self.orders) - len(self._finished)

    def unfinished(self) -> Iterator[str]:
        """ClOrdIDs of orders that still wait for something."""
        return (each for each in self.orders if each not in self._finished)

    def counts(self) -> OrderCounts:
        """How many orders stand where."""
        return OrderCounts(
            granted=self._granted,
            denied=self._denied,
            precommitted=self._phases[Phase.PRECOMMITTED],
            committed=self._phases[Phase.COMMITTED],
            verified=self._phases[Phase.VERIFIED],
            aborted=self._phases[Phase.ABORTED],
            unknown=self._phases[Phase.UNKNOWN],
            broken=self._phases[Phase.BREAK] + len(self.external),
        )

    def owner(self, venue: str, order_id: str) -> Order | None:
        """The order in memory that the venue calls by this OrderID; the first one of a chain."""
        return self.orders.get(self.owners.get((venue, order_id), ""))

    def meant(self, report: ExecutionReport) -> Order | None:
        """The order in memory that a report without a ClOrdID is of."""
        order = self.owner(report.venue, report.order_id)
        return meant(self.orders, order, report) if order is not None else None

    def waiting_for(self, venue: str, order_id: str) -> tuple[OrphanSeen, ...]:
        """Reports without a ClOrdID that came for this OrderID, the oldest first."""
        return self.orphans.get(f"{len(venue)} {venue} {order_id}", ()) if self.orphans else ()

    def apply(self, record: Record) -> None:
        """Fold one fact about orders; facts of other kinds change nothing."""
        fact = record.fact
        match fact:
            case OrderPrecommitted(intent=intent):
                self._grant(record, intent)
            case EvidenceSeen(report=report):
                self._hear(report, record.at_ns)
                self._reclaim(report.cl_ord_id, record.at_ns)
            case OrderReported() | OrderLost() | OrderNeverSent() | AbsenceSeen():
                self._fold(fact.cl_ord_id, record)
            case OrderRefused(intent=intent):
                self._denied += 1
                self.refused[intent.cl_ord_id] = fact
                drop_oldest(self.refused, REFUSED_MAX)
            case BreakOpened(cl_ord_id=cl_ord_id) if cl_ord_id not in self.orders:
                self.external[cl_ord_id] = fact
                drop_oldest(self.external, FINISHED_MAX)
            case BreakClosed(cl_ord_id=cl_ord_id) if cl_ord_id not in self.orders:
                self.external.pop(cl_ord_id, None)
            case OrphanSeen(report=report):
                name = orphan_name(report)
                self.orphans[name] = (*self.orphans.get(name, ()), fact)[-ORPHANS_EACH_MAX:]
                drop_oldest(self.orphans, ORPHANS_MAX)
            case OrderAdopted(report=report) if report.cl_ord_id not in self.orders:
                self._adopt(record, report)
                self._reclaim(report.cl_ord_id, record.at_ns)
            case _:
                self._fold(getattr(fact, "cl_ord_id", ""), record)

    def _fold(self, cl_ord_id: str, record: Record) -> None:
        order = self.orders.get(cl_ord_id)
        if order is not None:
            self._store(order, folded(order, record.fact), record.at_ns)
            self._reclaim(cl_ord_id, record.at_ns)

    def _grant(self, record: Record, intent: OrderIntent) -> None:
        self._granted += 1
        self._store(None, Order(intent, record.term, record.n, granted_ns=record.at_ns), record.at_ns)
        if intent.kind in TRADING:
            self.exposure.granted(intent, record.at_ns)
        if intent.kind == "REPLACE":
            target = self.orders.get(intent.orig_cl_ord_id)
            if target is not None:
                self._store(target, replace(target, replacing=intent.cl_ord_id), record.at_ns)
        for each in self.concerned(intent):
            self._store(each, replace(each, cancel_by=intent.cl_ord_id), record.at_ns)

    def _adopt(self, record: Record, report: ExecutionReport) -> None:
        """Follow an order of somebody else's from now on; the break that it was found by goes with it."""
        found = self.external.pop(report.cl_ord_id, None)
        breaks = (found.kind,) if found is not None else ()
        order = Order(
            adopted_intent(report), record.term, record.n, breaks=breaks, adopted=True, granted_ns=record.at_ns
        )
        self._store(None, order, record.at_ns)
        self._hear(report, record.at_ns)

    def concerned(self, intent: OrderIntent) -> list[Order]:
        """The orders that a cancel concerns: each is followed until the venue says that it is gone."""
        if intent.kind == "CANCEL":
            target = self.orders.get(intent.orig_cl_ord_id)
            return [target] if target is not None and target.resting else []
        if intent.kind != "MASS_CANCEL":
            return []
        return list(open_orders(self, venue=intent.venue, account=intent.account, symbol=intent.symbol))

    def _hear(self, report: ExecutionReport, at_ns: int) -> None:
        """Evidence for one order, and what it says of others of its chain."""
        if self.orphans:
            self._unorphan(report)
        order = self.orders.get(report.cl_ord_id)
        if order is None:
            return
        chain = self.chain(order)
        counted = any(each.execution(report.exec_id) is not None for each in chain)
        elsewhere = False
        if report.exec_type in REVISIONS and report.exec_ref_id and fill_key(report) not in order.executions:
            elsewhere = self._revise(order, report, at_ns)
            order = self.orders[report.cl_ord_id]  # What it carries from the other may be less by now.
        heard = seen(order, report, counted=counted, elsewhere=elsewhere)
        if chain and any(each.execution(report.exec_id) is not None for each in self._along(order, forward=True)):
            heard = replace(heard, fills=order.fills)  # Traded under a later ClOrdID: its CumQty is of the whole chain.
        self._store(order, heard, at_ns)
        if heard.intent.kind == "REPLACE" and heard.venue_status not in (*NOT_TAKEN, None):
            self._supersede(heard, at_ns)
        if heard.superseded:
            self._part(self.orders[report.cl_ord_id], at_ns)

    def _revise(self, order: Order, report: ExecutionReport, at_ns: int) -> bool:
        """Take back what this bust or correction revises wherever else in the chain it is, or may yet be, told.

        It may be told again under any ClOrdID that this one has replaced, and their late reports may still include it.
        Whether it is counted under another one.
        """
        if order.intent.kind == "REPLACE" and report.ord_status not in NOT_TAKEN:
            self._supersede(replace(order, venue_order_id=order.venue_order_id or report.order_id), at_ns)
        before, after = self._along(order, forward=False), self._along(order, forward=True)
        counts_it = counting(report.exec_ref_id, (order, *before, *after))
        since = order.fills.trades  # Of the venue's CumQty so much was traded after the order that is looked at.
        for each in (*after, *before) if counts_it is not order else ():
            known = self.orders[each.intent.cl_ord_id]  # Another one's change may have changed it.
            counts = each is counts_it
            if counts or (known.superseded and each in before):
                fills = revised_elsewhere(known.fills, report, known.execution, since=None if counts else since)
                self._store(known, replace(known, fills=fills), at_ns)
            if counts:
                break
            since = add(since, self.orders[each.intent.cl_ord_id].fills.trades)
        return counts_it is not None and counts_it is not order

    def _reclaim(self, cl_ord_id: str, at_ns: int) -> None:
        """An order of ours turns out to be one that was adopted without a ClOrdID: what was told of that is of this."""
        order = self.orders.get(cl_ord_id)
        name = _venue_name(order) if order is not None else None
        made = self.orders.get(made_name(*name)) if name is not None else None
        if made is None or made is order or not made.adopted or made.superseded:
            return
        self._store(made, replace(made, fills=NONE, executions={}, venue_order_id="", superseded=True), at_ns)
        self._own(self.orders[cl_ord_id])
        for report in made.executions.values():
            self._hear(replace(report, cl_ord_id=cl_ord_id), at_ns)

    def _unorphan(self, report: ExecutionReport) -> None:
        """A report that was kept without a ClOrdID has found its order."""
        name = orphan_name(report)
        held = self.orphans.get(name)
        if held is None:
            return
        left = tuple(each for each in held if _execution(each.report) != _execution(report))
        if left:
            self.orphans[name] = left
        else:
            del self.orphans[name]

    def chain(self, order: Order) -> list[Order]:
        """The orders that this one replaced, the nearest first, and then those that it was replaced by."""
        if not order.replaced_by and order.intent.kind != "REPLACE":
            return []
        return [*self._along(order, forward=False), *self._along(order, forward=True)]

    def _along(self, order: Order, *, forward: bool) -> list[Order]:
        return along(self.orders, order, forward=forward)

    def _supersede(self, new: Order, at_ns: int) -> None:
        """The venue took a REPLACE: the order that it named, or whatever replaced that one before, is replaced."""
        old = self.orders.get(new.intent.orig_cl_ord_id)
        for _ in range(CHAIN_MAX):
            if old is None or old.replaced_by == new.intent.cl_ord_id or old.intent.cl_ord_id == new.intent.cl_ord_id:
                return
            if not old.replaced_by:
                break
            old = self.orders.get(old.replaced_by)
        if old is None or old.replaced_by:
            return
        known = old.venue_order_id or old.order_id
        same = not (known and new.venue_order_id) or known == new.venue_order_id
        self._store(old, replace(old, replaced_by=new.intent.cl_ord_id, superseded=same), at_ns)

    def _part(self, old: Order, at_ns: int) -> None:
        """It was taken for one venue order with its successor while its OrderID was not known, and is another."""
        heir = self.orders.get(old.replaced_by)
        if heir is None or heir.venue_order_id in ("", old.venue_order_id) or not old.venue_order_id:
            return
        self._store(old, replace(old, superseded=False), at_ns)
        self._store(heir, replace(heir, fills=carrying_nothing(heir.fills)), at_ns)

    def _store(self, before: Order | None, after: Order, at_ns: int) -> None:
        cl_ord_id = after.intent.cl_ord_id
        known = self.orders.get(cl_ord_id)
        self._count(before, after)
        if known is None or known.intent is not after.intent:
            self.working.change(known.work if known is not None else None, after.work)
        elif known.fills is not after.fills or known.resting is not after.resting:
            self.working.change(known.work, after.work)
        self.orders[cl_ord_id] = after
        if known is None or (_named_anew(known, after) and _venue_name(known) != _venue_name(after)):
            self._disown(known)
            self._own(after)
        if before is not None:
            self._follow(before, after, at_ns)
        if not after.finished:
            self._finished.pop(cl_ord_id, None)
        elif cl_ord_id not in self._finished:
            self._finished[cl_ord_id] = None
            self._retire()

    def _count(self, before: Order | None, after: Order) -> None:
        now, was = after.phase, before.phase if before is not None else None
        if was is not now:
            self._phases[now] += 1
            if was is not None:
                self._phases[was] -= 1

    def _follow(self, before: Order, after: Order, at_ns: int) -> None:
        """What follows for others from one order's change."""
        intent = after.intent
        if before.fills is not after.fills and intent.kind in TRADING:
            qty = subtract(after.fills.quantity, before.fills.quantity)
            worth = subtract(after.fills.worth, before.fills.worth)
            if qty or worth:
                self.exposure.traded(intent, qty, worth, after.fills.price, at_ns)
        if after.superseded and (not before.superseded or before.fills is not after.fills):
            heir = self.orders.get(after.replaced_by)
            if heir is not None and heir is not after:
                fills = carrying(heir.fills, after.fills)
                if fills is not heir.fills:
                    self._store(heir, replace(heir, fills=fills), at_ns)
        if failed(after) and not failed(before):
            self._spare(intent, at_ns)

    def _spare(self, request: OrderIntent, at_ns: int) -> None:
        """A cancel or a replacement failed: what it was about goes on as if it had not been asked."""
        cl_ord_id = request.cl_ord_id
        if request.kind in CANCELS:
            for each in [self.orders[name] for name in self.unfinished() if self.orders[name].cancel_by == cl_ord_id]:
                self._store(each, replace(each, cancel_by=""), at_ns)
        target = self.orders.get(request.orig_cl_ord_id) if request.kind == "REPLACE" else None
        if target is not None and target.replacing == cl_ord_id and target.replaced_by != cl_ord_id:
            self._store(target, replace(target, replacing=""), at_ns)

    def _own(self, order: Order) -> None:
        name = _venue_name(order)
        if name is not None:
            self.owners.setdefault(name, order.intent.cl_ord_id)

    def _disown(self, order: Order | None) -> None:
        name = _venue_name(order) if order is not None else None
        if order is not None and name is not None and self.owners.get(name) == order.intent.cl_ord_id:
            del self.owners[name]

    def _retire(self) -> None:
        for oldest in drop_oldest(self._finished, FINISHED_MAX):
            gone = self.orders.pop(oldest)
            self._disown(gone)
            if gone.replaced_by in self.orders:
                self._own(self.orders[gone.replaced_by])
            self._remembered[oldest] = None
        drop_oldest(self._remembered, REMEMBERED_MAX)


def _named_anew(known: Order, after: Order) -> bool:
    """Whether the venue's name of an order may have changed; for nearly every fact it has not."""
    same = known.venue_order_id == after.venue_order_id and known.order_id == after.order_id
    return not same or known.intent is not after.intent


def _venue_name(order: Order) -> tuple[str, str] | None:
    """What the venue calls an order, if it has said so."""
    order_id = order.venue_order_id or order.order_id
    return (order.intent.venue, order_id) if order_id and order.intent.kind not in CANCELS else None


def orphan_name(report: ExecutionReport) -> str:
    """The key of reports without a ClOrdID: their venue and OrderID."""
    return f"{len(report.venue)} {report.venue} {report.order_id}"


def made_name(venue: str, order_id: str) -> str:
    """The name that we give to an order of others which has an OrderID only."""
    return clip(f"{OURS}{venue}/{order_id}")


def _execution(report: ExecutionReport) -> tuple[str, str, str]:
    return report.account, report.exec_id, report.side


def adopted_intent(report: ExecutionReport) -> OrderIntent:
    """An order of somebody else's, as if it had been ours: of no component and under no token."""
    return OrderIntent(
        cl_ord_id=report.cl_ord_id,
        component="",
        incarnation="",
        slot="",
        token=Token(0, 0),
        account=report.account,
        venue=report.venue,
        symbol=report.symbol,
        side=report.side,
        qty=report.order_qty,
    )
