"""Living holders that step down without an operator: health that stays bad, and partitions that go home."""

from dataclasses import replace
from typing import Any

import pytest
from desks import PAIR, Desk, serving

from sidecar.core.arbiter import Arbiter
from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import FailoverRequest, PauseRequest, Probe
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


# --- failback in the sharing modes ---

NAMES = ("fx", "eq", "bonds", "oil")
HOMES = {"quotes/fx": "a", "quotes/bonds": "a", "quotes/eq": "c", "quotes/oil": "b"}
"""Where rendezvous hashing puts them among a, b and c."""


def spread(**policy: Any) -> GroupPlan:
    """Four partitions among three members, with failback after 2 s."""
    return plan_group(
        "quotes",
        Mode.ACTIVE_ACTIVE,
        ("a", "b", "c"),
        partitions=NAMES,
        failback_ns=2_000 * MS,
        policy=Policy(**policy),
    )


def holders(desk: Desk) -> dict[str, str]:
    """Who holds each partition."""
    return {slot: each.component for slot, each in desk.core.state.holders.items()}


def without_a(plan: GroupPlan) -> Desk:
    """The partitions are spread, then a dies and comes back."""
    desk = Desk((plan,))
    desk.live(1_000, "a", "b", "c")
    assert holders(desk) == HOMES
    for slot in ("quotes/fx", "quotes/bonds"):
        desk.release("a", SlotToken(slot, desk.core.state.holders[slot].token))
    assert "a" not in holders(desk).values()
    return desk


def back(desk: Desk, ms: int, **fields: Any) -> None:
    """Everybody lives, a as its second run; whoever is asked to step down does so with the next heartbeat."""
    for _ in range(ms // 250):
        assert len(desk.core.state.draining) <= 1
        for slot, each in list(desk.core.state.draining.items()):
            holder = desk.core.state.holders[slot]
            assert each.to == "a"
            desk.release(holder.component, SlotToken(slot, holder.token), ended=False)
        desk.hear("a", "a~2", **fields)
        desk.hear("b")
        desk.hear("c")
        desk.tick(250)


def test_partitions_go_home_one_at_a_time() -> None:
    """A returning member gets back what hashing names it for, after its time, by drains of which one is under way."""
    desk = without_a(spread())
    back(desk, 1_750)
    assert drains(desk) == []
    back(desk, 250)
    assert [(each.slot, each.to, each.actor) for each in drains(desk)] == [("quotes/fx", "a", "failback")]
    back(desk, 2_000)
    assert holders(desk) == HOMES
    back(desk, 5_000)
    assert [each.slot for each in drains(desk)] == ["quotes/fx", "quotes/bonds"]


def test_manual_failback_leaves_partitions_where_they_are() -> None:
    """Without a failback time no partition moves from a living holder."""
    desk = without_a(replace(spread(), failback_ns=None))
    back(desk, 10_000)
    assert drains(desk) == []


def test_a_member_that_comes_and_goes_gets_nothing_back() -> None:
    """The time counts from when the member last became ready."""
    desk = without_a(spread())
    for _ in range(5):
        back(desk, 1_500)
        back(desk, 250, ready=False)
    assert drains(desk) == []


@pytest.mark.parametrize(
    ("policy", "paused", "moved"),
    [
        ({"block_window_ns": 60_000 * MS}, False, 0),
        ({"backoff_ns": 60_000 * MS, "backoff_max_ns": 60_000 * MS}, False, 0),
        ({}, True, 0),
        ({}, False, 2),
    ],
    ids=["window", "backoff", "pause", "free"],
)
def test_restraints_keep_partitions_away_from_home(policy: dict[str, Any], paused: bool, moved: int) -> None:
    """Under a pause, within the block window, or to a member that backs off, no partition goes home."""
    desk = without_a(spread(**policy))
    if paused:
        request = PauseRequest(request_id="p", group="quotes", actor="dana", reason="a drill", duration_ns=60_000 * MS)
        desk.queue(request, user="operator")
    back(desk, 8_000)
    assert len(drains(desk)) == moved


def test_the_brake_keeps_partitions_away_and_does_not_count_those_that_went_home() -> None:
    """A brake that is on stops failback; going home does not set it."""
    desk = Desk((spread(),), lead=False)
    desk.core = Arbiter(replace(desk.core.rules, failovers_per_hour_max=1), "arbiter-1#1", desk.now)
    desk.queue(Probe(arbiter=""))
    desk.live(1_000, "a", "b", "c")
    for slot in ("quotes/fx", "quotes/bonds"):
        desk.release("a", SlotToken(slot, desk.core.state.holders[slot].token))
    back(desk, 8_000)
    assert drains(desk) == []

    free = without_a(spread())
    back(free, 8_000)
    assert holders(free) == HOMES
    assert free.core.chronicle.failovers_since(0) == 1


def test_a_partition_stays_with_a_holder_that_hashing_prefers() -> None:
    """A holder that has not been ready for long keeps what it would be given anyway."""
    desk = Desk((replace(spread(), failback_ns=60_000 * MS),))
    desk.live(62_000, "b", "c")
    desk.live(5_000, "a", "b", "c")
    for slot, each in list(desk.core.state.holders.items()):
        if HOMES[slot] == "a":
            desk.queue(
                FailoverRequest(
                    request_id="f", group="quotes", actor="dana", reason="why", to="a", holder=each.component
                ),
                user="operator",
            )
            desk.release(each.component, SlotToken(slot, each.token), ended=False)
    assert holders(desk)["quotes/fx"] == holders(desk)["quotes/bonds"] == "a"
    desk.live(10_000, "a", "b", "c")
    gone = {each.slot for each in drains(desk) if each.actor == "failback"}
    assert gone == {slot for slot, home in HOMES.items() if home != "a"}


def test_nothing_goes_home_to_a_member_that_hears_nothing() -> None:
    """A preferred member whose heartbeats arrive, but which hears no answer, is no reason to drain a healthy holder."""
    desk = Desk((replace(PAIR[0], failback_ns=1_000 * MS),))
    for _ in range(40):
        desk.hear("exec-b", answered=desk.seqs.get("exec-b", 0))
        desk.hear("exec-a", answered=0)
        desk.tick(250)
    assert desk.holder() == "exec-b"
    assert drains(desk) == []


def test_a_home_that_hears_nothing_does_not_keep_others_from_theirs() -> None:
    """Of two members that came back, the one that hears gets its partitions, whatever waits for the other."""
    desk = Desk((spread(),))
    desk.live(4_000, "c")
    for _ in range(24):
        for slot, each in list(desk.core.state.draining.items()):
            assert each.to == "b"
            desk.release("c", SlotToken(slot, desk.core.state.holders[slot].token), ended=False)
        desk.hear("a", answered=0)
        desk.hear("b", answered=desk.seqs.get("b", 0))
        desk.hear("c", answered=desk.seqs["c"])
        desk.tick(250)
    assert holders(desk) == {"quotes/fx": "c", "quotes/eq": "c", "quotes/bonds": "b", "quotes/oil": "b"}


def test_nothing_goes_home_to_a_member_that_is_ahead_of_the_journal() -> None:
    """A preferred member that could not be granted is no reason to drain a healthy holder, however ready it is."""
    desk = Desk((replace(PAIR[0], failback_ns=1_000 * MS),))
    for _ in range(20):
        desk.hear("exec-b")
        desk.hear("exec-a", control_version=9)
        desk.tick(250)
    assert desk.holder() == "exec-b"
    assert drains(desk) == []
