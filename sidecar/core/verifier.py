"""The commit verifier: may this order be sent, and what does this report or evidence mean for it?

Owns the answers of phase one and what follows from reports and evidence, at the leader's desk. It must not talk to
venues: it asks for evidence by an event and folds what comes. The rules of phase one are in `precommit.py`, what orders
wait for before they are granted in `predecessors.py`, the deadlines in `waits.py`, what a break does in `breaks.py`.

| wait that is over | what happens                                                                            |
|-------------------|-----------------------------------------------------------------------------------------|
| REPORT            | OrderLost: the order is UNKNOWN, and evidence is wanted                                 |
| QUERY, EVIDENCE   | evidence is wanted                                                                      |
| REVIEW            | evidence is wanted: a stream that is silent of one order may be silent of its fills     |
| ENDING            | evidence is wanted; after two answers that show it open, the break STILL_OPEN           |
| CLAIM             | the order of that OrderID is external: a break, and it is adopted                       |

An order that nobody granted is *adopted*: followed, with its fills, like ours, under the break that it is. A report
without a ClOrdID belongs to whatever order has its OrderID, now or by the end of CLAIM.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from sidecar.core.answers import changed, denied, granted, refused
from sidecar.core.breaks import Breaks
from sidecar.core.leadership import Desk
from sidecar.core.limit_desk import LimitDesk
from sidecar.core.limits import Breach
from sidecar.core.order import ABSENCES_NEEDED, Order, contradiction, fill_key, said_before
from sidecar.core.orders import made_name, orphan_name
from sidecar.core.outputs import Event, Now, Origin, Reply, Settle
from sidecar.core.plans import Plans
from sidecar.core.precommit import OPEN_MAX, Precommit
from sidecar.core.predecessors import Predecessors
from sidecar.core.resolution import resolution
from sidecar.core.sanity import OURS, TEXT_MAX, clip, intent_problem, reason_problem, report_problem
from sidecar.core.waits import Deadlines, Wait, Waits, wait_of
from sidecar.messages.events import BreakResolved
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakClosed,
    EvidenceSeen,
    OrderAdopted,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderReported,
    OrphanSeen,
)
from sidecar.messages.orders import (
    Absence,
    Evidence,
    EvidenceWanted,
    ExecutionReport,
    OrderAborted,
    OrderCommitted,
    OrderIntent,
    OrderUnknown,
    Phase,
    ReportRecorded,
    ResolveBreak,
)

ANSWERS_NEEDED: Final = 2
"""Answers of a venue that show an order open which should be gone, before that is a break."""


class Verifier:
    """Phases one to three, at one leader's desk; `operator_problem` says why a user may not close a break."""

    def __init__(
        self,
        name: str,
        desk: Desk,
        plans: Plans,
        deadlines: Deadlines,
        limits: LimitDesk,
        breaks: Breaks,
        predecessors: Predecessors,
        operator_problem: Callable[[str], str],
    ) -> None:
        self._name = name
        self._desk = desk
        self._deadlines = deadlines
        self._breaks = breaks
        self._predecessors = predecessors
        self._operator_problem = operator_problem
        self._precommit = Precommit(desk, plans, limits)
        self.waits = self._waits = Waits(deadlines)
        self._absent_ns: dict[str, int] = {}
        self._answered: set[str] = set()
        self._answers: dict[str, int] = {}

    def begin_term(self, now: Now) -> None:
        """Count every open order's deadline afresh, and go on with what the last leader may have left half done."""
        self._waits.clear()
        self._predecessors.begin_term()
        self._absent_ns, self._answered, self._answers = {}, set(), {}
        book = self._desk.state.book
        for cl_ord_id in book.unfinished():
            self._schedule(book.orders[cl_ord_id], now)
        for name, held in list(book.orphans.items()):
            owner = book.owner(held[0].report.venue, held[0].report.order_id)
            if owner is not None:
                self._claim(owner, held[0].report.order_id, now)
            else:
                self._waits.begin(name, Wait.CLAIM, now.boot_ns)

    # --- phase one ---

    def intent(self, intent: OrderIntent, origin: Origin, now: Now) -> None:
        """Answer an order and settle it, now or when those before it are no more on their way."""
        self._go_on(now)
        self._take(intent, origin, now)

    def _go_on(self, now: Now) -> None:
        """Answer what has waited long enough."""
        for intent, origin in self._predecessors.ready(now):
            self._take(intent, origin, now)

    def _take(self, intent: OrderIntent, origin: Origin, now: Now) -> None:
        if self._answer(intent, origin, now):
            self._desk.send(Settle(origin.handle, "ack"))

    def _answer(self, intent: OrderIntent, origin: Origin, now: Now) -> bool:
        """Grant or deny, journaled first; a repeated question gets the first answer. False when it has to wait.

        What no journal may carry is denied without it. A grant is repeated only while nothing else is known of the
        order and it could be granted now: after a halt or a failover, or once it is looked for at the venue, it must
        not be sent any more.
        """
        problem = intent_problem(intent)
        if problem:
            self._desk.send(Reply(denied(self._name, intent, Breach(code="BAD_FIELD", text=problem)), origin))
            return True
        book = self._desk.state.book
        before = book.refused.get(intent.cl_ord_id)
        if before is not None and before.intent == intent:
            self._desk.send(Reply(denied(self._name, intent, before), origin))
            return True
        known = book.orders.get(intent.cl_ord_id)
        breach = self._precommit.breach(intent, known, now)
        if breach is not None:
            self._refuse(intent, breach, origin)
        elif known is not None:
            self._desk.send(Reply(granted(self._name, known), origin))
        elif (too_soon := self._predecessors.breach(intent, now)) is not None:
            return self._put_off(intent, too_soon, origin)
        else:
            self._grant(intent, origin, now)
        return True

    def _put_off(self, intent: OrderIntent, why: Breach, origin: Origin) -> bool:
        """Hold it, or deny it where there is no room: that is not remembered, for it may be asked again in a moment."""
        if self._predecessors.hold(intent, origin):
            return False
        self._desk.send(Reply(denied(self._name, intent, why), origin))
        return True

    def _grant(self, intent: OrderIntent, origin: Origin, now: Now) -> None:
        book = self._desk.state.book
        concerned = _waiting(book.concerned(intent))
        self._desk.emit(OrderPrecommitted(intent=intent))
        order = book.orders[intent.cl_ord_id]
        self._schedule(order, now)
        self._schedule_again(concerned, now)  # Each is followed until it is gone, not only the request.
        self._desk.send(Reply(granted(self._name, order), origin))
        self._tell(order)

    def _refuse(self, intent: OrderIntent, breach: Breach, origin: Origin) -> None:
        self._desk.emit(refused(intent, breach))
        self._desk.send(Reply(denied(self._name, intent, breach), origin))
        self._desk.send(changed(self._name, intent, Phase.DENIED, breach))

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
        self._go_on(now)

    def _fold_report(self, order: Order, report: OrderCommitted | OrderAborted | OrderUnknown, now: Now) -> str:
        cl_ord_id = report.cl_ord_id
        text = ""
        match report:
            case OrderCommitted() if not order.reported:
                if order.never_sent:
                    self._breaks.of(order, "COMMITTED_AFTER_ABORT", "never sent", f"OrderID {report.order_id}")
                elif order.venue_order_id and report.order_id and order.venue_order_id != report.order_id:
                    self._breaks.of(order, "OTHER_ORDER_ID", report.order_id, order.venue_order_id)
                self._desk.emit(
                    OrderReported(cl_ord_id=cl_ord_id, order_id=report.order_id, ord_status=report.ord_status)
                )
                self._claim(order, report.order_id, now)
            case OrderAborted() if not (order.reported or order.never_sent):
                if order.executions or order.superseded:
                    self._breaks.of(order, "ABORTED_BUT_AT_VENUE", "never sent", f"OrderID {order.venue_order_id}")
                self._desk.emit(OrderNeverSent(cl_ord_id=cl_ord_id, reason=clip(report.reason)))
            case OrderAborted() if order.reported and "ABORTED_AFTER_COMMIT" not in order.breaks:
                self._breaks.of(order, "ABORTED_AFTER_COMMIT", "never sent, after all", f"OrderID {order.order_id}")
            case OrderUnknown() if order.phase is Phase.PRECOMMITTED:
                self._desk.emit(OrderLost(cl_ord_id=cl_ord_id, reason=clip(report.reason)))
            case _:
                text = f"nothing changed: the order was {order.phase} already"
        self._after(order, now)
        return text

    # --- phase three ---

    def evidence(self, evidence: Evidence, now: Now) -> None:
        """The venue's own word. Evidence for an order we never granted, or forgot since, is a break, once."""
        report, book = evidence.report, self._desk.state.book
        if not report.cl_ord_id and 0 < len(report.order_id) <= TEXT_MAX:
            owner = book.meant(report)
            if owner is None:
                self._keep(report, evidence.source, now)
                return
            report = replace(report, cl_ord_id=owner.intent.cl_ord_id)
        order = book.orders.get(clip(report.cl_ord_id))
        if order is None:
            self._stray(report, evidence.source, now)
            return
        if (report.venue, report.account) != (order.intent.venue, order.intent.account):
            self._elsewhere(order, report, evidence.source, now)
            return
        self._weigh(order, report, evidence.source, now)
        if evidence.source == "query" and order.ending:
            self._answered.add(order.intent.cl_ord_id)
        self._claim(order, report.order_id, now)
        self._go_on(now)

    def absence(self, absence: Absence, now: Now) -> None:
        """A targeted query found nothing. Two of them, apart in time, prove that the venue does not have the order.

        What is only missing from a list proves nothing: it is asked for.
        """
        order = self._desk.state.book.orders.get(absence.cl_ord_id)
        if order is None or absence.venue != order.intent.venue or wait_of(order) in (None, Wait.REPORT):
            return
        if order.adopted and order.intent.cl_ord_id.startswith(OURS):
            return  # The venue cannot know a name that we made.
        if not absence.targeted:
            self._want(order)
            return
        query_id, last_ns = clip(absence.query_id), self._absent_ns.get(absence.cl_ord_id, self._desk.led_since_ns)
        too_soon = bool(order.absences) and now.boot_ns - last_ns < self._deadlines.query_ns // 2
        if query_id in order.absences or too_soon:
            return
        self._absent_ns[absence.cl_ord_id] = now.boot_ns
        self._desk.emit(AbsenceSeen(cl_ord_id=absence.cl_ord_id, query_id=query_id))
        if len(order.absences) + 1 >= ABSENCES_NEEDED:
            if order.reported or order.executions:
                known = order.order_id or order.venue_order_id
                self._breaks.of(order, "MISSING_AT_VENUE", f"OrderID {known}", "not known there")
            else:
                self._desk.emit(OrderNeverSent(cl_ord_id=absence.cl_ord_id, reason="absent at the venue, asked twice"))
        self._after(order, now)

    def _weigh(self, order: Order, report: ExecutionReport, source: str, now: Now) -> None:
        """Fold one report of an order in memory, and open the break that it may be."""
        problem = report_problem(report)
        known = None if problem else order.executions.get(fill_key(report))
        others = self._desk.state.book.chain(order)
        counted = any(each.execution(report.exec_id) or report.exec_id in each.fills.voided for each in others)
        found = ("UNREADABLE_EVIDENCE", "evidence", problem) if problem else contradiction(order, report, counted)
        chain = _waiting(others)
        new = known is None or (report.exec_type == "ORDER_STATUS" and known != report)
        if found is not None and (problem or known != report):
            self._breaks.of(order, *found)  # First: a leader that dies before the next record reads all of it again.
        if new and not problem and not said_before(order, report):
            self._desk.emit(EvidenceSeen(report=report, source=source))
        self._after(order, now)
        self._schedule_again(chain, now)

    def _keep(self, report: ExecutionReport, source: str, now: Now) -> None:
        """A report that names no ClOrdID, for an OrderID that nobody has named: wait for whoever does."""
        if report_problem(replace(report, cl_ord_id="-")):
            self._stray(report, source, now)
            return
        book, name = self._desk.state.book, orphan_name(report)
        held = book.orphans.get(name, ())
        if any(each.report == report for each in held):
            return
        self._desk.emit(OrphanSeen(report=report, source=source))
        if not held:
            self._waits.begin(name, Wait.CLAIM, now.boot_ns)

    def _claim(self, order: Order, order_id: str, now: Now) -> None:
        """Hand an order the reports that came for its OrderID before anybody knew whose it was."""
        book = self._desk.state.book
        for each in book.waiting_for(order.intent.venue, order_id):
            current = book.meant(each.report) or book.orders[order.intent.cl_ord_id]
            self._weigh(current, replace(each.report, cl_ord_id=current.intent.cl_ord_id), each.source, now)

    def _stray(self, report: ExecutionReport, source: str, now: Now) -> None:
        """Evidence for no order in memory: a break, once; what can be followed is adopted."""
        book, cl_ord_id, problem = self._desk.state.book, clip(report.cl_ord_id), report_problem(report)
        retired = book.remembers(cl_ord_id)
        if cl_ord_id not in book.external:
            self._breaks.of_stray(cl_ord_id, report, problem, retired=retired)
        if not problem and not retired and book.open_count < 2 * OPEN_MAX:
            self._desk.emit(OrderAdopted(report=report, source=source))
            self._schedule(book.orders[cl_ord_id], now)
            self._tell(book.orders[cl_ord_id])

    def resolve(self, request: ResolveBreak, origin: Origin, now: Now) -> None:
        """Close the breaks of one order, if an operator asks and says why; one answer in either case."""
        book, name = self._desk.state.book, request.cl_ord_id
        order, external = book.orders.get(name), book.external.get(name)
        kinds = order.breaks if order is not None else ((external.kind,) if external is not None else ())
        problem = self._operator_problem(origin.user) or reason_problem("closing a break", request.reason)
        if not problem and not kinds:
            problem = f"no break of ClOrdID {clip(name)!r} is open"
        if not problem:
            actor = clip(request.actor)
            self._desk.emit(BreakClosed(cl_ord_id=name, actor=actor, reason=request.reason))
            event = BreakResolved(arbiter=self._name, cl_ord_id=name, kinds=kinds, actor=actor, reason=request.reason)
            self._desk.send(Event(event, "break-resolved"))
            if order is not None:
                self._after(order, now)
        done = f"{', '.join(kinds)} of {clip(name)}: closed, and journaled with the reason"
        self._desk.send(resolution(self._name, request.request_id, origin, problem, done))

    # --- time ---

    def tick(self, now: Now) -> None:
        """Deadlines that have passed."""
        self._go_on(now)
        book = self._desk.state.book
        for name, wait in self._waits.over(now.boot_ns):
            order = book.orders.get(name)
            if wait is Wait.CLAIM:
                self._give_up(name, now)
            elif order is not None and wait_of(order) is wait:
                self._overdue(order, wait, now)
            elif order is not None and not order.finished:
                self._schedule(order, now)  # It waits for something else by now, for example since its cancel failed.
            else:
                self._forget(name)

    def _overdue(self, order: Order, wait: Wait, now: Now) -> None:
        cl_ord_id = order.intent.cl_ord_id
        if wait is Wait.REPORT:
            self._desk.emit(OrderLost(cl_ord_id=cl_ord_id, reason="no report by the deadline"))
            self._after(order, now)
            return
        if wait is Wait.ENDING and self._shown_open(order):
            gone = order.cancel_by or order.replaced_by
            self._breaks.of(
                order, "STILL_OPEN", f"cancelled or replaced by {gone}", f"OrderID {order.venue_order_id} open"
            )
            self._after(order, now)
            return
        self._want(order)
        self._waits.again(cl_ord_id, wait, now.boot_ns)

    def _shown_open(self, order: Order) -> bool:
        """Whether the venue took the cancel or the replacement, and yet shows the order open, again and again."""
        cl_ord_id = order.intent.cl_ord_id
        cancel = self._desk.state.book.orders.get(order.cancel_by)
        taken = bool(order.replaced_by) or (cancel is not None and cancel.venue_status is not None)
        if taken and cl_ord_id in self._answered:
            self._answers[cl_ord_id] = self._answers.get(cl_ord_id, 0) + 1
        self._answered.discard(cl_ord_id)
        return self._answers.get(cl_ord_id, 0) >= ANSWERS_NEEDED

    def _give_up(self, name: str, now: Now) -> None:
        """Nobody named this OrderID in time: its order is external, under a name that we make of it."""
        for each in self._desk.state.book.orphans.get(name, ()):
            self._unnamed(each.report, each.source, now)

    def _unnamed(self, report: ExecutionReport, source: str, now: Now) -> None:
        report = replace(report, cl_ord_id=made_name(report.venue, report.order_id))
        order = self._desk.state.book.orders.get(report.cl_ord_id)
        if order is None:
            self._stray(report, source, now)
        else:
            self._weigh(order, report, source, now)

    def _elsewhere(self, order: Order, report: ExecutionReport, source: str, now: Now) -> None:
        """Somebody else's order under a ClOrdID of ours: a break of ours, once, and none of its fills are ours."""
        if made_name(report.venue, report.order_id) not in self._desk.state.book.orders:
            ours, theirs = f"{order.intent.venue} {order.intent.account}", f"{report.venue} {report.account}"
            self._breaks.of(order, "OTHER_ORDER", ours, clip(theirs))
            self._after(order, now)
        self._unnamed(report, source, now)

    # --- inside ---

    def _after(self, before: Order, now: Now) -> None:
        """What follows when an order has changed since `before`."""
        order = self._desk.state.book.orders.get(before.intent.cl_ord_id)
        if order is None or order is before:
            return
        if order.phase is not before.phase:
            self._absent_ns.pop(order.intent.cl_ord_id, None)
            self._tell(order)
        if order.ended:
            self._forget(order.intent.cl_ord_id)
        if wait_of(order) is not wait_of(before):
            self._schedule(order, now)
            if order.phase is Phase.UNKNOWN:
                self._want(order)

    def _forget(self, cl_ord_id: str) -> None:
        self._absent_ns.pop(cl_ord_id, None)
        self._answers.pop(cl_ord_id, None)
        self._answered.discard(cl_ord_id)

    def _schedule(self, order: Order, now: Now) -> None:
        wait = wait_of(order)
        if wait is not None:
            self._waits.begin(order.intent.cl_ord_id, wait, now.boot_ns)

    def _schedule_again(self, before: dict[str, Wait | None], now: Now) -> None:
        """Wait anew where another order's news changed what an order waits for."""
        for cl_ord_id, wait in before.items():
            order = self._desk.state.book.orders.get(cl_ord_id)
            if order is not None and wait_of(order) is not wait:
                self._schedule(order, now)
                if order.superseded and not (order.venue_order_id or order.order_id):
                    self._want(order)  # Taken for one with its replacement, and nobody has said so: it may be another.

    def _want(self, order: Order) -> None:
        intent = order.intent
        wanted = EvidenceWanted(
            arbiter=self._name,
            venue=intent.venue,
            account=intent.account,
            cl_ord_id=intent.cl_ord_id,
            phase=order.phase,
            symbol=intent.symbol,
            order_id=order.venue_order_id or order.order_id,
        )
        self._desk.send(Event(wanted, f"evidence-wanted.{intent.venue}"))

    def _tell(self, order: Order) -> None:
        self._desk.send(changed(self._name, order.intent, order.phase))


def _waiting(orders: Iterable[Order]) -> dict[str, Wait | None]:
    return {each.intent.cl_ord_id: wait_of(each) for each in orders}
