"""Every halt in force, and every lifted one whose measures are not complete, for the status report.

Owns who has not latched a halt, which measures are incomplete, and what it would take to lift it, gathered. It must not
decide: the verdicts are in `completion.py`, the rule of lifting in `halts.py`.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sidecar.core.completion import Look, asks_of
from sidecar.core.measure_run import names_that_fit
from sidecar.core.outputs import Now
from sidecar.core.sanity import clip
from sidecar.messages.control import Halt
from sidecar.messages.events import HaltStatus
from sidecar.messages.journal import MeasuresReported
from sidecar.messages.measures import MeasuresStatus

if TYPE_CHECKING:
    from sidecar.core.arbiter import Arbiter

ROWS_MAX: Final = 300
"""Components with measures in one report, of all halts together, each halt's incomplete ones first. At most 3 MB."""

Reports = dict[str, dict[str, MeasuresReported]]
"""By halt, then by component."""


def halt_statuses(arbiter: "Arbiter", now: Now) -> tuple[HaltStatus, ...]:
    """One for each halt in force, by halt_id, then the lifted ones that are not complete."""
    state = arbiter.state
    reports: Reports = defaultdict(dict)
    for each in state.measured.values():
        reports[each.halt_id][each.component] = each
    unfinished = {halt_id for halt_id, rows in reports.items() if not all(each.complete for each in rows.values())}
    lifted = [halt for halt_id, halt in state.lifted_measures.items() if halt_id in unfinished]
    halts = [*(state.halts[each] for each in sorted(state.halts)), *lifted]
    look = Look(state, arbiter.plans) if any("cancel" in each.measures for each in halts) else None
    found: list[HaltStatus] = []
    room = ROWS_MAX
    for halt in halts:
        status = _status(arbiter, halt, _rows(arbiter, halt, reports[halt.halt_id], look), room, now)
        room -= len(status.components)
        found.append(status)
    return tuple(found)


def _status(arbiter: "Arbiter", halt: Halt, rows: list[MeasuresStatus], room: int, now: Now) -> HaltStatus:
    in_force = halt.halt_id in arbiter.state.halts
    unlatched = _unlatched(arbiter, halt) if in_force else []
    clock_ns = arbiter.chronicle.clock_ns(now)
    proposed_by, left_ns = arbiter.halts.proposal(halt.halt_id, now)
    return HaltStatus(
        halt_id=halt.halt_id,
        level=halt.level,
        scopes=halt.scopes,
        reason=halt.reason,
        actor=halt.actor,
        age_ns=max(0, clock_ns - arbiter.chronicle.raised_ns.get(halt.halt_id, clock_ns)),
        in_force=in_force,
        unlatched=names_that_fit(unlatched),
        unlatched_count=len(unlatched),
        measures=halt.measures,
        components=tuple(rows[:room]),
        concerned_count=len(rows),
        incomplete_count=sum(not each.complete for each in rows),
        proposed_by=proposed_by,
        proposed_left_ns=left_ns,
        to_lift=arbiter.halts.to_lift(halt.halt_id, now) if in_force else "",
    )


def _unlatched(arbiter: "Arbiter", halt: Halt) -> list[str]:
    """Sidecars that neither have the control version with which it came nor name it as heard."""
    version = arbiter.state.halt_versions.get(halt.halt_id, arbiter.state.control_version)
    return [
        name
        for name, member in sorted(arbiter.roster.members.items())
        if member.heartbeat.control_version < version
        and all(each.halt_id != halt.halt_id for each in member.heartbeat.unconfirmed_halts)
    ]


def _rows(
    arbiter: "Arbiter", halt: Halt, reports: dict[str, MeasuresReported], look: Look | None
) -> list[MeasuresStatus]:
    """Every component that is heard and asked, has reported, or has an open order in scope; incomplete ones first."""
    if not halt.measures:
        return []
    names = set(reports)
    if halt.halt_id in arbiter.state.halts:
        plans = arbiter.plans
        names.update(each for each in arbiter.roster.members if asks_of(halt, each, plans.group_of(each)))
        names.update(look.holders(halt) if look else ())
    rows = [_row(halt, each, reports.get(each), look) for each in names]
    return sorted(rows, key=lambda each: (each.complete, each.component))


def _row(halt: Halt, component: str, report: MeasuresReported | None, look: Look | None) -> MeasuresStatus:
    still_open = look.open(halt, component) if look else []
    return MeasuresStatus(
        component=clip(component),
        complete=report is not None and report.complete and not still_open,
        outcomes=report.outcomes if report is not None else (),
        still_open=names_that_fit(still_open),
        still_open_count=len(still_open),
    )
