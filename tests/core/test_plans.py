"""Which groups there are, from the configuration and from the journal."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.core.declared import plan_declared, plans_digest
from sidecar.core.groups import GroupPlan, Mode, plan_group
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Now
from sidecar.core.peers import FORGOTTEN_NS, Peers
from sidecar.core.plans import Plans
from sidecar.core.timing import Timing
from sidecar.messages.detection import Canary
from sidecar.messages.groups import GroupDeclaration
from sidecar.messages.journal import GroupRegistered

PAIR = plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b"))


def desk_with(*groups: GroupDeclaration) -> Desk:
    """A desk whose journal says that these were registered."""
    desk = Desk("arbiter-1#1", Timing(), Now(0, 0))
    desk.state.groups = registered(*groups)
    return desk


def registered(*groups: GroupDeclaration) -> dict[str, GroupRegistered]:
    """The folded table."""
    return {each.name: GroupRegistered(group=each, actor="dana", reason="a test") for each in groups}


def test_lookups_are_kept_until_a_group_changes() -> None:
    """What heartbeats look up is made once, and anew when the folded groups are others."""
    desk = desk_with()
    plans = Plans((PAIR,), desk)
    before, members = plans.groups, plans.members
    assert plans.groups is before
    assert list(members) == ["exec-a", "exec-b"]
    desk.state.groups = registered(GroupDeclaration(name="quotes", components=("q-a",)))
    assert plans.groups is not before
    assert plans.groups is plans.groups
    assert ("q-a" in members, len(members)) == (True, 3)
    assert [each.name for each in plans] == ["execution", "quotes"]


def test_what_is_unknown() -> None:
    """A component, slot or group that nobody declared has no plan, and no name."""
    plans = Plans((PAIR,), desk_with())
    assert (plans.of("x"), plans.of_slot("x/0"), plans.named("x")) == (None, None, None)
    assert (plans.group_of("x"), plans.slots_of("x"), plans.claims("x"), plans.known("x")) == ("", (), ("",), "")


NAMES = st.sampled_from(("g", "h", "i"))
MEMBERS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True).map(tuple)
MODES = st.sampled_from(("active_passive", "n_plus_one", "active_active", "cluster"))
GROUPS = st.builds(GroupDeclaration, name=NAMES, components=MEMBERS, mode=MODES)


def disjoint(groups: list[GroupDeclaration]) -> tuple[GroupDeclaration, ...]:
    """Those of distinct names and components, as configurations and registrations are."""
    kept: list[GroupDeclaration] = []
    for each in groups:
        if all(each.name != other.name and not set(each.components) & set(other.components) for other in kept):
            kept.append(each)
    return tuple(kept)


@given(st.lists(GROUPS, max_size=4).map(disjoint), st.lists(GROUPS, max_size=4).map(disjoint))
def test_two_sources_never_contradict_silently(
    configured: tuple[GroupDeclaration, ...], journaled: tuple[GroupDeclaration, ...]
) -> None:
    """Whatever the two sources say: each declared slot is found, and each claim beside another is a contradiction."""
    ours: list[GroupPlan] = [plan_declared(each) for each in configured]
    theirs = [plan_declared(each) for each in journaled]
    plans = Plans(tuple(ours), desk_with(*journaled))
    for plan in (*ours, *theirs):
        for slot in plan.slots:
            found = plans.of_slot(slot)
            assert found is not None and found.name == plan.name
        for member in plan.members:
            assert set(plan.slots) <= set(plans.slots_of(member))
            assert plan.name in plans.claims(member)
            if len(plans.claims(member)) > 1:
                assert set(plans.claims(member)) <= set(plans.contradictions)
    differing = {one.name for one in ours for other in theirs if one.name == other.name and one != other}
    assert differing <= set(plans.contradictions)
    agreeing = {one.name for one in ours if one in theirs} - differing
    lonely = {name for name in agreeing if all(len(plans.claims(each)) == 1 for each in plans.named(name).members)}  # type: ignore[union-attr]  # It is one of ours.
    assert not lonely & set(plans.contradictions)


def test_the_digest_of_groups() -> None:
    """The digest is of the groups alone: in any order the same, and another one for any difference."""
    quotes = GroupDeclaration(name="quotes", components=("q-a", "q-b"), preference={"q-a": "never"})
    one, other = plan_declared(quotes), plan_declared(replace(quotes, preference={"q-b": "never"}))
    assert plans_digest((one, PAIR)) == plans_digest((PAIR, one))
    assert len({plans_digest(each) for each in ((), (PAIR,), (PAIR, one), (PAIR, other))}) == 4


def test_arbiters_notice_another_configuration() -> None:
    """Each arbiter names those that are configured with other groups; status tells, and forgets those long unheard."""
    peers, now = Peers("digest-1"), Now(10**12, 0)
    for name, digest in (("arbiter-1", "digest-1"), ("arbiter-2", "digest-2"), ("arbiter-old", "")):
        peers.hear(Canary(arbiter=name, author=f"{name}#1", seq=1, groups=digest, warning=name[-3:]), 0, now)
    assert peers.otherwise(now) == ("arbiter-2",)
    said = {each.arbiter: each.warning for each in peers.status(now)}
    assert said["arbiter-1"] == "r-1"
    assert said["arbiter-2"].startswith("r-2; it is configured with other groups")
    assert peers.otherwise(Now(now.boot_ns + FORGOTTEN_NS, 0)) == ()
