"""The sidecar's decisions: each row of the table in core/sidecar.py, and what must grant nothing."""

from decimal import Decimal
from typing import Any

import pytest
from desks import halt
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.ladder import ControlMemory
from sidecar.core.sidecar import Accept, Output, Publish, SaveControl, Sidecar, WritePage
from sidecar.core.timing import MS, Timing
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import ControlState, TradingState
from sidecar.messages.health import Lease, Released
from sidecar.messages.local import OrderRequest

T0 = 10**15
D = Timing().holder_lease_ns
SLOT = SlotToken("execution/0", Token(1, 1))
LATER = SlotToken("execution/0", Token(1, 3))


def sidecar(memory: ControlMemory | None = None) -> Sidecar:
    """One with a component attached at T0."""
    core = Sidecar("exec-a", "execution", Timing(), memory or ControlMemory())
    core.attach("i1", T0)
    return core


def lease(seq: int, *slots: SlotToken, **fields: Any) -> Lease:
    """An answer of the leader of term 1."""
    values = {"term": 1, "incarnation": "i1", "ttl_ns": D, "control_version": 0, **fields}
    return Lease(arbiter="arbiter-1", seq=seq, slots=slots, **values)


def holding() -> Sidecar:
    """One that holds SLOT since heartbeat 1, sent at T0."""
    core = sidecar()
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT), T0 + MS)
    return core


def kinds(outputs: list[Output]) -> list[type]:
    """The outputs' types, in order."""
    return [type(each) for each in outputs]


def released(outputs: list[Output]) -> Released:
    """The slots given back, after the page was written."""
    assert kinds(outputs) == [WritePage, Publish]
    page, publish = outputs
    assert isinstance(page, WritePage)
    assert isinstance(publish, Publish)
    assert isinstance(publish.message, Released)
    assert page.page.deadline_ns == 0 or publish.message.slots[0].slot not in str(page.page)
    return publish.message


# --- the table ---


def test_attach_starts_as_standby() -> None:
    """A restarted component starts as STANDBY with a closed page."""
    core = Sidecar("exec-a", "execution", Timing(), ControlMemory())
    (output,) = core.attach("i1", T0)
    assert isinstance(output, WritePage)
    assert (output.page.role, output.page.deadline_ns) == ("STANDBY", 0)
    assert not core.status(T0).open


def test_a_lease_opens_the_gate_from_the_sending_of_its_heartbeat() -> None:
    """The lease runs until the heartbeat's send time plus D, not until the answer's arrival plus D."""
    core = sidecar()
    core.heartbeat(T0)
    (output,) = core.on_lease(lease(1, SLOT), T0 + 700 * MS)
    assert isinstance(output, WritePage)
    assert output.page.deadline_ns == T0 + D
    assert core.status(T0 + D - 1).open
    assert not core.status(T0 + D).open


def test_a_renewal_moves_the_deadline() -> None:
    """Each answered heartbeat moves the deadline to its own send time plus D."""
    core = holding()
    core.heartbeat(T0 + 250 * MS)
    assert kinds(core.on_lease(lease(2, SLOT), T0 + 251 * MS)) == [WritePage]
    assert core.deadline_ns == T0 + 250 * MS + D


def test_a_lease_without_the_slot_closes_then_releases() -> None:
    """When the leader withdraws the slot the page is closed first and the slot given back after it."""
    core = holding()
    core.heartbeat(T0 + 250 * MS)
    message = released(core.on_lease(lease(2), T0 + 251 * MS))
    assert (message.slots, message.ended) == ((SLOT,), False)


def test_a_death_closes_then_releases() -> None:
    """When the component dies the page is closed first and the slot given back after it."""
    core = holding()
    message = released(core.detach("killed", T0 + MS))
    assert (message.slots, message.ended, message.incarnation) == ((SLOT,), True, "i1")
    assert core.detach("again", T0 + MS) == []


def test_a_new_session_gives_up_the_old_ones_slots() -> None:
    """A second session closes and releases what the first one held before it starts as STANDBY."""
    core = holding()
    outputs = core.attach("i2", T0 + MS)
    assert kinds(outputs) == [WritePage, Publish, WritePage]
    assert core.slots == ()


def test_a_lapsed_lease_reopens_under_the_same_token() -> None:
    """After its deadline the gate is closed by itself, and a later lease with the same token opens it again."""
    core = holding()
    assert "ran out" in core.why_closed(T0 + D)
    assert core.heartbeat(T0 + D).role == "STANDBY"
    core.on_lease(lease(2, SLOT), T0 + D + MS)
    assert core.status(T0 + D + MS).open


def test_a_halt_closes_saves_and_accepts_in_this_order() -> None:
    """Kill, then exception: the gate is closed before anything that can raise."""
    core = holding()
    outputs = core.on_halt(halt(), T0 + MS)
    assert kinds(outputs) == [WritePage, SaveControl, Accept]
    assert isinstance(outputs[0], WritePage)
    assert outputs[0].page.trading_state is TradingState.HALTED
    assert kinds(core.on_halt(halt(), T0 + 2 * MS)) == [Accept]


def test_a_control_state_is_written_and_saved() -> None:
    """The journaled halts reach the page, the disk, and with the next heartbeat the arbiter."""
    core = holding()
    state = ControlState(arbiter="arbiter-1", term=1, version=1, halts=(halt(),))
    assert kinds(core.on_control(state, T0)) == [WritePage, SaveControl]
    assert core.on_control(state, T0) == []
    assert core.heartbeat(T0).control_version == 1


def test_a_latched_halt_survives_a_restart() -> None:
    """A new sidecar with the memory of the old one is halted from its first page on, and tells the arbiters."""
    core = sidecar(ControlMemory().heard(halt()))
    assert core.page(T0).trading_state is TradingState.HALTED
    assert core.heartbeat(T0).unconfirmed_halts == (halt(),)


# --- what grants nothing ---


@pytest.mark.parametrize(
    "answer",
    [
        lease(1, SLOT, incarnation="i0"),
        lease(1, SLOT, incarnation=""),
        lease(7, SLOT),
        lease(0, SLOT),
        lease(-1, SLOT),
        lease(1, SLOT, control_version=1),
        lease(1, SLOT, control_version=2**200),
    ],
    ids=["other incarnation", "none", "never sent", "seq 0", "negative seq", "control gap", "far future"],
)
def test_a_strange_lease_changes_nothing(answer: Lease) -> None:
    """An answer for another incarnation, another heartbeat or another control version opens no gate."""
    core = sidecar()
    core.heartbeat(T0)
    assert core.on_lease(answer, T0) == []
    assert not core.status(T0).open


@pytest.mark.parametrize("ttl_ns", [0, -1, -(10**30)])
def test_a_lease_without_time_stays_closed(ttl_ns: int) -> None:
    """A lease of no or negative length leaves the gate closed, with a deadline that a page can hold."""
    core = sidecar()
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT, ttl_ns=ttl_ns), T0)
    assert not core.status(T0).open
    assert core.page(T0).deadline_ns == T0


def test_a_lease_is_never_longer_than_ours() -> None:
    """An arbiter with a longer lease configured than this sidecar grants no more than D."""
    core = sidecar()
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT, ttl_ns=10 * D), T0)
    assert core.deadline_ns == T0 + D


def test_a_stale_answer_grants_nothing() -> None:
    """An answer that arrives D after its heartbeat was sent leaves the gate closed."""
    core = sidecar()
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT), T0 + D)
    assert not core.status(T0 + D).open


def test_an_answer_that_comes_too_late_is_not_called_heard() -> None:
    """A heartbeat names the last answer that came within a lease: later ones grant nothing."""
    core = holding()
    heard = core.heartbeat(T0).answered
    sent = core.heartbeat(T0)
    core.on_lease(lease(sent.seq, SLOT), T0 + D)
    assert core.heartbeat(T0).answered == heard
    core.on_lease(lease(sent.seq, SLOT), T0 + D - 1)
    assert core.heartbeat(T0).answered == sent.seq


def test_an_overtaken_answer_changes_nothing() -> None:
    """An answer to an earlier heartbeat than one already answered neither shortens nor withdraws the lease."""
    core = sidecar()
    core.heartbeat(T0)
    core.heartbeat(T0 + 250 * MS)
    core.on_lease(lease(2, SLOT), T0 + 251 * MS)
    assert core.on_lease(lease(1), T0 + 252 * MS) == []
    assert core.deadline_ns == T0 + 250 * MS + D


def test_of_two_answers_to_one_heartbeat_the_later_counts() -> None:
    """Of two answers to one heartbeat the one decided earlier withdraws nothing when it arrives later."""
    core = sidecar()
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT, n=4), T0)
    assert core.on_lease(lease(1, n=3), T0) == []
    assert core.status(T0).open
    core.on_lease(lease(1, n=5), T0)
    assert not core.status(T0).open


def test_a_lower_term_is_refused() -> None:
    """An answer of an earlier leadership is ignored once a later one has answered."""
    core = sidecar()
    core.heartbeat(T0)
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT, term=2), T0)
    assert core.on_lease(lease(2, term=1), T0) == []
    assert core.slots == (SLOT,)


def test_what_was_sent_for_another_incarnation_grants_nothing() -> None:
    """A heartbeat of the incarnation before cannot win a lease for this one."""
    core = sidecar()
    core.heartbeat(T0)
    core.attach("i2", T0 + MS)
    assert core.on_lease(lease(1, SLOT, incarnation="i2"), T0 + 2 * MS) == []


def test_a_token_that_was_given_back_is_refused() -> None:
    """A slot that was given back opens nothing under that token, and is given back again; a later token opens."""
    core = holding()
    core.heartbeat(T0 + MS)
    core.heartbeat(T0 + MS)
    core.on_lease(lease(2), T0 + 2 * MS)
    assert released(core.on_lease(lease(2, SLOT), T0 + 3 * MS)).slots == (SLOT,)
    assert not core.status(T0 + 3 * MS).open
    core.on_lease(lease(3, LATER), T0 + 4 * MS)
    assert core.status(T0 + 4 * MS).open


def test_a_token_below_the_highest_seen_is_refused() -> None:
    """Nobody accepts a token below the highest it has seen for that slot."""
    core = sidecar()
    core.heartbeat(T0)
    core.heartbeat(T0)
    core.on_lease(lease(1, LATER), T0)
    core.on_lease(lease(2, SLOT), T0)
    assert not core.status(T0).open


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 2_500), st.booleans()), max_size=20))
def test_no_answer_reaches_beyond_its_heartbeat(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever delays and losses there are, the gate is never open later than D after some heartbeat was sent."""
    core, now_ns, sent = sidecar(), T0, [T0 - D]
    for pause_ms, delay_ms, answered in steps:
        now_ns += pause_ms * MS
        beat = core.heartbeat(now_ns)
        sent.append(now_ns)
        now_ns += delay_ms * MS
        if answered:
            core.on_lease(lease(beat.seq, SLOT), now_ns)
        assert core.page(now_ns).deadline_ns <= max(sent) + D
        assert core.status(now_ns).open <= (now_ns < max(sent) + D)


# --- orders ---


def order(**fields: Any) -> OrderRequest:
    """A request that is fine by itself."""
    values = {"account": "ACC", "venue": "SIM", "symbol": "XYZ", "side": "BUY", "qty": Decimal(1), **fields}
    return OrderRequest(cl_ord_id="o1", **values)


def test_denials_name_their_reason() -> None:
    """Without a session, a lease, the slot, or under a halt an order is denied with a code of its own."""
    core = Sidecar("exec-a", "execution", Timing(), ControlMemory())
    assert core.deny(order(), T0).code == "NO_SESSION"  # type: ignore[union-attr]  # None fails the test, too.
    core.attach("i1", T0)
    assert core.deny(order(), T0).code == "NO_LEASE"  # type: ignore[union-attr]  # As above.
    core = holding()
    assert core.deny(order(), T0) is None
    assert core.deny(order(slot="other/0"), T0).code == "NO_SLOT"  # type: ignore[union-attr]  # As above.
    core.on_halt(halt("h", "symbol:XYZ"), T0)
    assert core.deny(order(), T0).code == "HALTED"  # type: ignore[union-attr]  # As above.
    assert core.deny(order(symbol="ABC"), T0) is None
    assert core.deny(order(kind="CANCEL"), T0) is None
    assert core.deny(order(reduces_risk=True), T0) is None


def test_an_intent_carries_the_token_of_its_slot() -> None:
    """The intent names the incarnation and the token under which the slot is held."""
    made = holding().intent(order())
    assert made is not None
    assert (made.incarnation, made.slot, made.token) == ("i1", SLOT.slot, SLOT.token)


def test_a_grant_is_looked_at_again_before_it_is_passed_on() -> None:
    """A grant passes only on the hold and the session that it was asked for, and under no halt that came since."""
    core = holding()
    made = core.intent(order())
    assert made is not None
    assert core.recheck(order(), made, T0) is None
    core.heartbeat(T0)
    core.on_lease(lease(2), T0)
    core.heartbeat(T0)
    core.on_lease(lease(3, LATER), T0)
    assert core.deny(order(), T0) is None
    assert core.recheck(order(), made, T0).code == "NO_SLOT"  # type: ignore[union-attr]  # None fails the test, too.
    core.attach("i2", T0)
    core.heartbeat(T0)
    core.on_lease(lease(4, SlotToken(SLOT.slot, Token(1, 4)), incarnation="i2"), T0)
    assert core.recheck(order(), made, T0).code == "SESSION_CHANGED"  # type: ignore[union-attr]  # As above.
    core.on_halt(halt("h", "all"), T0)
    assert core.recheck(order(), made, T0).code == "HALTED"  # type: ignore[union-attr]  # As above.


def test_a_halt_of_others_is_accepted_as_out_of_scope() -> None:
    """A sidecar that a halt does not concern says so."""
    core = holding()
    other = halt("h", "component:exec-b")
    core.on_halt(other, T0)
    accepted = core.accepted(other, T0)
    assert not accepted.in_scope
    assert accepted.trading_state is TradingState.ACTIVE


# --- observe-only ---


def test_unanswered_for_long_is_observe_only() -> None:
    """After the configured time without an answer the reason says OBSERVE_ONLY; the gate closed with its lease."""
    core = Sidecar("exec-a", "execution", Timing(), ControlMemory(), observe_only_ns=10_000 * MS)
    core.attach("i1", T0)
    core.heartbeat(T0)
    core.on_lease(lease(1, SLOT), T0)
    lapsed = core.status(T0 + D)
    assert (lapsed.open, lapsed.reason.startswith("the lease ran out")) == (False, True)
    watching = core.status(T0 + 12_000 * MS)
    assert (watching.open, watching.role) == (False, "STANDBY")
    assert watching.reason.startswith("OBSERVE_ONLY: no arbiter has answered for 12 s")


def test_an_answer_ends_observe_only() -> None:
    """A standby that arbiters answer is no observer, and an observer's first answer makes it a member again."""
    core = sidecar()
    core.heartbeat(T0 + 60_000 * MS)
    assert core.observe_only(T0 + 60_000 * MS)
    core.on_lease(lease(1, standby_reason="exec-b holds execution"), T0 + 60_001 * MS)
    assert core.why_closed(T0 + 60_001 * MS) == "exec-b holds execution"
    core.heartbeat(T0 + 60_002 * MS)
    core.on_lease(lease(2, SLOT), T0 + 60_003 * MS)
    assert core.why_closed(T0 + 60_003 * MS) == ""


def test_without_a_component_nothing_is_observed() -> None:
    """A sidecar whose component is gone says so, however long no arbiter answered: nobody would."""
    core = sidecar()
    core.detach("killed", T0)
    assert not core.observe_only(T0 + 3_600_000 * MS)
    assert core.why_closed(T0 + 3_600_000 * MS) == "no component is attached: killed"


def test_an_answer_to_somebody_else_is_no_answer() -> None:
    """An answer to an earlier incarnation, or to a heartbeat that was never sent, does not count as one."""
    core = sidecar()
    core.heartbeat(T0)
    core.on_lease(lease(1, incarnation="i0"), T0 + 9_000 * MS)
    core.on_lease(lease(7), T0 + 9_000 * MS)
    assert core.observe_only(T0 + 10_000 * MS)
