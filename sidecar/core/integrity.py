"""The looks at whether the folded state can be true, what they found, and an operator's word on it.

Owns when the leader looks: as its term begins and then each `CHECK_NS`, a slice at a time. What is checked is
in `violations.py`; what is wrong with the journal itself is noted by its readers (`log_tail.py`, `checkpoints.py`). It
must not mend anything.

| a finding             | what happens                                                                                |
|-----------------------|---------------------------------------------------------------------------------------------|
| new                   | a halt of its scope, latched like every other                                               |
| its scope halted      | nothing more: one integrity halt for each scope, and the report lists every finding         |
| its halt lifted       | halted again by the next look, while it is found and not resolved                           |
| resolved by a person  | as it stands it halts nothing more; what is wrong in another way is another finding         |
"""

from collections.abc import Callable, Iterator
from typing import Final

from sidecar.core.leadership import Desk
from sidecar.core.outputs import Now, Origin, Reply
from sidecar.core.resolution import resolution
from sidecar.core.sanity import clip, reason_problem
from sidecar.core.timing import MS
from sidecar.core.violations import Violation, checks
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.integrity import IntegrityFinding, IntegrityQuery, IntegrityReport, ResolveIntegrity
from sidecar.messages.journal import IntegrityResolved

CHECK_NS: Final = 60_000 * MS
"""From one look at everything to the next. Lower finds a violation sooner and costs the leader more."""
SLICE: Final = 500
"""Orders and positions looked at in one tick: a few milliseconds."""
FOUND_MAX: Final = 1_000
"""Findings that are remembered by name; further ones halt their scope all the same, and are found by a later look."""
NOTED_MAX: Final = 100
MARK: Final = "integrity: "
_OVER: Final = Violation("", "over")


class Integrity:
    """The looks at one leader's desk. `impose` journals a halt of ours."""

    def __init__(
        self, name: str, desk: Desk, impose: Callable[[Halt], None], operator_problem: Callable[[str], str]
    ) -> None:
        self._name = name
        self._desk = desk
        self._impose = impose
        self._operator_problem = operator_problem
        self._left: Iterator[Violation | None] | None = None
        self._next_ns = 0
        self._ended_ns: int | None = None
        self._noted: dict[str, Violation] = {}
        self._last: dict[str, Violation] = {}
        self._seen: dict[str, Violation] = {}

    @property
    def findings(self) -> dict[str, Violation]:
        """What the last whole look found, and what was found or noted since, by name."""
        return {**self._noted, **self._last, **self._seen}

    @property
    def unresolved(self) -> int:
        """How many of them no operator has resolved."""
        return sum(each not in self._desk.state.resolved for each in self.findings)

    def begin_term(self, now: Now) -> None:
        """Look at everything anew, at the first slice of it before anything is decided."""
        self._left, self._next_ns, self._ended_ns = None, now.boot_ns, None
        self._last, self._seen = {}, {}
        self.tick(now)

    def note(self, violation: Violation) -> None:
        """What a reader of the journal found wrong with it, leader or not: it is halted by whoever leads."""
        if len(self._noted) < NOTED_MAX:
            self._noted.setdefault(violation.name, violation)

    def tick(self, now: Now) -> None:
        """Look at the next slice."""
        for each in self._noted.values():
            self._stop(each)
        if now.boot_ns >= self._next_ns:
            self._next_ns = now.boot_ns + CHECK_NS
            self._left, self._seen = checks(self._desk.state), {}
        if self._left is None:
            return
        for _ in range(SLICE):
            found = next(self._left, _OVER)
            if found is _OVER:
                self._left, self._last, self._ended_ns = None, self._seen, now.boot_ns
                return
            if found is not None:
                self._find(found)

    def report(self, query: IntegrityQuery, origin: Origin, now: Now) -> None:
        """Answer with every finding, those that nobody has resolved first."""
        resolved, findings = self._desk.state.resolved, self.findings
        shown = sorted(findings, key=lambda each: (each in resolved, findings[each].scope, each))
        ended_ns = self._ended_ns
        report = IntegrityReport(
            arbiter=self._name,
            request_id=query.request_id,
            findings=tuple(self._shown(each, findings[each]) for each in shown[: IntegrityReport.FINDINGS_MAX]),
            count=len(findings),
            looked_ms_ago=None if ended_ns is None else (now.boot_ns - ended_ns) // MS,
        )
        self._desk.send(Reply(report, origin))

    def resolve(self, request: ResolveIntegrity, origin: Origin) -> None:
        """An operator's word on one finding; one answer in either case. Asking again changes nothing."""
        found = self.findings.get(request.finding)
        problem = self._operator_problem(origin.user) or reason_problem("resolve", request.reason)
        if not problem and found is None:
            problem = f"nothing is found under {clip(request.finding)!r}: ask for what is, for it may be another by now"
        if not problem and found is not None and request.finding not in self._desk.state.resolved:
            fact = IntegrityResolved(
                finding=request.finding,
                scope=found.scope,
                text=clip(found.text),
                actor=clip(request.actor),
                reason=request.reason,
            )
            self._desk.emit(fact)
        self._desk.send(resolution(self._name, request.request_id, origin, problem, self._resolved_text(found)))

    # --- inside ---

    def _find(self, violation: Violation) -> None:
        if len(self._seen) < FOUND_MAX:
            self._seen[violation.name] = violation
        self._stop(violation)

    def _stop(self, violation: Violation) -> None:
        if violation.name in self._desk.state.resolved or self._halts(violation.scope):
            return
        self._impose(
            Halt(
                halt_id=f"integrity-{self._desk.term}-{self._desk.decided + 1}",
                scopes=(violation.scope,),
                level=TradingState.HALTED,
                reason=clip(MARK + violation.text),
                actor=self._name,
            )
        )

    def _halts(self, scope: str) -> tuple[str, ...]:
        """The halts in force for this scope that were raised for its integrity."""
        in_force = self._desk.state.halts.values()
        return tuple(each.halt_id for each in in_force if each.reason.startswith(MARK) and scope in each.scopes)

    def _shown(self, name: str, violation: Violation) -> IntegrityFinding:
        resolved = self._desk.state.resolved.get(name)
        return IntegrityFinding(
            finding=name,
            scope=violation.scope,
            text=clip(violation.text),
            halts=self._halts(violation.scope),
            resolved=resolved is not None,
            actor=resolved.actor if resolved is not None else "",
            reason=resolved.reason if resolved is not None else "",
        )

    def _resolved_text(self, violation: Violation | None) -> str:
        halts = self._halts(violation.scope) if violation is not None else ()
        lift = f"; still in force, to be lifted by resume: {', '.join(halts)}" if halts else ""
        return clip(f"as it stands it halts nothing any more{lift}")
