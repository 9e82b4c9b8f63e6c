"""Operators' requests about groups: pause, unpause, dry run, and filling vacant slots."""

from typing import Any

import pytest
from desks import Desk, fold, serving

from sidecar.core.groups import Mode, Policy, plan_group
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest, PauseRequest, StatusRequest, UnpauseRequest
from sidecar.messages.events import PauseStatus, StatusReport
from sidecar.messages.journal import PauseEnded, SlotGranted

HELD = SlotToken("execution/0", Token(1, 1))


def pause(**fields: Any) -> PauseRequest:
    """An operator's pause of ten seconds."""
    values = {"request_id": "p", "group": "execution", "actor": "dana", "reason": "a drill", "duration_ns": 10_000 * MS}
    return PauseRequest(**{**values, **fields})


def unpause(**fields: Any) -> UnpauseRequest:
    """Its end before its time."""
    return UnpauseRequest(**{"request_id": "u", "group": "execution", "actor": "dana", "reason": "done", **fields})


def ask(desk: Desk, request: PauseRequest | UnpauseRequest | FailoverRequest, user: str = "operator") -> CommandResult:
    """The answer to a request."""
    desk.queue(request, user=user)
    return desk.replies(CommandResult)[-1]


def fail_over(**fields: Any) -> FailoverRequest:
    """An operator's failover."""
    return FailoverRequest(**{"request_id": "f", "group": "execution", "actor": "dana", "reason": "why", **fields})


def paused(desk: Desk) -> PauseStatus | None:
    """The pause as status shows it."""
    desk.queue(StatusRequest(request_id="s", actor="dana"))
    return desk.replies(StatusReport)[-1].groups[0].pause


def test_a_pause_is_journaled_shown_and_ends_by_itself() -> None:
    """A pause is a fact, status shows who, why and how long still, and the leader journals its end in time."""
    desk = serving()
    answer = ask(desk, pause())
    assert (answer.ok, answer.code) == (True, "PAUSED")
    desk.live(4_000, "exec-a", "exec-b")
    assert paused(desk) == PauseStatus(actor="dana", reason="a drill", left_ns=6_000 * MS)
    desk.live(5_500, "exec-a", "exec-b")
    assert "PauseEnded" not in desk.facts()
    desk.live(750, "exec-a", "exec-b")
    assert desk.facts().count("PauseEnded") == 1
    assert paused(desk) is None


@pytest.mark.parametrize(
    ("request_", "user", "says"),
    [
        (pause(), "exec-a", "not an operator"),
        (pause(group="none"), "operator", "no group"),
        (pause(reason=" "), "operator", "needs a reason"),
        (pause(reason="x" * 257), "operator", "needs a reason"),
        (pause(duration_ns=0), "operator", "one second to one day"),
        (pause(duration_ns=-(2**70)), "operator", "one second to one day"),
        (pause(duration_ns=2**70), "operator", "one second to one day"),
        (unpause(), "operator", "not paused"),
        (unpause(), "exec-a", "not an operator"),
    ],
)
def test_what_cannot_be_paused_is_refused(request_: PauseRequest | UnpauseRequest, user: str, says: str) -> None:
    """A request that is nobody's to make or makes no sense is refused with a sentence and journals nothing."""
    desk = serving()
    answer = ask(desk, request_, user)
    assert (answer.ok, answer.code) == (False, "REFUSED")
    assert says in answer.text
    assert desk.core.state.paused == {}


def test_an_operator_ends_a_pause() -> None:
    """An unpause needs a reason, is journaled with its actor, and failovers go on at once."""
    desk = serving()
    ask(desk, pause())
    desk.release("exec-a", HELD)
    assert not ask(desk, unpause(reason="")).ok
    assert ask(desk, unpause()).code == "UNPAUSED"
    desk.hear("exec-b")
    assert desk.holder() == "exec-b"
    (ended,) = [each.fact for each in desk.journal if isinstance(each.fact, PauseEnded)]
    assert (ended.actor, ended.reason) == ("dana", "done")


def test_pausing_again_begins_anew() -> None:
    """A second pause counts from its own beginning."""
    desk = serving()
    ask(desk, pause())
    desk.live(6_000, "exec-a", "exec-b")
    ask(desk, pause(reason="longer"))
    desk.live(6_000, "exec-a", "exec-b")
    assert paused(desk) == PauseStatus(actor="dana", reason="longer", left_ns=4_000 * MS)


def test_a_second_pause_is_not_ended_by_the_time_of_the_first() -> None:
    """Until its own record is read back, a pause that begins anew counts from no earlier beginning; then from that."""
    desk = serving()
    ask(desk, pause())
    desk.live(9_750, "exec-a", "exec-b")
    desk.reading = False
    desk.queue(pause(reason="longer"), user="operator")
    desk.tick(500)
    desk.reading = True
    desk.read_back()
    assert "PauseEnded" not in desk.facts()
    assert paused(desk) == PauseStatus(actor="dana", reason="longer", left_ns=10_000 * MS)


def test_a_takeover_keeps_the_pause_and_its_time() -> None:
    """Another arbiter that read the pause ends it in time, and its fold is the same."""
    first = serving()
    ask(first, pause())
    second = Desk(journal=first.journal, name="arbiter-2", lead=True)
    assert second.core.state.paused == fold(first.journal).paused != {}
    second.live(9_000, "exec-a", "exec-b")
    assert "execution" in second.core.state.paused
    second.live(1_500, "exec-a", "exec-b")
    assert second.core.state.paused == {}
    assert fold(second.journal).digest() == second.core.state.digest()


def test_an_operators_failover_passes_a_pause() -> None:
    """In a pause an operator may still move a held slot, and fill a vacant one."""
    desk = serving()
    ask(desk, pause())
    assert ask(desk, fail_over()).code == "DRAINING"
    desk.release("exec-a", HELD, ended=False)
    assert desk.holder() == "exec-b"
    desk.release("exec-b", SlotToken("execution/0", Token(1, 2)))
    desk.hear("exec-a", "exec-a~2")
    assert desk.holder() == ""
    assert ask(desk, fail_over()).code == "GRANTED"
    granted = [each.fact for each in desk.journal if isinstance(each.fact, SlotGranted)]
    assert [each.actor for each in granted] == ["", "dana", "dana"]


# --- dry run ---


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "execution/0 would move from exec-a to exec-b"),
        ({"to": "exec-b"}, "execution/0 would move from exec-a to exec-b"),
    ],
)
def test_a_dry_run_says_what_would_happen_and_does_nothing(fields: dict[str, Any], says: str) -> None:
    """A dry run names slot, holder and successor, and journals nothing."""
    desk = serving()
    before = desk.facts()
    answer = ask(desk, fail_over(dry_run=True, **fields))
    assert (answer.ok, answer.code) == (True, "DRY_RUN")
    assert says in answer.text
    assert desk.facts() == before
    assert desk.lease_of("exec-a").slots == (HELD,)


@pytest.mark.parametrize(
    ("fields", "user"),
    [({}, "exec-b"), ({"group": "none"}, "operator"), ({"to": "stranger"}, "operator"), ({"to": "exec-a"}, "operator")],
)
def test_a_dry_run_is_refused_like_the_real_one(fields: dict[str, Any], user: str) -> None:
    """What would be refused is refused in a dry run with the same sentence."""
    answers = [ask(serving(), fail_over(dry_run=dry_run, **fields), user) for dry_run in (True, False)]
    assert not answers[0].ok
    assert answers[0].text == answers[1].text


def test_a_dry_run_tells_of_vacant_slots() -> None:
    """A vacant slot that waits is named with who would get it."""
    desk = serving()
    ask(desk, pause())
    desk.release("exec-a", HELD)
    assert "execution/0 is vacant and would go to exec-b" in ask(desk, fail_over(dry_run=True)).text
    assert desk.holder() == ""


def test_a_long_dry_run_is_counted() -> None:
    """A dry run of many slots tells the first of them and counts the rest."""
    names = tuple(map(str, range(200)))
    desk = serving((plan_group("execution", Mode.ACTIVE_ACTIVE, ("exec-a", "exec-b"), partitions=names),))
    answer = ask(desk, fail_over(dry_run=True))
    assert answer.text.endswith("and 168 more")


def test_a_named_successor_of_an_n_plus_one_group_takes_one_slot() -> None:
    """Where each member holds one slot, only one moves to the member that is named."""
    desk = serving((plan_group("execution", Mode.N_PLUS_ONE, ("exec-a", "exec-b", "exec-c")),))
    assert ask(desk, fail_over(to="exec-c")).ok
    assert desk.facts().count("SlotDraining") == 1


def test_a_never_is_taken_when_it_is_named() -> None:
    """An operator may name a member that would never be chosen."""
    plan = plan_group(
        "execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b"), policy=Policy(never=frozenset({"exec-b"}))
    )
    desk = serving((plan,))
    assert not ask(desk, fail_over()).ok
    assert ask(desk, fail_over(to="exec-b")).ok
    desk.release("exec-a", HELD, ended=False)
    assert desk.holder() == "exec-b"
