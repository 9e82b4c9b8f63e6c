"""Reconciliation at the leader's desk: statements, open orders, and the signs of life of who asks the venues."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from desks import Desk, evidence, fold, intent, serving

from sidecar.core.arbiter import Arbiter
from sidecar.core.outputs import Origin
from sidecar.core.reconciliation import ReconcileRule
from sidecar.messages.control import CommandResult
from sidecar.messages.orders import EvidenceWanted, OrderCommitted
from sidecar.messages.reconcile import (
    DifferenceChanged,
    Market,
    OpenOrdersSeen,
    ReconcilerAlive,
    ReconciliationChanged,
    ResolveDifference,
    Statement,
    StatementLine,
    VenueCheck,
)

COMMITTED = OrderCommitted(component="exec-a", cl_ord_id="o1", order_id="V1", ord_status="NEW")
SETTLE_MS = 5_000


def statement(holds: str = "positions", account: str = "ACC", **lines: str) -> Statement:
    """All that the account holds at SIM."""
    told = tuple(StatementLine(name=name, qty=Decimal(qty)) for name, qty in lines.items())
    return Statement(reconciler="rec", venue="SIM", account=account, holds=holds, lines=told)  # type: ignore[arg-type]  # A word of a test.


def leading(rule: ReconcileRule | None = None) -> Desk:
    """A leader with an order o1 that was filled with 40 of 100."""
    desk = serving()
    if rule is not None:
        set_rule(desk.core, rule)
    for message in (intent(), COMMITTED, evidence(cum="40", status="PARTIALLY_FILLED", last_qty=Decimal(40))):
        desk.queue(message)
    desk.sent.clear()
    return desk


def set_rule(core: Arbiter, rule: ReconcileRule) -> None:
    """As if it had been configured so."""
    core.reconciliation._rule = rule


def tell(desk: Desk, *statements: Statement) -> None:
    """The same statements twice, far enough apart to be believed."""
    for _ in range(2):
        for each in statements:
            desk.queue(each, user="rec")
        desk.tick(SETTLE_MS)


def changes(desk: Desk) -> list[tuple[str, str, Decimal, Decimal]]:
    """What was told of differences."""
    return [(each.change, each.name, each.ours, each.theirs) for each in desk.events(DifferenceChanged)]


def test_what_was_held_before_is_adopted_once() -> None:
    """The first statements say what an account held before us, and from then on it is compared with the fills."""
    desk = leading()
    tell(desk, statement(XYZ="140", OLD="-7"))
    assert desk.facts()[-1] == "StatementAdopted"
    tell(desk, statement(XYZ="140", OLD="-7"))
    assert changes(desk) == []
    tell(desk, statement(XYZ="140", OLD="-7", NEW="3"))
    assert changes(desk) == [("OPENED", "NEW", Decimal(0), Decimal(3))]


def test_fills_move_what_is_expected() -> None:
    """A statement that follows our fills agrees; one that does not follow them is a difference with both sides."""
    desk = leading()
    tell(desk, statement(XYZ="40"))
    filled = evidence(cum="100", status="FILLED", exec_id="x2", last_qty=Decimal(60))
    desk.queue(filled)
    tell(desk, statement(XYZ="100"))
    assert changes(desk) == []
    tell(desk, statement(XYZ="90"))
    assert changes(desk) == [("OPENED", "XYZ", Decimal(100), Decimal(90))]
    assert fold(desk.journal).digest() == desk.core.state.digest()


def test_a_fill_on_its_way_is_no_difference() -> None:
    """A statement that is ahead of our fills for less than the settling time opens nothing."""
    desk = leading()
    tell(desk, statement(XYZ="40"))
    desk.queue(statement(XYZ="100"), user="rec")
    desk.tick(SETTLE_MS - 1_000)
    desk.queue(evidence(cum="100", status="FILLED", exec_id="x2", last_qty=Decimal(60)))
    tell(desk, statement(XYZ="100"))
    assert changes(desk) == []


def test_a_difference_that_changes_all_the_time_is_told_later() -> None:
    """One that is another with each statement waits six times as long, and then it is told all the same."""
    desk = leading()
    tell(desk, statement(XYZ="40"))
    for traded in range(1, 9):
        desk.queue(statement(XYZ=str(40 + traded)), user="rec")
        assert len(changes(desk)) == (1 if traded > 6 else 0)
        desk.tick(SETTLE_MS)
    desk.queue(statement(XYZ="40"), user="rec")
    assert [each[0] for each in changes(desk)] == ["OPENED", "CLOSED"]


def test_closed_by_evidence() -> None:
    """A difference is closed as soon as the venue agrees again, and never by time."""
    desk = leading()
    tell(desk, statement(XYZ="40"))
    tell(desk, statement())
    desk.tick(20_000)
    assert [each[0] for each in changes(desk)] == ["OPENED"]
    desk.queue(statement(XYZ="40"), user="rec")
    assert changes(desk)[-1] == ("CLOSED", "XYZ", Decimal(40), Decimal(40))
    assert desk.core.state.differences == {}


def resolve(**fields: Any) -> ResolveDifference:
    """An operator's word on XYZ."""
    values: dict[str, Any] = {"name": "XYZ", "reason": "transferred by hand", "actor": "dana"}
    return ResolveDifference(request_id="r1", venue="SIM", account="ACC", **{"holds": "positions", **values, **fields})


def test_closed_by_an_operator_with_a_reason() -> None:
    """Only an operator, with a reason, takes the venue's word, and from then on that is what is compared with."""
    desk = leading()
    tell(desk, statement(XYZ="40"))
    tell(desk, statement(XYZ="30"))
    for user, message in (("exec-a", resolve()), ("operator", resolve(reason=" ")), ("operator", resolve(name="NO"))):
        desk.queue(message, user=user)
    assert [each.ok for each in desk.replies(CommandResult)] == [False] * 3
    desk.queue(resolve(), user="operator")
    assert desk.replies(CommandResult)[-1].code == "RESOLVED"
    tell(desk, statement(XYZ="30"))
    assert [each[0] for each in changes(desk)] == ["OPENED", "CLOSED"]


@pytest.mark.parametrize("halts", [False, True])
def test_a_difference_halts_its_account_where_the_policy_says_so(halts: bool) -> None:
    """With the policy halt a difference in a position halts the account until an operator resumes; else it is told."""
    desk = leading(ReconcileRule(halts=halts))
    tell(desk, statement(XYZ="40"))
    tell(desk, statement(XYZ="30"))
    assert [each.scopes for each in desk.core.state.halts.values()] == ([("account:ACC",)] if halts else [])


def test_balances_are_compared_with_themselves() -> None:
    """A balance that changes while nothing traded is a difference; one that changes with a fill is not."""
    desk = leading()
    tell(desk, statement("balances", USD="1000"))
    desk.queue(evidence(cum="100", status="FILLED", exec_id="x2", last_qty=Decimal(60), last_px=Decimal(10)))
    tell(desk, statement("balances", USD="399.5"))
    assert changes(desk) == []
    tell(desk, statement("balances", USD="100"))
    assert changes(desk) == [("OPENED", "USD", Decimal("399.5"), Decimal(100))]
    tell(desk, statement("balances", USD="399.5"))
    assert changes(desk)[-1][0] == "CLOSED"


def test_balances_are_held_to_fills_where_a_tolerance_is_configured() -> None:
    """With a tolerance and known currencies a balance that is off together with a fill is a difference, told only."""
    desk = leading(ReconcileRule(tolerance=Decimal("0.5"), halts=True))
    markets = (Market("XYZ", "USD"),)
    told = [msgspec.structs.replace(statement("balances", USD=qty), markets=markets) for qty in ("1000", "395")]
    tell(desk, told[0])
    desk.queue(evidence(cum="100", status="FILLED", exec_id="x2", last_qty=Decimal(60), last_px=Decimal(10)))
    tell(desk, told[1])
    assert changes(desk) == [("OPENED", "USD", Decimal(400), Decimal(395))]
    assert desk.core.state.halts == {}
    desk.queue(resolve(name="USD", holds="balances"), user="operator")
    tell(desk, told[1])
    assert [each[0] for each in changes(desk)] == ["OPENED", "CLOSED"]


def test_a_statement_that_cannot_be_compared_changes_nothing() -> None:
    """A statement with a number or a name that no journal may carry is ignored as a whole."""
    desk = leading()
    tell(desk, statement(XYZ="40"))
    tell(desk, statement(XYZ="NaN"), statement(**{"X" * 300: "1"}), statement(account="A" * 300, XYZ="1"))
    assert changes(desk) == []


def test_an_order_that_is_not_listed_is_asked_for() -> None:
    """An order that should rest at the venue and is not in its list is asked for by name, and nothing is concluded."""
    desk = leading()
    for listed in (("o1",), ()):
        seen = OpenOrdersSeen(reconciler="rec", venue="SIM", account="ACC", cl_ord_ids=listed)
        desk.queue(seen, user="rec")
    (wanted,) = desk.events(EvidenceWanted)
    assert (wanted.cl_ord_id, wanted.symbol, wanted.order_id) == ("o1", "XYZ", "V1")
    other = OpenOrdersSeen(reconciler="rec", venue="SIM", account="OTHER", cl_ord_ids=())
    desk.queue(other, user="rec")
    assert len(desk.events(EvidenceWanted)) == 1


def alive(trouble: str = "", checked_ms_ago: int | None = 10, venue: str = "SIM") -> ReconcilerAlive:
    """A sign of life."""
    check = VenueCheck(venue=venue, trouble=trouble, checked_ms_ago=checked_ms_ago)
    return ReconcilerAlive(reconciler="rec", run="1", venues=(check,))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "no reconciler was heard"),
        (alive("connection refused"), "venue SIM: connection refused"),
        (alive(checked_ms_ago=121_000), "not checked whole"),
        (alive(venue="OTHER"), "asked by no reconciler"),
    ],
)
def test_a_reconciler_that_is_down_or_behind_is_a_reason(message: ReconcilerAlive | None, reason: str) -> None:
    """Silence, a venue that gives no answer, and a check that is late are told once, and once when all is well."""
    desk = leading(ReconcileRule(venues=("SIM",)))
    for _ in range(12):
        if message is not None:
            desk.queue(message, user="rec")
        desk.tick(1_000)
    (told,) = desk.events(ReconciliationChanged)
    assert reason in told.reasons[0]
    desk.queue(alive(), user="rec")
    desk.tick(1_000)
    assert desk.events(ReconciliationChanged)[-1].reasons == ()


def test_where_no_venue_is_configured_nobody_is_missed() -> None:
    """Without venues no reconciler is wanted."""
    desk = leading()
    desk.tick(30_000)
    assert desk.events(ReconciliationChanged) == []
    assert desk.core.reconciliation.reasons(desk.now) == ()
    desk.do(desk.core.on_queue(alive(), Origin(), desk.now))
