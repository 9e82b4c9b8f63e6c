"""Limits at the leader's desk: those in force, who set them, and the answer for one order.

Owns operators' requests about limits, journaled as LimitsSet, and what a new leader journals of its configuration. The
rules themselves are in `limits.py`.

| in force for a scope        | this leader is configured with | at the start of its term      |
|-----------------------------|--------------------------------|-------------------------------|
| nothing                     | limits                         | LimitsSet, from configuration |
| the same                    | the same                       | nothing                       |
| others, from configuration  | limits, or none                | LimitsSet, from configuration |
| any, by an operator         | anything                       | nothing: the operator's stay  |

An operator who gives a scope back (`limits` None) gets the leader's configuration for it, in the same decision. A check
that raises denies: nobody may trade because a limit could not be judged.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from sidecar.core.exact import total
from sidecar.core.ladder import scope_problem
from sidecar.core.leadership import Desk
from sidecar.core.limit_figures import LimitFigures, holdings
from sidecar.core.limits import Breach, Case, breach, in_force, scopes_for
from sidecar.core.order import CANCELS
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.plans import Plans
from sidecar.core.sanity import bounded, clip, reason_problem
from sidecar.core.standing_since import limits_name
from sidecar.messages.control import CommandResult
from sidecar.messages.journal import LimitsSet
from sidecar.messages.limits import (
    LimitsChanged,
    LimitSet,
    LimitsInForce,
    LimitsQuery,
    LimitsReport,
    LimitsRequest,
)
from sidecar.messages.orders import OrderIntent

SCOPES_MAX: Final = 1_000
"""Scopes with limits at once. Higher makes each arbiter's state, its snapshots and its reports larger."""
REFUSED: Final = "REFUSED"
Configured = Mapping[str, tuple[LimitSet, LimitSet]]
"""By scope: the limits, and those that replace some of them while a group is degraded."""


class LimitDesk:
    """All limits, at one arbiter's desk. `operator_problem` says why a user may not ask."""

    def __init__(
        self, name: str, configured: Configured, plans: Plans, desk: Desk, operator_problem: Callable[[str], str]
    ) -> None:
        self._name = name
        self._configured = configured
        self._plans = plans
        self._desk = desk
        self._operator_problem = operator_problem

    def begin_term(self) -> None:
        """Journal where the configuration of this leader differs from what is in force, unless an operator set it."""
        for scope in sorted(self._configured.keys() | self._desk.state.limits.keys()):
            found = self._desk.state.limits.get(scope)
            if found is None or found.source == "configuration":
                self._configure(scope, found)

    def breach(self, intent: OrderIntent, now: Now) -> Breach | None:
        """The limit that forbids this order now, or None."""
        state = self._desk.state
        if not state.limits or intent.kind in CANCELS:
            return None
        try:
            groups = self._plans.claims(intent.component)
            case = Case(intent, state.book, {each: self._members(each) for each in groups if each}, now.wall_ns)
            return breach(case, state.limits, scopes_for(intent, groups), degraded=bool(state.degraded))
        except Exception as error:  # Whatever it was, it must not let an order pass.
            return Breach(code="LIMIT_CHECK_FAILED", text=clip(f"the limits could not be checked: {error!r}"))

    def of(self, intent: OrderIntent) -> list[LimitsSet]:
        """The limits whose scopes concern this order, the widest first."""
        scopes = scopes_for(intent, self._plans.claims(intent.component))
        return [each for scope in scopes if (each := self._desk.state.limits.get(scope)) is not None]

    def decide(self, request: LimitsRequest, origin: Origin) -> None:
        """Do what is asked, or say why not; one answer in either case."""
        code, text = self._decide(request, origin)
        result = CommandResult(
            arbiter=self._name, request_id=request.request_id, ok=code != REFUSED, code=code, text=text
        )
        self._desk.send(Reply(result, origin))

    def report(self, query: LimitsQuery, origin: Origin, now: Now) -> None:
        """Answer with all limits in force and the open positions."""
        state = self._desk.state
        held = tuple(holdings(state.book.exposure))
        figures = LimitFigures(state.book)
        report = LimitsReport(
            arbiter=self._name,
            request_id=query.request_id,
            limits=tuple(self._shown(each, figures, now) for _, each in sorted(state.limits.items())),
            positions=held[: LimitsReport.POSITIONS_MAX],
            positions_count=len(held),
            tightened=bool(state.degraded),
        )
        self._desk.send(Reply(report, origin))

    # --- inside ---

    def _decide(self, request: LimitsRequest, origin: Origin) -> tuple[str, str]:
        problem = self._operator_problem(origin.user) or reason_problem("a change of limits", request.reason)
        problem = problem or scope_problem(request.scope) or _problem(request.limits) or _problem(request.degraded)
        if problem:
            return REFUSED, problem
        found = self._desk.state.limits.get(request.scope)
        if request.limits is not None and found is None and len(self._desk.state.limits) >= SCOPES_MAX:
            return REFUSED, f"{SCOPES_MAX} scopes have limits, and there is no room for more: give some back"
        if request.limits is None and (found is None or found.source == "configuration"):
            return "UNCHANGED", f"no operator has set limits of {request.scope}"
        what = "sets" if request.limits is not None else "gives back to the configuration"
        if request.dry_run:
            return "DRY_RUN", f"this {what} the limits of {request.scope}"
        self._set(request.scope, request.limits, request.degraded, "operator", clip(request.actor), request.reason)
        if request.limits is None:
            self._configure(request.scope, None)
        return "LIMITS", f"this {what} the limits of {request.scope}: it is journaled"

    def _configure(self, scope: str, found: LimitsSet | None) -> None:
        limits, degraded = self._configured.get(scope, (None, LimitSet()))
        if found is None and limits is None:
            return
        if found is not None and (found.limits, found.degraded) == (limits, degraded):
            return
        self._set(scope, limits, degraded, "configuration", self._name, "as this leader is configured")

    def _set(
        self,
        scope: str,
        limits: LimitSet | None,
        degraded: LimitSet,
        source: str,
        actor: str,
        reason: str,
    ) -> None:
        by = "operator" if source == "operator" else "configuration"
        fact = LimitsSet(scope=scope, limits=limits, degraded=degraded, source=by, actor=actor, reason=reason)  # type: ignore[arg-type]  # One of the two.
        self._desk.emit(fact)
        event = LimitsChanged(
            arbiter=self._name,
            scope=scope,
            limits=limits,
            degraded=degraded,
            source=fact.source,
            actor=actor,
            reason=reason,
        )
        self._desk.send(Event(event, f"limits-changed.{scope.replace('.', '_')}"))

    def _shown(self, found: LimitsSet, figures: LimitFigures, now: Now) -> LimitsInForce:
        kind, _, name = found.scope.partition(":")
        counted = [f"component:{each}" for each in self._members(name)] if kind == "group" else [found.scope]
        state, book = self._desk.state, self._desk.state.book
        limits = in_force(found, degraded=bool(state.degraded))
        position, exposed = figures.position(found.scope, limits), figures.exposure(found.scope, limits)
        return LimitsInForce(
            scope=found.scope,
            limits=found.limits or LimitSet(),
            degraded=found.degraded,
            source=found.source,
            actor=found.actor,
            reason=found.reason,
            open_orders=sum(book.working.count(each) for each in counted),
            orders_per_second=total(book.exposure.rate(each, now.wall_ns) for each in counted),
            result_today=total(book.exposure.result(each, now.wall_ns) for each in counted),
            set_ns=state.dated.get(limits_name(found.scope), 0),
            position=position.amount if position is not None else None,
            position_of=position.of if position is not None else "",
            exposure=exposed.amount if exposed is not None else None,
            exposure_of=exposed.of if exposed is not None else "",
        )

    def _members(self, group: str) -> Iterable[str]:
        plan = self._plans.named(group)
        return plan.members if plan is not None else ()


def _problem(limits: LimitSet | None) -> str:
    """Why these limits cannot be judged by, as a sentence; empty when they can."""
    if limits is None:
        return ""
    for name in limits.__struct_fields__:
        match getattr(limits, name):
            case Decimal() as number if not bounded(number) or number < 0:
                return f"{name} is no number of zero or more, of a size that prices and quantities have"
            case bool():
                pass
            case int() as count if not 0 <= count <= 10**9:
                return f"{name} is not between 0 and 1000000000"
            case _:
                pass
    return "" if limits.reference_price is None or limits.reference_price > 0 else "reference_price is zero"
