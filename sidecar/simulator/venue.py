"""A model venue and the way its word takes to the arbiters.

Owns the venue's book, which is the truth of all orders, and a reconciler that carries it: drop copies, handed over
again until the journal has them, and one targeted query for each request, which may find nothing. The venue is honest:
it takes a ClOrdID once, fills what it took, in parts or not, and says everything once more to whoever asks.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from sidecar.core.timing import MS
from sidecar.messages.base import Message
from sidecar.messages.orders import (
    Absence,
    Evidence,
    EvidenceWanted,
    ExecType,
    ExecutionReport,
    OrderIntent,
    OrdStatus,
)
from sidecar.simulator.clocks import Agenda, S
from sidecar.simulator.ledger import Ledger

VENUE = "paper"
RECONCILER = "reconciler"
REJECTED, CANCELED, IN_PARTS = 0.1, 0.2, 0.5
"""Of so many orders the venue takes none, or fills none; of those it fills, so many in two parts."""
LIFE_NS = 4 * S
"""An order is filled or cancelled at most so long after it came."""
COPY_NS = 50 * MS
QUERY_NS = 200 * MS
LOST_COPY = 0.2
"""Of so many drop copies the first hand-over gets lost."""
AGAIN_NS = S


@dataclass(slots=True)
class _Taken:
    """One order at the venue, and all that was said of it."""

    intent: OrderIntent
    reports: list[ExecutionReport] = field(default_factory=list)
    cum_qty: Decimal = Decimal(0)


class Venue:
    """The venue, its drop copy and the reconciler. `put` is the way to the arbiters' queue."""

    def __init__(
        self, agenda: Agenda, dice: random.Random, ledger: Ledger, put: Callable[[Message, str], None]
    ) -> None:
        self._agenda = agenda
        self._dice = dice
        self._ledger = ledger
        self._put = put
        self._orders: dict[str, _Taken] = {}
        self._queries = 0

    def arrive(self, intent: OrderIntent, answer: Callable[[ExecutionReport], None]) -> None:
        """An order reaches the venue; `answer` is told what becomes of it at first."""
        self._ledger.arrived(intent, self._agenda.now_ns)
        if intent.cl_ord_id in self._orders:
            return
        taken = self._orders[intent.cl_ord_id] = _Taken(intent)
        roll = self._dice.random()
        if roll < REJECTED:
            answer(self._say(taken, "REJECTED", "REJECTED"))
            return
        answer(self._say(taken, "NEW", "NEW"))
        if roll < REJECTED + CANCELED:
            self._agenda.after(self._dice.randrange(LIFE_NS), self._say, taken, "CANCELED", "CANCELED")
            return
        first = intent.qty / 2 if self._dice.random() < IN_PARTS else intent.qty
        began_ns = self._dice.randrange(LIFE_NS // 2)
        self._agenda.after(began_ns, self._fill, taken, first)
        if first < intent.qty:
            self._agenda.after(began_ns + self._dice.randrange(LIFE_NS // 2), self._fill, taken, intent.qty - first)

    def wanted(self, wanted: EvidenceWanted) -> None:
        """A leader asks for evidence; the venue is asked a moment later."""
        self._agenda.after(self._dice.randrange(QUERY_NS), self._query, wanted)

    # --- inside ---

    def _fill(self, taken: _Taken, qty: Decimal) -> None:
        taken.cum_qty += qty
        filled = taken.cum_qty == taken.intent.qty
        self._say(taken, "TRADE", "FILLED" if filled else "PARTIALLY_FILLED", qty)

    def _say(
        self, taken: _Taken, exec_type: ExecType, ord_status: OrdStatus, last_qty: Decimal = Decimal(0)
    ) -> ExecutionReport:
        intent, open_ = taken.intent, ord_status in ("NEW", "PARTIALLY_FILLED")
        price = intent.price if intent.price is not None else Decimal(1)
        report = ExecutionReport(
            venue=intent.venue,
            account=intent.account,
            cl_ord_id=intent.cl_ord_id,
            order_id=f"v-{intent.cl_ord_id}",
            exec_id=f"{intent.cl_ord_id}-{len(taken.reports)}",
            exec_type=exec_type,
            ord_status=ord_status,
            symbol=intent.symbol,
            side=intent.side,
            order_qty=intent.qty,
            cum_qty=taken.cum_qty,
            leaves_qty=intent.qty - taken.cum_qty if open_ else Decimal(0),
            avg_px=price if taken.cum_qty else Decimal(0),
            last_qty=last_qty,
            last_px=price if last_qty else Decimal(0),
        )
        taken.reports.append(report)
        self._ledger.said(report)
        lost = self._dice.random() < LOST_COPY
        self._agenda.after(self._dice.randrange(COPY_NS) + (AGAIN_NS if lost else 0), self._copy, report)
        return report

    def _copy(self, report: ExecutionReport) -> None:
        """Hand a drop copy over until it is journaled."""
        if not self._ledger.journaled(report):
            self._put(Evidence(reconciler=RECONCILER, source="drop_copy", report=report), RECONCILER)
            self._agenda.after(AGAIN_NS, self._copy, report)

    def _query(self, wanted: EvidenceWanted) -> None:
        self._queries += 1
        query_id = f"query-{self._queries}"
        taken = self._orders.get(wanted.cl_ord_id)
        if taken is None:
            self._ledger.absent(wanted.cl_ord_id, query_id)
            absence = Absence(reconciler=RECONCILER, venue=wanted.venue, cl_ord_id=wanted.cl_ord_id, query_id=query_id)
            self._put(absence, RECONCILER)
            return
        for report in taken.reports:
            self._put(Evidence(reconciler=RECONCILER, source="query", report=report), RECONCILER)
