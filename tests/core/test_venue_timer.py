"""A venue's dead-man's timer: armed at a third, disarmed only when nothing can arm it again."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.venue_timer import TimerState, VenueTimer

AFTER_NS = 9_000


def armed() -> VenueTimer:
    """A timer that was armed at 0."""
    timer = VenueTimer(AFTER_NS)
    assert timer.tick(0) == AFTER_NS
    assert timer.ended(confirmed=True, now_ns=10) is None
    return timer


def test_it_is_armed_again_at_a_third_of_its_time() -> None:
    """A third of the time after the last arming was sent, and not before, it is armed again; one call at a time."""
    timer = armed()
    assert timer.tick(2_999) is None
    assert timer.tick(3_000) == AFTER_NS
    assert timer.tick(9_000) is None
    timer.ended(confirmed=True, now_ns=9_001)
    assert timer.trouble(9_001) == ""


def test_a_failed_arming_is_tried_again_sooner() -> None:
    """A failure is followed by the next try after a ninth of the time, so that there are several before it fires."""
    timer = armed()
    timer.tick(3_000)
    timer.ended(confirmed=False, now_ns=3_100)
    assert (timer.tick(3_999), timer.tick(4_000)) == (None, AFTER_NS)


def test_a_timer_that_was_not_renewed_has_fired() -> None:
    """Once its time has passed since the last confirmed arming was sent, the venue has cancelled, and that is said."""
    timer = armed()
    timer.tick(3_000)
    timer.ended(confirmed=False, now_ns=3_100)
    assert timer.trouble(8_999) == ""
    assert "has cancelled" in timer.trouble(9_000)


def test_disarming_waits_for_the_arming_under_way() -> None:
    """A stop while an arming is under way sends nothing until that has ended, and then disarms."""
    timer = armed()
    assert timer.tick(3_000) == AFTER_NS
    assert timer.stop(3_001) is None
    assert timer.tick(9_000) is None
    assert timer.ended(confirmed=True, now_ns=9_001) == 0
    timer.ended(confirmed=True, now_ns=9_002)
    assert timer.state is TimerState.OFF


def test_an_arming_that_may_be_late_is_disarmed_twice() -> None:
    """When the last arming failed it may still arrive: the timer is disarmed again behind it before it is off."""
    timer = armed()
    timer.tick(3_000)
    timer.stop(3_001)
    assert timer.ended(confirmed=False, now_ns=4_000) == 0
    timer.ended(confirmed=True, now_ns=4_001)
    assert (timer.state, timer.tick(4_999), timer.tick(5_000)) == (TimerState.WAITING, None, 0)
    timer.ended(confirmed=True, now_ns=5_001)
    assert timer.state is TimerState.OFF


def test_a_timer_that_was_never_armed_is_off_at_once() -> None:
    """A stop before the first arming sends nothing."""
    timer = VenueTimer(AFTER_NS)
    assert timer.stop(0) is None
    assert timer.state is TimerState.OFF
    assert timer.tick(10**9) is None


@given(
    st.lists(st.tuples(st.sampled_from(["tick", "confirmed", "failed", "stop"]), st.integers(0, 2_000)), max_size=60)
)
def test_nothing_arms_it_after_a_stop(steps: list[tuple[str, int]]) -> None:
    """After a stop no arming is sent any more, calls never overlap, and it is off only behind a confirmed disarming."""
    timer, now_ns, under_way, stopped, told = VenueTimer(AFTER_NS), 0, False, False, [-1]
    for step, later_ns in steps:
        now_ns += later_ns
        match step:
            case "tick":
                sent = timer.tick(now_ns)
            case "stop":
                sent, stopped = timer.stop(now_ns), True
            case _ if under_way:
                under_way = False
                sent = timer.ended(confirmed=step == "confirmed", now_ns=now_ns)
                told.append(told[-1] if step == "confirmed" else -1)
            case _:
                continue
        if sent is not None:
            assert not under_way
            assert not (stopped and sent)
            under_way = True
            told.append(sent)
        if timer.state is TimerState.OFF:
            assert not under_way
            assert told[-1] in (0, -1)
