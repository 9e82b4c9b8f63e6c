"""Living holders that step down without an operator: health that stays bad."""

from dataclasses import replace

import pytest
from desks import PAIR, Desk, serving

from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.events import SlotMoved
from sidecar.messages.journal import SlotDraining, SlotGranted

UNREADY = Policy(unready_ns=2_000 * MS)
WATCHED = (replace(PAIR[0], policy=UNREADY),)
HELD = SlotToken("execution/0", Token(1, 1))


def sicken(desk: Desk, ms: int, component: str = "exec-a", *well: str) -> None:
    """The component says for so long that it is not ready; the others are."""
    for _ in range(ms // 250):
        desk.hear(component, ready=False, reasons=("market data is stale",))
        for each in well or ("exec-b",):
            desk.hear(each)
        desk.tick(250)


def drains(desk: Desk) -> list[SlotDraining]:
    """Every drain in the journal."""
    return [each.fact for each in desk.journal if isinstance(each.fact, SlotDraining)]


def test_an_unready_holder_is_drained_after_its_time() -> None:
    """A holder that is not ready for unready_ns is asked to step down for the ready member, and not before."""
    desk = serving(WATCHED)
    sicken(desk, 1_750)
    assert drains(desk) == []
    sicken(desk, 500)
    (drain,) = drains(desk)
    assert (drain.to, drain.actor) == ("exec-b", "health")
    assert "market data is stale" in drain.reason
    assert desk.holder() == "exec-a"
    assert desk.lease_of("exec-a").slots == ()
    desk.release("exec-a", HELD, ended=False)
    assert desk.holder() == "exec-b"
    assert "health" in desk.events(SlotMoved)[-1].cause
    assert [each.fact.actor for each in desk.journal if isinstance(each.fact, SlotGranted)] == ["", ""]


@pytest.mark.parametrize(
    "plans",
    [PAIR, (plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a",), policy=UNREADY),)],
    ids=["off", "nobody else"],
)
def test_an_unready_holder_stays_where_it_cannot_be_replaced(plans: tuple[GroupPlan, ...]) -> None:
    """Switched off, or without another ready member, nothing is drained."""
    desk = serving(plans)
    sicken(desk, 5_000)
    assert drains(desk) == []
    assert desk.holder() == "exec-a"


def test_a_dip_starts_the_count_anew() -> None:
    """A holder that was ready in between has not been unready for long."""
    desk = serving(WATCHED)
    for _ in range(3):
        sicken(desk, 1_500)
        desk.live(250, "exec-a", "exec-b")
    assert drains(desk) == []


def test_a_never_does_not_relieve_a_sick_holder() -> None:
    """Health moves nothing to a member that is never chosen automatically."""
    plan = replace(PAIR[0], policy=replace(UNREADY, never=frozenset({"exec-b"})))
    desk = serving((plan,))
    sicken(desk, 4_000)
    assert drains(desk) == []


def test_health_waits_for_the_block_window() -> None:
    """A holder that has just taken over is left alone for the window, however sick."""
    desk = serving((replace(PAIR[0], policy=replace(UNREADY, block_window_ns=6_000 * MS)),))
    desk.release("exec-a", HELD)
    for _ in range(20):
        desk.hear("exec-a", "exec-a~2")
        desk.hear("exec-b", ready=False)
        desk.tick(250)
    assert drains(desk) == []
    for _ in range(8):
        desk.hear("exec-a", "exec-a~2")
        desk.hear("exec-b", ready=False)
        desk.tick(250)
    assert [each.to for each in drains(desk)] == ["exec-a"]


def test_one_at_a_time_where_members_hold_one_slot() -> None:
    """Two sick holders and one spare: one drain, and the other waits."""
    plan = plan_group("execution", Mode.N_PLUS_ONE, ("exec-a", "exec-b", "exec-c"), policy=UNREADY)
    desk = serving((plan,))
    for _ in range(12):
        desk.hear("exec-a", ready=False)
        desk.hear("exec-b", ready=False)
        desk.hear("exec-c")
        desk.tick(250)
    assert len(drains(desk)) == 1


def test_a_sick_member_loses_all_its_partitions() -> None:
    """In a sharing mode every slot of an unready holder is drained, and nobody else's."""
    names = tuple(map(str, range(8)))
    plan = plan_group("execution", Mode.ACTIVE_ACTIVE, ("exec-a", "exec-b"), partitions=names, policy=UNREADY)
    desk = serving((plan,))
    mine = {slot for slot, each in desk.core.state.holders.items() if each.component == "exec-a"}
    sicken(desk, 3_000)
    assert {each.slot for each in drains(desk)} == mine != set()


def test_a_silent_holder_is_the_leases_business() -> None:
    """A holder that went silent while unready loses its slot by drain or lease, and never two hold."""
    desk = serving(WATCHED)
    sicken(desk, 1_000)
    desk.live(6_000, "exec-b")
    assert desk.holder() == "exec-b"
