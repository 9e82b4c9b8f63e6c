"""Who has a slot's state, who lags, and who takes over."""

import pytest
from desks import Desk

from sidecar.core.figures import group_figures
from sidecar.core.groups import GroupPlan, Mode, Policy, choose, plan_group
from sidecar.core.marks import MARKS_MAX, NOTHING, Mark, Marks
from sidecar.core.outputs import Origin
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest
from sidecar.messages.events import SlotMoved
from sidecar.messages.explain import ExplainReport, ExplainRequest
from sidecar.messages.health import Heartbeat, Lease
from sidecar.messages.state import NO_TOKEN, SlotState, SlotWord

SLOT = "execution/0"
T1 = Token(1, 1)
LAG_MS = 1_000


def trio(mode: Mode = Mode.ACTIVE_PASSIVE, **policy: frozenset[str]) -> GroupPlan:
    """Three members, the first one preferred."""
    return plan_group(
        "execution",
        mode,
        ("exec-a", "exec-b", "exec-c"),
        policy=Policy(state_lag_ns=LAG_MS * MS, **policy),  # type: ignore[arg-type]  # Sets of members only.
    )


def has(version: int, token: Token = T1, slot: str = SLOT) -> tuple[SlotState, ...]:
    """What a heartbeat says of one state."""
    return (SlotState(slot, token, version),)


def active(**policy: frozenset[str]) -> Desk:
    """A leader by whose grant exec-a acts, with two standbys."""
    desk = Desk((trio(Mode.ACTIVE_PASSIVE, **policy),))
    desk.live(1_000, "exec-a", "exec-b", "exec-c")
    assert desk.core.state.holders[SLOT].component == "exec-a"
    desk.sent.clear()
    return desk


def dies(desk: Desk) -> str:
    """The active's component ends; who has the slot then."""
    holder = desk.core.state.holders[SLOT]
    desk.release(holder.component, SlotToken(SLOT, holder.token))
    return desk.core.state.holders[SLOT].component


def test_lag_is_since_the_first_version_that_is_missing() -> None:
    """Who lacks something lags since that was told; who has everything does not."""
    marks = Marks(0)
    for version, at_ns in ((1, 100), (2, 200), (3, 300)):
        marks.note(Mark(T1, version), at_ns)
    assert [marks.lag_ns(Mark(T1, version), 500) for version in (3, 2, 1)] == [0, 200, 300]
    assert marks.lag_ns(NOTHING, 500) == 400
    assert marks.lag_ns(Mark(T1, 2), 250) == 0
    assert Mark(Token(1, 2), 1) > Mark(T1, 99)


def test_marks_are_bounded_and_err_to_longer_lags() -> None:
    """Many steps in a short time take bounded room, and nobody looks more caught up for it."""
    marks = Marks.within(LAG_MS * MS)
    for n in range(5_000):
        marks.note(Mark(T1, n + 1), n * MS)
    assert len(marks._told) <= MARKS_MAX
    for behind in (40, 500, 1_500):
        true_ns = (behind - 1) * MS
        assert true_ns <= marks.lag_ns(Mark(T1, 5_000 - behind), 4_999 * MS) <= true_ns + 40 * MS


@pytest.mark.parametrize(
    ("marks", "lagging", "chosen"),
    [
        ({}, (), "exec-a"),
        ({"exec-a": 7, "exec-b": 7, "exec-c": 7}, (), "exec-a"),
        ({"exec-a": 6, "exec-b": 7, "exec-c": 7}, (), "exec-b"),
        ({"exec-a": 1, "exec-b": 2, "exec-c": 7}, ("exec-a", "exec-b"), "exec-c"),
        ({"exec-a": 1, "exec-b": 3, "exec-c": 2}, ("exec-a", "exec-b", "exec-c"), "exec-b"),
        ({"exec-c": 7}, ("exec-a", "exec-b"), "exec-c"),
        ({"exec-b": 7}, (), "exec-b"),
    ],
)
def test_among_equals_the_most_caught_up_is_chosen(
    marks: dict[str, int], lagging: tuple[str, ...], chosen: str
) -> None:
    """The order of components decides only among those who have as much of the state."""
    given = {name: Mark(T1, version) for name, version in marks.items()}
    assert choose(trio(), SLOT, set(trio().members), {}, lagging=lagging, marks=given) == chosen


def test_preference_decides_within_the_tolerance_only() -> None:
    """A preferred member that is a little behind is chosen, one that is far behind is not."""
    plan, ready = trio(prefer=frozenset({"exec-b"})), {"exec-a", "exec-b"}
    marks = {"exec-a": Mark(T1, 9), "exec-b": Mark(T1, 8)}
    assert choose(plan, SLOT, ready, {}, marks=marks) == "exec-b"
    assert choose(plan, SLOT, ready, {}, marks=marks, lagging={"exec-b"}) == "exec-a"
    warm = trio(warm=frozenset({"exec-a"}))
    assert choose(warm, SLOT, ready, {}, marks=marks) == "exec-b"
    assert choose(plan, SLOT, ready, {}, marks=marks, lagging={"exec-b"}, wanted="exec-b") == "exec-b"


def test_sharing_modes_hash_among_those_who_have_the_state() -> None:
    """A partition goes where it belongs, unless that member lags and another one does not."""
    plan = trio(Mode.ACTIVE_ACTIVE)
    home = choose(plan, SLOT, set(plan.members), {})
    assert home is not None
    others = {each: Mark(T1, 5) for each in plan.members if each != home}
    assert choose(plan, SLOT, set(plan.members), {}, marks=others) == home
    assert choose(plan, SLOT, set(plan.members), {}, marks=others, lagging={home}) in others


def test_the_most_caught_up_is_promoted() -> None:
    """When the active dies, the standby that has its last state takes over, not the one listed first."""
    desk = active()
    for component, version in (("exec-a", 5), ("exec-b", 3), ("exec-c", 5)):
        desk.hear(component, states=has(version))
    assert dies(desk) == "exec-c"


def test_a_standby_far_behind_is_passed_over_even_if_preferred() -> None:
    """A preferred standby that has lacked a version for longer than the group bears loses to one that has it."""
    desk = active(prefer=frozenset({"exec-a", "exec-b"}))
    desk.hear("exec-a", states=has(5))
    for _ in range(5):
        desk.tick(250)
        desk.hear("exec-a", states=has(5))
        desk.hear("exec-b", states=has(4))
        desk.hear("exec-c", states=has(5))
    assert dies(desk) == "exec-c"


def test_a_new_leader_knows_at_once() -> None:
    """An arbiter that only listened chooses by the states that it heard."""
    desk = active()
    standby = Desk((trio(),), name="arbiter-2", journal=desk.journal, lead=False)
    for each in (desk, standby):
        each.seqs = dict(desk.seqs)
        for component, version in (("exec-a", 5), ("exec-b", 3), ("exec-c", 5)):
            each.hear(component, states=has(version))
    assert standby.core.caught_up.newest(SLOT) == Mark(T1, 5)
    assert standby.core.caught_up.mark("exec-b", SLOT) == Mark(T1, 3)


@pytest.mark.parametrize("invented", [Token(99, 99), Token(1, 2)])
def test_nobody_gains_by_inventing_a_token(invented: Token) -> None:
    """A state under a token that was never granted makes nobody caught up, and nobody else behind."""
    desk = active()
    desk.hear("exec-a", states=has(5))
    desk.hear("exec-b", states=has(5))
    desk.hear("exec-c", states=has(99, invented))
    assert desk.core.caught_up.newest(SLOT) == Mark(T1, 5)
    assert dies(desk) == "exec-b"


def test_states_of_other_groups_slots_are_passed_over() -> None:
    """What a member says of a slot that is none of its group changes nothing."""
    desk = active()
    desk.hear("exec-a", states=has(5, T1, "risk/0"))
    assert desk.core.caught_up.newest("risk/0") == NOTHING


def words_to(desk: Desk, component: str) -> list[SlotWord]:
    """The words in the last answer to this component."""
    return list([each for each in desk.replies(Lease) if each.incarnation == f"{component}~1"][-1].words)


def test_a_doubt_is_answered_with_the_holder() -> None:
    """Who doubts a slot is told its holder and token, and the newest version that any heartbeat told."""
    desk = active()
    desk.hear("exec-a", states=has(5))
    desk.hear("exec-b", states=has(5), doubts=(SLOT, "risk/0"))
    told = SlotWord(slot=SLOT, component="exec-a", token=T1, known_token=T1, known_version=5)
    assert words_to(desk, "exec-b") == [told]
    desk.hear("exec-b", states=has(5))
    assert words_to(desk, "exec-b") == []
    desk.hear("exec-b", states=has(4))
    assert words_to(desk, "exec-b") == [told]


def test_the_last_holder_of_a_vacant_slot_is_told() -> None:
    """A state that was sent just before its holder died can still be confirmed."""
    desk = active()
    holder = desk.core.state.holders[SLOT]
    desk.tick(60_000)
    assert SLOT not in desk.core.state.holders
    desk.hear("exec-b", incarnation="exec-b~1", ready=False, doubts=(SLOT,))
    (word,) = words_to(desk, "exec-b")
    assert (word.component, word.token, word.known_token) == ("exec-a", holder.token, NO_TOKEN)


def test_a_sidecar_without_a_component_hears_words_and_is_granted_nothing() -> None:
    """A cold standby's sidecar keeps states too, so its doubts are answered; without any it is left alone."""
    desk = active()
    desk.hear("exec-a", states=has(5))
    desk.sent.clear()
    for fields in ({"doubts": (SLOT,)}, {"states": has(5)}):
        desk.seqs["exec-c"] += 1
        beat = Heartbeat(component="exec-c", incarnation="", seq=desk.seqs["exec-c"], ready=False, **fields)
        desk.do(desk.core.on_health(beat, Origin(reply_to="exec-c"), desk.now))
    (lease,) = desk.replies(Lease)
    assert (lease.incarnation, lease.slots, len(lease.words)) == ("", (), 1)


def test_explain_says_how_far_each_member_is() -> None:
    """The explanation names each member's version, and for how long it has lacked the newest."""
    desk = active()
    desk.hear("exec-a", states=has(5))
    desk.tick(400)
    desk.hear("exec-b", states=has(3))
    desk.hear("exec-c", states=has(5))
    desk.queue(ExplainRequest(request_id="r", actor="dana", group="execution"))
    (report,) = desk.replies(ExplainReport)
    notes = {each.component: " ".join(each.notes) for each in report.members}
    assert f"{SLOT}: version 3 of 5" in notes["exec-b"] and "400 ms" in notes["exec-b"]
    assert f"{SLOT}: version 5, the newest" in notes["exec-c"]
    assert report.slots[0].line[0] == "exec-c"


def test_failback_waits_for_the_state() -> None:
    """A slot goes back to its preferred member only when that has caught up."""
    plan = plan_group(
        "execution",
        Mode.ACTIVE_PASSIVE,
        ("exec-a", "exec-b"),
        failback_ns=1_000 * MS,
        policy=Policy(state_lag_ns=100 * MS),
    )
    desk = Desk((plan,))
    desk.live(1_000, "exec-b")
    desk.tick(1_000)
    holder = desk.core.state.holders[SLOT]
    for _ in range(12):
        desk.hear("exec-a")
        desk.hear("exec-b", role="ACTIVE", states=has(5, holder.token))
        desk.tick(250)
    assert not desk.core.state.draining
    desk.hear("exec-a", states=has(5, holder.token))
    desk.tick(250)
    assert desk.core.state.draining[SLOT].to == "exec-a"
    assert not [each for each in desk.events(SlotMoved) if each.previous]


def test_an_operator_is_told_what_would_be_lost() -> None:
    """A failover to a member that is far behind is done if asked for, and its dry run says how far."""
    desk = active()
    for _ in range(8):
        desk.hear("exec-a", states=has(5))
        desk.hear("exec-b", states=has(4))
        desk.hear("exec-c", states=has(5))
        desk.tick(250)
    assert group_figures(desk.core, desk.now)["execution"]["state_behind"] == 1
    for to, said in (("exec-b", True), ("exec-c", False)):
        request = FailoverRequest(
            request_id=to, group="execution", actor="operator", reason="a test", to=to, dry_run=True
        )
        desk.queue(request, user="operator")
        text = desk.replies(CommandResult)[-1].text
        assert ("behind with its state" in text) is said, text
