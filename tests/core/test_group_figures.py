"""The figures of groups, and the events that go with them."""

from dataclasses import replace

from desks import PAIR, Desk, serving

from sidecar.core.figures import FIGURES, group_figures
from sidecar.core.groups import Policy
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import PauseRequest, UnpauseRequest
from sidecar.messages.events import DegradationChanged, PauseChanged
from sidecar.telemetry.metrics import GROUP_FIGURES

HELD = SlotToken("execution/0", Token(1, 1))


def figures(desk: Desk) -> dict[str, int]:
    """What is not 0 of the one group."""
    return {name: count for name, count in group_figures(desk.core, desk.now)["execution"].items() if count}


def pause(ms: int) -> PauseRequest:
    """An operator's pause."""
    return PauseRequest(request_id="p", group="execution", actor="dana", reason="a drill", duration_ns=ms * MS)


def test_the_figures_have_names_everywhere() -> None:
    """What the core counts is what telemetry publishes."""
    assert set(FIGURES) == set(GROUP_FIGURES)


def test_a_served_group_has_nothing_to_show() -> None:
    """All figures of a group whose slots are held by members that are heard are 0."""
    assert figures(serving()) == {}


def test_vacancies_and_silence_are_counted() -> None:
    """A released slot is vacant, and members that are no longer heard are suspected."""
    desk = Desk()
    desk.live(4_000, "exec-a")
    assert figures(desk) == {}
    desk.release("exec-a", HELD)
    assert figures(desk) == {"vacant": 1, "unheld": 1}
    desk.tick(12_000)
    assert figures(desk) == {"vacant": 1, "unheld": 1, "suspected": 1, "missing": 1}


def test_a_standby_counts_nothing() -> None:
    """Only the leader's figures are shown, so that no group is counted twice."""
    leader = serving()
    standby = Desk(journal=leader.journal, name="arbiter-2", lead=False)
    assert group_figures(standby.core, standby.now) == {}


def test_degradation_is_counted_and_told() -> None:
    """A group that falls below min_active is told of once, and once again when it is restored."""
    desk = serving((replace(PAIR[0], policy=Policy(min_active=1)),))
    desk.release("exec-a", HELD)
    desk.release("exec-b", SlotToken("execution/0", Token(1, 2)))
    desk.tick(200)
    assert figures(desk)["degraded"] == 1
    desk.hear("exec-a", "exec-a~2")
    desk.tick(200)
    assert figures(desk) == {}
    told = desk.events(DegradationChanged)
    assert [each.change for each in told] == ["DEGRADED", "RESTORED"]
    assert told[0].reason == "0 of at least 1 slots are held by a member that is heard and ready"


def test_pauses_are_counted_and_told() -> None:
    """A pause is told when it begins and when it ends, by whom or by itself."""
    desk = serving()
    desk.queue(pause(5_000), user="operator")
    assert figures(desk) == {"paused": 1}
    desk.live(5_250, "exec-a", "exec-b")
    assert figures(desk) == {}
    desk.queue(pause(60_000), user="operator")
    desk.queue(UnpauseRequest(request_id="u", group="execution", actor="dana", reason="done"), user="operator")
    told = [(each.change, each.actor, each.duration_ns // MS) for each in desk.events(PauseChanged)]
    assert told == [("BEGAN", "dana", 5_000), ("ENDED", "", 0), ("BEGAN", "dana", 60_000), ("ENDED", "dana", 0)]


def test_no_event_leaves_before_its_record() -> None:
    """While the record of a pause is under way nobody is told of it."""
    desk = serving()
    desk.reading = False
    desk.queue(pause(5_000), user="operator")
    assert desk.events(PauseChanged) == []
    desk.reading = True
    desk.read_back()
    assert [each.change for each in desk.events(PauseChanged)] == ["BEGAN"]
