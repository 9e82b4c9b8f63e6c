"""Slots: each row of the table in core/slots.py."""

from dataclasses import replace

import pytest
from desks import PAIR, START_NS, Desk, serving

from sidecar.core.groups import Mode, plan_group
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest, Probe
from sidecar.messages.events import SlotEmptied, SlotMoved
from sidecar.messages.journal import Record, TermStarted

HELD = SlotToken("execution/0", Token(1, 1))


def move(to: str = "", group: str = "execution") -> FailoverRequest:
    """An operator's failover."""
    return FailoverRequest(request_id="r1", group=group, actor="dana", reason="maintenance", to=to)


def test_a_vacant_slot_waits_for_the_preferred_member() -> None:
    """A new leader leaves vacant slots alone for the settling time, so that the preferred member can be heard."""
    desk = Desk()
    desk.hear("exec-b")
    assert desk.holder() == ""
    desk.hear("exec-a")
    desk.live(750, "exec-b", "exec-a")
    assert desk.holder() == "exec-a"
    assert desk.lease_of("exec-a").slots == (HELD,)
    assert "exec-a holds" in desk.lease_of("exec-b").standby_reason


def test_renewals_are_not_journaled() -> None:
    """A holder's heartbeats are answered without a record."""
    desk = serving()
    before = desk.facts()
    desk.live(2_000, "exec-a", "exec-b")
    assert desk.facts() == before
    assert desk.holder() == "exec-a"


def test_a_release_moves_the_slot_at_once() -> None:
    """The holder's own release moves the slot in the same breath, with a higher token."""
    desk = serving()
    desk.release("exec-a", HELD)
    assert desk.holder() == "exec-b"
    assert desk.lease_of("exec-b").slots == (SlotToken("execution/0", Token(1, 2)),)
    assert [each.component for each in desk.events(SlotEmptied)] == ["exec-a"]
    assert desk.events(SlotMoved)[-1].previous == "exec-a"


def test_a_release_that_its_leader_could_not_journal_is_acted_on_by_the_next() -> None:
    """Who leads next moves at once what it heard given back as a standby, and nothing that was given back before."""
    journal = serving().journal
    standby = Desk(journal=journal, name="arbiter-2", lead=False)
    standby.live(500, "exec-a", "exec-b")
    standby.release("exec-a", SlotToken("execution/0", Token(1, 9)), ended=False)
    standby.queue(Probe(arbiter=""))
    assert standby.holder() == "exec-a"
    third = Desk(journal=journal, name="arbiter-3", lead=False)
    third.live(500, "exec-a", "exec-b")
    third.release("exec-a", HELD)
    third.queue(Probe(arbiter=""))
    assert third.holder() == "exec-b"
    assert third.events(SlotEmptied)[0].cause == "released: killed"


@pytest.mark.parametrize("held", [SlotToken("execution/0", Token(1, 9)), SlotToken("other/0", Token(1, 1))])
def test_a_release_of_what_is_not_held_moves_nothing(held: SlotToken) -> None:
    """A repeated, late or invented release changes nothing."""
    desk = serving()
    desk.release("exec-b", HELD)
    desk.release("exec-a", held, ended=False)
    assert desk.holder() == "exec-a"


def test_silence_moves_the_slot_after_the_wait_and_not_before() -> None:
    """A silent holder's slot moves L after its last recorded grant, and no earlier."""
    desk = serving()
    desk.tick(3_000 - (desk.now_ns - START_NS) // MS)
    desk.live(4_000, "exec-a", "exec-b")
    last_ns = desk.now_ns - 250 * MS
    while desk.holder() == "exec-a":
        desk.now_ns += 50 * MS
        if (desk.now_ns - last_ns) % (250 * MS) == 0:
            desk.hear("exec-b")
        desk.tick()
    waited = desk.now_ns - last_ns
    assert desk.timing.holder_wait_ns <= waited <= desk.timing.holder_wait_ns + 100 * MS
    assert desk.holder() == "exec-b"


def test_a_dead_incarnation_is_no_candidate() -> None:
    """Neither the released incarnation nor its late heartbeats get the slot back."""
    desk = Desk((plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a",)),))
    desk.live(1_000, "exec-a")
    desk.release("exec-a", HELD)
    desk.live(500, "exec-a")
    assert desk.holder() == ""
    desk.hear("exec-a", "exec-a~2")
    assert desk.holder() == "exec-a"


def test_a_follower_learns_of_an_end_too() -> None:
    """A standby that heard an incarnation end does not grant to it when it leads."""
    desk = Desk(lead=False)
    desk.hear("exec-a")
    desk.release("exec-a", HELD)
    assert desk.core.roster.fresh("exec-a", desk.now_ns) is None


def test_a_late_heartbeat_of_an_earlier_run_changes_nothing() -> None:
    """After a sidecar's restart a late heartbeat of its earlier run does not count, until the new run is silent."""
    desk = Desk()
    desk.hear("exec-a", "old", run="r1")
    desk.hear("exec-a", "new", run="r2", seq=1)
    desk.hear("exec-a", "old", run="r1", seq=99)
    assert desk.core.roster.members["exec-a"].heartbeat.incarnation == "new"
    desk.now_ns += 10_000 * MS
    desk.hear("exec-a", "old", run="r1", seq=100)
    assert desk.core.roster.members["exec-a"].heartbeat.incarnation == "old"


def test_strangers_cannot_crowd_out_members() -> None:
    """However many unknown components send heartbeats, those of configured groups are heard."""
    desk = Desk()
    for n in range(1_100):
        desk.hear(f"stranger-{n}")
    desk.hear("exec-a")
    assert "exec-a" in desk.core.roster.members
    assert len(desk.core.roster.members) <= 1_003


def takeover(waited_ms: int) -> Desk:
    """A second arbiter that has led for this long, over a journal in which exec-a holds; only exec-b is heard."""
    first = serving()
    desk = Desk(journal=first.journal, name="arbiter-2", lead=True)
    desk.live(waited_ms, "exec-b")
    return desk


def test_a_new_leader_answers_the_holder_at_once() -> None:
    """A takeover loses no lease: the holder heard before it is answered with the same token when the term begins."""
    desk = Desk(journal=serving().journal, name="arbiter-2", lead=False)
    desk.hear("exec-a")
    assert desk.sent == []
    desk.queue(FailoverRequest(request_id="r", group="none", actor="dana", reason=""))
    assert desk.lease_of("exec-a").slots == (HELD,)
    assert desk.lease_of("exec-a").term == 2


def test_a_new_leader_waits_for_both_leases() -> None:
    """A new leader moves a silent holder's slot after L(leader) + L(holder), and no earlier."""
    assert takeover(3_000).holder() == "exec-a"
    late = takeover(3_500)
    assert late.holder() == "exec-b"
    assert late.lease_of("exec-b").slots == (SlotToken("execution/0", Token(2, 2)),)


def test_a_leader_that_lagged_gives_everyone_time_to_be_heard() -> None:
    """An arbiter that was stopped for long judges nobody silent before a whole holder's wait has passed again."""
    desk = serving()
    desk.live(4_000, "exec-a", "exec-b")
    desk.now_ns += 10_000 * MS
    desk.tick()
    desk.live(1_500, "exec-b")
    assert desk.holder() == "exec-a"


def test_a_planned_switchover_waits_for_the_release() -> None:
    """A drained holder is answered without the slot at once, and the successor gets it only after the release."""
    desk = serving()
    desk.queue(move(), user="operator")
    assert desk.replies(CommandResult)[-1].ok
    assert desk.lease_of("exec-a").slots == ()
    assert desk.holder() == "exec-a"
    desk.release("exec-a", HELD, ended=False)
    assert desk.holder() == "exec-b"
    assert "dana" in desk.events(SlotMoved)[-1].cause


@pytest.mark.parametrize(
    ("request_", "user"),
    [
        (move(), "exec-a"),
        (move(group="none"), "operator"),
        (move(to="stranger"), "operator"),
        (move(to="x" * 60_000), "operator"),
        (move(to="exec-a"), "operator"),
    ],
    ids=["not an operator", "no such group", "not a member", "huge name", "already there"],
)
def test_an_impossible_failover_is_refused(request_: FailoverRequest, user: str) -> None:
    """A failover that nobody may ask for or nobody could take is refused with a short sentence."""
    desk = serving()
    desk.queue(request_, user=user)
    (result,) = desk.replies(CommandResult)
    assert not result.ok
    assert 0 < len(result.text) < 1_000
    assert "SlotDraining" not in desk.facts()


def test_a_failover_without_a_standby_is_refused() -> None:
    """The only ready member is not drained."""
    desk = Desk()
    desk.live(1_000, "exec-a")
    desk.queue(move(), user="operator")
    assert not desk.replies(CommandResult)[-1].ok


def test_failback_waits_for_the_preferred_member_to_be_ready_long_enough() -> None:
    """With a failback time the preferred member gets its slot back by draining, and without one never."""
    for failback_ns, facts in ((2_000 * MS, 1), (None, 0)):
        desk = Desk((replace(PAIR[0], failback_ns=failback_ns),))
        desk.live(1_000, "exec-b")
        assert desk.holder() == "exec-b"
        desk.live(1_500, "exec-b", "exec-a")
        assert "SlotDraining" not in desk.facts()
        desk.live(1_000, "exec-b", "exec-a")
        assert desk.facts().count("SlotDraining") == facts


def test_a_cluster_that_lost_its_quorum_is_not_renewed() -> None:
    """Below quorum a cluster's holders are answered without slots."""
    desk = serving((plan_group("c", Mode.CLUSTER, ("a", "b", "c")),))
    assert desk.lease_of("a").slots or desk.lease_of("b").slots or desk.lease_of("c").slots
    desk.live(1_000, "a")
    assert desk.lease_of("a").slots == ()
    assert "quorum" in desk.lease_of("a").standby_reason


def test_an_unready_holder_keeps_its_slot_outside_clusters() -> None:
    """Authority moves only on release or lease expiry: being unready makes no holder lose its slot."""
    desk = serving()
    for _ in range(8):
        desk.hear("exec-a", ready=False)
        desk.tick(250)
    assert desk.holder() == "exec-a"
    assert desk.lease_of("exec-a").slots == (HELD,)


def test_a_member_ahead_of_the_journal_gets_nothing() -> None:
    """A member that latched a newer control version than the journal's is granted and renewed nothing."""
    desk = Desk()
    desk.seqs["exec-a"] = 0
    for _ in range(4):
        desk.hear("exec-a", control_version=2**62)
        desk.hear("exec-b")
        desk.tick(250)
    assert desk.holder() == "exec-b"
    assert "journal was replaced" in desk.lease_of("exec-a").standby_reason


def test_no_token_is_used_twice() -> None:
    """Across releases and takeovers the tokens of a slot only rise."""
    desk = serving()
    desk.release("exec-a", HELD, ended=False)
    desk.release("exec-b", SlotToken("execution/0", Token(1, 2)), ended=False)
    desk.journal.append(Record(term=2, n=0, arbiter="x", at_ns=0, fact=TermStarted(reason="")))
    late = Desk(journal=desk.journal, name="arbiter-2")
    late.live(4_000, "exec-b")
    tokens = [each.fact.token for each in late.journal if type(each.fact).__name__ == "SlotGranted"]  # type: ignore[union-attr]
    assert tokens == sorted(set(tokens))
    assert tokens[-1].term == 3
