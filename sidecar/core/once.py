"""Execute-once: may this side effect be done now, and what does a report on it mean?

Owns the decisions, at the leader's desk; what is known stands in `once_table.py`. It must not know what a side effect
is, nor run one. One side effect, by kind and key:

| state     | claim                                    | next      | verdict                                |
|-----------|------------------------------------------|-----------|----------------------------------------|
| FREE      | any                                      | RUNNING   | RUN; REFUSED when the table is full    |
| RUNNING   | the same claim, delivered again          | RUNNING   | RUN                                    |
| RUNNING   | another; its run of the component ended  | UNKNOWN   | as for UNKNOWN                         |
| RUNNING   | another                                  | RUNNING   | BUSY                                   |
| UNKNOWN   | one that resolves                        | RESOLVING | RESOLVE                                |
| UNKNOWN   | any other                                | UNKNOWN   | UNKNOWN                                |
| RESOLVING | the same claim / another                 | RESOLVING | RESOLVE / BUSY                         |
| DONE      | any                                      | DONE      | DONE, with the result                  |
| any       | another fingerprint than the first one's | same      | REFUSED                                |

| state              | report                            | next    | fact             |
|--------------------|-----------------------------------|---------|------------------|
| RUNNING, RESOLVING | the claim's: DONE                 | DONE    | OnceFinished     |
| the same           | the claim's: NOT_DONE             | FREE    | OnceReleased     |
| the same           | the claim's: UNKNOWN; or its time | UNKNOWN | OnceLost         |
|                    | limit has passed                  |         |                  |
| UNKNOWN, RESOLVING | of the claim that ran: DONE       | DONE    | OnceFinished     |
| the same           | of the claim that ran: NOT_DONE   | FREE    | OnceReleased     |
| UNKNOWN            | a late resolver's: DONE           | DONE    | OnceFinished     |
| FREE               | DONE                              | DONE    | OnceFinished     |
| RUNNING, DONE      | another claim's: DONE             | same    | OnceContradicted |
| any                | anything else                     | same    | none             |
| UNKNOWN            | an operator's: it happened        | DONE    | OnceFinished     |
| UNKNOWN            | an operator's: it never did       | FREE    | OnceReleased     |

A late resolver's NOT_DONE changes nothing: what it saw may be older than what happened since. Time limits count from
when this leader first saw the claim, with a fiftieth more for the error of both clocks; a new leader counts afresh.
"""

import heapq
from collections.abc import Callable

import msgspec

from sidecar.core.leadership import Desk
from sidecar.core.once_queries import once_page
from sidecar.core.once_table import Effect, OnceTable
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.resolution import resolution
from sidecar.core.roster import Roster
from sidecar.core.sanity import TEXT_MAX, clip, reason_problem
from sidecar.messages.journal import OnceClaimed, OnceContradicted, OnceFinished, OnceLost, OnceReleased
from sidecar.messages.once import (
    KEY_MAX,
    LIMIT_MAX_NS,
    RESULT_BYTES_MAX,
    OnceAnswer,
    OnceChanged,
    OnceClaim,
    OnceRecorded,
    OnceReport,
    OnceState,
    OnceVerdict,
)
from sidecar.messages.once_queries import OnceQuery, OnceResolved, ResolveOnce

DUE_MAX = 1_000
"""Time limits handled in one tick; the rest a tick later."""
UNDER_WAY = frozenset({OnceState.RUNNING, OnceState.RESOLVING})


class Once:
    """Claims and reports, at one leader's desk. `operator_problem` says why a user may not settle one."""

    def __init__(self, name: str, desk: Desk, roster: Roster, operator_problem: Callable[[str], str]) -> None:
        self._name = name
        self._desk = desk
        self._roster = roster
        self._operator_problem = operator_problem
        self._due: list[tuple[int, str, str, str]] = []

    @property
    def _table(self) -> OnceTable:
        return self._desk.state.once

    def begin_term(self, now: Now) -> None:
        """Count every time limit afresh."""
        self._due = []
        for effect in self._table.under_way.values():
            self._schedule(effect, now)

    # --- claims ---

    def claim(self, claim: OnceClaim, origin: Origin, now: Now) -> None:
        """Answer a claim, journaled first where it changes anything."""
        verdict, text = self._verdict(claim, now)
        effect = self._table.get(claim.kind, claim.key)
        answer = OnceAnswer(
            arbiter=self._name,
            claim_id=claim.claim_id,
            kind=claim.kind,
            key=claim.key,
            verdict=verdict,
            by=effect.component if effect is not None else "",
            result=effect.result if effect is not None and verdict is OnceVerdict.DONE else "",
            text=text,
        )
        self._desk.send(Reply(answer, origin))

    def _verdict(self, claim: OnceClaim, now: Now) -> tuple[OnceVerdict, str]:
        problem = claim_problem(claim)
        if problem:
            return OnceVerdict.REFUSED, problem
        effect = self._table.get(claim.kind, claim.key)
        if effect is None:
            if self._table.full:
                return OnceVerdict.REFUSED, "too many side effects are remembered: claim again when results are older"
            self._claimed(claim, resolves=False, now=now)
            return OnceVerdict.RUN, ""
        if effect.fingerprint and claim.fingerprint and effect.fingerprint != claim.fingerprint:
            return OnceVerdict.REFUSED, "this key was claimed with other arguments: take a new key for a new effect"
        if effect.state is OnceState.DONE:
            return OnceVerdict.DONE, effect.text
        if effect.state in UNDER_WAY:
            if effect.claim_id == claim.claim_id:
                return (OnceVerdict.RESOLVE if effect.state is OnceState.RESOLVING else OnceVerdict.RUN), ""
            if not self._ended(effect):
                return OnceVerdict.BUSY, f"{effect.state} by {effect.component}, claim {effect.claim_id}"
            self._lose(effect, f"the run of {effect.component} that claimed it has ended")
        if claim.resolves:
            self._claimed(claim, resolves=True, now=now)
            return OnceVerdict.RESOLVE, ""
        known = self._table.get(claim.kind, claim.key)
        return OnceVerdict.UNKNOWN, known.text if known is not None else ""

    def _claimed(self, claim: OnceClaim, *, resolves: bool, now: Now) -> None:
        fact = OnceClaimed(
            kind=claim.kind,
            key=claim.key,
            component=claim.component,
            incarnation=claim.incarnation,
            claim_id=claim.claim_id,
            fingerprint=claim.fingerprint,
            limit_ns=claim.limit_ns,
            resolves=resolves,
        )
        self._desk.emit(fact)
        effect = self._table.get(claim.kind, claim.key)
        if effect is not None:
            self._schedule(effect, now)

    def _ended(self, effect: Effect) -> bool:
        """Whether the run of the component that claimed it is known to have ended; the time limit does the rest."""
        member = self._roster.members.get(effect.component)
        return member is not None and effect.incarnation != "" and effect.incarnation in member.ended

    # --- reports ---

    def report(self, report: OnceReport, origin: Origin) -> None:
        """What became of a claim; a repeated report changes nothing."""
        problem = report_problem(report)
        effect = self._table.get(report.kind, report.key)
        text = problem or self._fold(report, effect)
        effect = self._table.get(report.kind, report.key)
        recorded = OnceRecorded(
            arbiter=self._name,
            claim_id=report.claim_id,
            kind=report.kind,
            key=report.key,
            state=effect.state if effect is not None else OnceState.FREE,
            text=text,
        )
        self._desk.send(Reply(recorded, origin))

    def _fold(self, report: OnceReport, effect: Effect | None) -> str:
        """Journal what follows from it; says so when nothing does."""
        done = report.outcome == "DONE"
        if effect is None:
            return self._finish(report) if done else "nothing changed: nothing is known of it"
        if effect.state is OnceState.DONE:
            return self._contradict(report, effect) if done and report.claim_id != effect.claim_id else "it was done"
        its_own = report.claim_id == effect.claim_id and effect.state in UNDER_WAY
        ran = report.claim_id == effect.ran and effect.state is not OnceState.RUNNING
        late = report.claim_id == effect.claim_id and effect.state is OnceState.UNKNOWN
        match report.outcome:
            case "DONE" if its_own or ran or late:
                return self._finish(report)
            case "DONE":
                return self._contradict(report, effect)
            case "NOT_DONE" if its_own or ran:
                reason = clip(report.text)
                self._desk.emit(OnceReleased(kind=report.kind, key=report.key, claim_id=report.claim_id, reason=reason))
                return ""
            case "UNKNOWN" if its_own:
                self._lose(effect, clip(report.text) or "its claimer does not know")
                return ""
            case _:
                return f"nothing changed: it is {effect.state} under another claim, or was already"

    def _finish(self, report: OnceReport) -> str:
        fact = OnceFinished(
            kind=report.kind,
            key=report.key,
            component=report.component,
            claim_id=report.claim_id,
            result=report.result,
            text=clip(report.text),
        )
        self._desk.emit(fact)
        return ""

    def _contradict(self, report: OnceReport, effect: Effect) -> str:
        text = f"{report.component} says it did it under claim {report.claim_id}; it is {effect.state} under "
        text += f"claim {effect.claim_id} of {effect.component}: it may have happened twice"
        self._desk.emit(
            OnceContradicted(kind=report.kind, key=report.key, claim_id=report.claim_id, component=report.component)
        )
        self._tell(effect, "CONTRADICTED", text)
        return text

    # --- operators ---

    def show(self, query: OnceQuery, origin: Origin) -> None:
        """Answer with one page of what is remembered."""
        self._desk.send(Reply(once_page(self._name, self._table, query), origin))

    def resolve(self, request: ResolveOnce, origin: Origin) -> None:
        """Settle an UNKNOWN one by an operator's word, journaled; one answer in either case."""
        effect = self._table.get(request.kind, request.key)
        problem = self._operator_problem(origin.user) or resolve_problem(request, effect)
        if not problem and effect is not None:
            self._settle(request, effect)
        became = "it happened, and whoever asks gets this result" if request.happened else "it may be claimed again"
        done = f"{request.kind} {clip(request.key)}: {became}; journaled with the reason"
        self._desk.send(resolution(self._name, request.request_id, origin, problem, done))

    def _settle(self, request: ResolveOnce, effect: Effect) -> None:
        actor, reason = clip(request.actor), request.reason
        if request.happened:
            fact = OnceFinished(
                kind=effect.kind,
                key=effect.key,
                component=effect.component,
                claim_id=effect.ran,
                result=request.result,
                text=clip(f"{actor}: {reason}"),
                actor=actor,
            )
            self._desk.emit(fact)
        else:
            released = OnceReleased(kind=effect.kind, key=effect.key, claim_id=effect.ran, reason=reason, actor=actor)
            self._desk.emit(released)
        event = OnceResolved(
            arbiter=self._name,
            kind=effect.kind,
            key=effect.key,
            happened=request.happened,
            actor=actor,
            reason=reason,
        )
        self._desk.send(Event(event, "once-resolved"))

    # --- time ---

    def tick(self, now: Now) -> None:
        """Claims whose time limit has passed."""
        for _ in range(DUE_MAX):
            if not self._due or self._due[0][0] > now.boot_ns:
                return
            _, kind, key, claim_id = heapq.heappop(self._due)
            effect = self._table.get(kind, key)
            if effect is not None and effect.claim_id == claim_id and effect.state in UNDER_WAY:
                self._lose(effect, "no report within its time limit")

    def _schedule(self, effect: Effect, now: Now) -> None:
        if effect.state in UNDER_WAY:
            due_ns = now.boot_ns + effect.limit_ns + effect.limit_ns // 50
            heapq.heappush(self._due, (due_ns, effect.kind, effect.key, effect.claim_id))

    def _lose(self, effect: Effect, reason: str) -> None:
        self._desk.emit(OnceLost(kind=effect.kind, key=effect.key, reason=reason))
        self._tell(effect, "UNKNOWN", reason)

    def _tell(self, effect: Effect, change: str, text: str) -> None:
        event = OnceChanged(
            arbiter=self._name,
            kind=effect.kind,
            key=effect.key,
            component=effect.component,
            change="CONTRADICTED" if change == "CONTRADICTED" else "UNKNOWN",
            text=text,
        )
        self._desk.send(Event(event, f"once-changed.{change.lower()}"))


def claim_problem(claim: OnceClaim) -> str:
    """Why a claim cannot be journaled, as a sentence; empty when it can."""
    if len(claim.incarnation) > TEXT_MAX or len(claim.component) > TEXT_MAX:
        return f"component or incarnation is longer than {TEXT_MAX} characters"
    if not 0 < claim.limit_ns <= LIMIT_MAX_NS:
        return f"limit_ns is not within one hour: {claim.limit_ns}"
    if len(claim.fingerprint) > KEY_MAX:
        return f"fingerprint is longer than {KEY_MAX} characters"
    return _name_problem(claim.component, claim.claim_id, claim.key)


def report_problem(report: OnceReport) -> str:
    """Why a report cannot be journaled, as a sentence; empty when it can."""
    if len(report.component) > TEXT_MAX:
        return f"component is longer than {TEXT_MAX} characters"
    if len(report.result.encode()) > RESULT_BYTES_MAX:
        return f"the result is longer than {RESULT_BYTES_MAX} bytes"
    return _name_problem(report.component, report.claim_id, report.key)


def resolve_problem(request: ResolveOnce, effect: Effect | None) -> str:
    """Why an operator's word changes nothing, as a sentence; empty when it settles the effect."""
    if effect is None:
        return f"nothing is known of {request.kind} {clip(request.key)}"
    if effect.state is not OnceState.UNKNOWN:
        return f"{request.kind} {clip(request.key)} is not UNKNOWN, but {effect.state} by {effect.component}"
    if len(request.result.encode()) > RESULT_BYTES_MAX:
        return f"the result is longer than {RESULT_BYTES_MAX} bytes"
    if request.happened and not _is_json(request.result):
        return "the result is no JSON: whoever asks for it could not read it"
    if request.result and not request.happened:
        return "what never happened has no result"
    return reason_problem("settling a side effect", request.reason)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True


def _name_problem(component: str, claim_id: str, key: str) -> str:
    if not 0 < len(key) <= KEY_MAX:
        return f"key has not 1 to {KEY_MAX} characters"
    if len(claim_id) > 2 * KEY_MAX or not claim_id.startswith(f"{component}."):
        return "claim_id does not begin with the component's own name and a dot, or is too long"
    return ""
