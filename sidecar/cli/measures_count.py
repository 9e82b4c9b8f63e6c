"""What an operator is told about a halt's measures: who is done, who is late, and what remains.

Owns the words. The verdict is the arbiter's: a component's measures are complete when it says so *and* the order table
shows none of its orders open in scope. Which way it fails: what the arbiter has not said to be complete is not.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from sidecar.client.halt_progress import HaltProgress
from sidecar.messages.measures import MeasureOutcome, MeasuresStatus

NAMED_MAX: Final = 10
"""Components, and names of orders or symbols, that are written out; the JSON has all that is known."""


class ComponentMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """One component's measures. `outcomes` are its own word, `complete` and `still_open` the arbiter's.

    `reported` is false while its sidecar has said nothing.
    """

    component: str
    reported: bool
    complete: bool
    outcomes: tuple[MeasureOutcome, ...]
    still_open: tuple[str, ...] = ()
    still_open_count: int = 0


def components_of(progress: HaltProgress) -> tuple[ComponentMeasures, ...]:
    """Every component of which anything is known, the incomplete ones first."""
    standing = progress.standing
    listed = {each.component: each for each in standing.components} if standing else {}
    unlisted_complete = standing is not None and standing.incomplete_count == sum(
        not each.complete for each in listed.values()
    )
    found = [_component(progress, name, listed.get(name), unlisted_complete) for name in {*listed, *progress.reports}]
    return tuple(sorted(found, key=lambda each: (each.complete, each.component)))


def measure_sentences(
    measures: Iterable[str], components: tuple[ComponentMeasures, ...], concerned: int | None
) -> list[str]:
    """How far each measure is, then what keeps components from being complete."""
    total = "an unknown number" if concerned is None else str(concerned)
    lines = [f"{each}: done at {_done(each, components)} of {total}" for each in measures]
    incomplete = [each for each in components if not each.complete]
    for each in incomplete[:NAMED_MAX]:
        lines.extend(component_sentences(each))
    if len(incomplete) > NAMED_MAX:
        lines.append(f"and {len(incomplete) - NAMED_MAX} more components are not complete")
    return lines


def component_sentences(component: ComponentMeasures) -> list[str]:
    """What is not done at one component."""
    name = component.component
    if not component.reported:
        return [f"{name}: its sidecar has not reported"]
    lines = [f"{name}: {_outcome(each)}" for each in component.outcomes if each.state != "done"]
    if component.still_open_count:
        names = _names(component.still_open, component.still_open_count)
        lines.append(f"{name}: still open by the arbiter's evidence: {names}")
    return lines or [f"{name}: done by its own word; the arbiter has not confirmed it yet"]


def status_sentences(measures: Iterable[MeasuresStatus]) -> list[str]:
    """The same of what the arbiter alone says."""
    incomplete = [each for each in measures if not each.complete]
    lines = [line for each in incomplete[:NAMED_MAX] for line in component_sentences(_from_status(each))]
    if len(incomplete) > NAMED_MAX:
        lines.append(f"and {len(incomplete) - NAMED_MAX} more components are not complete")
    return lines


def _component(
    progress: HaltProgress, name: str, listed: MeasuresStatus | None, unlisted_complete: bool
) -> ComponentMeasures:
    known = _from_status(listed) if listed else None
    report = progress.reports.get(name)
    return ComponentMeasures(
        component=name,
        reported=report is not None or (known is not None and known.reported),
        complete=known.complete if known else unlisted_complete,
        outcomes=report.outcomes if report else known.outcomes if known else (),
        still_open=known.still_open if known else (),
        still_open_count=known.still_open_count if known else 0,
    )


def _from_status(status: MeasuresStatus) -> ComponentMeasures:
    return ComponentMeasures(
        component=status.component,
        reported=bool(status.outcomes),
        complete=status.complete,
        outcomes=status.outcomes,
        still_open=status.still_open,
        still_open_count=status.still_open_count,
    )


def _done(measure: str, components: Iterable[ComponentMeasures]) -> int:
    return sum(any(each.measure == measure and each.state == "done" for each in one.outcomes) for one in components)


def _outcome(outcome: MeasureOutcome) -> str:
    told = f"{outcome.measure} is {_STATES[outcome.state]} after {outcome.took_ns / 1e9:.1f} s"
    if outcome.remaining_count:
        told += f", {outcome.remaining_count} remain: {_names(outcome.remaining, outcome.remaining_count)}"
    return f"{told} ({outcome.text})" if outcome.text else told


def _names(names: tuple[str, ...], count: int) -> str:
    shown = ", ".join(names[:NAMED_MAX])
    return f"{shown} and {count - NAMED_MAX} more" if count > NAMED_MAX else shown


_STATES: Final = {
    "asked": "in work",
    "done": "done",
    "failed": "failed, and asked for again",
    "late": "over its time limit, and still asked for",
    "nobody": "asked for in vain: there is no component and no program",
}
