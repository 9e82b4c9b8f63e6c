"""What happens at a model venue, and the way of its word to the arbiters.

Owns the fate of each order, drawn from the dice, and a reconciler that carries what the venue says: drop copies, handed
over again until the journal has them, and one targeted query for each request, whose answer may get lost. What is true
there is in `exchange.py`.

| to an order             | what may happen                                                                         |
|-------------------------|-----------------------------------------------------------------------------------------|
| at its coming           | it is rejected, or taken; a REPLACE goes on under its order's OrderID or under another  |
| while it rests          | it is filled, at once or in two parts; cancelled or expired, filled in part or not      |
| after it was cancelled  | a trade of before is told                                                               |
| after a trade           | that is busted or corrected, and an order that was filled is open again for a while     |
| when it is asked for    | nothing comes, or all that was ever said of it, or only how it stands                   |
"""

import random
from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from sidecar.core.timing import MS
from sidecar.messages.base import Message
from sidecar.messages.orders import Absence, Evidence, EvidenceWanted, ExecutionReport, OrderIntent, OrdStatus
from sidecar.simulator.clocks import Agenda, S
from sidecar.simulator.exchange import RESTING, Exchange
from sidecar.simulator.ledger import Ledger

VENUE = "paper"
RECONCILER = "reconciler"
REJECTED, ENDED, RESTS, IN_PARTS = 0.1, 0.15, 0.25, 0.5
"""Of so many orders the venue takes none; so many it cancels or lets expire; so many rest until they are cancelled, or
their time is over; of the others it fills so many in two parts."""
SAME_ID = 0.7
"""Of so many replaced orders the OrderID stays the same."""
LATE_TRADES, REVISED, CORRECTED = 0.1, 0.1, 0.5
"""After so many cancels a trade is told; so many trades are revised later, of which so many are corrected to half."""
LIFE_NS = 4 * S
"""An order ends at most so long after it came."""
LATE_NS = 300 * MS
COPY_NS = 50 * MS
QUERY_NS = 200 * MS
LOST_COPY, LOST_ANSWER, ONLY_STATUS = 0.2, 0.1, 0.4
"""Of so many drop copies the first hand-over gets lost, and of so many queries the answer; so many answers tell only
how the order stands."""
NAMELESS = 0.05
"""So many trades are told with the venue's OrderID only."""
AGAIN_NS = S


class Venue:
    """The venue, its drop copy and the reconciler. `put` is the way to the arbiters' queue."""

    def __init__(
        self, agenda: Agenda, dice: random.Random, ledger: Ledger, put: Callable[[Message, str], None]
    ) -> None:
        self.exchange = Exchange()
        self._agenda = agenda
        self._dice = dice
        self._ledger = ledger
        self._put = put
        self._queries = 0

    def arrive(self, intent: OrderIntent, answer: Callable[[ExecutionReport], None]) -> None:
        """An order reaches the venue; `answer` is told what becomes of it at first."""
        self._ledger.arrived(intent, self._agenda.now_ns)
        if intent.cl_ord_id in self.exchange.booked:
            return
        roll = self._dice.random()
        if roll < REJECTED:
            said = self.exchange.reject(intent)
        else:
            said = self.exchange.take(intent, same_id=self._dice.random() < SAME_ID)
        self._tell(said)
        answer(said[0])
        if intent.kind in RESTING and said[0].ord_status != "REJECTED":
            self._draw_fate(intent, roll)
        for each in said[1:]:
            if each.ord_status == "CANCELED" and self._dice.random() < LATE_TRADES:
                late_ns = self._dice.randrange(LATE_NS)
                self._agenda.after(late_ns, self._fill, each.cl_ord_id, each.order_qty / 2, True)

    def wanted(self, wanted: EvidenceWanted) -> None:
        """A leader asks for evidence; the venue is asked a moment later."""
        self._agenda.after(self._dice.randrange(QUERY_NS), self._query, wanted)

    # --- fates ---

    def _draw_fate(self, intent: OrderIntent, roll: float) -> None:
        cl_ord_id, dice, half_ns = intent.cl_ord_id, self._dice, LIFE_NS // 2
        status: OrdStatus = "CANCELED" if dice.random() < 0.5 else "EXPIRED"
        self._agenda.after(half_ns + dice.randrange(half_ns), self._end, cl_ord_id, status)
        if roll < REJECTED + ENDED:
            self._agenda.after(dice.randrange(half_ns), self._end, cl_ord_id, status)
        if roll < REJECTED + ENDED + RESTS and dice.random() < 0.5:
            return
        first = intent.qty / 2 if dice.random() < IN_PARTS else intent.qty
        began_ns = dice.randrange(half_ns)
        self._agenda.after(began_ns, self._fill, cl_ord_id, first)
        if first < intent.qty:
            self._agenda.after(began_ns + dice.randrange(half_ns), self._fill, cl_ord_id, intent.qty - first)

    def _fill(self, cl_ord_id: str, qty: Decimal, late: bool = False) -> None:
        said = self.exchange.fill(cl_ord_id, qty, late=late)
        self._tell(said)
        if said and self._dice.random() < REVISED:
            kept = said[0].last_qty / 2 if self._dice.random() < CORRECTED else Decimal(0)
            self._agenda.after(self._dice.randrange(LIFE_NS // 2), self._revise, said[0], kept)

    def _end(self, cl_ord_id: str, status: OrdStatus) -> None:
        self._tell(self.exchange.end(cl_ord_id, status))

    def _revise(self, trade: ExecutionReport, qty: Decimal) -> None:
        self._tell(self.exchange.revise(trade, qty))
        self._agenda.after(self._dice.randrange(LIFE_NS // 2), self._end, trade.cl_ord_id, "CANCELED")

    # --- what is told ---

    def _tell(self, said: Sequence[ExecutionReport]) -> None:
        for report in said:
            self._ledger.said(report)
            lost = self._dice.random() < LOST_COPY
            nameless = report.exec_type == "TRADE" and self._dice.random() < NAMELESS
            copy = replace(report, cl_ord_id="") if nameless else report
            self._ledger.said(copy)
            self._agenda.after(self._dice.randrange(COPY_NS) + (AGAIN_NS if lost else 0), self._copy, report, copy)

    def _copy(self, report: ExecutionReport, copy: ExecutionReport) -> None:
        """Hand a drop copy over until it is journaled."""
        if not self._ledger.journaled(report):
            self._put(Evidence(reconciler=RECONCILER, source="drop_copy", report=copy), RECONCILER)
            self._agenda.after(AGAIN_NS, self._copy, report, copy)

    def _query(self, wanted: EvidenceWanted) -> None:
        self._queries += 1
        query_id = f"query-{self._queries}"
        booked, roll = self.exchange.booked.get(wanted.cl_ord_id), self._dice.random()
        if roll < LOST_ANSWER:
            return
        if booked is None:
            self._ledger.absent(wanted.cl_ord_id, query_id)
            absence = Absence(reconciler=RECONCILER, venue=wanted.venue, cl_ord_id=wanted.cl_ord_id, query_id=query_id)
            self._put(absence, RECONCILER)
            return
        only_status = roll < LOST_ANSWER + ONLY_STATUS
        for report in self.exchange.status_of(wanted.cl_ord_id) if only_status else booked.reports:
            self._ledger.said(report)
            self._put(Evidence(reconciler=RECONCILER, source="query", report=report), RECONCILER)
