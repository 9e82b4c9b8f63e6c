"""Halts in force, as `sidecar status` shows them."""

from io import StringIO

import msgspec
import pytest
from rich.console import Console, Group

from sidecar.cli.halts_view import age_of, halts_view
from sidecar.messages.control import TradingState
from sidecar.messages.events import HaltStatus, StatusReport
from sidecar.messages.examples import example_of
from sidecar.messages.measures import MeasureOutcome, MeasuresStatus

CALM = HaltStatus(
    halt_id="h1",
    level=TradingState.HALTED,
    scopes=("all",),
    reason="prices [/stale]",
    actor="dana",
    age_ns=754 * 10**9,
    to_lift="a resume by an operator",
)


def shown(*halts: HaltStatus) -> str:
    """The view as plain text."""
    out = StringIO()
    report = msgspec.structs.replace(example_of(StatusReport), halts=(), halt_status=halts)
    Console(file=out, width=200, markup=False).print(Group(*halts_view(report)))
    return out.getvalue()


def test_halt() -> None:
    """A halt is shown with who raised it, why, how long ago, and what lifts it; nothing else is said of it."""
    view = shown(CALM)
    for each in ("h1", "HALTED", "dana", "prices [/stale]", "12 min 34 s", "a resume by an operator"):
        assert each in view
    assert "halt h1" not in view


def test_what_it_waits_for() -> None:
    """Who has not latched it, and which measures are not complete, each have a line."""
    outcome = MeasureOutcome(
        measure="cancel", state="late", took_ns=4 * 10**9, remaining=("A-1",), remaining_count=1, text="venue away"
    )
    view = shown(
        msgspec.structs.replace(
            CALM,
            unlatched=("b", "c"),
            unlatched_count=12,
            measures=("cancel",),
            components=(MeasuresStatus(component="a", complete=False, outcomes=(outcome,)),),
            concerned_count=3,
            incomplete_count=1,
        )
    )
    assert "halt h1: not latched by b, c and 10 more" in view
    assert "halt h1: cancel not complete at 1 of 3 components" in view
    assert "a: cancel is over its time limit, and still asked for after 4.0 s, 1 remain: A-1 (venue away)" in view


def test_lifted() -> None:
    """A lifted halt whose measures go on is shown as lifted."""
    assert "lifted" in shown(msgspec.structs.replace(CALM, in_force=False))


def test_a_leader_that_says_less() -> None:
    """Halts of a leader that knows no halt status are shown all the same."""
    report = msgspec.structs.replace(example_of(StatusReport), halt_status=())
    assert report.halts
    out = StringIO()
    Console(file=out, width=200).print(Group(*halts_view(report)))
    assert report.halts[0].halt_id in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_age(seconds: int, words: str) -> None:
    """A duration is told in its two largest units."""
    assert age_of(seconds * 10**9) == words
