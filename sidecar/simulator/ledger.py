"""What must hold of orders: G4, in true time.

Owns the comparison of three witnesses, who know nothing of each other: the journal, the venue, and the components.

| rule                    | what would break it                                                                      |
|-------------------------|------------------------------------------------------------------------------------------|
| granted once            | a ClOrdID is granted by two records; an answer grants what no record does                |
| granted to the holder   | a record grants to somebody who does not hold the slot under that token, by the journal  |
| halt wins               | a record grants what a halt in force forbids, by the journal                             |
| cancels always pass     | a sidecar, a leader or a gate page denies a cancel because of a halt                     |
| no order in the dark    | an order reaches the venue that was not granted, or a second time                        |
| tokens rise             | an order passes its gate under an older token than one before it, of the same slot       |
| newest last             | one that may open risk reaches the venue under an older token than one before it, of the |
|                         | same slot                                                                                |
| no false break          | a break is opened, though venue and components are honest; but more may be filled than   |
|                         | ordered while a bust is on its way, and what names only an OrderID may be taken for an   |
|                         | order of others until somebody says whose it is                                          |
| books agree             | at the end an order's CumQty or a position is not what the venue's is                    |
| resolved by evidence    | a record says of an order what neither its component nor the venue has said              |
| every order ends        | at the end an order is not VERIFIED, ABORTED or BREAK, or the venue knows better         |

Tokens are compared twice: at the gates, and at the venue, up to the gate-to-effect time later. A holder that gives its
slot back does not wait for its last orders to come in; the leader holds the next one's orders back instead.

It must not look into any core's beliefs: the fold of the journal is the auditor's own.
"""

from collections.abc import Callable

from msgspec.structs import replace

from sidecar.core.ladder import Subject, forbidding
from sidecar.core.order import CANCELS
from sidecar.core.sanity import OURS
from sidecar.core.state import Holder, State
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState
from sidecar.messages.journal import (
    AnyFact,
    BreakOpened,
    EvidenceSeen,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderReported,
)
from sidecar.messages.orders import ExecutionReport, OrderAborted, OrderCommitted, OrderIntent, OrderKind, Phase
from sidecar.simulator.exchange import Exchange

ABSENCES_NEEDED = 2
NEVER_OF_CANCELS = ("LIMIT_", "PREDECESSOR", "BAD_", "NO_ORIGINAL")
"""Beginnings of codes that no cancel may be denied with, beside those of halts."""
ENDS = (Phase.VERIFIED, Phase.ABORTED, Phase.BREAK)
EXECUTED = (Phase.VERIFIED, Phase.BREAK)


class Ledger:
    """All orders of one run. `truth` is the fold of the journal; `violated` is told (time, rule, text)."""

    def __init__(self, truth: State, group_of: Callable[[str], str], violated: Callable[[int, str, str], None]) -> None:
        self._truth = truth
        self._group_of = group_of
        self._violated = violated
        self.granted: dict[str, OrderIntent] = {}
        self._arrived: dict[str, int] = {}
        self._newest: dict[str, Token] = {}
        self._newest_there: dict[str, Token] = {}
        self._said: set[ExecutionReport] = set()
        self._revised: set[str] = set()
        self._order_ids: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._absences: dict[str, set[str]] = {}
        self._aborted: set[str] = set()
        self._reported: set[str] = set()

    # --- what the components and the venue do ---

    def answered(self, cl_ord_id: str, now_ns: int) -> None:
        """A component is told that its order is granted."""
        if cl_ord_id not in self.granted:
            self._violated(now_ns, "granted once", f"{cl_ord_id} was answered as granted and stands in no journal")

    def denied(self, intent_kind: OrderKind, code: str, by: str, now_ns: int) -> None:
        """An order is denied, by a sidecar or a leader; a code that is a level is a halt's."""
        if intent_kind in CANCELS and (code in TradingState.__members__ or code.startswith(NEVER_OF_CANCELS)):
            self._violated(now_ns, "cancels always pass", f"{by} denied a cancel: {code}")

    def reported(self, report: object, cl_ord_id: str) -> None:
        """A component reports what became of its order."""
        if isinstance(report, OrderAborted):
            self._aborted.add(cl_ord_id)
        elif isinstance(report, OrderCommitted):
            self._reported.add(cl_ord_id)

    def left(self, intent: OrderIntent, now_ns: int) -> None:
        """A component's gate lets an order pass."""
        newest = self._newest.get(intent.slot, intent.token)
        if intent.token < newest:
            self._violated(now_ns, "tokens rise", f"{intent.cl_ord_id} passes under {intent.token} after {newest}")
        self._newest[intent.slot] = max(newest, intent.token)

    def arrived(self, intent: OrderIntent, now_ns: int) -> None:
        """An order reaches the venue."""
        cl_ord_id = intent.cl_ord_id
        if self.granted.get(cl_ord_id) != intent:
            self._violated(now_ns, "no order in the dark", f"{cl_ord_id} reached the venue and no record grants it")
        if cl_ord_id in self._arrived:
            self._violated(now_ns, "no order in the dark", f"{cl_ord_id} reached the venue a second time")
        self._arrived[cl_ord_id] = now_ns
        if intent.kind not in CANCELS:
            self._compare(intent, now_ns)

    def said(self, report: ExecutionReport) -> None:
        """The venue said this."""
        self._said.add(report)
        self._order_ids.setdefault(report.cl_ord_id, report.order_id)
        if report.exec_ref_id:
            self._revised.add(report.order_id)

    def absent(self, cl_ord_id: str, query_id: str) -> None:
        """The venue was asked and knew no such order."""
        self._absences.setdefault(cl_ord_id, set()).add(query_id)

    # --- what the journal says ---

    def journaled(self, report: ExecutionReport) -> bool:
        """Whether a record has this report."""
        return (report.cl_ord_id, report.exec_id) in self._seen

    def stored(self, fact: AnyFact, now_ns: int) -> None:
        """A valid record was stored, and the truth is folded up to it."""
        match fact:
            case OrderPrecommitted(intent=intent):
                self._grant(intent, now_ns)
            case OrderNeverSent(cl_ord_id=cl_ord_id):
                asked = len(self._absences.get(cl_ord_id, ()))
                if cl_ord_id not in self._aborted and asked < ABSENCES_NEEDED:
                    self._unfounded(cl_ord_id, f"never sent, of which there are {asked} answers of the venue", now_ns)
            case OrderReported(cl_ord_id=cl_ord_id):
                if cl_ord_id not in self._reported:
                    self._unfounded(cl_ord_id, "committed, which its component never said", now_ns)
            case OrderLost(cl_ord_id=cl_ord_id):
                if cl_ord_id not in self.granted:
                    self._unfounded(cl_ord_id, "lost, and was never granted", now_ns)
            case EvidenceSeen(report=report):
                self._seen.add((report.cl_ord_id, report.exec_id))
                if report not in self._said and replace(report, cl_ord_id="") not in self._said:
                    self._unfounded(report.cl_ord_id, f"seen at the venue as {report.ord_status}", now_ns)
            case BreakOpened(cl_ord_id=cl_ord_id, kind=kind):
                late_bust = kind == "OVERFILL" and self._order_ids.get(cl_ord_id) in self._revised
                if not (late_bust or cl_ord_id.startswith(OURS)):
                    text = f"{cl_ord_id} is the break {kind}: {fact.ours}, {fact.theirs}"
                    self._violated(now_ns, "no false break", text)
            case _:
                pass

    def ended(self, now_ns: int, bound_ns: int, exchange: Exchange) -> None:
        """All was healed `bound_ns` ago: every granted order has ended, and as the venue knows."""
        self._compare_books(exchange, now_ns)
        for cl_ord_id in self.granted:
            order = self._truth.book.orders.get(cl_ord_id)
            if order is None:
                continue  # Long finished, and out of memory.
            if order.phase not in (EXECUTED if cl_ord_id in self._arrived else ENDS):
                at_venue = "is at the venue" if cl_ord_id in self._arrived else "never came to the venue"
                text = f"{cl_ord_id} {at_venue} and is {order.phase} {bound_ns / 1e9:.1f} s after all was healed"
                self._violated(now_ns, "every order ends", text)

    # --- inside ---

    def _compare_books(self, exchange: Exchange, now_ns: int) -> None:
        for cl_ord_id, booked in exchange.booked.items():
            order = self._truth.book.orders.get(cl_ord_id)
            if order is None or booked.heir is not None or booked.intent.kind in CANCELS:
                continue
            ours, theirs = (order.cum_qty, order.venue_status), (booked.cum_qty, booked.status)
            if ours != theirs:
                self._violated(now_ns, "books agree", f"{cl_ord_id} is {ours} in the journal and {theirs} at the venue")
        held = {
            (each.account, each.symbol): each.qty for each in self._truth.book.exposure.positions.values() if each.qty
        }
        if held != exchange.positions():
            text = f"positions are {held} in the journal and {exchange.positions()} at the venue"
            self._violated(now_ns, "books agree", text)

    def _compare(self, intent: OrderIntent, now_ns: int) -> None:
        newest = self._newest_there.get(intent.slot, intent.token)
        if intent.token < newest:
            text = f"{intent.cl_ord_id} reached the venue under {intent.token} after one under {newest}"
            self._violated(now_ns, "newest last", text)
        self._newest_there[intent.slot] = max(newest, intent.token)

    def _grant(self, intent: OrderIntent, now_ns: int) -> None:
        cl_ord_id, holder = intent.cl_ord_id, self._truth.holders.get(intent.slot)
        if cl_ord_id in self.granted:
            self._violated(now_ns, "granted once", f"{cl_ord_id} was granted before")
        if holder != Holder(intent.component, intent.incarnation, intent.token):
            self._violated(now_ns, "granted to the holder", f"{cl_ord_id} under {intent.token}, held by {holder}")
        subject = Subject(
            component=intent.component,
            group=self._group_of(intent.component),
            venue=intent.venue,
            account=intent.account,
            symbol=intent.symbol,
            strategy=intent.strategy,
        )
        halts = self._truth.halts.values()
        halt = forbidding(halts, subject, kind=intent.kind, reduces_risk=intent.reduces_risk)
        if halt is not None:
            self._violated(now_ns, "halt wins", f"{cl_ord_id} was granted although {halt.halt_id} forbids it")
        self.granted[cl_ord_id] = intent

    def _unfounded(self, cl_ord_id: str, what: str, now_ns: int) -> None:
        self._violated(now_ns, "resolved by evidence", f"the journal says that {cl_ord_id} was {what}")
