"""Lifting a halt with two operators, at the leader's desk."""

import pytest
from desks import Desk, halt, started
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.halts import LiftRule
from sidecar.core.timing import MS
from sidecar.messages.control import CommandResult, ResumeRequest, StatusRequest
from sidecar.messages.events import HaltStatus, LiftProposed, StatusReport
from sidecar.messages.journal import HaltLifted, Record

WINDOW_NS = 3_000 * MS
TWO = LiftRule(operators=2, window_ns=WINDOW_NS)


def two_needed(journal: list[Record] | None = None) -> Desk:
    """A settled leader that lifts only for two, with one halt in force."""
    desk = Desk(lifting=TWO, journal=journal)
    desk.tick(desk.timing.leader_wait_ns // MS + 1)
    if journal is None:
        desk.queue(halt())
    desk.sent.clear()
    return desk


def resume(desk: Desk, user: str, halt_id: str = "h1") -> CommandResult:
    """This broker user asks to lift a halt; the answer."""
    request = ResumeRequest(request_id=f"r-{user}", halt_id=halt_id, actor=f"person {user}", reason="checked")
    desk.queue(request, user=user)
    return desk.replies(CommandResult)[-1]


def status(desk: Desk) -> HaltStatus:
    """What the status report says of the only halt."""
    desk.queue(StatusRequest(request_id="s1", actor="dana"))
    (found,) = desk.replies(StatusReport)[-1].halt_status
    return found


def test_two_operators_lift() -> None:
    """The first resume is journaled as a proposal and told; the second, of another broker user, lifts."""
    desk = two_needed()
    first = resume(desk, "operator")
    assert (first.ok, first.code) == (True, "PROPOSED")
    assert "second" in first.text
    assert [each.user for each in desk.events(LiftProposed)] == ["operator"]
    assert "h1" in desk.core.state.halts
    assert resume(desk, "second").code == "LIFTED"
    assert (desk.core.state.halts, desk.core.state.proposed) == ({}, {})
    lifted = desk.journal[-1].fact
    assert isinstance(lifted, HaltLifted)
    assert (lifted.actor, lifted.proposed_by) == ("person second", "operator")


def test_the_same_operator_twice_lifts_nothing() -> None:
    """One broker user's second resume is answered as its first was, whatever name it gives, and journaled once."""
    desk = two_needed()
    assert [resume(desk, "operator").code for _ in range(3)] == ["PROPOSED"] * 3
    assert desk.facts().count("ResumeProposed") == 1
    assert "h1" in desk.core.state.halts


@pytest.mark.parametrize("user", ["exec-a", "", "guest"])
def test_nobody_else_seconds(user: str) -> None:
    """Whoever is no operator neither proposes nor seconds."""
    desk = two_needed()
    assert resume(desk, user).code == "REFUSED"
    resume(desk, "operator")
    assert resume(desk, user).code == "REFUSED"
    assert "h1" in desk.core.state.halts


def test_a_proposal_ends_with_its_window() -> None:
    """After the window the second operator's resume is a first one again; within it, it lifts."""
    desk = two_needed()
    resume(desk, "operator")
    desk.tick(WINDOW_NS // MS + 100)
    assert resume(desk, "second").code == "PROPOSED"
    assert resume(desk, "operator").code == "LIFTED"


def test_asking_again_extends_no_window() -> None:
    """The window runs from the first journaled request, however often its operator asks again."""
    desk = two_needed()
    resume(desk, "operator")
    desk.tick(WINDOW_NS // MS - 1_000)
    resume(desk, "operator")
    desk.tick(2_000)
    assert resume(desk, "second").code == "PROPOSED"


def test_a_proposal_is_for_one_halt() -> None:
    """Two operators who each name another halt lift neither."""
    desk = two_needed()
    desk.queue(halt("h2"))
    resume(desk, "operator", "h1")
    assert resume(desk, "second", "h2").code == "PROPOSED"
    assert set(desk.core.state.halts) == {"h1", "h2"}


def test_a_proposal_outlives_its_leader() -> None:
    """What was proposed to one leader is seconded before the next, within the time that is left."""
    desk = two_needed()
    resume(desk, "operator")
    later = two_needed(list(desk.journal))
    assert resume(later, "second").code == "LIFTED"


def test_a_proposal_that_is_not_in_the_log_counts_for_nothing() -> None:
    """A leader that was deposed before its proposal was read back has told nobody, and nobody seconds it."""
    desk = two_needed()
    desk.reading = False
    request = ResumeRequest(request_id="r1", halt_id="h1", actor="dana", reason="checked")
    desk.queue(request, user="operator")
    assert desk.replies(CommandResult) == []
    in_the_log = [each for each in desk.journal if type(each.fact).__name__ != "ResumeProposed"]
    later = two_needed([*in_the_log, started(2)])
    assert resume(later, "second").code == "PROPOSED"


def test_status_says_what_it_takes() -> None:
    """Status names who may lift a halt, who asked already, and for how long that stands."""
    desk = two_needed()
    assert status(desk).to_lift == "resumes by two of: operator, second, within 3 s"
    resume(desk, "operator")
    desk.tick(1_000)
    found = status(desk)
    assert (found.proposed_by, found.to_lift) == (
        "operator",
        f"operator asked to lift it; a resume by another one of: operator, second, "
        f"within {found.proposed_left_ns // 10**9} s",
    )
    assert 10**9 < found.proposed_left_ns <= 2 * 10**9
    assert found.age_ns >= 10**9


def test_status_with_one_operator() -> None:
    """Where one operator is enough, status says so."""
    desk = Desk()
    desk.queue(halt())
    assert status(desk).to_lift == "a resume by one of: operator, second"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["operator", "second", "exec-a", "tick"]), max_size=10))
def test_no_course_of_requests_lifts_without_two(asked: list[str]) -> None:
    """However requests come, a halt is lifted by two different operators within the window, and by nothing else."""
    desk = two_needed()
    standing, age_ms = "", 0
    for user in asked:
        if "h1" not in desk.core.state.halts:
            return
        if user == "tick":
            desk.tick(1_600)
            age_ms += 1_600
            continue
        if standing and age_ms >= WINDOW_NS // MS:
            standing = ""
        code = resume(desk, user).code
        if user == "exec-a":
            assert code == "REFUSED"
        elif standing and standing != user:
            assert code == "LIFTED"
        else:
            assert code == "PROPOSED"
            standing, age_ms = (standing, age_ms) if standing else (user, 0)
