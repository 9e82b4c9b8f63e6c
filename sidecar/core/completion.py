"""The arbiter's side of measures: what sidecars report, compared with the order table, journaled, answered.

Owns the verdict whether a component is through with what a halt asked of it. It must not ask components: their sidecars
do, and go on until it is done.

| the sidecar's word                        | the order table, where `cancel` is asked | verdict    |
|-------------------------------------------|------------------------------------------|------------|
| every measure done                        | none of its orders in scope is open      | complete   |
| every measure done                        | some are                                 | incomplete |
| done, or nobody was there to do it        | no order of it is known, open or not     | complete   |
| anything else, or none yet                | any                                      | incomplete |

An order is open by the table while the venue's evidence does not say that it is over. That evidence may come after the
component's word, so incomplete reports are looked at again. Reports are gathered and looked at together, because each
look walks over all open orders; whatever is lost on the way is repeated by its sidecar every second.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.core.ladder import Subject, concerns, order_scopes
from sidecar.core.leadership import Desk
from sidecar.core.measure_run import names_that_fit
from sidecar.core.order import TERMINAL, Order
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.plans import Plans
from sidecar.core.sanity import INT_MAX, TEXT_MAX
from sidecar.core.state import State, measured_key
from sidecar.core.timing import MS
from sidecar.messages.control import Halt
from sidecar.messages.journal import MeasuresReported
from sidecar.messages.measures import (
    MEASURES,
    MeasureOutcome,
    MeasuresChanged,
    MeasuresRecorded,
    MeasuresReport,
)

LOOK_NS: Final = 200 * MS
"""At least so long between two looks at the open orders for new reports. Lower costs more while many report."""
AGAIN_NS: Final = 1_000 * MS
"""The same for reports that the order table contradicted."""
PENDING_MAX: Final = 20_000
"""Reports that wait for a look; further ones are repeated by their sidecars."""
JOURNALED_AT_ONCE_MAX: Final = 200
"""Reports journaled in one tick, so that leases are not held up by them."""

OpenOrders = dict[str, list[str]]
"""ClOrdIDs by component."""


@dataclass(frozen=True, slots=True)
class _Pending:
    report: MeasuresReport
    origin: Origin


class Completion:
    """The measures of all halts, at one leader's desk."""

    def __init__(self, name: str, desk: Desk, plans: Plans) -> None:
        self._name = name
        self._desk = desk
        self._plans = plans
        self._pending: dict[str, _Pending] = {}
        self._looked_ns = 0
        self._again_ns = 0

    def begin_term(self) -> None:
        """What was reported to another leader is reported again."""
        self._pending.clear()

    def report(self, report: MeasuresReport, origin: Origin) -> None:
        """A sidecar's word; answered when it is journaled. One on a halt that nobody knows is left unanswered: the halt
        may be on its way, and the word comes again."""
        if report_problem(report):
            return
        state, key = self._desk.state, measured_key(report.halt_id, report.component)
        before = state.measured.get(key)
        if before is not None and before.n >= report.n:
            self._answer(report, origin, before.n, before.complete)
        elif halt_of(state, report.halt_id) is None:
            if report.halt_id in state.lifted:  # Lifted, and over for everybody or so long ago that it is forgotten.
                self._answer(report, origin, report.n, report.completed)
        elif len(self._pending) < PENDING_MAX or key in self._pending:
            known = self._pending.get(key)
            if known is None or known.report.n <= report.n:
                self._pending[key] = _Pending(report, origin)

    def tick(self, now: Now) -> None:
        """Look at the open orders for what was reported, and again for what they contradicted."""
        if self._pending and now.boot_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now.boot_ns
            self._journal_pending()
        if now.boot_ns - self._again_ns >= AGAIN_NS:
            self._again_ns = now.boot_ns
            self._look_again()

    # --- inside ---

    def _journal_pending(self) -> None:
        keys = list(self._pending)[:JOURNALED_AT_ONCE_MAX]
        pending = [self._pending.pop(each) for each in keys]
        look = Look(self._desk.state, self._plans, {each.report.component for each in pending})
        for each in pending:
            halt = halt_of(self._desk.state, each.report.halt_id)
            if halt is not None:
                complete = self._journal(each.report, halt, look)
                self._answer(each.report, each.origin, each.report.n, complete)

    def _look_again(self) -> None:
        """Journal what the evidence has changed for components that said all there is to say."""
        state = self._desk.state
        rows = [each for each in state.measured.values() if not each.complete and _said_all(each.outcomes)]
        if not rows:
            return
        look = Look(state, self._plans, {each.component for each in rows})
        for row in rows[:JOURNALED_AT_ONCE_MAX]:
            halt = halt_of(state, row.halt_id)
            if halt is not None and look.verdict(halt, row.component, row.outcomes, completed=row.completed):
                self._journal(_report_of(row), halt, look)

    def _journal(self, report: MeasuresReport, halt: Halt, look: "Look") -> bool:
        still_open = look.open(halt, report.component)
        complete = look.verdict(halt, report.component, report.outcomes, completed=report.completed)
        fact = MeasuresReported(
            halt_id=report.halt_id,
            component=report.component,
            incarnation=report.incarnation,
            n=report.n,
            completed=report.completed,
            outcomes=report.outcomes,
            still_open=names_that_fit(still_open),
            still_open_count=len(still_open),
            complete=complete,
        )
        self._desk.emit(fact)
        event = MeasuresChanged(
            arbiter=self._name,
            component=fact.component,
            halt_id=fact.halt_id,
            complete=complete,
            outcomes=fact.outcomes,
            still_open=fact.still_open,
            still_open_count=fact.still_open_count,
        )
        self._desk.send(Event(event, f"measures-changed.{fact.component}"))
        return complete

    def _answer(self, report: MeasuresReport, origin: Origin, n: int, complete: bool) -> None:
        recorded = MeasuresRecorded(
            arbiter=self._name, component=report.component, halt_id=report.halt_id, n=n, complete=complete
        )
        self._desk.send(Reply(recorded, origin))


class Look:
    """One walk over the open orders of these components, for any number of halts and verdicts."""

    def __init__(self, state: State, plans: Plans, components: Collection[str] | None = None) -> None:
        self._state = state
        self._plans = plans
        self._open: dict[str, list[Order]] = defaultdict(list)
        for order in open_orders(state):
            if components is None or order.intent.component in components:
                self._open[order.intent.component].append(order)
        self._traded: frozenset[str] | None = None

    def holders(self, halt: Halt) -> list[str]:
        """Components with an open order that this halt's cancel concerns."""
        return sorted(each for each in self._open if self.open(halt, each))

    def open(self, halt: Halt, component: str) -> list[str]:
        """ClOrdIDs of this component's open orders that this halt's cancel concerns; none if it has no cancel."""
        if "cancel" not in halt.measures:
            return []
        group = self._plans.group_of(component)
        found = (each.intent for each in self._open.get(component, ()))
        return [
            each.cl_ord_id
            for each in found
            if concerns(
                halt,
                Subject(
                    component=component,
                    group=group,
                    venue=each.venue,
                    account=each.account,
                    symbol=each.symbol,
                    strategy=each.strategy,
                ),
            )
        ]

    def verdict(self, halt: Halt, component: str, outcomes: tuple[MeasureOutcome, ...], *, completed: bool) -> bool:
        """The table above."""
        if completed:
            return not self.open(halt, component)
        return _said_all(outcomes) and component not in self._components_with_orders()

    def _components_with_orders(self) -> frozenset[str]:
        if self._traded is None:
            self._traded = frozenset(each.intent.component for each in self._state.book.orders.values())
        return self._traded


def halt_of(state: State, halt_id: str) -> Halt | None:
    """A halt whose measures are followed: in force, or lifted not long ago."""
    return state.halts.get(halt_id) or state.lifted_measures.get(halt_id)


def asks_of(halt: Halt, component: str, group: str) -> bool:
    """Whether a halt's measures are asked of this component: it is in scope, or orders of it may be."""
    return concerns(halt, Subject(component=component, group=group)) or bool(order_scopes([halt]))


def open_orders(state: State) -> Iterator[Order]:
    """Orders that may rest at a venue by all that is journaled; requests to cancel are none."""
    for cl_ord_id in state.book.unfinished():
        order = state.book.orders[cl_ord_id]
        if order.intent.kind != "CANCEL" and order.venue_status not in TERMINAL:
            yield order


def report_problem(report: MeasuresReport) -> str:
    """Why a report cannot be journaled, as a sentence; empty when it can."""
    if not (0 < len(report.halt_id) <= TEXT_MAX and len(report.incarnation) <= TEXT_MAX):
        return f"halt_id or incarnation does not have at most {TEXT_MAX} characters"
    if not 0 < report.n <= INT_MAX:
        return "n is no count"
    if len(report.outcomes) > len(MEASURES):
        return f"a report has at most {len(MEASURES)} outcomes"
    return next((problem for problem in map(_outcome_problem, report.outcomes) if problem), "")


def _outcome_problem(outcome: MeasureOutcome) -> str:
    if names_that_fit(outcome.remaining) != outcome.remaining:
        return "an outcome names more than it has room for"
    if len(outcome.text) > TEXT_MAX:
        return f"a text is longer than {TEXT_MAX} characters"
    numbers = (outcome.took_ns, outcome.remaining_count, outcome.attempts)
    return "" if all(0 <= each <= INT_MAX for each in numbers) else "a number is no 64-bit count"


def _said_all(outcomes: tuple[MeasureOutcome, ...]) -> bool:
    return bool(outcomes) and all(each.state in ("done", "nobody") for each in outcomes)


def _report_of(row: MeasuresReported) -> MeasuresReport:
    return MeasuresReport(
        component=row.component,
        incarnation=row.incarnation,
        halt_id=row.halt_id,
        n=row.n,
        completed=row.completed,
        outcomes=row.outcomes,
    )
