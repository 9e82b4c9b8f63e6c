"""What an operator is told about a halt: how many gates are closed, who is silent, and until when it matters.

Owns the verdict and its words. It must not send anything; the facts are the operator client's `HaltProgress`.

| verdict     | exit  | when                                                                                      |
|-------------|-------|-------------------------------------------------------------------------------------------|
| closed      | 0     | journaled, and every sidecar acknowledged; or those that did not hold no lease; and every |
|             |       | measure is complete, where the halt has measures                                          |
| incomplete  | 9     | closed as above; a measure is not complete, or the arbiter has not said so                |
| by_deadline | 3     | journaled; somebody silent held a lease, which ends (or has ended) by a known time        |
| unknown     | 4     | the arbiter did not confirm the halt, or did not say who there is                         |

A silent sidecar's lease is as the leader last granted it. Leases granted after the halt was journaled carry its
version, so their holders close; that is why the time only ever runs out.
"""

from statistics import median
from typing import Final, Literal

import msgspec

from sidecar.cli.errors import ExitCode
from sidecar.cli.measures_count import ComponentMeasures, components_of, measure_sentences
from sidecar.client.halt_progress import HaltProgress
from sidecar.messages.events import SidecarStatus

Verdict = Literal["closed", "incomplete", "by_deadline", "unknown"]
EXIT_CODES: Final[dict[Verdict, ExitCode]] = {
    "closed": ExitCode.OK,
    "incomplete": ExitCode.INCOMPLETE,
    "by_deadline": ExitCode.BY_DEADLINE,
    "unknown": ExitCode.UNKNOWN,
}


class ClosedGate(msgspec.Struct, frozen=True, kw_only=True):
    """One acknowledgement. `after_ms` is from the issue to the gate page, and compares only roughly between hosts."""

    component: str
    incarnation: str
    trading_state: str
    after_ms: float


class SilentSidecar(msgspec.Struct, frozen=True, kw_only=True):
    """One sidecar that has not acknowledged. Its lease, if it holds one, ends within `lease_left_ms`."""

    component: str
    silent_ms: float
    lease_left_ms: float


class HaltOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """`--json` of halt and its kin. `sidecars` is how many the leader knows, None while it has not said.

    `answer` is the arbiter's own word on the halt, empty while there is none; `p50_ms` and `max_ms` are of `closed`,
    None without one. `components` are those that the measures concern; `incomplete` how many the arbiter has not found
    complete, None while it has not said.
    """

    halt_id: str
    verdict: Verdict
    scopes: tuple[str, ...]
    level: str
    journaled: bool
    answer: str
    sidecars: int | None
    closed: tuple[ClosedGate, ...]
    p50_ms: float | None
    max_ms: float | None
    not_in_scope: tuple[str, ...]
    silent: tuple[SilentSidecar, ...]
    trouble: str
    measures: tuple[str, ...] = ()
    components: tuple[ComponentMeasures, ...] = ()
    concerned: int | None = None
    incomplete: int | None = None


class HaltCount:
    """Follows one halt; `now_ns` arguments are CLOCK_BOOTTIME of the host that issued it."""

    def __init__(self) -> None:
        self.latest: HaltProgress | None = None
        self._roster_at_ns: int | None = None

    def see(self, progress: HaltProgress, now_ns: int) -> None:
        """Take in a change."""
        if progress.roster is not None and self._roster_at_ns is None:
            self._roster_at_ns = now_ns
        self.latest = progress

    def outcome(self, progress: HaltProgress, now_ns: int) -> HaltOutcome:
        """How it stands at `now_ns`."""
        self.see(progress, now_ns)
        return outcome_of(progress, now_ns - (self._roster_at_ns or now_ns))


def outcome_of(progress: HaltProgress, roster_age_ns: int) -> HaltOutcome:
    """The verdict. `roster_age_ns` is how long ago the leader said who there is."""
    silent = tuple(_silent(each, roster_age_ns) for each in progress.missing)
    after_ms = [(each.closed_ns - progress.issued_ns) / 1e6 for each in progress.closed]
    standing = progress.standing
    journaled = progress.journaled is not None and progress.journaled.ok
    return HaltOutcome(
        halt_id=progress.halt.halt_id,
        verdict=_verdict(progress, journaled),
        scopes=progress.halt.scopes,
        level=progress.halt.level.name,
        journaled=journaled,
        answer=progress.journaled.text if progress.journaled is not None else "",
        sidecars=None if progress.roster is None else len(progress.roster),
        closed=tuple(
            ClosedGate(
                component=each.component,
                incarnation=each.incarnation,
                trading_state=each.trading_state.name,
                after_ms=took_ms,
            )
            for each, took_ms in zip(progress.closed, after_ms, strict=True)
        ),
        p50_ms=median(after_ms) if after_ms else None,
        max_ms=max(after_ms, default=None),
        not_in_scope=tuple(sorted(each.component for each in progress.accepted.values() if not each.in_scope)),
        silent=silent,
        trouble=_trouble(progress, journaled),
        measures=progress.halt.measures,
        components=components_of(progress) if progress.halt.measures else (),
        concerned=standing.concerned_count if standing else None,
        incomplete=standing.incomplete_count if standing else None,
    )


def sentences(outcome: HaltOutcome) -> list[str]:
    """The outcome for a person, the most important first."""
    total = "an unknown number" if outcome.sidecars is None else str(outcome.sidecars - len(outcome.not_in_scope))
    times = "" if outcome.p50_ms is None else f" (p50 {outcome.p50_ms:.1f} ms, max {outcome.max_ms:.1f} ms)"
    lines = [f"closed {len(outcome.closed)} of {total}{times}"]
    if outcome.not_in_scope:
        lines.append(f"not in scope: {', '.join(outcome.not_in_scope)}")
    lines.extend(_silence(each) for each in outcome.silent)
    if outcome.measures:
        lines.extend(measure_sentences(outcome.measures, outcome.components, outcome.concerned))
    if outcome.verdict == "unknown":
        lines.append(f"the outcome is not known: {outcome.trouble or 'not everybody answered in time'}")
    lines.append(outcome.answer or f"halt {outcome.halt_id} is not known to be journaled")
    return lines


def _verdict(progress: HaltProgress, journaled: bool) -> Verdict:
    if not journaled or progress.roster is None:
        return "unknown"
    if any(each.lease_left_ns for each in progress.missing):
        return "by_deadline"
    return "closed" if progress.completed else "incomplete"


def _trouble(progress: HaltProgress, journaled: bool) -> str:
    if progress.journaled is not None and not journaled:
        return progress.journaled.text
    return progress.trouble


def _silent(sidecar: SidecarStatus, roster_age_ns: int) -> SilentSidecar:
    return SilentSidecar(
        component=sidecar.component,
        silent_ms=(sidecar.silent_ns + roster_age_ns) / 1e6,
        lease_left_ms=max(0, sidecar.lease_left_ns - roster_age_ns) / 1e6,
    )


def _silence(silent: SilentSidecar) -> str:
    heard = f"{silent.component} has not acknowledged (last heard {silent.silent_ms / 1000:.1f} s ago)"
    if silent.lease_left_ms:
        return f"{heard}: its lease ends, and its gate closes, within {silent.lease_left_ms / 1000:.1f} s"
    return f"{heard}: its lease is over, so its gate is closed"
