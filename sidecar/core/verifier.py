"""The commit verifier: may this order be sent, and what does this report or evidence mean for it?

Owns the answers of phase one and what follows from reports and evidence, at the leader's desk. It must not talk to
venues: it asks for evidence by an event and folds what comes. The rules of phase one are in `precommit.py`, the
deadlines in `waits.py`.

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

from sidecar.core.leadership import Desk
from sidecar.core.limit_desk import LimitDesk
from sidecar.core.limits import Breach
from sidecar.core.order import ABSENCES_NEEDED, EXECUTIONS_MAX, Order, contradiction, fill_key
from sidecar.core.orders import adopted_intent, orphan_name
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.plans import Plans
from sidecar.core.precommit import OPEN_MAX, Precommit
from sidecar.core.sanity import TEXT_MAX, clip, intent_problem, reason_problem, report_problem
from sidecar.core.waits import Deadlines, Wait, Waits, wait_of
from sidecar.messages.control import CommandResult, Halt, TradingState
from sidecar.messages.events import BreakFound, BreakResolved, OrderChanged
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
    ResolveBreak,
)

ANSWERS_NEEDED: Final = 2
"""Answers of a venue that show an order open which should be gone, before that is a break."""
OURS: Final = "~"
"""What the names begin with that we give to orders of others which have none."""


class Verifier:
    """Phases one to three, at one leader's desk.

    `impose` journals a halt of ours, `operator_problem` says why a user may not close a break.
    """

    def __init__(
        self,
        name: str,
        desk: Desk,
        plans: Plans,
        deadlines: Deadlines,
        limits: LimitDesk,
        impose: Callable[[Halt], None],
        operator_problem: Callable[[str], str],
    ) -> None:
        self._name = name
        self._desk = desk
        self._deadlines = deadlines
        self._limits = limits
        self._impose = impose
        self._operator_problem = operator_problem
        self._precommit = Precommit(desk, plans, limits)
        self._waits = Waits(deadlines)
        self._absent_ns: dict[str, int] = {}
        self._answered: set[str] = set()
        self._answers: dict[str, int] = {}

    def begin_term(self, now: Now) -> None:
        """Count every open order's deadline afresh, and go on with what the last leader may have left half done."""
        self._waits.clear()
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
        """Grant or deny, journaled first; a repeated question gets the first answer.

        What no journal may carry is denied without it. A grant is repeated only while nothing else is known of the
        order and it could be granted now: after a halt or a failover, or once it is looked for at the venue, it must
        not be sent any more.
        """
        problem = intent_problem(intent)
        if problem:
            self._desk.send(Reply(self._denied(intent, Breach(code="BAD_FIELD", text=problem)), origin))
            return
        book = self._desk.state.book
        refused = book.refused.get(intent.cl_ord_id)
        if refused is not None and refused.intent == intent:
            self._desk.send(Reply(self._denied(intent, refused), origin))
            return
        known = book.orders.get(intent.cl_ord_id)
        breach = self._precommit.breach(intent, known, now)
        if breach is not None:
            self._refuse(intent, breach, origin)
        elif known is not None:
            self._desk.send(Reply(self._granted(known), origin))
        else:
            self._grant(intent, origin, now)

    def _grant(self, intent: OrderIntent, origin: Origin, now: Now) -> None:
        book = self._desk.state.book
        concerned = _waiting(book.concerned(intent))
        self._desk.emit(OrderPrecommitted(intent=intent))
        order = book.orders[intent.cl_ord_id]
        self._schedule(order, now)
        self._schedule_again(concerned, now)  # Each is followed until it is gone, not only the request.
        self._desk.send(Reply(self._granted(order), origin))
        self._tell(order)

    def _refuse(self, intent: OrderIntent, breach: Breach, origin: Origin) -> None:
        self._desk.emit(
            OrderRefused(
                intent=intent,
                code=breach.code,
                text=breach.text,
                scope=breach.scope,
                asked=breach.asked,
                limit=breach.limit,
                current=breach.current,
            )
        )
        self._desk.send(Reply(self._denied(intent, breach), origin))
        event = OrderChanged(
            arbiter=self._name,
            cl_ord_id=intent.cl_ord_id,
            component=intent.component,
            venue=intent.venue,
            phase=Phase.DENIED,
            code=breach.code,
            text=breach.text,
        )
        self._desk.send(Event(event, "order-changed.denied"))

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
        cl_ord_id = report.cl_ord_id
        text = ""
        match report:
            case OrderCommitted() if not order.reported:
                self._desk.emit(
                    OrderReported(cl_ord_id=cl_ord_id, order_id=report.order_id, ord_status=report.ord_status)
                )
                if order.never_sent:
                    self._break(order, "COMMITTED_AFTER_ABORT", "never sent", f"OrderID {report.order_id}")
                elif order.venue_order_id and report.order_id and order.venue_order_id != report.order_id:
                    self._break(order, "OTHER_ORDER_ID", report.order_id, order.venue_order_id)
                self._claim(order, report.order_id, now)
            case OrderAborted() if not (order.reported or order.never_sent):
                self._desk.emit(OrderNeverSent(cl_ord_id=cl_ord_id, reason=clip(report.reason)))
                if order.executions:
                    self._break(order, "ABORTED_BUT_AT_VENUE", "never sent", f"OrderID {order.venue_order_id}")
            case OrderAborted() if order.reported and "ABORTED_AFTER_COMMIT" not in order.breaks:
                self._break(order, "ABORTED_AFTER_COMMIT", "never sent, after all", f"OrderID {order.order_id}")
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
            owner = book.owner(report.venue, report.order_id)
            if owner is None:
                self._keep(report, evidence.source, now)
                return
            report = replace(report, cl_ord_id=owner.intent.cl_ord_id)
        order = book.orders.get(clip(report.cl_ord_id))
        if order is None:
            self._stray(report, evidence.source, now)
            return
        self._weigh(order, report, evidence.source, now)
        if evidence.source == "query" and order.ending:
            self._answered.add(order.intent.cl_ord_id)
        self._claim(order, report.order_id, now)

    def absence(self, absence: Absence, now: Now) -> None:
        """A targeted query found nothing. Two of them, apart in time, prove that the venue does not have the order.

        What is only missing from a list proves nothing: it is asked for.
        """
        order = self._desk.state.book.orders.get(absence.cl_ord_id)
        if order is None or absence.venue != order.intent.venue or wait_of(order) in (None, Wait.REPORT):
            return
        if order.intent.cl_ord_id.startswith(OURS):
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
                self._break(order, "MISSING_AT_VENUE", f"OrderID {known}", "not known there")
            else:
                self._desk.emit(OrderNeverSent(cl_ord_id=absence.cl_ord_id, reason="absent at the venue, asked twice"))
        self._after(order, now)

    def _weigh(self, order: Order, report: ExecutionReport, source: str, now: Now) -> None:
        """Fold one report of an order in memory, and open the break that it may be."""
        problem = report_problem(report)
        known = order.executions.get(fill_key(report))
        found = ("UNREADABLE_EVIDENCE", "evidence", problem) if problem else contradiction(order, report)
        chain = _waiting(self._desk.state.book.chain(order))
        new = known is None or (report.exec_type == "ORDER_STATUS" and known != report)
        if new and not problem and not _said_before(order, report):
            self._desk.emit(EvidenceSeen(report=report, source=source))
        if found is not None and found[0] not in order.breaks:
            self._break(order, *found)
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
        for each in self._desk.state.book.waiting_for(order.intent.venue, order_id):
            current = self._desk.state.book.orders[order.intent.cl_ord_id]
            self._weigh(current, replace(each.report, cl_ord_id=order.intent.cl_ord_id), each.source, now)

    def _stray(self, report: ExecutionReport, source: str, now: Now) -> None:
        """Evidence for no order in memory: a break, once; what can be followed is adopted."""
        book, cl_ord_id, problem = self._desk.state.book, clip(report.cl_ord_id), report_problem(report)
        retired = book.remembers(cl_ord_id)
        if cl_ord_id not in book.external:
            kind, ours = ("LATE_EVIDENCE", "long finished") if retired else ("EXTERNAL_ORDER", "not granted by us")
            self._open(cl_ord_id, kind, ours, problem or _words(report), adopted_intent(report))
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
        result = CommandResult(
            arbiter=self._name,
            request_id=request.request_id,
            ok=not problem,
            code="REFUSED" if problem else "RESOLVED",
            text=problem or f"{', '.join(kinds)} of {clip(name)}: closed, and journaled with the reason",
        )
        self._desk.send(Reply(result, origin))

    # --- time ---

    def tick(self, now: Now) -> None:
        """Deadlines that have passed."""
        book = self._desk.state.book
        for name, wait in self._waits.over(now.boot_ns):
            order = book.orders.get(name)
            if wait is Wait.CLAIM:
                self._give_up(name, now)
            elif order is not None and wait_of(order) is wait:
                self._overdue(order, wait, now)
            elif order is not None:
                self._schedule(order, now)  # It waits for something else by now, for example since its cancel failed.

    def _overdue(self, order: Order, wait: Wait, now: Now) -> None:
        cl_ord_id = order.intent.cl_ord_id
        if wait is Wait.REPORT:
            self._desk.emit(OrderLost(cl_ord_id=cl_ord_id, reason="no report by the deadline"))
            self._after(order, now)
            return
        if wait is Wait.ENDING and self._shown_open(order):
            gone = order.cancel_by or order.replaced_by
            self._break(order, "STILL_OPEN", f"cancelled or replaced by {gone}", f"OrderID {order.venue_order_id} open")
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
            named = clip(f"{OURS}{each.report.venue}/{each.report.order_id}")
            report = replace(each.report, cl_ord_id=named)
            order = self._desk.state.book.orders.get(named)
            if order is None:
                self._stray(report, each.source, now)
            else:
                self._weigh(order, report, each.source, now)

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
            self._answers.pop(order.intent.cl_ord_id, None)
            self._answered.discard(order.intent.cl_ord_id)
        if wait_of(order) is not wait_of(before):
            self._schedule(order, now)
            if order.phase is Phase.UNKNOWN:
                self._want(order)

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

    def _break(self, order: Order, kind: str, ours: str, theirs: str) -> None:
        self._open(order.intent.cl_ord_id, kind, ours, theirs, order.intent)

    def _open(self, cl_ord_id: str, kind: str, ours: str, theirs: str, intent: OrderIntent) -> None:
        self._desk.emit(BreakOpened(cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs))
        found = BreakFound(arbiter=self._name, cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs)
        self._desk.send(Event(found, f"break-found.{kind.lower()}"))
        self._halt(cl_ord_id, kind, intent)

    def _halt(self, cl_ord_id: str, kind: str, intent: OrderIntent) -> None:
        """Halt what the policies of this order's scopes say; an overfill halts its account in any case."""
        scopes = {f"account:{intent.account}"} if kind == "OVERFILL" else set()
        for each in self._limits.of(intent):
            limits = each.limits
            if limits is not None and (limits.halt_on_external if kind == "EXTERNAL_ORDER" else limits.halt_on_break):
                scopes.add(each.scope)
        halted = {
            scope for each in self._desk.state.halts.values() if each.actor == self._name for scope in each.scopes
        }
        if scopes - halted:
            reason = clip(f"{kind}: order {cl_ord_id} differs from what the venue says")
            self._impose(
                Halt(
                    halt_id=clip(f"break-{kind.lower()}-{cl_ord_id}"),
                    scopes=tuple(sorted(scopes - halted)),
                    level=TradingState.HALTED,
                    reason=reason,
                    actor=self._name,
                )
            )

    def _tell(self, order: Order) -> None:
        event = OrderChanged(
            arbiter=self._name,
            cl_ord_id=order.intent.cl_ord_id,
            component=order.intent.component,
            venue=order.intent.venue,
            phase=order.phase,
        )
        self._desk.send(Event(event, f"order-changed.{order.phase.lower()}"))

    def _granted(self, order: Order) -> OrderGranted:
        return OrderGranted(arbiter=self._name, cl_ord_id=order.intent.cl_ord_id, term=order.term, n=order.n)

    def _denied(self, intent: OrderIntent, why: Breach | OrderRefused) -> OrderDenied:
        return OrderDenied(
            arbiter=self._name,
            cl_ord_id=intent.cl_ord_id,
            code=why.code,
            text=why.text,
            scope=why.scope,
            asked=why.asked,
            limit=why.limit,
            current=why.current,
        )


def _waiting(orders: Iterable[Order]) -> dict[str, Wait | None]:
    return {each.intent.cl_ord_id: wait_of(each) for each in orders}


def _said_before(order: Order, report: ExecutionReport) -> bool:
    """Whether an order with more executions than are remembered learns nothing from this one."""
    if len(order.executions) < EXECUTIONS_MAX or report.exec_type in ("TRADE_CORRECT", "TRADE_CANCEL"):
        return False
    return report.cum_qty <= order.cum_qty and (order.ended or report.ord_status == order.venue_status)


def _words(report: ExecutionReport) -> str:
    return f"{report.side} {report.order_qty} {report.symbol} for {report.account}, OrderID {report.order_id}"
