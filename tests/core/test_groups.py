"""The four modes of failover groups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.groups import GroupPlan, Mode, Policy, choose, plan_group

MEMBERS = ("a", "b", "c", "d", "e")


def settle(plan: GroupPlan, ready: set[str], holders: dict[str, str]) -> dict[str, str]:
    """Fill every vacancy as a leader would."""
    held = dict(holders)
    for slot in plan.slots:
        if slot not in held and (chosen := choose(plan, slot, ready, held)):
            held[slot] = chosen
    return held


@pytest.mark.parametrize(
    ("mode", "options", "slots"),
    [
        (Mode.ACTIVE_PASSIVE, {}, ("g/0",)),
        (Mode.N_PLUS_ONE, {}, ("g/0", "g/1", "g/2", "g/3")),
        (Mode.N_PLUS_ONE, {"active": 2}, ("g/0", "g/1")),
        (Mode.ACTIVE_ACTIVE, {"partitions": ("x", "y")}, ("g/x", "g/y")),
        (Mode.CLUSTER, {"partitions": ("x",)}, ("g/leader", "g/x")),
    ],
)
def test_modes_differ_in_their_slots(mode: Mode, options: dict[str, object], slots: tuple[str, ...]) -> None:
    """Each mode has the slots of DESIGN section 6."""
    assert plan_group("g", mode, MEMBERS, **options).slots == slots  # type: ignore[arg-type]  # A table's values.


def test_active_passive_prefers_in_order() -> None:
    """The first ready member in order of preference takes the slot."""
    plan = plan_group("g", Mode.ACTIVE_PASSIVE, MEMBERS)
    assert choose(plan, "g/0", {"c", "b"}, {}) == "b"
    assert choose(plan, "g/0", set(), {}) is None


def test_n_plus_one_gives_each_member_one_slot() -> None:
    """No member holds two slots of an n_plus_one group, even while slots are vacant."""
    plan = plan_group("g", Mode.N_PLUS_ONE, MEMBERS)
    assert settle(plan, {"a", "b"}, {}) == {"g/0": "a", "g/1": "b"}


def test_a_cluster_below_quorum_stands_by() -> None:
    """Below quorum nobody takes any slot of a cluster."""
    plan = plan_group("g", Mode.CLUSTER, MEMBERS)
    assert settle(plan, {"a", "b"}, {}) == {}
    assert len(settle(plan, {"a", "b", "c"}, {})) == len(plan.slots)


def test_the_operators_choice_wins_if_it_can_act() -> None:
    """A wanted member takes the slot when it is ready, and another one when it is not."""
    plan = plan_group("g", Mode.ACTIVE_PASSIVE, MEMBERS)
    assert choose(plan, "g/0", {"a", "d"}, {}, wanted="d") == "d"
    assert choose(plan, "g/0", {"a", "b"}, {}, wanted="d") == "a"


def test_who_is_moved_away_comes_last() -> None:
    """The avoided member takes its slot back only when nobody else can."""
    for mode in Mode:
        plan = plan_group("g", mode, ("a", "b", "c"))
        slot = plan.slots[0]
        assert choose(plan, slot, {"a", "b"}, {}, avoid="a") == "b"
    plan = plan_group("g", Mode.ACTIVE_PASSIVE, ("a", "b"))
    assert choose(plan, "g/0", {"a"}, {}, avoid="a") == "a"


@given(
    partitions=st.lists(st.text("pqrs", min_size=1), min_size=1, max_size=30, unique=True),
    dead=st.sampled_from(MEMBERS),
)
def test_a_death_moves_only_its_own_slots(partitions: list[str], dead: str) -> None:
    """With rendezvous hashing a member's death moves exactly the slots that it held."""
    plan = plan_group("g", Mode.ACTIVE_ACTIVE, MEMBERS, partitions=tuple(partitions))
    before = settle(plan, set(MEMBERS), {})
    after = settle(plan, set(MEMBERS) - {dead}, {})
    assert {slot for slot in plan.slots if before[slot] != after[slot]} == {
        slot for slot, member in before.items() if member == dead
    }


def test_partitions_are_spread() -> None:
    """Every one of five members gets some of two hundred partitions."""
    plan = plan_group("g", Mode.ACTIVE_ACTIVE, MEMBERS, partitions=tuple(map(str, range(200))))
    assert set(settle(plan, set(MEMBERS), {}).values()) == set(MEMBERS)


@pytest.mark.parametrize(
    ("policy", "ready", "wanted", "chosen"),
    [
        (Policy(), "ab", "", "a"),
        (Policy(prefer=frozenset("b")), "ab", "", "b"),
        (Policy(prefer=frozenset("bc")), "abc", "", "b"),
        (Policy(prefer=frozenset("c")), "ab", "", "a"),
        (Policy(never=frozenset("a")), "ab", "", "b"),
        (Policy(never=frozenset("a")), "a", "", None),
        (Policy(never=frozenset("a")), "ab", "a", "a"),
        (Policy(never=frozenset("a"), prefer=frozenset("c")), "abc", "", "c"),
    ],
)
def test_preference_decides_before_order(policy: Policy, ready: str, wanted: str, chosen: str | None) -> None:
    """Preferred members come first, equals in order, and a `never` only when it is named."""
    plan = plan_group("g", Mode.ACTIVE_PASSIVE, ("a", "b", "c"), policy=policy)
    assert choose(plan, "g/0", set(ready), {}, wanted=wanted) == chosen


def test_sharing_modes_leave_out_never_and_ignore_prefer() -> None:
    """In a sharing mode a `never` gets no slot and moves nobody else's, and `prefer` changes nothing."""
    names = tuple(map(str, range(50)))
    plain, never, prefer = (
        plan_group("g", Mode.ACTIVE_ACTIVE, MEMBERS, partitions=names, policy=policy)
        for policy in (Policy(), Policy(never=frozenset("a")), Policy(prefer=frozenset("a")))
    )
    spread = settle(plain, set(MEMBERS), {})
    assert settle(prefer, set(MEMBERS), {}) == spread
    assert settle(never, set(MEMBERS), {}) == settle(plain, set(MEMBERS) - {"a"}, {})


def test_a_never_counts_for_the_quorum() -> None:
    """A member that never takes a slot still counts as ready for its cluster's quorum."""
    plan = plan_group("g", Mode.CLUSTER, ("a", "b", "c"), policy=Policy(never=frozenset("c")))
    assert choose(plan, "g/leader", {"a", "c"}, {}) == "a"
