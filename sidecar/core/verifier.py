"""The commit verifier: may this order be sent, and what does this report or evidence mean for it?

Owns the checks of phase one and the deadlines of phases two and three, at the leader's desk. It must not talk to
venues: it asks for evidence by an event and folds what comes.

Deadlines, counted from when this leader first saw the phase (a new leader counts afresh):

| phase        | after               | what happens                                              |
|--------------|---------------------|-----------------------------------------------------------|
| PRECOMMITTED | report_deadline_ns  | OrderLost: it is UNKNOWN, and evidence is wanted          |
| UNKNOWN      | query_interval_ns   | evidence is wanted again                                  |
| COMMITTED    | evidence_deadline_ns | evidence is wanted, then again each query_interval_ns    |
| others       |                     | nothing                                                   |
"""

import heapq
from dataclasses import dataclass
from decimal import Decimal

from sidecar.core.ladder import Subject, forbidding, permits, sentence
from sidecar.core.leadership import Desk
from sidecar.core.orders import ABSENCES_NEEDED, Order, contradiction, fill_key
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.plans import Plans
from sidecar.core.sanity import TEXT_MAX, clip, intent_problem, report_problem
from sidecar.core.timing import MS
from sidecar.messages.control import TradingState
from sidecar.messages.events import BreakFound, OrderChanged
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakOpened,
    EvidenceSeen,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
)
from sidecar.messages.orders import (
    Absence,
    Evidence,
    EvidenceWanted,
    ExecutionReport,
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderIntent,
    OrderUnknown,
    Phase,
    ReportRecorded,
)

OPEN_MAX = 100_000
"""Orders that may wait for something at once; one more is denied, a cancel at twice as many. Higher costs memory."""
DUE_MAX = 1_000
"""Deadlines handled in one tick; the rest a tick later, so that a stall is not followed by another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The waits of the table above, in nanoseconds."""

    report_ns: int = 5_000 * MS
    evidence_ns: int = 10_000 * MS
    query_ns: int = 2_000 * MS


class Verifier:
    """Phases one to three, at one leader's desk."""

    def __init__(self, name: str, desk: Desk, plans: Plans, deadlines: Deadlines) -> None:
        self._name = name
        self._desk = desk
        self._plans = plans
        self._deadlines = deadlines
        self._due: list[tuple[int, str, Phase]] = []
        self._absent_ns: dict[str, int] = {}

    def begin_term(self, now: Now) -> None:
        """Count every open order's deadline afresh."""
        self._due = []
        self._absent_ns = {}
        for cl_ord_id in self._desk.state.book.unfinished():
            self._schedule(cl_ord_id, now)

    # --- phase one ---

    def intent(self, intent: OrderIntent, origin: Origin, now: Now) -> None:
        """Grant or deny, journaled first; a repeated question gets the first answer.

        What no journal may carry is denied without it. A grant is repeated only while nothing else is known of the
        order and it could be granted now: after a halt or a failover, or once it is looked for at the venue, it must
        not be sent any more.
        """
        problem = intent_problem(intent)
        if problem:
            self._desk.send(Reply(self._denied(intent, "BAD_FIELD", problem), origin))
            return
        book = self._desk.state.book
        refused = book.refused.get(intent.cl_ord_id)
        if refused is not None and refused.intent == intent:
            self._desk.send(Reply(self._denied(intent, refused.code, refused.text), origin))
            return
        known = book.orders.get(intent.cl_ord_id)
        code, text = self._problem(intent, known)
        if code:
            self._refuse(intent, code, text, origin)
        elif known is not None:
            self._desk.send(Reply(self._granted(known), origin))
        else:
            self._desk.emit(OrderPrecommitted(intent=intent))
            self._schedule(intent.cl_ord_id, now)
            self._desk.send(Reply(self._granted(book.orders[intent.cl_ord_id]), origin))
            self._tell(intent.cl_ord_id)

    def _refuse(self, intent: OrderIntent, code: str, text: str, origin: Origin) -> None:
        self._desk.emit(OrderRefused(intent=intent, code=code, text=text))
        self._desk.send(Reply(self._denied(intent, code, text), origin))
        event = OrderChanged(
            arbiter=self._name,
            cl_ord_id=intent.cl_ord_id,
            component=intent.component,
            venue=intent.venue,
            phase=Phase.DENIED,
            code=code,
            text=text,
        )
        self._desk.send(Event(event, "order-changed.denied"))

    def _problem(self, intent: OrderIntent, known: Order | None) -> tuple[str, str]:
        """The first rule that the order breaks, as (code, text); two empty strings when it may be sent."""
        repeated = known is not None and known.intent == intent and known.phase is Phase.PRECOMMITTED
        return (
            (None if repeated else self._duplicate_problem(intent))
            or self._token_problem(intent)
            or self._halt_problem(intent)
            or self._degraded_problem(intent)
            or self._number_problem(intent)
            or ("", "")
        )

    def _duplicate_problem(self, intent: OrderIntent) -> tuple[str, str] | None:
        book = self._desk.state.book
        seen = intent.cl_ord_id in book.orders or intent.cl_ord_id in book.refused or book.remembers(intent.cl_ord_id)
        if seen or intent.cl_ord_id in book.external:
            return "DUPLICATE", f"ClOrdID {intent.cl_ord_id} was used before: take a new one for a new order"
        if book.open_count >= OPEN_MAX * (2 if intent.kind == "CANCEL" else 1):
            return "CAPACITY", f"{OPEN_MAX} orders wait for reports or evidence"
        return None

    def _token_problem(self, intent: OrderIntent) -> tuple[str, str] | None:
        holder = self._desk.state.holders.get(intent.slot)
        if holder is None:
            return "STALE_TOKEN", f"slot {intent.slot} has no holder: token {intent.token} has ended"
        if (holder.component, holder.incarnation, holder.token) == (intent.component, intent.incarnation, intent.token):
            return None
        return "STALE_TOKEN", (
            f"slot {intent.slot} is held by {holder.component} under token {holder.token}, "
            f"not by {intent.component} under {intent.token}"
        )

    def _halt_problem(self, intent: OrderIntent) -> tuple[str, str] | None:
        halts = self._desk.state.halts.values()
        for group in self._plans.claims(intent.component):
            subject = Subject(
                component=intent.component,
                group=group,
                venue=intent.venue,
                account=intent.account,
                symbol=intent.symbol,
                strategy=intent.strategy,
            )
            halt = forbidding(halts, subject, kind=intent.kind, reduces_risk=intent.reduces_risk)
            if halt is not None:
                return halt.level.name, sentence(halt)
        return None

    def _degraded_problem(self, intent: OrderIntent) -> tuple[str, str] | None:
        group = self._plans.group_of(intent.component)
        reason = self._desk.state.degraded.get(group)
        state = TradingState.REDUCING
        if reason is None or permits(state, kind=intent.kind, reduces_risk=intent.reduces_risk, reducing_allowed=True):
            return None
        return state.name, f"group {group} is degraded to {state.name}: {reason}"

    def _number_problem(self, intent: OrderIntent) -> tuple[str, str] | None:
        if intent.kind == "CANCEL":
            return None  # A cancel always passes; its quantity says nothing.
        if not _positive(intent.qty):
            return "BAD_QTY", f"qty {intent.qty} is not a positive number"
        if intent.price is not None and not _positive(intent.price):
            return "BAD_PRICE", f"price {intent.price} is not a positive number; leave it out for a market order"
        return None

    # --- phase two ---

    def report(self, report: OrderCommitted | OrderAborted | OrderUnknown, origin: Origin, now: Now) -> None:
        """The component's word on what became of its order; repeated reports change nothing."""
        order = self._desk.state.book.orders.get(report.cl_ord_id)
        if isinstance(report, OrderCommitted) and len(report.order_id) > TEXT_MAX:
            text = f"not recorded: the OrderID is longer than {TEXT_MAX} characters"
            phase = order.phase if order is not None else Phase.DENIED
        elif order is None or order.intent.component != report.component:
            text = "no order of yours with this ClOrdID is open: it was never granted, or is long finished"
            phase = Phase.DENIED
        else:
            text = self._fold_report(order, report, now)
            phase = self._desk.state.book.orders[report.cl_ord_id].phase
        recorded = ReportRecorded(arbiter=self._name, cl_ord_id=report.cl_ord_id, phase=phase, text=text)
        self._desk.send(Reply(recorded, origin))

    def _fold_report(self, order: Order, report: OrderCommitted | OrderAborted | OrderUnknown, now: Now) -> str:
        cl_ord_id, before = report.cl_ord_id, order.phase
        text = ""
        match report:
            case OrderCommitted() if not order.reported:
                self._desk.emit(
                    OrderReported(cl_ord_id=cl_ord_id, order_id=report.order_id, ord_status=report.ord_status)
                )
                if order.never_sent:
                    self._break(cl_ord_id, "COMMITTED_AFTER_ABORT", "never sent", f"OrderID {report.order_id}")
                elif order.venue_order_id and report.order_id and order.venue_order_id != report.order_id:
                    self._break(cl_ord_id, "OTHER_ORDER_ID", report.order_id, order.venue_order_id)
            case OrderAborted() if not (order.reported or order.never_sent):
                self._desk.emit(OrderNeverSent(cl_ord_id=cl_ord_id, reason=clip(report.reason)))
                if order.executions:
                    self._break(cl_ord_id, "ABORTED_BUT_AT_VENUE", "never sent", f"OrderID {order.venue_order_id}")
            case OrderAborted() if order.reported and "ABORTED_AFTER_COMMIT" not in order.breaks:
                self._break(cl_ord_id, "ABORTED_AFTER_COMMIT", "never sent, after all", f"OrderID {order.order_id}")
            case OrderUnknown() if before is Phase.PRECOMMITTED:
                self._desk.emit(OrderLost(cl_ord_id=cl_ord_id, reason=clip(report.reason)))
            case _:
                text = f"nothing changed: the order was {before} already"
        self._after(cl_ord_id, before, now)
        return text

    # --- phase three ---

    def evidence(self, evidence: Evidence, now: Now) -> None:
        """The venue's own word. Evidence for an order we never granted, or forgot since, is a break, once."""
        report = evidence.report
        cl_ord_id = clip(report.cl_ord_id)
        order = self._desk.state.book.orders.get(cl_ord_id)
        problem = report_problem(report)
        if order is None:
            self._stray(cl_ord_id, problem or _words(report))
            return
        before = order.phase
        known = order.executions.get(fill_key(report))
        found = ("UNREADABLE_EVIDENCE", "evidence", problem) if problem else contradiction(order, report)
        if not problem and (known is None or (report.exec_type == "ORDER_STATUS" and known != report)):
            self._desk.emit(EvidenceSeen(report=report, source=evidence.source))
        if found is not None and found[0] not in order.breaks:
            self._break(cl_ord_id, *found)
        self._after(cl_ord_id, before, now)

    def _stray(self, cl_ord_id: str, theirs: str) -> None:
        book = self._desk.state.book
        if cl_ord_id not in book.external:
            retired = book.remembers(cl_ord_id)
            kind, ours = ("LATE_EVIDENCE", "long finished") if retired else ("EXTERNAL_ORDER", "not granted by us")
            self._break(cl_ord_id, kind, ours, theirs)

    def absence(self, absence: Absence, now: Now) -> None:
        """A targeted query found nothing. Two of them, apart in time, prove that the order never reached the venue."""
        order = self._desk.state.book.orders.get(absence.cl_ord_id)
        waiting = order is not None and order.phase in (Phase.UNKNOWN, Phase.COMMITTED)
        if order is None or not waiting or absence.venue != order.intent.venue:
            return
        query_id, last_ns = clip(absence.query_id), self._absent_ns.get(absence.cl_ord_id, self._desk.led_since_ns)
        too_soon = bool(order.absences) and now.boot_ns - last_ns < self._deadlines.query_ns // 2
        if query_id in order.absences or too_soon:
            return
        before = order.phase
        self._absent_ns[absence.cl_ord_id] = now.boot_ns
        self._desk.emit(AbsenceSeen(cl_ord_id=absence.cl_ord_id, query_id=query_id))
        if len(order.absences) + 1 >= ABSENCES_NEEDED:
            if order.reported:
                self._break(absence.cl_ord_id, "MISSING_AT_VENUE", f"OrderID {order.order_id}", "not known there")
            else:
                self._desk.emit(OrderNeverSent(cl_ord_id=absence.cl_ord_id, reason="absent at the venue, asked twice"))
        self._after(absence.cl_ord_id, before, now)

    def tick(self, now: Now) -> None:
        """Deadlines that have passed."""
        for _ in range(DUE_MAX):
            if not self._due or self._due[0][0] > now.boot_ns:
                return
            _, cl_ord_id, phase = heapq.heappop(self._due)
            order = self._desk.state.book.orders.get(cl_ord_id)
            if order is None or order.phase is not phase:
                continue
            if phase is Phase.PRECOMMITTED:
                self._desk.emit(OrderLost(cl_ord_id=cl_ord_id, reason="no report by the deadline"))
                self._after(cl_ord_id, phase, now)
            else:
                self._want(order)
                heapq.heappush(self._due, (now.boot_ns + self._deadlines.query_ns, cl_ord_id, phase))

    # --- inside ---

    def _after(self, cl_ord_id: str, before: Phase, now: Now) -> None:
        order = self._desk.state.book.orders[cl_ord_id]
        if order.phase is before:
            return
        self._absent_ns.pop(cl_ord_id, None)
        self._tell(cl_ord_id)
        self._schedule(cl_ord_id, now)
        if order.phase is Phase.UNKNOWN:
            self._want(order)

    def _schedule(self, cl_ord_id: str, now: Now) -> None:
        phase = self._desk.state.book.orders[cl_ord_id].phase
        waits = {
            Phase.PRECOMMITTED: self._deadlines.report_ns,
            Phase.UNKNOWN: self._deadlines.query_ns,
            Phase.COMMITTED: self._deadlines.evidence_ns,
        }
        if phase in waits:
            heapq.heappush(self._due, (now.boot_ns + waits[phase], cl_ord_id, phase))

    def _want(self, order: Order) -> None:
        intent = order.intent
        wanted = EvidenceWanted(
            arbiter=self._name,
            venue=intent.venue,
            account=intent.account,
            cl_ord_id=intent.cl_ord_id,
            phase=order.phase,
        )
        self._desk.send(Event(wanted, f"evidence-wanted.{intent.venue}"))

    def _break(self, cl_ord_id: str, kind: str, ours: str, theirs: str) -> None:
        self._desk.emit(BreakOpened(cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs))
        found = BreakFound(arbiter=self._name, cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs)
        self._desk.send(Event(found, f"break-found.{kind.lower()}"))

    def _tell(self, cl_ord_id: str) -> None:
        order = self._desk.state.book.orders[cl_ord_id]
        event = OrderChanged(
            arbiter=self._name,
            cl_ord_id=cl_ord_id,
            component=order.intent.component,
            venue=order.intent.venue,
            phase=order.phase,
        )
        self._desk.send(Event(event, f"order-changed.{order.phase.lower()}"))

    def _granted(self, order: Order) -> OrderGranted:
        return OrderGranted(arbiter=self._name, cl_ord_id=order.intent.cl_ord_id, term=order.term, n=order.n)

    def _denied(self, intent: OrderIntent, code: str, text: str) -> OrderDenied:
        return OrderDenied(arbiter=self._name, cl_ord_id=intent.cl_ord_id, code=code, text=text)


def _positive(value: Decimal) -> bool:
    return value.is_finite() and value > 0


def _words(report: ExecutionReport) -> str:
    return f"{report.side} {report.order_qty} {report.symbol} for {report.account}, OrderID {report.order_id}"
