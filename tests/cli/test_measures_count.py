"""What the operator reads about a halt's measures."""

from typing import Any

import msgspec
import pytest

from sidecar.cli.halt_count import Verdict, outcome_of, sentences
from sidecar.client.halt_progress import HaltProgress
from sidecar.core.timing import MS
from sidecar.messages.control import CommandResult, Halt, HaltAccepted, TradingState
from sidecar.messages.events import HaltStatus, SidecarStatus
from sidecar.messages.measures import MeasureOutcome, MeasuresReport, MeasuresStatus

KILL = Halt(
    halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="a test", actor="ops", measures=("cancel",)
)
DONE = MeasureOutcome(measure="cancel", state="done", took_ns=20 * MS)
LATE = MeasureOutcome(
    measure="cancel",
    state="late",
    took_ns=3_200 * MS,
    remaining=("A-1", "A-2"),
    remaining_count=2,
    text="the venue does not answer",
)


def report(component: str, outcome: MeasureOutcome = DONE) -> MeasuresReport:
    return MeasuresReport(
        component=component,
        incarnation="i",
        halt_id="h1",
        n=1,
        completed=outcome.state == "done",
        outcomes=(outcome,),
    )


def standing(*components: MeasuresStatus, concerned: int | None = None, incomplete: int | None = None) -> HaltStatus:
    found = sum(not each.complete for each in components)
    return HaltStatus(
        halt_id="h1",
        level=TradingState.HALTED,
        scopes=("all",),
        reason="a test",
        actor="ops",
        age_ns=0,
        measures=("cancel",),
        components=components,
        concerned_count=len(components) if concerned is None else concerned,
        incomplete_count=found if incomplete is None else incomplete,
    )


def judged(component: str, complete: bool = True, **more: Any) -> MeasuresStatus:
    return MeasuresStatus(component=component, complete=complete, outcomes=(DONE,), **more)


def progress(said: HaltStatus | None, *reports: MeasuresReport, silent_lease_ms: int = 0) -> HaltProgress:
    names = [each.component for each in reports]
    roster = [_listed(each, 0) for each in names]
    if silent_lease_ms:
        roster.append(_listed("silent", silent_lease_ms))
    return HaltProgress(
        halt=KILL,
        issued_ns=0,
        accepted={each: _accepted(each) for each in names},
        roster=tuple(roster),
        journaled=CommandResult(arbiter="a", request_id="h1", ok=True, code="HALT", text="journaled"),
        reports={each.component: each for each in reports},
        standing=said,
    )


def _listed(component: str, lease_left_ms: int) -> SidecarStatus:
    return SidecarStatus(
        component=component,
        group="g",
        incarnation="i",
        ready=True,
        role="ACTIVE",
        control_version=0,
        silent_ns=0,
        lease_left_ns=lease_left_ms * MS,
    )


def _accepted(component: str) -> HaltAccepted:
    return HaltAccepted(
        component=component,
        incarnation="i",
        halt_id="h1",
        closed_ns=2 * MS,
        in_scope=True,
        trading_state=TradingState.HALTED,
    )


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (progress(standing(judged("a")), report("a")), "closed"),
        (progress(standing(judged("a", False)), report("a")), "incomplete"),
        (progress(None, report("a")), "incomplete"),
        (progress(standing(judged("a", False)), report("a"), silent_lease_ms=900), "by_deadline"),
    ],
)
def test_verdict(seen: HaltProgress, verdict: Verdict) -> None:
    """Complete is the arbiter's word and nobody else's; an open gate weighs more than an open measure."""
    assert outcome_of(seen, 0).verdict == verdict


def test_over() -> None:
    """A halt with measures is waited for until the arbiter has found all of them complete."""
    assert not progress(None, report("a")).over
    assert not progress(standing(judged("a", False)), report("a")).over
    assert progress(standing(judged("a")), report("a")).over


def test_words() -> None:
    """The operator reads how many are done, who is late since when, and which orders remain."""
    said = standing(judged("a"), MeasuresStatus(component="b", complete=False))
    outcome = outcome_of(progress(said, report("a"), report("b", LATE)), 0)
    assert sentences(outcome)[1:3] == [
        "cancel: done at 1 of 2",
        "b: cancel is over its time limit, and still asked for after 3.2 s, 2 remain: A-1, A-2 "
        "(the venue does not answer)",
    ]


def test_evidence_against_the_component() -> None:
    """Orders that the arbiter still sees open are named, although the component says that it is done."""
    said = standing(judged("a", False, still_open=("A-7",), still_open_count=1))
    lines = sentences(outcome_of(progress(said, report("a")), 0))
    assert "a: still open by the arbiter's evidence: A-7" in lines


def test_nothing_reported() -> None:
    """A component whose sidecar said nothing is named as such."""
    said = standing(judged("a"), MeasuresStatus(component="b", complete=False))
    assert "b: its sidecar has not reported" in sentences(outcome_of(progress(said, report("a")), 0))


def test_components_that_the_arbiter_leaves_off() -> None:
    """One that is not listed is complete only where the list holds every incomplete one."""
    all_listed = standing(judged("b", False), concerned=2, incomplete=1)
    some_listed = standing(judged("b", False), concerned=3, incomplete=2)
    for said, complete in ((all_listed, True), (some_listed, False)):
        components = outcome_of(progress(said, report("a")), 0).components
        assert {each.component: each.complete for each in components} == {"a": complete, "b": False}


def test_many_names_are_cut() -> None:
    """A long list of orders is cut in words, and says how many there are."""
    names = tuple(f"A-{each}" for each in range(15))
    many = msgspec.structs.replace(LATE, remaining=names, remaining_count=40)
    lines = sentences(outcome_of(progress(standing(judged("a", False)), report("a", many)), 0))
    assert "40 remain: A-0, A-1" in lines[2]
    assert "A-9 and 30 more" in lines[2]
