"""Cold standbys at the leader's desk: each row of the table in core/cold.py."""

from typing import Any

import pytest
from desks import Desk, fold

from sidecar.core.chronicle import Failures
from sidecar.core.groups import GroupPlan, Mode, Policy, choose, plan_group
from sidecar.core.outputs import Origin, Reply
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import CommandResult, FailoverRequest, PauseRequest
from sidecar.messages.events import StandbyStart
from sidecar.messages.explain import ExplainReport, ExplainRequest
from sidecar.messages.health import Heartbeat, StartComponent, StartFailed
from sidecar.messages.journal import SlotDraining, StandbyStartFailed, StandbyStarting

LIMIT_MS = 5_000
COLD = Policy(
    cold=frozenset({"exec-b", "exec-c"}),
    start_limit_ns=LIMIT_MS * MS,
    backoff_ns=60_000 * MS,
    backoff_max_ns=60_000 * MS,
)
MEMBERS = ("exec-a", "exec-b", "exec-c")
HELD = SlotToken("execution/0", Token(1, 1))


def group(policy: Policy = COLD, mode: Mode = Mode.ACTIVE_PASSIVE, **fields: Any) -> tuple[GroupPlan, ...]:
    """One hot member and two cold ones."""
    return (plan_group("execution", mode, MEMBERS, policy=policy, **fields),)


def cold(desk: Desk, *components: str, run: str = "r1", **fields: Any) -> None:
    """Heartbeats of sidecars beside which nothing is attached, and which could start it."""
    for each in components:
        desk.seqs[each] = seq = desk.seqs.get(each, 0) + 1
        values: dict[str, Any] = {"ready": False, "startable": True, **fields}
        beat = Heartbeat(component=each, incarnation="", seq=seq, run=run, **values)
        desk.do(desk.core.on_health(beat, Origin(reply_to=each), desk.now))


def live(desk: Desk, ms: int, hot: tuple[str, ...] = (), standing_by: tuple[str, ...] = ("exec-b", "exec-c")) -> None:
    """Time passes while the heartbeats of both kinds keep coming."""
    for _ in range(ms // 250):
        for each in hot:
            desk.hear(each, run="r1")
        cold(desk, *standing_by)
        desk.tick(250)


def serving(plans: tuple[GroupPlan, ...] | None = None) -> Desk:
    """A leader with exec-a holding the slot and the others cold."""
    desk = Desk(group() if plans is None else plans)
    live(desk, 1_000, ("exec-a",))
    assert desk.holder() == "exec-a"
    desk.sent.clear()
    return desk


def crash(desk: Desk) -> None:
    """The holder's component dies."""
    desk.release("exec-a", HELD)
    desk.tick(50)


def asked(desk: Desk) -> list[str]:
    """Who was asked to start, by the journal."""
    return [each.fact.component for each in desk.journal if isinstance(each.fact, StandbyStarting)]


def failed(desk: Desk) -> list[tuple[str, str]]:
    """Whose start failed, and why, by the journal."""
    return [
        (each.fact.component, each.fact.reason) for each in desk.journal if isinstance(each.fact, StandbyStartFailed)
    ]


def orders(desk: Desk, component: str) -> list[StartComponent]:
    """What was sent to one sidecar."""
    return [
        each.message
        for each in desk.sent
        if isinstance(each, Reply) and isinstance(each.message, StartComponent) and each.origin.reply_to == component
    ]


def refuse(desk: Desk, component: str, order: Token, reason: str = "exit code 1") -> None:
    """The sidecar's word that a start failed."""
    message = StartFailed(component=component, run="r1", order=order, reason=reason)
    desk.do(desk.core.on_health(message, Origin(), desk.now))


def failover(to: str = "", **fields: Any) -> FailoverRequest:
    """An operator's failover."""
    return FailoverRequest(
        request_id="r", group="execution", actor="dana", reason="maintenance", to=to, **{"holder": "", **fields}
    )


def answer(desk: Desk) -> CommandResult:
    """The last answer to an operator."""
    return desk.replies(CommandResult)[-1]


def explained(desk: Desk) -> ExplainReport:
    """The leader's explanation of the group."""
    desk.queue(ExplainRequest(request_id="r", actor="dana", group="execution"))
    return desk.replies(ExplainReport)[-1]


def said_of(desk: Desk, component: str) -> str:
    """The notes on one member."""
    return "; ".join(next(each.notes for each in explained(desk).members if each.component == component))


def test_hot_before_warm_before_cold() -> None:
    """Among equally preferred members hot ones come before warm and those before cold; preference goes before both."""
    policy = Policy(warm=frozenset({"a"}), cold=frozenset({"b"}))
    (plan,) = (plan_group("g", Mode.ACTIVE_PASSIVE, ("b", "a", "c", "d"), policy=policy),)
    assert plan.ranked == ("c", "d", "a", "b")
    assert choose(plan, "g/0", {"a", "b"}, {}) == "a"
    preferred = Policy(prefer=frozenset({"b"}), warm=frozenset({"a"}), cold=frozenset({"b"}))
    assert plan_group("g", Mode.ACTIVE_PASSIVE, ("b", "a", "c"), policy=preferred).ranked == ("b", "c", "a")


def test_nobody_is_started_while_a_ready_member_can_take_the_slot() -> None:
    """The dead holder's slot goes to the ready standby and no cold one is asked; without one the first cold one is."""
    two_hot = Policy(cold=frozenset({"exec-c"}), start_limit_ns=LIMIT_MS * MS)
    desk = Desk(group(two_hot))
    live(desk, 1_000, ("exec-a", "exec-b"), ("exec-c",))
    crash(desk)
    assert (desk.holder(), asked(desk)) == ("exec-b", [])
    desk = serving()
    crash(desk)
    assert (desk.holder(), asked(desk)) == ("", ["exec-b"])
    assert [(each.component, each.change) for each in desk.events(StandbyStart)] == [("exec-b", "BEGAN")]


def test_the_order_goes_out_when_it_was_read_back() -> None:
    """A sidecar is asked to start only after the fact that says so was read back."""
    desk = serving()
    desk.release("exec-a", HELD)
    desk.reading = False
    desk.tick(50)
    assert asked(desk) == ["exec-b"]
    assert orders(desk, "exec-b") == []
    desk.reading = True
    desk.read_back()
    assert [each.run for each in orders(desk, "exec-b")] == ["r1"]


def test_what_was_started_takes_the_slot() -> None:
    """The component that came up is granted the slot like any other, and its start is over."""
    desk = serving()
    crash(desk)
    desk.hear("exec-b", run="r1")
    assert desk.holder() == "exec-b"
    assert desk.core.state.starting == {}
    assert [each.change for each in desk.events(StandbyStart)] == ["BEGAN", "READY"]


def test_an_attached_component_that_is_not_ready_is_waited_for() -> None:
    """A component that is attached and not ready has not started, is not asked again, and fails with the limit."""
    desk = serving()
    crash(desk)
    desk.sent.clear()
    for _ in range(LIMIT_MS // 250):
        desk.hear("exec-b", run="r1", ready=False)
        cold(desk, "exec-c")
        desk.tick(250)
    assert orders(desk, "exec-b") == []
    assert failed(desk) == [("exec-b", "no ready component within 5000 ms")]


def test_the_order_is_repeated_until_somebody_is_attached() -> None:
    """Each heartbeat of the member is answered with the same order, as it may be lost; no second fact is made."""
    desk = serving()
    crash(desk)
    live(desk, 1_000)
    sent = orders(desk, "exec-b")
    assert len(sent) >= 4
    assert len({each.order for each in sent}) == 1
    assert asked(desk) == ["exec-b"]


def test_a_start_that_takes_too_long_has_failed() -> None:
    """At the limit and not before, the start has failed, counts as a failed promotion, and the next one is asked."""
    desk = serving()
    crash(desk)
    live(desk, LIMIT_MS - 250)
    assert failed(desk) == []
    live(desk, 500)
    assert failed(desk) == [("exec-b", "no ready component within 5000 ms")]
    assert desk.core.chronicle.failures["exec-b"] == Failures(1, desk.core.chronicle.failures["exec-b"].at_ns)
    assert asked(desk) == ["exec-b", "exec-c"]
    assert desk.events(StandbyStart)[-2].change == "FAILED"


def test_the_sidecars_own_word_ends_a_start() -> None:
    """StartFailed for this order ends the start at once; one for another order ends nothing."""
    desk = serving()
    crash(desk)
    order = orders(desk, "exec-b")[-1].order
    refuse(desk, "exec-b", Token(order.term, order.epoch - 1))
    refuse(desk, "exec-c", order)
    assert failed(desk) == []
    refuse(desk, "exec-b", order)
    assert failed(desk) == [("exec-b", "exit code 1")]
    desk.tick(50)
    assert asked(desk) == ["exec-b", "exec-c"]


def test_another_run_of_the_sidecar_knows_nothing_of_the_start() -> None:
    """A heartbeat of another run of the sidecar ends the start, unless its component is up."""
    desk = serving()
    crash(desk)
    cold(desk, "exec-b", run="r2")
    assert failed(desk) == [("exec-b", "its sidecar was restarted meanwhile")]
    desk = serving()
    crash(desk)
    desk.hear("exec-b", run="r2")
    assert (failed(desk), desk.holder()) == ([], "exec-b")


def test_a_silent_sidecar_is_not_waited_for() -> None:
    """When the sidecar that was asked falls silent the next cold one is asked, long before the limit."""
    desk = serving()
    crash(desk)
    live(desk, 2_500, (), ("exec-c",))
    assert failed(desk) == [("exec-b", "its sidecar fell silent")]
    assert asked(desk) == ["exec-b", "exec-c"]


@pytest.mark.parametrize(
    "heartbeat", [{"startable": False}, {"control_version": 7}], ids=["without an action", "ahead of the journal"]
)
def test_who_cannot_be_started(heartbeat: dict[str, Any]) -> None:
    """A sidecar that has no action, or is ahead of the journal, is passed over."""
    desk = serving()
    cold(desk, "exec-b", **heartbeat)
    crash(desk)
    assert asked(desk) == ["exec-c"]


def test_never_and_pause_restrain_a_start() -> None:
    """A member with `never` is not started automatically, and in a paused group nobody but the last holder is."""
    desk = serving(group(Policy(cold=COLD.cold, never=frozenset({"exec-b"}), start_limit_ns=LIMIT_MS * MS)))
    crash(desk)
    assert asked(desk) == ["exec-c"]
    desk = serving()
    pause = PauseRequest(request_id="p", group="execution", actor="dana", reason="drill", duration_ns=4_000 * MS)
    desk.queue(pause, user="operator")
    crash(desk)
    live(desk, 3_500)
    assert asked(desk) == []
    live(desk, 1_000)
    assert asked(desk) == ["exec-b"]


def test_a_slot_that_nobody_ever_held_waits_for_the_hot_members() -> None:
    """Nobody is started for it before the deadline of first heartbeats, and then somebody is."""
    desk = Desk(group())
    first_ms = desk.core.rules.detection.first_heartbeat_ns // MS
    live(desk, first_ms - 250)
    assert asked(desk) == []
    assert "was never held" in explained(desk).waits[-1]
    live(desk, 500)
    assert asked(desk) == ["exec-b"]


def test_without_a_backoff_a_failed_start_is_not_repeated_at_once() -> None:
    """With no backoff configured the other cold member is asked next, and the first again after a second."""
    desk = serving(group(Policy(cold=COLD.cold, start_limit_ns=LIMIT_MS * MS)))
    crash(desk)
    for each in ("exec-b", "exec-c"):
        refuse(desk, each, orders(desk, each)[-1].order)
        desk.tick(50)
    assert asked(desk) == ["exec-b", "exec-c"]
    live(desk, 750)
    assert asked(desk) == ["exec-b", "exec-c"]
    live(desk, 500)
    assert asked(desk) == ["exec-b", "exec-c", "exec-b"]


def test_who_failed_less_often_is_asked_first() -> None:
    """Of two cold members that may both be asked, the one with fewer failures in a row is."""
    desk = serving(group(Policy(cold=COLD.cold, start_limit_ns=LIMIT_MS * MS)))
    desk.core.chronicle.failures["exec-b"] = Failures(2, desk.now_ns - 60_000 * MS)
    crash(desk)
    assert asked(desk) == ["exec-c"]


def test_one_start_for_each_vacant_slot() -> None:
    """Where members hold one slot each, two vacant slots have two members started; where they share, one at a time."""
    desk = Desk(group(Policy(cold=COLD.cold, start_limit_ns=LIMIT_MS * MS), Mode.N_PLUS_ONE, active=3))
    desk.live(1_000, *MEMBERS)
    for each in MEMBERS:
        held = next(slot for slot, holder in desk.core.state.holders.items() if holder.component == each)
        desk.release(each, SlotToken(held, desk.core.state.holders[held].token))
    live(desk, 1_250)
    assert asked(desk) == ["exec-b", "exec-c"]
    desk = Desk(group(mode=Mode.ACTIVE_ACTIVE))
    live(desk, 1_000, ("exec-a",))
    for slot, holder in sorted(desk.core.state.holders.items()):
        desk.release("exec-a", SlotToken(slot, holder.token))
    live(desk, 1_000)
    assert asked(desk) == ["exec-b"]


def test_an_operators_cold_member_is_started_before_the_holder_steps_down() -> None:
    """The holder keeps its slot until the named cold member is ready, and only then is asked to step down."""
    desk = serving()
    desk.queue(failover("exec-c"), user="operator")
    assert (answer(desk).ok, answer(desk).code) == (True, "STARTING")
    live(desk, 1_000, ("exec-a",))
    assert (desk.holder(), desk.core.state.draining) == ("exec-a", {})
    desk.hear("exec-c", run="r1")
    draining = desk.core.state.draining["execution/0"]
    assert (draining.to, draining.actor) == ("exec-c", "dana")
    assert desk.holder() == "exec-a"
    desk.release("exec-a", HELD, ended=False)
    assert desk.holder() == "exec-c"


def test_a_start_that_fails_leaves_the_holder_alone() -> None:
    """When the named cold member does not come up nobody is asked to step down, and no other is started instead."""
    desk = serving()
    desk.queue(failover("exec-c"), user="operator")
    live(desk, LIMIT_MS + 500, ("exec-a",))
    assert failed(desk) == [("exec-c", "no ready component within 5000 ms")]
    assert (desk.holder(), asked(desk)) == ("exec-a", ["exec-c"])
    assert not any(isinstance(each.fact, SlotDraining) for each in desk.journal)


def test_an_operator_who_names_nobody_gets_the_best_cold_member() -> None:
    """When no other member is ready, a failover without a name has the best cold one started; drain does the same."""
    desk = serving()
    desk.queue(failover(holder="exec-a"), user="operator")
    assert (answer(desk).code, asked(desk)) == ("STARTING", ["exec-b"])


def test_an_operator_may_name_a_cold_member_that_is_never_chosen() -> None:
    """A cold member with `never` is started and granted the vacant slot when an operator names it."""
    desk = serving(group(Policy(cold=COLD.cold, never=COLD.cold, start_limit_ns=LIMIT_MS * MS)))
    crash(desk)
    assert asked(desk) == []
    desk.queue(failover("exec-b"), user="operator")
    desk.hear("exec-b", run="r1")
    assert desk.holder() == "exec-b"


def test_a_dry_run_starts_nobody() -> None:
    """A dry run says that the cold member would be started first, and journals nothing."""
    desk = serving()
    desk.queue(failover("exec-c", dry_run=True), user="operator")
    assert answer(desk).code == "DRY_RUN"
    assert answer(desk).text == (
        "exec-c is cold and would be started first, within 5000 ms; then exec-a is asked to step down"
    )
    assert asked(desk) == []


def test_a_cold_member_that_cannot_be_started_is_refused_with_the_reason() -> None:
    """An operator who names one without an action, or one whose start is under way, is told so."""
    desk = serving()
    cold(desk, "exec-c", startable=False)
    desk.queue(failover("exec-c"), user="operator")
    assert (answer(desk).ok, "no component.start" in answer(desk).text) == (False, True)
    desk.queue(failover("exec-b"), user="operator")
    desk.queue(failover("exec-b"), user="operator")
    assert (answer(desk).ok, "starting since" in answer(desk).text) == (False, True)
    assert asked(desk) == ["exec-b"]


def test_a_new_leader_goes_on_with_the_start() -> None:
    """It repeats the same order, makes no second start, keeps the limit that runs, and grants what comes up."""
    old = serving()
    crash(old)
    order = orders(old, "exec-b")[-1].order
    new = Desk(group(), name="arbiter-2", lead=False)
    new.journal, new.now_ns, new.seqs = old.journal, old.now_ns, old.seqs
    new.read_back()
    cold(new, "exec-b", "exec-c")
    new.core.desk.nominate(new.now, "a test")
    new.do(new.core.desk.finish())
    live(new, 2_000)
    assert {each.order for each in orders(new, "exec-b")} == {order}
    assert asked(new) == ["exec-b"]
    live(new, LIMIT_MS - 2_250)
    assert failed(new) == []
    live(new, 750)
    assert [each for each, _ in failed(new)] == ["exec-b"]


def test_orders_rise() -> None:
    """Each start has a higher order than every earlier one, also under a later leader."""
    desk = serving()
    crash(desk)
    first = orders(desk, "exec-b")[-1].order
    refuse(desk, "exec-b", first)
    desk.tick(50)
    assert orders(desk, "exec-c")[-1].order > first
    facts = [(each.fact, Token(each.term, each.n)) for each in desk.journal]
    named = [(fact.order, place) for fact, place in facts if isinstance(fact, StandbyStarting)]
    assert [order for order, _ in named] == [place for _, place in named]


def test_a_start_is_folded() -> None:
    """Who is being started is part of the state and of its copies and digest, and gone when the start is over."""
    desk = serving()
    crash(desk)
    state = fold(desk.journal)
    assert list(state.starting) == list(state.copy().starting) == ["exec-b"]
    before = state.digest()
    state.starting.clear()
    assert state.digest() != before


def test_what_people_are_told() -> None:
    """The explanation says of cold members whether they would be started, since when, and within what limit."""
    desk = serving()
    assert said_of(desk, "exec-b") == "cold: would be started, within 5000 ms, if no ready member could take a slot"
    cold(desk, "exec-b", startable=False)
    assert said_of(desk, "exec-b").startswith("cold: would not be started: its sidecar has no component.start")
    crash(desk)
    live(desk, 500)
    assert said_of(desk, "exec-c") == "cold: starting since 550 ms, limit 5000 ms"
    assert explained(desk).waits[-1:] == ("execution/0 waits for exec-c: starting since 550 ms, limit 5000 ms",)
    desk.hear("exec-c", run="r1")
    assert said_of(desk, "exec-c") == "cold, and started: chosen after hot and warm ones"


@pytest.mark.parametrize(("heard", "started"), [(("exec-b", "exec-c"), ["exec-b"]), (("exec-b",), [])])
def test_an_arbiter_in_doubt_starts_nobody_for_a_silence(heard: tuple[str, ...], started: list[str]) -> None:
    """A starved arbiter starts a cold member where everybody is heard, and nobody while a silence is in doubt."""
    desk = serving()
    live(desk, 1_500, ("exec-a",), heard)
    desk.now_ns += 700 * MS
    desk.hear("exec-a", run="r1")
    cold(desk, *heard)
    crash(desk)
    assert desk.core.silence.unjudged(desk.now)
    assert asked(desk) == started
