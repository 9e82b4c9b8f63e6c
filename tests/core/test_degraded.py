"""Degraded groups: each row of the table in core/degraded.py, and what the verifier makes of it."""

from decimal import Decimal

import pytest
from desks import Desk, fold, halt, intent

from sidecar.core.groups import Mode, Policy, plan_group
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import Halt, StatusRequest, TradingState
from sidecar.messages.events import StatusReport
from sidecar.messages.journal import SlotDraining
from sidecar.messages.limits import LimitSet
from sidecar.messages.orders import OrderDenied, OrderGranted, OrderIntent


def desk(min_active: int = 2, *members: str) -> Desk:
    """A leader of a group of two slots and no spare."""
    names = members or ("exec-a", "exec-b")
    return Desk((plan_group("execution", Mode.N_PLUS_ONE, names, active=2, policy=Policy(min_active=min_active)),))


def degraded() -> Desk:
    """The same, with exec-b's slot empty."""
    found = desk()
    found.live(1_000, "exec-a", "exec-b")
    found.release("exec-b", SlotToken("execution/1", Token(1, 1)))
    found.live(250, "exec-a")
    return found


def status(asked: Desk) -> StatusReport:
    """The leader's report."""
    asked.queue(StatusRequest(request_id="s", actor="dana"))
    return asked.replies(StatusReport)[-1]


@pytest.mark.parametrize(
    ("min_active", "alive", "facts"),
    [
        (0, (), 0),
        (1, ("exec-a",), 0),
        (2, ("exec-a", "exec-b"), 0),
        (2, ("exec-a",), 1),
        (1, (), 1),
        (3, ("exec-a", "exec-b"), 1),
    ],
)
def test_too_few_active_members_degrade_a_group_once(min_active: int, alive: tuple[str, ...], facts: int) -> None:
    """A group with fewer live holders than min_active is degraded by one fact, however long that lasts."""
    led = desk(min_active)
    led.live(2_000, *alive)
    assert led.facts().count("GroupDegraded") == facts
    assert ("execution" in led.core.state.degraded) is bool(facts)


def test_silence_degrades_before_the_lease_ends() -> None:
    """A silent holder is not live, although its slot is its own until its lease has ended."""
    led = desk()
    led.live(1_000, "exec-a", "exec-b")
    led.live(1_250, "exec-a")
    assert led.holder("execution/1") == "exec-b"
    assert "execution" in led.core.state.degraded


def test_an_unready_holder_is_not_active() -> None:
    """A holder that says it is not ready does not count."""
    led = desk()
    led.live(1_000, "exec-a", "exec-b")
    led.hear("exec-b", ready=False)
    led.tick(100)
    assert "execution" in led.core.state.degraded


def test_enough_active_members_restore_it() -> None:
    """The group is restored by itself when enough are active again."""
    led = degraded()
    assert "1 of at least 2" in led.core.state.degraded["execution"]
    led.hear("exec-b", "exec-b~2")
    led.tick(100)
    assert led.core.state.degraded == {}
    assert led.facts()[-1] == "GroupRestored" or "GroupRestored" in led.facts()


@pytest.mark.parametrize(
    ("order", "passes"),
    [
        (intent(), False),
        (intent(reduces_risk=True), True),
        (intent(kind="CANCEL", orig_cl_ord_id="o0"), True),
    ],
    ids=["entry", "reducing", "cancel"],
)
def test_a_degraded_group_adds_no_risk(order: OrderIntent, passes: bool) -> None:
    """New risk is denied with REDUCING and a sentence that says why; the rest passes."""
    led = degraded()
    led.queue(order)
    if passes:
        assert led.replies(OrderGranted)
    else:
        (denied,) = led.replies(OrderDenied)
        assert denied.code == "REDUCING"
        assert "execution is degraded" in denied.text


def test_the_tighter_limits_hold_while_any_group_is_degraded() -> None:
    """A group that falls below its minimum tightens the limits of all from the next order on, until it is back."""
    plans = tuple(
        plan_group(name, Mode.ACTIVE_PASSIVE, (member,), policy=Policy(min_active=1))
        for name, member in (("execution", "exec-a"), ("risk", "risk-a"))
    )
    limits = {"all": (LimitSet(qty_max=Decimal(1_000)), LimitSet(qty_max=Decimal(99)))}
    led = Desk(plans, limits=limits)
    led.live(1_500, "exec-a")
    led.queue(intent())
    led.live(500, "exec-a", "risk-a")
    led.queue(intent("o2"))
    (denied,) = led.replies(OrderDenied)
    assert (denied.code, denied.scope, denied.asked, denied.limit) == ("LIMIT_QTY", "all", Decimal(100), Decimal(99))
    assert [each.cl_ord_id for each in led.replies(OrderGranted)] == ["o2"]


def test_other_groups_are_not_concerned() -> None:
    """A degraded group denies nothing to members of another group."""
    plans = tuple(
        plan_group(name, Mode.ACTIVE_PASSIVE, (member,), policy=Policy(min_active=1))
        for name, member in (("execution", "exec-a"), ("risk", "risk-a"))
    )
    led = Desk(plans)
    led.live(1_500, "exec-a")
    assert set(led.core.state.degraded) == {"risk"}
    led.queue(intent())
    assert led.replies(OrderGranted)


@pytest.mark.parametrize(
    "standing", [halt(), halt("h2", level=TradingState.REDUCING)], ids=lambda each: each.level.name
)
def test_a_halt_outlives_the_restoring(standing: Halt) -> None:
    """Restoring a group lifts no halt."""
    led = degraded()
    led.queue(standing)
    led.hear("exec-b", "exec-b~2")
    led.tick(100)
    assert led.core.state.degraded == {}
    led.queue(intent())
    assert led.replies(OrderDenied)[-1].code == standing.level.name


def test_status_says_so() -> None:
    """The status report shows a degraded group with its reason, and an intact one without."""
    led = degraded()
    (group,) = status(led).groups
    assert group.degraded
    assert "1 of at least 2" in group.degraded_reason
    led.hear("exec-b", "exec-b~2")
    led.tick(100)
    assert not status(led).groups[0].degraded


def test_every_reader_folds_the_same() -> None:
    """Being degraded is in the journal and in the digest."""
    led = degraded()
    twin = fold(led.journal)
    assert twin.degraded == led.core.state.degraded
    assert twin.digest() == led.core.state.digest()
    del twin.degraded["execution"]
    assert twin.digest() != led.core.state.digest()


def test_a_new_leader_waits_before_it_judges() -> None:
    """A leader that was just elected and has heard nobody degrades nothing before the settling time is over."""
    first = desk()
    first.live(1_000, "exec-a", "exec-b")
    second = Desk(first.core.rules.plans, journal=first.journal, name="arbiter-2")
    second.tick(400)
    assert second.core.state.degraded == {}
    second.tick(200)
    assert "execution" in second.core.state.degraded


def test_neither_a_draining_nor_a_replaced_holder_is_active() -> None:
    """A holder that steps down, or whose component runs in another incarnation by now, does not count."""
    led = desk()
    led.live(1_000, "exec-a", "exec-b")
    led.core.desk.begin(led.now)
    led.core.desk.emit(SlotDraining(slot="execution/1", to="", actor="dana", reason=""))
    led.do(led.core.desk.finish())
    led.tick(100)
    assert "execution" in led.core.state.degraded
    other = desk()
    other.live(1_000, "exec-a", "exec-b")
    other.hear("exec-b", "exec-b~2")
    other.tick(100)
    assert "execution" in other.core.state.degraded
