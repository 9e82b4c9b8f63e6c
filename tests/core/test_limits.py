"""Limits: what each forbids, with its numbers, who sets them, and that nothing traps a position."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from desks import Desk, evidence, fold, intent, serving

from sidecar.config.limits import LimitSettings, LimitValues
from sidecar.core.groups import Mode, plan_group
from sidecar.core.limit_desk import SCOPES_MAX
from sidecar.core.timing import MS
from sidecar.messages.control import CommandResult
from sidecar.messages.journal import LimitsSet, StatementAdopted
from sidecar.messages.limits import LimitsChanged, LimitSet, LimitsQuery, LimitsReport, LimitsRequest
from sidecar.messages.orders import OrderDenied, OrderGranted
from sidecar.messages.reconcile import StatementLine

BOTH = (plan_group("execution", Mode.ACTIVE_ACTIVE, ("exec-a", "exec-b"), partitions=("0", "1")),)


def limited(scope: str = "all", *, degraded: LimitSet | None = None, **values: Any) -> Desk:
    """A leader with these limits of one scope, set by an operator."""
    desk = serving()
    desk.queue(request(scope, degraded=degraded or LimitSet(), **values), user="operator")
    desk.sent.clear()
    return desk


def request(scope: str, *, degraded: LimitSet | None = None, dry_run: bool = False, **values: Any) -> LimitsRequest:
    """An operator's request; without values it gives the scope back."""
    return LimitsRequest(
        request_id="r1",
        scope=scope,
        limits=LimitSet(**values) if values else None,
        degraded=degraded or LimitSet(),
        actor="dana",
        reason="a test",
        dry_run=dry_run,
    )


def fill(desk: Desk, cl_ord_id: str, qty: str, price: str = "10", side: str = "BUY", **fields: Any) -> None:
    """An order that was granted and filled at once, at a price."""
    amount = Decimal(qty)
    desk.queue(intent(cl_ord_id, qty=amount, price=Decimal(price), side=side, **fields))
    report = {"last_qty": amount, "last_px": Decimal(price), "leaves_qty": Decimal(0), "order_qty": amount}
    names = {name: fields[name] for name in ("symbol", "account") if name in fields}
    desk.queue(
        evidence(
            cl_ord_id,
            cum=qty,
            status="FILLED",
            exec_id=f"{cl_ord_id}.1",
            order_id=f"V-{cl_ord_id}",
            side=side,
            **report,
            **names,
        )
    )
    desk.sent.clear()


def codes(desk: Desk) -> list[str]:
    """Codes of the denials, oldest first."""
    return [each.code for each in desk.replies(OrderDenied)]


def numbers(desk: Desk) -> Any:
    """Scope and numbers of the last denial."""
    last = desk.replies(OrderDenied)[-1]
    return last.scope, last.asked, last.limit, last.current


# --- each limit ---


@pytest.mark.parametrize(
    ("values", "order", "code", "asked", "current"),
    [
        ({"qty_max": 99}, {}, "LIMIT_QTY", 100, None),
        ({"notional_max": 999}, {}, "LIMIT_NOTIONAL", 1_000, 10),
        ({"notional_max": 999}, {"price": None}, "NO_REFERENCE", 100, None),
        ({"notional_max": 999, "reference_price": 10}, {"price": None}, "LIMIT_NOTIONAL", 1_000, 10),
        ({"collar_percent": 5}, {}, "NO_REFERENCE", 100, None),
        ({"collar_percent": 5, "reference_price": 11}, {}, "LIMIT_COLLAR", 10, 11),
        ({"position_max": 99}, {}, "LIMIT_POSITION", 100, 0),
        ({"position_max": 99}, {"side": "SELL"}, "LIMIT_POSITION", 100, 0),
        ({"exposure_max": 999}, {}, "LIMIT_EXPOSURE", 1_000, 0),
        ({"open_orders_max": 0}, {}, "LIMIT_OPEN_ORDERS", 1, 0),
        ({"orders_per_second_max": 0}, {}, "LIMIT_RATE", 1, 0),
        ({"loss_per_day_max": 0}, {}, "LIMIT_LOSS", None, 0),
        ({"qty_max": 99}, {"kind": "TRANSFER", "to_account": "B"}, "LIMIT_QTY", 100, None),
    ],
)
def test_each_limit_denies_with_its_numbers(
    values: dict[str, int], order: dict[str, Any], code: str, asked: int | None, current: int | None
) -> None:
    """An order beyond a limit is denied with code, scope and numbers, journaled, and at the limit it passes."""
    amounts: dict[str, Any] = {name: Decimal(each) if name not in _COUNTS else each for name, each in values.items()}
    desk = limited("account:ACC", **amounts)
    desk.queue(intent(**order))
    assert codes(desk) == [code]
    limit = next(each for name, each in values.items() if name != "reference_price")
    assert numbers(desk) == ("account:ACC", asked, limit, current)
    refused: Any = desk.core.state.book.refused["o1"]
    assert (refused.code, refused.asked, refused.limit, refused.current) == (code, asked, limit, current)
    name = next(iter(values))
    desk.queue(request("account:ACC", **{**amounts, name: amounts[name] + 10**6}), user="operator")
    if code != "NO_REFERENCE":
        desk.queue(intent("o2", **order))
        assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o2"]


_COUNTS = ("open_orders_max", "orders_per_second_max", "duplicate_window_ms")


@pytest.mark.parametrize(
    "scope", ["all", "group:execution", "component:exec-a", "venue:SIM", "account:ACC", "symbol:XYZ", "strategy:maker"]
)
def test_every_scope_of_an_order_limits_it(scope: str) -> None:
    """Limits of any scope that an order is in concern it, and those of other names do not."""
    desk = limited(scope, qty_max=Decimal(10))
    desk.queue(intent(strategy="maker"))
    other = limited(f"{scope}x" if scope != "all" else "symbol:OTHER", qty_max=Decimal(10))
    other.queue(intent(strategy="maker"))
    assert (codes(desk), codes(other)) == (["LIMIT_QTY"], [])


def test_the_collar_follows_the_last_fill() -> None:
    """The price that a collar is laid around is that of the symbol's last fill."""
    desk = limited(collar_percent=Decimal(5), reference_price=Decimal(10))
    fill(desk, "o1", "10", "10.5")
    for number, price in enumerate(("9.97", "9.98", "11.02", "11.03")):
        desk.queue(intent(f"p{number}", price=Decimal(price)))
    assert [each.cl_ord_id for each in desk.replies(OrderDenied)] == ["p0", "p3"]


def test_open_orders_count_towards_the_position() -> None:
    """What is open may be filled: it counts with the order's own side, and a cancelled order no more."""
    desk = limited(position_max=Decimal(150))
    desk.queue(intent("o1"))
    desk.queue(intent("o2"))
    desk.queue(intent("o3", side="SELL"))
    assert numbers(desk) == ("all", 200, 150, 0)
    desk.queue(evidence("o1", status="CANCELED", exec_type="CANCELED"))
    desk.queue(intent("o4"))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o1", "o3", "o4"]


def test_a_replacement_counts_instead_of_its_order() -> None:
    """A replacement is judged as if the order that it replaces were gone, fills and all."""
    desk = limited(position_max=Decimal(150), open_orders_max=1)
    desk.queue(intent("o1"))
    desk.queue(evidence("o1", cum="40", status="PARTIALLY_FILLED", last_qty=Decimal(40), last_px=Decimal(10)))
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1", qty=Decimal(151)))
    assert numbers(desk) == ("all", 151, 150, 40)
    desk.queue(intent("r2", kind="REPLACE", orig_cl_ord_id="o1", qty=Decimal(150)))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o1", "r2"]


def test_no_limit_traps_a_position() -> None:
    """Beyond every limit on risk, orders that can only shrink the position pass, and only as far as it goes."""
    desk = serving()
    fill(desk, "o1", "500")
    fill(desk, "o2", "100", "1", side="SELL")
    limits: dict[str, Any] = {"position_max": Decimal(1), "exposure_max": Decimal(1), "loss_per_day_max": Decimal(1)}
    desk.queue(request("all", **limits), user="operator")
    desk.sent.clear()
    desk.queue(intent("s1", side="SELL", qty=Decimal(300)))
    desk.queue(intent("s2", side="SELL", qty=Decimal(101)))
    desk.queue(intent("s3", kind="CLOSE_POSITION", side="SELL", qty=Decimal(100), price=None))
    desk.queue(intent("s4", side="BUY", qty=Decimal(1), reduces_risk=True))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["s1", "s3"]
    assert codes(desk) == ["LIMIT_EXPOSURE", "LIMIT_POSITION"]


def test_exposure_is_of_the_whole_account() -> None:
    """Exposure counts every symbol of the account at its last price, on whichever side it could become larger."""
    desk = limited(exposure_max=Decimal(2_000))
    fill(desk, "o1", "50", "10")
    fill(desk, "o2", "20", "20", side="SELL", symbol="ABC")
    fill(desk, "o3", "90", "10", account="OTHER")
    desk.queue(intent("o4", qty=Decimal(60), side="SELL", symbol="ABC", price=Decimal(20)))
    assert numbers(desk) == ("all", 2_100, 2_000, 900)


def test_the_rate_is_that_of_the_last_second() -> None:
    """Orders of the last second count, whoever led then, and cancels never do."""
    desk = limited("component:exec-a", orders_per_second_max=3)
    for number in range(5):
        desk.queue(intent(f"o{number}"))
        desk.queue(intent(f"c{number}", kind="CANCEL", orig_cl_ord_id=f"o{number}"))
    assert codes(desk) == ["LIMIT_RATE"] * 2
    assert numbers(desk)[1:] == (1, 3, 3)
    again = Desk(journal=desk.journal, name="arbiter-2")
    again.now_ns = desk.now_ns
    again.queue(intent("o5"))
    assert codes(again) == ["LIMIT_RATE"]
    again.now_ns += 2_000 * MS
    again.queue(intent("o6"))
    assert [each.cl_ord_id for each in again.replies(OrderGranted)] == ["o6"]


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    """After the wall clock was set back by an hour the rate is counted from nothing."""
    desk = limited(orders_per_second_max=1)
    desk.queue(intent("o1"))
    desk.wall_ahead_ns = -3_600 * 1_000 * MS
    desk.queue(intent("o2"))
    desk.queue(intent("o3"))
    assert codes(desk) == ["LIMIT_RATE"]


def test_daily_loss() -> None:
    """A scope that has lost as much as it may takes no new risk until the next day, and others go on."""
    desk = limited("account:ACC", loss_per_day_max=Decimal(100))
    fill(desk, "o1", "50", "10")
    fill(desk, "o2", "50", "8", side="SELL")
    desk.queue(intent("o3"))
    desk.queue(intent("o4", account="OTHER"))
    assert numbers(desk) == ("account:ACC", None, 100, 100)
    desk.wall_ahead_ns = 86_400 * 1_000 * MS
    desk.queue(intent("o5"))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o4", "o5"]


def test_duplicates() -> None:
    """The same order again within the window is denied; another price, size or account is another order."""
    desk = limited(duplicate_window_ms=500)
    desk.queue(intent("o1"))
    desk.queue(intent("o2", price=Decimal("10.0")))
    others: list[dict[str, Any]] = [{"price": Decimal(11)}, {"qty": Decimal(7)}, {"account": "OTHER"}]
    for number, change in enumerate(others):
        desk.queue(intent(f"p{number}", **change))
    desk.tick(499)
    desk.queue(intent("o3"))
    desk.tick(1)
    desk.queue(intent("o4"))
    assert [each.cl_ord_id for each in desk.replies(OrderDenied)] == ["o2", "o3"]
    assert numbers(desk) == ("all", None, 500, 499)


@pytest.mark.parametrize(
    ("side", "price", "crosses"),
    [("SELL", "10", True), ("SELL", "10.01", False), ("SELL", None, True), ("BUY", "10", False), ("BUY", None, False)],
)
def test_self_trade(side: str, price: str | None, crosses: bool) -> None:
    """An order that could trade with an open one of ours is denied, whichever account either is for."""
    desk = limited(no_self_trade=True)
    desk.queue(intent("o1"))
    desk.queue(intent("o2", side=side, account="OTHER", price=Decimal(price) if price else None))
    assert codes(desk) == (["LIMIT_SELF_TRADE"] if crosses else [])
    desk.queue(evidence("o1", status="CANCELED", exec_type="CANCELED"))
    desk.queue(intent("o3", side=side))
    assert "o3" in [each.cl_ord_id for each in desk.replies(OrderGranted)]


def test_a_groups_figures_are_its_members_together() -> None:
    """Limits of a group count what all of its members do."""
    desk = serving(BOTH)
    desk.queue(request("group:execution", open_orders_max=1), user="operator")
    held = desk.core.state.holders
    slots = {each.component: (slot, each.token) for slot, each in held.items()}
    for component in ("exec-a", "exec-b"):
        slot, token = slots[component]
        who = {"component": component, "incarnation": f"{component}~1", "slot": slot, "token": token}
        desk.queue(intent(f"{component}-1", **who))
    assert codes(desk) == ["LIMIT_OPEN_ORDERS"]


def test_a_repeated_question_is_not_held_against_itself() -> None:
    """A redelivered intent gets its grant again although the limits are used up by itself."""
    desk = limited(open_orders_max=1, orders_per_second_max=1, duplicate_window_ms=500, position_max=Decimal(100))
    desk.queue(intent())
    desk.queue(intent())
    assert len(desk.replies(OrderGranted)) == 2
    assert codes(desk) == []


# --- degraded ---


def test_tighter_while_degraded() -> None:
    """While any group is degraded the second set replaces the limits that it names, and no others."""
    desk = limited(degraded=LimitSet(qty_max=Decimal(0)), qty_max=Decimal(100), position_max=Decimal(200))
    desk.core.state.degraded["other"] = "a test"
    desk.queue(intent("o1"))
    desk.core.state.degraded.clear()
    desk.queue(intent("o2"))
    assert (codes(desk), numbers(desk)[2]) == (["LIMIT_QTY"], 0)
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o2"]


# --- who sets them ---


def configured(limits: dict[str, LimitSet], journal: list[Any] | None = None, name: str = "arbiter-1") -> Desk:
    """A leader that is configured with these limits."""
    both = {scope: (each, LimitSet()) for scope, each in limits.items()}
    return Desk(journal=journal, name=name, limits=both)


def test_a_leader_journals_what_it_is_configured_with() -> None:
    """Limits come into force by the journal: a leader writes where its own differ, and the same ones write nothing."""
    first = configured({"all": LimitSet(qty_max=Decimal(5))})
    assert first.facts() == ["TermStarted", "LimitsSet"]
    second = configured({"all": LimitSet(qty_max=Decimal(5))}, first.journal, "arbiter-2")
    assert second.facts().count("LimitsSet") == 1
    third = configured({"symbol:XYZ": LimitSet(qty_max=Decimal(7))}, first.journal, "arbiter-3")
    assert set(third.core.state.limits) == {"symbol:XYZ"}
    assert fold(third.journal).limits == third.core.state.limits


def test_an_operators_limits_stay_over_every_configuration() -> None:
    """What an operator set is not undone by a leader's start; given back, the configuration holds again at once."""
    desk = configured({"all": LimitSet(qty_max=Decimal(5))})
    desk.queue(request("all", qty_max=Decimal(50)), user="operator")
    later = configured({"all": LimitSet(qty_max=Decimal(6))}, desk.journal, "arbiter-2")
    assert _qty(later) == 50
    later.queue(request("all"), user="operator")
    assert _qty(later) == 6
    assert [(each.source, each.actor) for each in later.events(LimitsChanged)][-2:] == [
        ("operator", "dana"),
        ("configuration", "arbiter-2"),
    ]


@pytest.mark.parametrize(
    ("user", "asked", "ok"),
    [
        ("exec-a", {"scope": "all"}, False),
        ("operator", {"scope": "galaxy:andromeda"}, False),
        ("operator", {"scope": "all", "reason": " "}, False),
        ("operator", {"scope": "all", "limits": LimitSet(qty_max=Decimal("NaN"))}, False),
        ("operator", {"scope": "all", "limits": LimitSet(qty_max=Decimal(-1))}, False),
        ("operator", {"scope": "all", "limits": LimitSet(open_orders_max=-1)}, False),
        ("operator", {"scope": "all", "limits": LimitSet(reference_price=Decimal(0))}, False),
        ("operator", {"scope": "all", "degraded": LimitSet(qty_max=Decimal("Infinity"))}, False),
        ("operator", {"scope": "all", "dry_run": True}, True),
        ("operator", {"scope": "symbol:ABC", "limits": None}, True),
        ("operator", {"scope": "all"}, True),
    ],
)
def test_only_operators_change_limits(user: str, asked: dict[str, Any], ok: bool) -> None:
    """A change needs an operator, a reason, a scope and sensible numbers; whatever is refused changes nothing."""
    desk = serving()
    wish = msgspec.structs.replace(request("all", qty_max=Decimal(5)), **asked)
    desk.queue(wish, user=user)
    (answer,) = desk.replies(CommandResult)
    assert answer.ok is ok
    assert ("LimitsSet" in desk.facts()) is (answer.code == "LIMITS")


def test_scopes_with_limits_are_bounded() -> None:
    """There is room for so many scopes; one more is refused, a change of one of them is not."""
    desk = serving()
    fact = LimitsSet(scope="", limits=LimitSet(), degraded=LimitSet(), source="operator", actor="", reason="")
    desk.core.state.limits.update({f"symbol:{n}": fact for n in range(SCOPES_MAX)})
    desk.queue(request("all", qty_max=Decimal(5)), user="operator")
    desk.queue(request("symbol:1", qty_max=Decimal(5)), user="operator")
    assert [each.ok for each in desk.replies(CommandResult)] == [False, True]


def test_the_report() -> None:
    """Anyone may ask what is in force, where its figures stand, and what is held."""
    desk = limited("account:ACC", open_orders_max=5)
    fill(desk, "o1", "50", "10")
    desk.queue(intent("o2"))
    desk.queue(LimitsQuery(request_id="q1", actor="dana"), user="anyone")
    (report,) = desk.replies(LimitsReport)
    found: Any = report.limits[0]
    assert len(report.limits) == len(report.positions) == 1
    assert (found.scope, found.open_orders, found.orders_per_second, found.source) == ("account:ACC", 1, 2, "operator")
    held: Any = report.positions[0]
    assert (held.symbol, held.qty, held.cost, held.price) == ("XYZ", 50, 500, 10)


def test_the_same_fields() -> None:
    """The configuration's limits and those of the wire are one thing, by name and default."""
    assert set(LimitValues.model_fields) == set(LimitSet.__struct_fields__)
    assert set(LimitSettings.model_fields) == {*LimitSet.__struct_fields__, "degraded"}
    assert LimitSettings().to_core() == (LimitSet(), LimitSet())


def _qty(desk: Desk) -> Any:
    limits = desk.core.state.limits["all"].limits
    return limits.qty_max if limits is not None else None


def held_before(desk: Desk, **lines: str) -> None:
    """The account's statements, as two that agree were adopted."""
    told = tuple(StatementLine(name=name, qty=Decimal(qty)) for name, qty in lines.items())
    desk.core.desk.begin(desk.now)
    desk.core.desk.emit(StatementAdopted(venue="SIM", account="ACC", lines=told))
    desk.do(desk.core.desk.finish())


def test_what_was_held_before_counts_as_position() -> None:
    """Limits look at what the account really holds: what it held before the first fill here, and the fills since."""
    desk = limited("account:ACC", position_max=Decimal(150))
    held_before(desk, XYZ="100")
    desk.queue(intent("o1", qty=Decimal(60)))
    assert codes(desk) == ["LIMIT_POSITION"]
    assert numbers(desk)[1:] == (160, 150, 100)
    fill(desk, "o2", "40")
    desk.queue(intent("o3", qty=Decimal(20)))
    assert numbers(desk)[1:] == (160, 150, 140)
    assert fold(desk.journal).book.exposure.position("SIM", "ACC", "XYZ") == 140


def test_what_was_held_before_can_be_sold() -> None:
    """An order that only shrinks what was held before is let pass by the limits on positions; a larger one is not."""
    desk = limited("account:ACC", position_max=Decimal(10))
    held_before(desk, XYZ="100")
    desk.queue(intent("o1", side="SELL", qty=Decimal(90)))
    assert codes(desk) == []
    desk.queue(intent("o2", side="SELL", qty=Decimal(21)))
    assert codes(desk) == ["LIMIT_POSITION"]


def test_what_was_held_before_counts_as_exposure() -> None:
    """Symbols that were held before are in the account's exposure, at the price of their last fill or the given one."""
    desk = limited("account:ACC", exposure_max=Decimal(2_000), reference_price=Decimal(10))
    held_before(desk, OLD="150")
    desk.queue(intent("o1", qty=Decimal(50)))
    assert codes(desk) == []
    desk.queue(intent("o2", qty=Decimal(1)))
    assert codes(desk) == ["LIMIT_EXPOSURE"]
    assert numbers(desk)[3] == 2_000


def test_the_report_has_what_was_held_before() -> None:
    """Positions are told whole, with how much of them was held before, also where nothing was traded."""
    desk = limited("account:ACC", position_max=Decimal(1_000))
    held_before(desk, XYZ="100", OLD="-7")
    fill(desk, "o2", "40")
    desk.queue(LimitsQuery(request_id="q1", actor="dana"), user="anyone")
    (report,) = desk.replies(LimitsReport)
    assert [(each.symbol, each.qty, each.before) for each in report.positions] == [
        ("XYZ", Decimal(140), Decimal(100)),
        ("OLD", Decimal(-7), Decimal(-7)),
    ]
    assert report.limits[0].position == 140
