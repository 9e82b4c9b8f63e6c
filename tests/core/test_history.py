"""Past failovers as every reader of the journal folds them."""

from typing import Any

import pytest
from desks import Desk, fold, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.groups import Mode, plan_group
from sidecar.core.history import HISTORY_MAX, History
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest, Probe
from sidecar.messages.explain import Failover, HistoryReport, HistoryRequest
from sidecar.messages.journal import Record, SlotDraining, SlotGranted, SlotTaken, SlotVacated

HELD = SlotToken("execution/0", Token(1, 1))


def asked(desk: Desk, group: str = "", last: int = 20) -> tuple[Failover, ...]:
    """The leader's history, asked by somebody who is no operator."""
    desk.queue(HistoryRequest(request_id="r", actor="dana", group=group, last=last))
    return desk.replies(HistoryReport)[-1].failovers


def taken(desk: Desk) -> int:
    """How often somebody was noted to act."""
    return desk.facts().count("SlotTaken")


def test_a_planned_switchover() -> None:
    """A switchover is shown with who asked, why, from whom to whom, and the time of each phase in order."""
    desk = serving()
    desk.hear("exec-a", role="ACTIVE")
    request = FailoverRequest(request_id="f", group="execution", actor="dana", reason="maintenance", to="exec-b")
    desk.queue(request, user="operator")
    desk.tick(20)
    desk.release("exec-a", HELD, ended=False)
    desk.tick(30)
    desk.hear("exec-b", role="ACTIVE")
    move = asked(desk)[-1]
    assert (move.slot, move.asked_by, move.previous, move.component) == ("execution/0", "dana", "exec-a", "exec-b")
    assert (move.cause, move.token) == ("maintenance", Token(1, 2))
    assert [move.vacated_ns - move.asked_ns, move.granted_ns - move.vacated_ns] == [20 * MS, 0]
    assert move.taken_ns - move.granted_ns == 30 * MS
    assert move.heard_ns == move.asked_ns  # Its last heartbeat came in that same moment.


def test_a_drain_of_one_component() -> None:
    """A failover of what one component holds leaves the other holders of the group alone."""
    plans = (plan_group("gateways", Mode.N_PLUS_ONE, ("x", "y", "z")),)
    desk = serving(plans)
    request = FailoverRequest(request_id="f", group="gateways", actor="dana", reason="host 3", holder="x")
    desk.queue(request, user="operator")
    assert set(desk.core.state.draining) == {"gateways/0"}
    assert [(each.slot, each.previous) for each in asked(desk) if each.asked_ns] == [("gateways/0", "x")]


def test_a_vacant_slot_that_was_asked_for() -> None:
    """An operator's grant of a vacant slot is noted as asked for, by whom and when."""
    desk = Desk()
    desk.hear("exec-b")
    desk.queue(
        FailoverRequest(request_id="f", group="execution", actor="dana", reason="now", to="exec-b"), user="operator"
    )
    (move,) = asked(desk)
    assert (move.previous, move.component, move.asked_by) == ("", "exec-b", "dana")
    assert move.asked_ns == move.granted_ns > 0


def test_silence() -> None:
    """A failover for silence is asked for by nobody, and says when the old holder was last heard."""
    desk = serving()
    desk.live(4_000, "exec-a", "exec-b")
    last_ns = desk.now_ns - 250 * MS
    while desk.holder() == "exec-a":
        desk.live(250, "exec-b")
    move = asked(desk)[-1]
    assert (move.asked_by, move.previous, move.component) == ("", "exec-a", "exec-b")
    assert move.cause.startswith("silence")
    assert move.heard_ns == last_ns
    assert move.vacated_ns - move.heard_ns >= desk.timing.holder_wait_ns
    assert move.heard_ns < move.suspected_ns < move.vacated_ns
    assert move.taken_ns == 0


def test_the_first_holder_is_noted_once() -> None:
    """A slot that nobody held has an entry too, and whoever takes it is noted with its first active heartbeat only."""
    desk = serving()
    assert taken(desk) == 0
    desk.hear("exec-b", role="ACTIVE")  # Its sidecar may be wrong; it holds nothing.
    assert taken(desk) == 0
    for _ in range(3):
        desk.hear("exec-a", role="ACTIVE")
    assert taken(desk) == 1
    (first,) = asked(desk)
    assert (first.previous, first.component, first.vacated_ns) == ("", "exec-a", 0)
    assert first.taken_ns == desk.now_ns


def test_a_new_leader_goes_on() -> None:
    """Who takes a slot after a takeover is noted by the new leader, in the entry that the old one began."""
    desk = serving()
    other = Desk(journal=desk.journal, name="arbiter-2")
    other.hear("exec-a", role="ACTIVE")
    desk.read_back()
    assert taken(other) == 1
    assert asked(other)[-1].taken_ns == other.now_ns
    assert desk.core.desk.log_state.digest() == other.core.desk.log_state.digest()


def test_an_overtaken_entry_stays() -> None:
    """A new holder that dies before it was heard to act leaves its own entry, without that time."""
    desk = serving()
    desk.release("exec-a", HELD)
    desk.release("exec-b", SlotToken("execution/0", Token(1, 2)))
    desk.hear("exec-a", "exec-a~2")
    moves = asked(desk)
    assert [(each.previous, each.component, each.taken_ns) for each in moves[1:]] == [
        ("exec-a", "exec-b", 0),
        ("exec-b", "exec-a", 0),
    ]


def test_how_many_and_of_which_group() -> None:
    """Only the last ones are told, of the group that was named; a name that never was is refused."""
    desk = serving()
    desk.release("exec-a", HELD)
    assert len(asked(desk)) == 2
    assert len(asked(desk, "execution", last=1)) == 1
    assert asked(desk, last=1)[0].component == "exec-b"
    assert asked(desk, last=0) == asked(desk, last=-5) == ()
    desk.queue(HistoryRequest(request_id="r", actor="dana", group="executon"))
    assert desk.replies(CommandResult)[-1].text == "no group 'executon'; known: execution"


@pytest.mark.parametrize(
    "fact", [SlotTaken(slot="execution/0", token=Token(9, 9)), SlotTaken(slot="x", token=Token(1, 1))]
)
def test_taken_of_an_unknown_token(fact: SlotTaken) -> None:
    """A SlotTaken of no entry under way changes nothing."""
    history = History()
    history.apply(_record(fact, 1))
    assert list(history) == []


FACTS = st.one_of(
    st.builds(SlotDraining, slot=st.sampled_from("ab"), to=st.just(""), actor=st.just("dana"), reason=st.just("r")),
    st.builds(
        SlotVacated,
        slot=st.sampled_from("ab"),
        component=st.just("x"),
        incarnation=st.just("x~1"),
        token=st.builds(Token, st.just(1), st.integers(1, 3)),
        cause=st.just("c"),
        last_heard_ms_ago=st.none() | st.integers(0, 9),
    ),
    st.builds(
        SlotGranted,
        slot=st.sampled_from("ab"),
        component=st.just("y"),
        incarnation=st.just("y~1"),
        token=st.builds(Token, st.just(1), st.integers(1, 3)),
        cause=st.just("c"),
    ),
    st.builds(SlotTaken, slot=st.sampled_from("ab"), token=st.builds(Token, st.just(1), st.integers(1, 3))),
)


def _record(fact: Any, n: int) -> Record:
    return Record(term=1, n=n, arbiter="a#1", at_ns=n * 1_000 * MS, fact=fact)


@settings(max_examples=200, deadline=None)
@given(st.lists(FACTS, max_size=40))
def test_any_order_of_facts(facts: list[Any]) -> None:
    """Whatever order facts come in: a copy goes on as the original does, and an entry's phases are in order of time."""
    history = History()
    twin = history.copy()
    for n, fact in enumerate(facts, start=1):
        if n == len(facts) // 2:
            twin = history.copy()
        history.apply(_record(fact, n))
        if n >= len(facts) // 2:
            twin.apply(_record(fact, n))
    assert list(twin) == list(history)
    for each in history:
        phases = [at for at in (each.asked_ns, each.vacated_ns, each.granted_ns, each.taken_ns) if at]
        assert phases == sorted(phases)


def test_the_table_is_bounded() -> None:
    """However often a slot moves, the newest failovers are kept and no more."""
    desk = serving()
    history = desk.core.state.history
    for n in range(1, 2 * HISTORY_MAX):
        granted = SlotGranted(slot="execution/0", component="x", incarnation="x~1", token=Token(1, n), cause="c")
        history.apply(_record(granted, n))
    assert len(list(history)) == HISTORY_MAX + 1
    assert history.last(1)[0].token == Token(1, 2 * HISTORY_MAX - 1)


def test_every_reader_folds_the_same_history() -> None:
    """A fresh reader of the journal has the leader's history to the nanosecond, and its digest."""
    desk = serving()
    desk.hear("exec-a", role="ACTIVE")
    desk.release("exec-a", HELD)
    desk.queue(Probe(arbiter=""))
    assert list(fold(desk.journal).history) == list(desk.core.state.history)
    assert fold(desk.journal).digest() == desk.core.state.digest()
