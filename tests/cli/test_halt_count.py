"""The verdict on a halt, as the operator reads it."""

import pytest

from sidecar.cli.halt_count import EXIT_CODES, HaltCount, Verdict, outcome_of, sentences
from sidecar.client.halt_progress import HaltProgress
from sidecar.core.timing import MS
from sidecar.messages.control import CommandResult, Halt, HaltAccepted, TradingState
from sidecar.messages.events import SidecarStatus

HALT = Halt(halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="a test", actor="ops")
ISSUED_NS = 1_000 * MS


def listed(component: str, lease_left_ms: int = 0) -> SidecarStatus:
    return SidecarStatus(
        component=component,
        group="g",
        incarnation="i",
        ready=True,
        role="ACTIVE",
        control_version=0,
        silent_ns=100 * MS,
        lease_left_ns=lease_left_ms * MS,
    )


def accepted(component: str, after_ms: int = 9, in_scope: bool = True) -> HaltAccepted:
    return HaltAccepted(
        component=component,
        incarnation="i",
        halt_id="h1",
        closed_ns=ISSUED_NS + after_ms * MS,
        in_scope=in_scope,
        trading_state=TradingState.HALTED,
    )


def progress(
    *roster: SidecarStatus, heard: tuple[HaltAccepted, ...] = (), journaled: bool | None = True
) -> HaltProgress:
    result = None
    if journaled is not None:
        result = CommandResult(arbiter="a", request_id="h1", ok=journaled, code="HALT", text="the arbiter's words")
    return HaltProgress(
        halt=HALT,
        issued_ns=ISSUED_NS,
        accepted={each.component: each for each in heard},
        roster=roster or None,
        journaled=result,
        trouble="" if roster else "no arbiter answered",
    )


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (progress(listed("a", 900), heard=(accepted("a"),)), "closed"),
        (progress(listed("a", 900), listed("b"), heard=(accepted("a"),)), "closed"),
        (progress(listed("a"), listed("b", 900), heard=(accepted("a"),)), "by_deadline"),
        (progress(listed("a", 900), heard=(accepted("a"),), journaled=False), "unknown"),
        (progress(listed("a", 900), heard=(accepted("a"),), journaled=None), "unknown"),
        (progress(heard=(accepted("a"),)), "unknown"),
    ],
)
def test_verdict(seen: HaltProgress, verdict: Verdict) -> None:
    """Closed needs the journal and everybody who could act; a silent lease is a deadline; the rest is unknown."""
    assert outcome_of(seen, 0).verdict == verdict


def test_exit_codes() -> None:
    """Each verdict has its documented exit code."""
    assert EXIT_CODES == {"closed": 0, "incomplete": 9, "by_deadline": 3, "unknown": 4}


def test_times() -> None:
    """The operator reads how many gates closed, how fast, and until when the silent one may act."""
    seen = progress(listed("a"), listed("b", 1_500), listed("c"), heard=(accepted("a"), accepted("c", 3, False)))
    outcome = outcome_of(seen, 300 * MS)
    text = "\n".join(sentences(outcome))
    assert "closed 1 of 2 (p50 9.0 ms, max 9.0 ms)" in text
    assert "not in scope: c" in text
    assert "b has not acknowledged (last heard 0.4 s ago): its lease ends, and its gate closes, within 1.2 s" in text


def test_lease_over() -> None:
    """A silent sidecar whose lease has run out since is closed, and is said to be."""
    outcome = outcome_of(progress(listed("a", 900)), 1_000 * MS)
    assert outcome.silent[0].lease_left_ms == 0
    assert "its lease is over, so its gate is closed" in sentences(outcome)[1]


def test_roster_age() -> None:
    """A lease runs down from when the leader named it, not from the latest look."""
    count = HaltCount()
    seen = progress(listed("a", 900))
    count.see(seen, 100 * MS)
    assert count.outcome(seen, 600 * MS).silent[0].lease_left_ms == 400


def test_unknown_says_why() -> None:
    """An outcome that is not known carries the reason, and never a total."""
    text = "\n".join(sentences(outcome_of(progress(heard=(accepted("a"),)), 0)))
    assert "closed 1 of an unknown number" in text
    assert "the outcome is not known: no arbiter answered" in text


def test_the_arbiters_words_are_shown() -> None:
    """What the arbiter says of a halt is shown as it is, because it may have halted more than was asked."""
    seen = progress(listed("a"), heard=(accepted("a"),))
    assert sentences(outcome_of(seen, 0))[-1] == "the arbiter's words"
