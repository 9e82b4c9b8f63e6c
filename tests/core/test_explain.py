"""What the leader says of a group: who holds what, and why each other member is or is not a candidate."""

from typing import Any

import pytest
from desks import PAIR, Desk, halt, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest, PauseRequest
from sidecar.messages.explain import ExplainReport, ExplainRequest, MemberExplained

HELD = SlotToken("execution/0", Token(1, 1))
TRIO = (plan_group("gateways", Mode.N_PLUS_ONE, ("x", "y", "z")),)
CLUSTER = (plan_group("quorum", Mode.CLUSTER, ("c1", "c2", "c3")),)
BACKING_OFF = (
    plan_group(
        "execution",
        Mode.ACTIVE_PASSIVE,
        ("exec-a", "exec-b", "exec-c"),
        policy=Policy(
            prefer=frozenset({"exec-c"}), never=frozenset({"exec-b"}), backoff_ns=3_000 * MS, backoff_max_ns=9_000 * MS
        ),
    ),
)
PARTITIONS = (plan_group("makers", Mode.ACTIVE_ACTIVE, ("m1", "m2", "m3"), partitions=("a", "b", "c", "d")),)


def explained(desk: Desk, group: str = "execution") -> ExplainReport:
    """The leader's explanation, asked by somebody who is no operator."""
    desk.queue(ExplainRequest(request_id="r", actor="dana", group=group))
    return desk.replies(ExplainReport)[-1]


def member(desk: Desk, component: str, group: str = "execution") -> MemberExplained:
    """What is said of one member."""
    return next(each for each in explained(desk, group).members if each.component == component)


def test_a_holder_and_its_standby() -> None:
    """The holder is named with token and time left, and the ready standby is next in line without an obstacle."""
    desk = serving()
    said = explained(desk)
    (slot,) = said.slots
    assert (slot.component, slot.incarnation, slot.token) == ("exec-a", "exec-a~1", Token(1, 1))
    assert 0 < slot.lease_left_ns <= desk.timing.takeover_wait_ns()
    assert slot.line == ("exec-b",)
    assert [(each.component, each.holds, each.candidate) for each in said.members] == [
        ("exec-a", ("execution/0",), False),
        ("exec-b", (), True),
    ]
    assert said.members[0].obstacles == ("already holds execution/0",)
    assert said.waits == ()
    assert desk.settled()[-1] == "ack"


@pytest.mark.parametrize(
    ("beat", "sentence"),
    [
        ({"ready": False, "reasons": ("feed is stale", "disk full")}, "not ready: feed is stale; disk full"),
        (
            {"incarnation": " ", "ready": False, "reasons": ("killed",)},
            "no component is attached to its sidecar: killed",
        ),
        ({"control_version": 7}, "its control version 7 is ahead of the journal's 0"),
    ],
)
def test_what_a_heartbeat_says_against_a_member(beat: dict[str, Any], sentence: str) -> None:
    """An unready, unattached or too new member is no candidate, in its own words, and nobody is in line."""
    desk = serving()
    if beat.get("incarnation") == " ":
        desk.core.roster.members["exec-b"].heartbeat = _detached(desk)
    else:
        desk.hear("exec-b", **beat)
    said = member(desk, "exec-b")
    assert not said.candidate
    assert said.obstacles == (sentence,)
    assert explained(desk).slots[0].line == ()


def _detached(desk: Desk) -> Any:
    """The last heartbeat of exec-b as its sidecar sends it once the component is gone."""
    before = desk.core.roster.members["exec-b"].heartbeat
    return type(before)(component="exec-b", incarnation="", seq=before.seq + 1, ready=False, reasons=("killed",))


def test_never_heard_and_silent() -> None:
    """A member that this arbiter never heard and one that fell silent are told apart."""
    desk = Desk()
    desk.live(1_000, "exec-a")
    assert member(desk, "exec-b").obstacles == ("this arbiter never heard it",)
    assert member(desk, "exec-b").silent_ns is None
    desk.hear("exec-b")
    desk.tick(3_000)
    (obstacle,) = member(desk, "exec-b").obstacles
    assert obstacle.startswith("suspected: silent for 3000 ms, which is level ")
    assert member(desk, "exec-b").silent_ns == 3_000 * MS


def test_an_ended_incarnation() -> None:
    """Who gave its slot back because it ended is said to have ended, until its next incarnation is heard."""
    desk = serving()
    desk.release("exec-a", HELD)
    assert member(desk, "exec-a").obstacles == ("its incarnation exec-a~1 has ended, and the next was not heard yet",)
    desk.hear("exec-a", "exec-a~2")
    assert member(desk, "exec-a").candidate


def test_an_earlier_incarnation_still_holds() -> None:
    """A restarted holder waits for its own earlier lease, and is told so."""
    desk = serving()
    desk.hear("exec-a", "exec-a~2")
    assert member(desk, "exec-a").obstacles == ("the lease of its earlier incarnation on execution/0 has not ended",)


def test_stepping_down() -> None:
    """A holder that was asked to step down is shown with who asked, for whom and why."""
    desk = serving()
    request = FailoverRequest(request_id="f", group="execution", actor="dana", reason="maintenance", to="exec-b")
    desk.queue(request, user="operator")
    said = explained(desk)
    assert said.slots[0].stepping_down == "asked by dana to step down for exec-b: maintenance"
    assert said.members[0].obstacles == ("stepping down from execution/0",)


def test_never_is_an_obstacle() -> None:
    """A member whose preference is never is no candidate, and the sentence says what it needs."""
    plan = plan_group(
        "execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b"), policy=Policy(never=frozenset({"exec-b"}))
    )
    said = member(serving((plan,)), "exec-b")
    assert said.obstacles == ("its preference is never: it takes a slot only when an operator names it",)


def test_a_pause_is_said() -> None:
    """A paused group says by whom, for how long still and why, and that nobody is in line."""
    desk = serving()
    pause = PauseRequest(request_id="p", group="execution", actor="dana", reason="network", duration_ns=60_000 * MS)
    desk.queue(pause, user="operator")
    said = explained(desk)
    assert said.waits == ("paused by dana for another 60000 ms: network",)
    assert said.slots[0].line == ()


def test_backing_off() -> None:
    """A member whose last promotion failed backs off, and the count of failures is said."""
    policy = Policy(backoff_ns=5_000 * MS, backoff_max_ns=60_000 * MS)
    desk = serving((plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b"), policy=policy),))
    desk.release("exec-a", HELD)  # It never said that its gate was open.
    desk.hear("exec-a", "exec-a~2")
    assert member(desk, "exec-a").obstacles == ("backing off: 1 promotions in a row failed",)
    assert explained(desk).slots[0].line == ()


def test_behind_in_control_version_is_a_note() -> None:
    """A member that has not latched the newest halts is a candidate still, with a note that it must catch up."""
    desk = serving()
    desk.queue(halt())
    said = member(desk, "exec-b")
    assert said.candidate
    assert said.notes == ("its control version 0 is behind the journal's 1: it acts on no lease until it caught up",)


def test_what_a_group_waits_for() -> None:
    """A new leader's settling, a stalled journal and a missing quorum are said of the group."""
    desk = Desk(CLUSTER)
    desk.hear("c1")
    assert [each.partition(":")[0].partition(" for ")[0] for each in explained(desk, "quorum").waits] == [
        "a new leader settles",
        "below quorum",
    ]
    desk.live(1_000, "c1")
    assert explained(desk, "quorum").waits == ("below quorum: 1 of 3 members could act, 2 are needed",)
    assert all(each.line == () for each in explained(desk, "quorum").slots)


def test_a_standing_journal_is_no_answer() -> None:
    """While nothing is read back the leader answers nobody, so no explanation rests on a state that may not be."""
    desk = serving()
    desk.reading = False
    desk.tick(1_500)
    desk.queue(ExplainRequest(request_id="r", actor="dana", group="execution"))
    assert desk.replies(ExplainReport) == []
    desk.reading = True
    desk.read_back()
    assert len(desk.replies(ExplainReport)) == 1


def test_no_such_group() -> None:
    """A group that is not configured is refused, with those that are."""
    desk = serving()
    desk.queue(ExplainRequest(request_id="r", actor="dana", group="executon"))
    (refused,) = desk.replies(CommandResult)
    assert not refused.ok
    assert refused.text == "no group 'executon'; known: execution"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2), st.sampled_from(["beat", "unready", "restart", "ahead", "behind"])),
        st.integers(0, 2_500),
        st.just("halt"),
    ),
    max_size=25,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([PAIR, TRIO, CLUSTER, PARTITIONS, BACKING_OFF]), STEPS)
def test_the_first_in_line_is_who_is_granted(plans: tuple[GroupPlan, ...], steps: list[Any]) -> None:
    """Whatever happened: those in line have no obstacle, and a vacant slot goes to its first in line."""
    desk = Desk(plans)
    for each in steps:
        _happen(desk, plans[0], each)
    said = explained(desk, plans[0].name)
    candidates = {each.component for each in said.members if each.candidate}
    assert all(set(each.line) <= candidates for each in said.slots)
    able = {each.component: each for each in said.members}
    vacant = next((each for each in said.slots if not each.component), None)
    desk.tick()
    if vacant is None:
        return
    if said.waits or not vacant.line:
        assert desk.holder(vacant.slot) in {"", *(each for each in able if able[each].candidate)}
    else:
        assert desk.holder(vacant.slot) == vacant.line[0]


def _happen(desk: Desk, plan: GroupPlan, step: Any) -> None:
    match step:
        case int():
            desk.tick(step)
        case "halt":
            desk.queue(halt(f"h{len(desk.journal)}"))
        case (number, what):
            component = plan.members[number % len(plan.members)]
            changes: dict[str, dict[str, Any]] = {
                "beat": {},
                "unready": {"ready": False},
                "restart": {"incarnation": f"{component}~{desk.now_ns}"},
                "ahead": {"control_version": 99},
                "behind": {"control_version": 0},
            }
            fields = changes[what]
            desk.hear(component, **fields)
