"""What holds automatic failovers back: each row of the table in core/brakes.py, and what it never holds back."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from desks import PAIR, Desk, serving

from sidecar.core.arbiter import Arbiter
from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.outputs import Now
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest, StatusRequest
from sidecar.messages.events import StatusReport
from sidecar.messages.health import Released
from sidecar.messages.journal import GroupPaused, Record, Ticked

HELD = SlotToken("execution/0", Token(1, 1))
HOUR_MS = 3_600_000


Runs = dict[str, int]
"""The present run of each component; the first is 1."""


def with_policy(**times: Any) -> tuple[GroupPlan, ...]:
    """The pair under this policy."""
    return (replace(PAIR[0], policy=Policy(**times)),)


def braked(most: int, plans: tuple[GroupPlan, ...] = PAIR) -> Desk:
    """A leader with a global brake, whose first member holds the first slot."""
    desk = Desk(plans, lead=False)
    desk.core = Arbiter(replace(desk.core.rules, failovers_per_hour_max=most), "arbiter-1#1", desk.now)
    desk.queue(FailoverRequest(request_id="r", group="none", actor="dana", reason=""))
    desk.live(1_000, *plans[0].members)
    desk.sent.clear()
    return desk


def held_by(desk: Desk, slot: str = "execution/0") -> SlotToken:
    """The slot under its present token."""
    return SlotToken(slot, desk.core.state.holders[slot].token)


def crash(desk: Desk, runs: Runs) -> str:
    """The holder's component dies and comes back as another incarnation; who holds afterwards."""
    component, held = desk.holder(), held_by(desk)
    incarnation = desk.core.state.holders["execution/0"].incarnation
    desk.do(
        desk.core.on_health(
            _released(component, incarnation, held), desk.core.roster.members[component].origin, desk.now
        )
    )
    after = desk.holder()
    runs[component] = runs.get(component, 1) + 1
    for _ in range(4):
        for each in ("exec-a", "exec-b"):
            run = f"{each}~{runs.get(each, 1)}"
            role = "ACTIVE" if desk.holder() == each else "STANDBY"
            desk.hear(each, run, role=role)
        desk.tick(250)
    return after


def _released(component: str, incarnation: str, held: SlotToken) -> Released:
    return Released(component=component, incarnation=incarnation, slots=(held,), reason="killed", ended=True)


def waits(desk: Desk) -> tuple[str, ...]:
    """What the vacant slots wait for, as status says it."""
    desk.queue(StatusRequest(request_id="s", actor="dana"))
    return desk.replies(StatusReport)[-1].groups[0].waits


def fail_over(desk: Desk, **fields: object) -> CommandResult:
    """An operator's failover, and the answer."""
    request = FailoverRequest(
        request_id="r",
        group="execution",
        actor="dana",
        reason="a drill",
        **fields,  # type: ignore[arg-type]
    )
    desk.queue(request, user="operator")
    return desk.replies(CommandResult)[-1]


# --- the brake ---


def test_the_brake_stops_after_so_many_failovers() -> None:
    """Below the brake a crash moves the slot; at it the slot stays vacant until its last holder is back."""
    desk, runs = braked(2), Runs()
    assert crash(desk, runs) == "exec-b"
    assert crash(desk, runs) == "exec-a"
    assert crash(desk, runs) == ""
    assert desk.holder() == "exec-a"
    assert desk.core.state.holders["execution/0"].incarnation == "exec-a~3"


def test_a_braked_vacancy_says_what_it_waits_for_and_an_operator_fills_it() -> None:
    """Status names the brake, and an operator's failover grants the vacant slot past it."""
    desk, runs = braked(1), Runs()
    crash(desk, runs)
    desk.release("exec-b", held_by(desk))
    desk.hear("exec-a", "exec-a~2")
    assert desk.holder() == ""
    assert "failovers_per_hour_max" in waits(desk)[0]
    answer = fail_over(desk)
    assert (answer.ok, answer.code) == (True, "GRANTED")
    assert desk.holder() == "exec-a"
    assert waits(desk) == ()


def test_the_brake_lets_go_after_an_hour() -> None:
    """Failovers older than an hour do not count."""
    desk, runs = braked(1), Runs()
    crash(desk, runs)
    desk.now_ns += HOUR_MS * MS
    desk.live(3_000, "exec-b")
    desk.hear("exec-a", "exec-a~2")
    desk.release("exec-b", held_by(desk))
    assert desk.holder() == "exec-a"


def test_operators_moves_do_not_count() -> None:
    """However often an operator moves a slot, the brake does not notice."""
    desk = braked(1)
    for _ in range(3):
        assert fail_over(desk).ok
        desk.release(desk.holder(), held_by(desk), ended=False)
        desk.live(250, "exec-a", "exec-b")
    assert desk.core.chronicle.failovers_since(0) == 0
    assert waits(desk) == ()


def test_a_holder_of_many_slots_counts_once() -> None:
    """The death of a member with several partitions is one failover to the brake."""
    names = tuple(map(str, range(12)))
    desk = braked(5, (plan_group("execution", Mode.ACTIVE_ACTIVE, ("a", "b"), partitions=names),))
    mine = [slot for slot, each in desk.core.state.holders.items() if each.component == "a"]
    assert len(mine) > 1
    for slot in mine:
        desk.release("a", held_by(desk, slot))
    assert {each.component for each in desk.core.state.holders.values()} == {"b"}
    assert desk.core.chronicle.failovers_since(0) == 1


def test_a_takeover_does_not_forget_the_brake() -> None:
    """A standby that read the failovers as they happened holds back like the leader it follows."""
    desk, runs = braked(1), Runs()
    crash(desk, runs)
    late = Desk(desk.core.rules.plans, journal=desk.journal, name="arbiter-2", lead=False)
    assert late.core.chronicle.failovers_since(0) == 1


def test_what_is_replayed_at_a_start_has_its_age() -> None:
    """An arbiter that reads hours of journal at once knows how old each failover in it is."""
    desk, runs = braked(1), Runs()
    crash(desk, runs)
    late = Desk(desk.core.rules.plans, journal=desk.journal, name="arbiter-2", lead=False)
    last = desk.journal[-1]
    for each in range(1, HOUR_MS // 5_000 + 2):
        ticked = Record(
            term=last.term, n=last.n + each, arbiter=last.arbiter, at_ns=last.at_ns + each * 5_000 * MS, fact=Ticked()
        )
        late.core.on_record(ticked, len(desk.journal) + each, late.now)
    assert late.core.chronicle.failovers_since(late.core.chronicle.clock_ns(late.now) - HOUR_MS * MS) == 0


@pytest.mark.parametrize("ahead_h", [2, -2, 24 * 365])
def test_a_wrong_wall_clock_ages_nothing(ahead_h: int) -> None:
    """A standby whose wall clock is hours off holds back like the leader whose failovers it read."""
    desk, runs = braked(1), Runs()
    crash(desk, runs)
    late = Desk(desk.core.rules.plans, lead=False, name="arbiter-2")
    for offset, record in enumerate(desk.journal):
        late.core.on_record(record, offset, Now(late.now_ns, desk.now_ns + ahead_h * HOUR_MS * MS))
    assert late.core.chronicle.failovers_since(late.core.chronicle.clock_ns(late.now) - HOUR_MS * MS) == 1


def test_a_jump_of_the_authors_wall_clock_ages_by_a_step_at_most() -> None:
    """A leader whose wall clock jumps by a day does not make whoever replays its records forget the brake."""
    desk, runs = braked(1), Runs()
    crash(desk, runs)
    jumped = [
        msgspec.structs.replace(each, at_ns=each.at_ns + (24 * HOUR_MS * MS if at > len(desk.journal) - 3 else 0))
        for at, each in enumerate(desk.journal)
    ]
    late = Desk(desk.core.rules.plans, journal=jumped, name="arbiter-2", lead=False)
    assert late.core.chronicle.failovers_since(late.core.chronicle.clock_ns(late.now) - HOUR_MS * MS) == 1


# --- backoff ---


def silent_promotion(desk: Desk) -> None:
    """exec-a goes, exec-b is granted, and its component dies before it was ever heard to act."""
    desk.release("exec-a", HELD)
    assert desk.holder() == "exec-b"
    desk.release("exec-b", held_by(desk))
    assert desk.holder() == ""


@pytest.mark.parametrize(("failures", "vacant_ms"), [(1, 1_000), (2, 2_000), (3, 4_000), (4, 4_000)])
def test_failed_promotions_back_off_exponentially(failures: int, vacant_ms: int) -> None:
    """A member that never acted under a grant is passed over for base * 2^n, up to the maximum."""
    desk = Desk(with_policy(backoff_ns=1_000 * MS, backoff_max_ns=4_000 * MS))
    desk.live(1_000, "exec-b")
    for n in range(failures):
        component = desk.core.state.holders["execution/0"]
        desk.do(
            desk.core.on_health(
                _released("exec-b", component.incarnation, held_by(desk)),
                desk.core.roster.members["exec-b"].origin,
                desk.now,
            )
        )
        since_ns = desk.now_ns
        while desk.holder() == "":
            assert n or desk.now_ns - since_ns <= 5_000 * MS
            desk.hear("exec-b", f"exec-b~{n + 2}")
            desk.tick(50)
    waited_ms = (desk.now_ns - since_ns) // MS
    assert vacant_ms <= waited_ms <= vacant_ms + 100


def test_another_member_takes_over_meanwhile() -> None:
    """While the preferred member backs off, the next one is granted, and status is silent."""
    desk = serving(with_policy(backoff_ns=60_000 * MS, backoff_max_ns=60_000 * MS))
    desk.release("exec-a", HELD)  # It was never heard to act, so this was a failed promotion.
    assert desk.holder() == "exec-b"
    desk.hear("exec-b", role="ACTIVE")
    desk.release("exec-b", held_by(desk))
    desk.hear("exec-a", "exec-a~2")
    assert desk.holder() == ""
    assert "exec-a" in waits(desk)[0]
    desk.hear("exec-b", "exec-b~2")
    assert desk.holder() == "exec-b"


def test_acting_once_forgives() -> None:
    """A holder that was heard to act has no failures left, and its later crash is none."""
    desk = serving(with_policy(backoff_ns=60_000 * MS, backoff_max_ns=60_000 * MS))
    desk.hear("exec-a", role="ACTIVE")
    desk.release("exec-a", HELD)
    assert desk.core.chronicle.failures == {}


def test_a_drained_holder_has_not_failed() -> None:
    """A holder that was asked to step down before it acted does not back off."""
    desk = serving(with_policy(backoff_ns=60_000 * MS, backoff_max_ns=60_000 * MS))
    assert fail_over(desk).ok
    desk.release("exec-a", HELD, ended=False)
    assert desk.core.chronicle.failures == {}


@pytest.mark.parametrize(("backoff_ms", "drains"), [(0, 1), (60_000, 0)])
def test_failback_waits_for_the_backoff(backoff_ms: int, drains: int) -> None:
    """A slot does not go back to a member that never acted under its last grant until its backoff is over."""
    policy = Policy(backoff_ns=backoff_ms * MS, backoff_max_ns=backoff_ms * MS)
    desk = serving((replace(PAIR[0], failback_ns=1_000 * MS, policy=policy),))
    desk.release("exec-a", HELD)  # It was never heard to act, so this was a failed promotion.
    for _ in range(10):
        desk.hear("exec-a", "exec-a~2")
        desk.hear("exec-b", role="ACTIVE")
        desk.tick(250)
    assert desk.holder() == "exec-b"
    assert desk.facts().count("SlotDraining") == drains


def test_without_a_backoff_nobody_is_passed_over() -> None:
    """With a backoff of 0 a crashed member that is back is granted at once."""
    desk = serving()
    silent_promotion(desk)
    desk.hear("exec-b", "exec-b~2")
    assert desk.holder() == "exec-b"


# --- the block window ---


@pytest.mark.parametrize(("window_ms", "drains"), [(0, 1), (60_000, 0)])
def test_a_block_window_keeps_failback_away(window_ms: int, drains: int) -> None:
    """Within the window after a move a failback that is due waits."""
    plan = replace(PAIR[0], failback_ns=1_000 * MS, policy=Policy(block_window_ns=window_ms * MS))
    desk = serving((plan,))
    desk.release("exec-a", HELD)
    for _ in range(10):
        desk.hear("exec-a", "exec-a~2")
        desk.hear("exec-b", role="ACTIVE")
        desk.tick(250)
    assert desk.holder() == "exec-b"
    assert desk.facts().count("SlotDraining") == drains


def test_a_vacant_slot_does_not_wait_for_the_window() -> None:
    """A second crash within the window moves the slot again at once."""
    desk = serving(with_policy(block_window_ns=60_000 * MS))
    desk.release("exec-a", HELD)
    desk.hear("exec-a", "exec-a~2")
    desk.release("exec-b", held_by(desk))
    assert desk.holder() == "exec-a"


# --- pauses ---


def pause(desk: Desk, ms: int = 10_000) -> None:
    """The group is paused, as read from the journal."""
    desk.core.desk.begin(desk.now)
    desk.core.desk.emit(GroupPaused(group="execution", actor="dana", reason="a drill", duration_ns=ms * MS))
    desk.do(desk.core.desk.finish())


def test_a_paused_group_does_not_fail_over() -> None:
    """In a pause a released slot stays vacant until the pause is over."""
    desk = serving()
    pause(desk)
    desk.release("exec-a", HELD)
    desk.live(2_000, "exec-b")
    assert desk.holder() == ""
    assert "paused by dana" in waits(desk)[0]
    desk.live(9_000, "exec-b")
    assert desk.holder() == "exec-b"
    assert desk.facts().count("PauseEnded") == 1


def test_a_lease_ends_in_a_pause_too() -> None:
    """A silent holder loses its slot in a pause as ever, to nobody."""
    desk = serving()
    pause(desk)
    desk.live(4_000, "exec-b")
    assert desk.holder() == ""
    assert "SlotVacated" in desk.facts()


def test_the_last_holder_may_come_back_in_a_pause() -> None:
    """A restarted component takes its own slot again in a pause, and a drain that was under way is finished."""
    desk = serving()
    pause(desk)
    desk.release("exec-a", HELD)
    desk.hear("exec-b")
    desk.hear("exec-a", "exec-a~2")
    assert desk.core.state.holders["execution/0"].incarnation == "exec-a~2"
    other = serving()
    assert fail_over(other).ok
    pause(other)
    other.release("exec-a", HELD, ended=False)
    assert other.holder() == "exec-b"


def test_another_group_is_not_paused() -> None:
    """A pause of one group leaves the others alone."""
    desk = serving()
    desk.core.desk.begin(desk.now)
    desk.core.desk.emit(GroupPaused(group="other", actor="dana", reason="a drill", duration_ns=10**12))
    desk.do(desk.core.desk.finish())
    desk.release("exec-a", HELD)
    assert desk.holder() == "exec-b"
