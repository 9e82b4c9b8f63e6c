"""Halts at the leader's desk."""

import pytest
from desks import Desk, halt, serving, settled_in, started

from sidecar.core.halts import HALTS_IN_FORCE_MAX, OVERFLOW
from sidecar.core.timing import MS
from sidecar.messages.base import WIRE_BYTES_MAX
from sidecar.messages.codec import encode
from sidecar.messages.control import CommandResult, ControlState, ResumeRequest, TradingState
from sidecar.messages.events import ControlChanged


def resume(halt_id: str = "h1", reason: str = "checked") -> ResumeRequest:
    """An operator's resume."""
    return ResumeRequest(request_id="r1", halt_id=halt_id, actor="dana", reason=reason)


def test_a_halt_is_journaled_then_told_to_all() -> None:
    """Anyone verified may raise a halt; everybody is told it with the new control version."""
    desk = settled_in()
    desk.queue(halt(), user="anyone")
    assert desk.replies(CommandResult)[0].ok
    (told,) = desk.broadcasts()
    assert isinstance(told, ControlState)
    assert (told.version, told.halts) == (1, (halt(),))
    assert desk.events(ControlChanged)[0].change == "raised"


def test_a_young_leader_answers_when_its_predecessor_can_renew_nobody() -> None:
    """A halt in a new leader's first moments closes gates at once, but is answered when no renewal can follow."""
    desk = Desk()
    desk.queue(halt(), handle=7)
    assert desk.facts()[-1] == "HaltRaised"
    assert len(desk.broadcasts()) == 1
    assert (desk.replies(CommandResult), desk.settled()) == ([], [])
    desk.tick(desk.timing.leader_wait_ns // MS - 60)
    assert desk.replies(CommandResult) == []
    desk.tick(60)
    assert [each.ok for each in desk.replies(CommandResult)] == [True]
    assert desk.settled() == ["ack"]


def test_a_deposed_leader_hands_back_the_halts_it_has_not_answered() -> None:
    """Whoever leads next answers a halt that its predecessor journaled and had not answered."""
    desk = Desk()
    desk.queue(halt(), handle=7)
    desk.journal.append(started(2))
    desk.read_back()
    assert desk.settled() == ["requeue"]
    assert desk.replies(CommandResult) == []


def test_repeating_a_halt_changes_nothing() -> None:
    """The same halt again is in force already and not journaled again."""
    desk = settled_in()
    desk.queue(halt())
    desk.queue(halt())
    assert desk.facts().count("HaltRaised") == 1
    assert desk.replies(CommandResult)[1].ok


@pytest.mark.parametrize(
    ("request_", "user"),
    [
        (resume(), "exec-a"),
        (resume(), ""),
        (resume(reason="  "), "operator"),
        (resume(reason="r" * 60_000), "operator"),
        (resume("h2"), "operator"),
        (resume("h" * 60_000), "operator"),
    ],
    ids=["component", "nobody", "no reason", "huge reason", "other halt", "huge halt"],
)
def test_nothing_but_an_operators_named_resume_lifts(request_: ResumeRequest, user: str) -> None:
    """A resume lifts only the halt it names, only for an operator, and only with a reason."""
    desk = settled_in()
    desk.queue(halt())
    desk.queue(request_, user=user)
    result = desk.replies(CommandResult)[-1]
    assert not result.ok
    assert len(result.text) < 1_000
    assert "h1" in desk.core.state.halts


def test_a_resume_is_journaled_and_told() -> None:
    """An operator's resume lifts the halt, names it to everybody, and a halt of that name stays lifted."""
    desk = settled_in()
    desk.queue(halt())
    desk.queue(resume(), user="operator")
    told = desk.broadcasts()[-1]
    assert isinstance(told, ControlState)
    assert (told.version, told.halts, told.lifted) == (2, (), ("h1",))
    desk.queue(halt())
    assert not desk.replies(CommandResult)[-1].ok
    desk.queue(resume(), user="operator")
    assert "already" in desk.replies(CommandResult)[-1].text


def test_whoever_is_behind_is_told_with_every_heartbeat() -> None:
    """A sidecar with an older control version is told the halts until its heartbeat carries the newer one."""
    desk = serving()
    desk.queue(halt())
    for _ in range(2):
        desk.sent.clear()
        desk.hear("exec-a")
        assert desk.replies(ControlState)[0].version == 1
        assert desk.lease_of("exec-a").control_version == 1
    desk.sent.clear()
    desk.hear("exec-a", control_version=1)
    assert desk.replies(ControlState) == []


def test_a_halt_that_only_one_sidecar_heard_is_journaled() -> None:
    """A halt raised while no arbiter lived reaches the journal with the next heartbeat that carries it."""
    desk = serving()
    desk.hear("exec-b", unconfirmed_halts=(halt(),))
    assert "h1" in desk.core.state.halts
    assert desk.replies(ControlState)[-1].halts == (halt(),)


def test_a_lifted_halt_does_not_come_back_with_a_late_heartbeat() -> None:
    """A sidecar that latched a halt which was lifted meanwhile is told so, and nothing is raised again."""
    desk = serving()
    desk.queue(halt())
    desk.queue(resume(), user="operator")
    desk.hear("exec-b", control_version=2, unconfirmed_halts=(halt(),))
    assert desk.core.state.halts == {}
    assert desk.replies(ControlState)[-1].lifted == ("h1",)


@pytest.mark.parametrize("bad", [halt("h", *["symbol:x"] * 10_000), halt("h", issued_ns=10**100), halt("")])
def test_a_hostile_halt_is_refused_and_harmless(bad: object) -> None:
    """A halt that no message could carry is refused on the queue and ignored in a heartbeat."""
    desk = serving()
    desk.queue(bad)  # type: ignore[arg-type]  # A table's values.
    assert not desk.replies(CommandResult)[-1].ok
    desk.hear("exec-a", unconfirmed_halts=(bad,))
    assert desk.core.state.halts == {}


@pytest.mark.parametrize("scopes", [1, 32])
def test_a_halt_too_many_halts_everything(scopes: int) -> None:
    """Beyond the room for halts nothing is refused: everything is halted, once, and a ControlState fits the wire."""
    desk = settled_in()
    for n in range(HALTS_IN_FORCE_MAX + 20):
        desk.queue(halt(f"h{n}", *[f"symbol:{n:0150}"] * scopes))
        assert desk.replies(CommandResult)[-1].ok
    overflow = [each for each in desk.core.state.halts.values() if each.halt_id.startswith(OVERFLOW)]
    assert [(each.scopes, each.level) for each in overflow] == [(("all",), TradingState.HALTED)]
    assert len(encode(desk.broadcasts()[-1])) < WIRE_BYTES_MAX


def test_an_overflow_is_lifted_by_name_and_comes_again_when_needed() -> None:
    """After an operator lifted the overflow the next halt that finds no room raises a new one."""
    desk = Desk()
    for n in range(HALTS_IN_FORCE_MAX + 1):
        desk.queue(halt(f"h{n}"))
    (first,) = [each for each in desk.core.state.halts if each.startswith(OVERFLOW)]
    desk.queue(resume(first), user="operator")
    desk.queue(halt("one more"))
    (second,) = [each for each in desk.core.state.halts if each.startswith(OVERFLOW)]
    assert second != first
