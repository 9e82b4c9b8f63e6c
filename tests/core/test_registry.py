"""Groups that are registered at run time, and their quarrels with the configuration."""

from typing import Any

import pytest
from desks import PAIR, START_NS, Desk, fold, halt, intent, serving
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.core.declared import plan_declared
from sidecar.core.groups import GroupPlan, Mode, plan_group
from sidecar.core.registry import COMPONENTS_MAX, GROUPS_MAX
from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.codec import decode_record, encode
from sidecar.messages.control import CommandResult, FailoverRequest, PauseRequest, Probe, StatusRequest
from sidecar.messages.detection import MemberMissing
from sidecar.messages.events import GroupStatus, StatusReport
from sidecar.messages.explain import ExplainReport, ExplainRequest
from sidecar.messages.groups import GroupContradicted, GroupDeclaration, RegisterGroup, RemoveGroup
from sidecar.messages.journal import GroupRegistered, Record, TermStarted
from sidecar.messages.orders import OrderDenied, OrderGranted

QUOTES = GroupDeclaration(name="quotes", components=("q-a", "q-b"))


def register(group: GroupDeclaration = QUOTES, **fields: Any) -> RegisterGroup:
    """An operator's request."""
    return RegisterGroup(**{"request_id": "r", "group": group, "actor": "dana", "reason": "a test", **fields})


def remove(group: str = "quotes", **fields: Any) -> RemoveGroup:
    """An operator's request."""
    return RemoveGroup(**{"request_id": "r", "group": group, "actor": "dana", "reason": "a test", **fields})


def ask(desk: Desk, request: Any, user: str = "operator") -> CommandResult:
    """The leader's one answer."""
    desk.sent.clear()
    desk.queue(request, user=user)
    (answer,) = desk.replies(CommandResult)
    return answer


def quoting(plans: tuple[GroupPlan, ...] = PAIR, group: GroupDeclaration = QUOTES) -> Desk:
    """A leader with this group registered, its first member holding the slot."""
    desk = Desk(plans)
    assert ask(desk, register(group)).ok
    desk.live(1_000, *group.components)
    return desk


def status_of(desk: Desk, group: str) -> GroupStatus:
    """One group of the leader's status report."""
    desk.queue(StatusRequest(request_id="s", actor="dana"))
    return next(each for each in desk.replies(StatusReport)[-1].groups if each.group == group)


def taken_over(desk: Desk, plans: tuple[GroupPlan, ...], *components: str) -> Desk:
    """Another arbiter with this configuration, leading on the same journal, that has heard these components."""
    other = Desk(plans, journal=desk.journal, name="arbiter-2")
    other.now_ns, other.seqs = desk.now_ns, dict(desk.seqs)
    other.live(5_000, *components)
    return other


def test_a_registered_group_is_served() -> None:
    """A group registered at run time is journaled, granted and failed over like a configured one."""
    desk = Desk()
    desk.live(1_000, "q-a", "q-b")
    assert desk.lease_of("q-a").group == ""
    assert "in no group" in desk.lease_of("q-a").standby_reason
    answer = ask(desk, register())
    assert (answer.ok, answer.code) == (True, "REGISTERED")
    assert "quotes (active_passive): q-a, q-b; slots quotes/0" in answer.text
    desk.live(500, "q-a", "q-b")
    (held,) = desk.lease_of("q-a").slots
    assert (held.slot, desk.lease_of("q-a").group, desk.lease_of("q-b").group) == ("quotes/0", "quotes", "quotes")
    desk.release("q-a", held)
    assert desk.holder("quotes/0") == "q-b"


def test_silence_moves_a_registered_slot() -> None:
    """A silent holder of a registered group's slot loses it after L, no sooner."""
    desk = quoting()
    for _ in range(20):
        desk.live(250, "q-b", "exec-a", "exec-b")
        if desk.holder("quotes/0") == "q-b":
            break
    assert desk.holder("quotes/0") == "q-b"
    vacated = next(i for i, each in enumerate(desk.journal) if type(each.fact).__name__ == "SlotVacated")
    last_heard_ns = START_NS + 750 * MS
    assert desk.journal[vacated].at_ns - last_heard_ns >= desk.timing.holder_wait_ns


def test_a_takeover_keeps_it() -> None:
    """An arbiter that was never told takes the group from the journal: the holder keeps its slot and token."""
    desk = quoting()
    (held,) = desk.lease_of("q-a").slots
    other = taken_over(desk, PAIR, "q-a", "q-b")
    assert other.lease_of("q-a").slots == (held,)
    assert other.core.state.digest() == fold(other.journal).digest()
    assert status_of(other, "quotes").origin == "registered by dana"


def test_a_void_registration_is_forgotten() -> None:
    """What a deposed leader decided and never read back was never registered."""
    desk = Desk()
    desk.reading = False
    desk.queue(register(), user="operator")
    assert desk.core.plans.named("quotes") is not None
    higher = Record(term=9, n=0, arbiter="arbiter-2#1", at_ns=0, fact=TermStarted(reason="a test"))
    desk.do(desk.core.on_record(higher, 99, desk.now))
    assert desk.core.plans.named("quotes") is None
    assert desk.replies(CommandResult) == []


def test_the_same_again() -> None:
    """Registering the same group again is accepted, changes nothing and journals nothing, configured or registered."""
    makers = GroupDeclaration(name="makers", mode="n_plus_one", components=("m-a", "m-b"))
    desk = quoting((*PAIR, plan_declared(makers)))
    before = len(desk.facts())
    for group, where in ((QUOTES, "registered by dana"), (makers, "configured")):
        answer = ask(desk, register(group))
        assert (answer.ok, answer.code) == (True, "UNCHANGED")
        assert where in answer.text
    assert len(desk.facts()) == before


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (
            GroupDeclaration(name="quotes", components=("q-b", "q-a")),
            ("registered by dana", "q-b, q-a against q-a, q-b"),
        ),
        (GroupDeclaration(name="quotes", components=("q-a", "q-b"), min_active=1), ("min_active 1 against 0",)),
        (
            GroupDeclaration(name="execution", components=("exec-a", "exec-c")),
            ("configured", "exec-a, exec-c against exec-a, exec-b"),
        ),
        (GroupDeclaration(name="other", components=("o-a", "exec-b")), ("exec-b", "execution (configured)", "other")),
        (GroupDeclaration(name="other", components=("q-a",)), ("q-a", "quotes (registered by dana)", "other")),
    ],
)
def test_a_contradicting_registration(group: GroupDeclaration, words: tuple[str, ...]) -> None:
    """A registration that differs from a known group, or takes another's component, is refused, both sides named."""
    desk = quoting()
    before = len(desk.facts())
    answer = ask(desk, register(group))
    assert (answer.ok, answer.code) == (False, "REFUSED")
    for each in words:
        assert each in answer.text
    assert len(desk.facts()) == before


def test_who_may_and_why() -> None:
    """Only an operator registers and removes, and only with a reason."""
    desk = Desk()
    assert "is not an operator" in ask(desk, register(), user="exec-a").text
    assert "is not an operator" in ask(desk, remove(), user="exec-a").text
    assert "needs a reason" in ask(desk, register(reason=" ")).text
    assert "needs a reason" in ask(desk, remove(reason="x" * 300)).text
    assert not fold(desk.journal).groups


def test_dry_run() -> None:
    """A dry run says what would happen, or why it would be refused, and nothing happens."""
    desk = Desk()
    answer = ask(desk, register(dry_run=True))
    assert (answer.code, answer.text) == (
        "DRY_RUN",
        "would register quotes (active_passive): q-a, q-b; slots quotes/0",
    )
    assert not ask(desk, register(GroupDeclaration(name="q", components=("exec-a",)), dry_run=True)).ok
    ask(desk, register())
    assert ask(desk, remove(dry_run=True)).text == "would remove group quotes"
    assert list(fold(desk.journal).groups) == ["quotes"]


def test_removing() -> None:
    """A group is removed once nobody holds its slots; until then the refusal names the holder and the mend."""
    desk = quoting()
    (held,) = desk.lease_of("q-a").slots
    refused = ask(desk, remove())
    assert (refused.ok, "quotes/0 by q-a" in refused.text, "stop its holders" in refused.text) == (False, True, True)
    pause = PauseRequest(request_id="p", group="quotes", actor="dana", reason="a test", duration_ns=60_000 * MS)
    assert ask(desk, pause).ok
    desk.release("q-a", held)
    assert ask(desk, remove()).code == "REMOVED"
    desk.live(1_000, "q-b")
    assert desk.lease_of("q-b").slots == ()
    assert "in no group" in desk.lease_of("q-b").standby_reason
    assert not ask(desk, remove()).ok


def test_tokens_never_begin_again() -> None:
    """A group that is removed and registered again goes on counting its slots' holders."""
    desk = quoting()
    (held,) = desk.lease_of("q-a").slots
    desk.hear("q-b", ready=False)
    desk.release("q-a", held)
    assert ask(desk, remove()).ok
    assert ask(desk, register()).ok
    desk.live(1_000, "q-b")
    assert desk.lease_of("q-b").slots[0].token == Token(held.token.term, held.token.epoch + 1)


def test_a_configured_group_is_not_removed() -> None:
    """What the configuration says can only be changed there."""
    answer = ask(Desk(), remove("execution"))
    assert (answer.ok, "configuration" in answer.text) == (False, True)
    assert "no group 'nothing'" in ask(Desk(), remove("nothing")).text


def test_room() -> None:
    """Registered groups are bounded in number and in components; the refusal says which bound."""
    desk = Desk()
    for each in range(GROUPS_MAX):
        assert ask(desk, register(GroupDeclaration(name=f"g{each}", components=(f"c{each}",)))).ok
    assert f"{GROUPS_MAX} groups" in ask(desk, register()).text
    desk = Desk()
    for each in range(COMPONENTS_MAX // 256):
        wide = GroupDeclaration(name=f"g{each}", components=tuple(f"c{each}-{n}" for n in range(256)))
        assert ask(desk, register(wide)).ok
    assert f"at most {COMPONENTS_MAX}" in ask(desk, register()).text


NUMBERS = st.one_of(st.integers(-2, 5), st.integers(), st.just(2**63 - 1))
NAMES = st.sampled_from(("a", "b", "exec-a", "", "a/b", "x" * 65, "\x00"))


@given(
    st.builds(
        GroupDeclaration,
        name=NAMES,
        components=st.lists(NAMES, max_size=4).map(tuple),
        mode=st.sampled_from(("active_passive", "n_plus_one", "active_active", "cluster")),
        active=st.none() | NUMBERS,
        partitions=st.lists(NAMES, max_size=3).map(tuple),
        failback=st.sampled_from(("manual", "delayed")),
        failback_delay_ms=NUMBERS,
        preference=st.dictionaries(NAMES, st.sampled_from(("prefer", "never")), max_size=2),
        min_active=NUMBERS,
        promotion_backoff_ms=NUMBERS,
        unready_failover_ms=NUMBERS,
    )
)
def test_any_declaration_is_answered(group: GroupDeclaration) -> None:
    """Whatever is declared is registered or refused with a reason; what is journaled can be read and planned."""
    desk = Desk()
    answer = ask(desk, register(group))
    assert answer.text
    assert answer.ok is ("GroupRegistered" in desk.facts())
    desk.live(500, "a", "b")
    for record in desk.journal:
        assert decode_record(encode(record)) == record


def test_a_new_member_is_not_missing_at_once() -> None:
    """A registered component has the time of a first heartbeat from its registration on before it is called missing."""
    desk = Desk()
    desk.live(15_000, "exec-a", "exec-b")
    ask(desk, register())
    desk.live(5_000, "exec-a", "exec-b")
    assert desk.core.silence.missing(desk.now) == ()
    desk.live(6_000, "exec-a", "exec-b")
    assert desk.core.silence.missing(desk.now) == ("q-a", "q-b")
    assert [each.component for each in desk.events(MemberMissing)] == ["q-a", "q-b"]
    ask(desk, remove())
    desk.live(500, "exec-a", "exec-b")
    assert desk.core.silence.missing(desk.now) == ()


# --- the configuration says otherwise ---

OTHERWISE = plan_group("quotes", Mode.ACTIVE_PASSIVE, ("q-b", "q-c"))
ELSEWHERE = plan_group("makers", Mode.N_PLUS_ONE, ("q-a", "m-a", "m-b"))


def agreeing() -> GroupPlan:
    """The registered group as a configuration would have it."""
    return plan_declared(QUOTES)


def test_an_agreeing_configuration() -> None:
    """A configuration that says the same as the registration is no contradiction, and the group goes on."""
    other = taken_over(quoting(), (*PAIR, agreeing()), "q-a", "q-b")
    assert status_of(other, "quotes").contradiction == ""
    assert other.events(GroupContradicted) == []
    assert ask(other, remove()).code == "REMOVED"  # It stays as it is configured, so nobody loses anything.
    other.live(500, "q-a", "q-b")
    assert other.holder("quotes/0") == "q-a"
    assert other.lease_of("q-a").slots


@pytest.mark.parametrize("plans", [(*PAIR, OTHERWISE), (*PAIR, ELSEWHERE)], ids=["same-name", "same-component"])
def test_a_contradicting_configuration(plans: tuple[GroupPlan, ...]) -> None:
    """Where the configuration contradicts the journal, holders are renewed and nothing is granted or moved."""
    desk = quoting()
    (held,) = desk.lease_of("q-a").slots
    heard = ("q-a", "q-b", "q-c", "m-a", "m-b")
    other = taken_over(desk, plans, *heard)
    assert other.lease_of("q-a").slots == (held,)
    before = other.facts().count("SlotGranted")
    other.release("q-a", held)
    other.live(5_000, *heard)
    assert other.facts().count("SlotGranted") == before
    assert other.holder("quotes/0") == ""
    move = FailoverRequest(request_id="f", group="quotes", actor="dana", reason="a test", to="q-b")
    refused = ask(other, move)
    assert (refused.ok, "frozen" in refused.text, "dana" in refused.text) == (False, True, True)


def test_a_contradiction_is_told() -> None:
    """A contradiction is an event once a term, and a sentence in status and explain, with both sides and the mend."""
    other = taken_over(quoting(), (*PAIR, OTHERWISE), "q-a", "q-b")
    (told,) = other.events(GroupContradicted)
    assert (told.change, told.group) == ("BEGAN", "quotes")
    assert "q-a, q-b against q-b, q-c" in told.text
    assert "sidecar group remove" in told.text
    assert status_of(other, "quotes").contradiction == told.text
    other.queue(ExplainRequest(request_id="e", actor="dana", group="quotes"))
    assert told.text in other.replies(ExplainReport)[-1].waits
    assert ask(other, register(GroupDeclaration(name="others", components=("o-a",)))).ok
    other.live(500, "q-a")
    assert other.events(GroupContradicted) == []
    rival = Record(term=9, n=0, arbiter="arbiter-3#1", at_ns=0, fact=TermStarted(reason="a test"))
    other.journal.append(rival)
    other.read_back()
    other.queue(Probe(arbiter=""))
    other.live(500, "q-a")
    assert [each.text for each in other.events(GroupContradicted)] == [told.text]


def test_a_shared_component_freezes_both() -> None:
    """A component that two groups claim freezes both of them, not the others; halts of either forbid its orders."""
    other = taken_over(quoting(), (*PAIR, ELSEWHERE), "q-a", "q-b", "m-a", "m-b", "exec-a", "exec-b")
    assert sorted(other.core.plans.contradictions) == ["makers", "quotes"]
    assert other.holder("execution/0") == "exec-a"
    assert [other.holder(each) for each in ELSEWHERE.slots] == ["", ""]
    token = other.lease_of("q-a").slots[0].token
    order = {"component": "q-a", "incarnation": "q-a~1", "slot": "quotes/0", "token": token}
    other.queue(intent("o1", **order))
    assert other.replies(OrderGranted)
    for group in ("makers", "quotes"):
        other.queue(halt(f"h-{group}", f"group:{group}"))
        other.queue(intent(f"o-{group}", **order))
        denied = other.replies(OrderDenied)[-1]
        assert (denied.cl_ord_id, denied.code) == (f"o-{group}", "HALTED")
        other.core.desk.state.halts.clear()


def test_removing_ends_a_contradiction() -> None:
    """Once the registered group is removed the configured one is served, and the end of the quarrel is told."""
    desk = quoting()
    (held,) = desk.lease_of("q-a").slots
    other = taken_over(desk, (*PAIR, OTHERWISE), "q-a", "q-b", "q-c")
    assert not ask(other, remove()).ok  # q-a holds the slot, and is in no group by the configuration.
    other.release("q-a", held)
    assert ask(other, remove()).code == "REMOVED"
    other.live(500, "q-b", "q-c")
    assert [each.change for each in other.events(GroupContradicted)] == ["ENDED"]
    assert other.holder("quotes/0") == "q-b"


def test_a_stepping_down_holder_is_not_replaced_in_a_contradiction() -> None:
    """A move that an earlier leader began ends with nobody holding the slot, even where an operator named somebody."""
    desk = quoting()
    (held,) = desk.lease_of("q-a").slots
    move = FailoverRequest(request_id="f", group="quotes", actor="dana", reason="a test", to="q-b")
    assert ask(desk, move).code == "DRAINING"
    other = taken_over(desk, (*PAIR, OTHERWISE), "q-b", "q-c")
    other.release("q-a", held)
    other.live(500, "q-b", "q-c")
    assert other.holder("quotes/0") == ""


@pytest.mark.parametrize("contradicted", [False, True])
def test_no_failback_in_a_contradiction(contradicted: bool) -> None:
    """A failback that is due takes place, unless the group is frozen."""
    group = replace(QUOTES, failback="delayed", failback_delay_ms=1_000)
    desk = quoting(group=group)
    desk.release("q-a", desk.lease_of("q-a").slots[0])
    otherwise = OTHERWISE if contradicted else plan_declared(group)
    other = taken_over(desk, (*PAIR, otherwise), "q-b")
    assert other.holder("quotes/0") == "q-b"
    for _ in range(20):
        other.hear("q-a", incarnation="q-a~2")
        other.live(250, "q-b")
    assert ("SlotDraining" in other.facts()) is not contradicted


def test_registrations_are_folded() -> None:
    """Registrations are in the digest and in an independent copy of the state."""
    desk, twin = serving(), serving()
    before = desk.core.state.copy()
    ask(desk, register())
    ask(twin, register(reason="another reason"))
    assert isinstance(desk.core.state.groups["quotes"], GroupRegistered)
    assert not before.groups
    assert desk.core.state.digest() != twin.core.state.digest()
