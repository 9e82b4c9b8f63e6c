"""Positions from fills, and the arithmetic of busts and corrections, against a model that only adds up."""

from decimal import Decimal
from typing import Any

import pytest
from desks import intent, report
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core import positions
from sidecar.core.exact import add, divide, multiply, plain
from sidecar.core.fills import NONE, Fills, carrying, filled
from sidecar.core.positions import DAY_NS, SECOND_NS, Exposure, NetPosition, likeness, position_name, prefix_of
from sidecar.messages.orders import ExecutionReport

TENTHS = st.integers(1, 400).map(lambda n: Decimal(n) / 10)


def bought(*trades: tuple[str, str]) -> Any:
    """The position after these trades, (quantity, price), negative quantities sold."""
    held = NetPosition("SIM", "ACC", "XYZ")
    for qty, price in trades:
        held = held.traded(Decimal(qty), Decimal(qty) * Decimal(price))
    return held


@pytest.mark.parametrize(
    ("trades", "qty", "cost", "realised"),
    [
        ([("10", "5")], 10, 50, 0),
        ([("10", "5"), ("10", "7")], 20, 120, 0),
        ([("10", "5"), ("10", "7"), ("-5", "8")], 15, 90, 10),
        ([("10", "5"), ("-10", "4")], 0, 0, -10),
        ([("10", "5"), ("-15", "6")], -5, -30, 10),
        ([("-10", "5"), ("4", "3")], -6, -30, 8),
        ([("-10", "5"), ("12", "7")], 2, 14, -20),
    ],
)
def test_average_cost(trades: list[tuple[str, str]], qty: int, cost: int, realised: int) -> None:
    """What closes a position realises its share of the cost, and what goes beyond it opens the other side."""
    held = bought(*trades)
    assert (held.qty, held.cost, held.realised) == (qty, cost, realised)


@given(st.lists(st.tuples(TENTHS, TENTHS, st.booleans()), max_size=30))
def test_the_sums_agree(trades: list[tuple[Decimal, Decimal, bool]]) -> None:
    """At any time the result less the cost is the cash, and the quantity is the sum of all that was traded."""
    held, qty, cash = NetPosition("SIM", "ACC", "XYZ"), Decimal(0), Decimal(0)
    for size, price, sells in trades:
        signed = -size if sells else size
        held, qty, cash = held.traded(signed, signed * price), qty + signed, cash - signed * price
        assert (held.qty, held.cash) == (qty, cash)
        assert abs(held.realised - held.cost - cash) < Decimal("1e-20")
        assert held.qty or not held.cost


def test_a_price_that_was_corrected() -> None:
    """A correction of a price changes the cost of what is open, and the result of what is closed."""
    assert bought(("10", "5")).traded(Decimal(0), Decimal(3)).cost == 53
    assert bought(("10", "5"), ("-10", "5")).traded(Decimal(0), Decimal(3)).realised == -3


# --- one order's fills ---


def execution(kind: str, exec_id: str, qty: int, price: int, ref: str, cum: int) -> ExecutionReport:
    """One execution of an order of a hundred."""
    amounts: dict[str, Any] = {"last_qty": Decimal(qty), "last_px": Decimal(price), "exec_ref_id": ref}
    return report(cum=str(cum), status="PARTIALLY_FILLED", exec_id=exec_id, exec_type=kind, **amounts)


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[ExecutionReport], Decimal, Decimal]:
    """Executions as a venue could make them, in order, with the quantity and value that stand at the end.

    A correction names what stands, be that a correction; a bust names what stands, or what that has replaced.
    """
    standing: list[tuple[list[str], int, int]] = []  # Names of one execution and its corrections, quantity, price.
    found = []
    for number in range(draw(st.integers(1, 8))):
        kinds = ["TRADE", "TRADE", "TRADE_CORRECT", "TRADE_CORRECT", "TRADE_CANCEL"] if standing else ["TRADE"]
        what, name = draw(st.sampled_from(kinds)), f"x{number}"
        qty, price = draw(st.integers(1, 10)), draw(st.integers(1, 10))
        names, ref = [name], ""
        if what != "TRADE":
            one = draw(st.sampled_from(standing))
            standing.remove(one)
            ref = draw(st.sampled_from(one[0])) if what == "TRADE_CANCEL" else one[0][-1]
            names = [*one[0], name]
        if what != "TRADE_CANCEL":
            standing.append((names, qty, price))
        found.append(execution(what, name, qty, price, ref, sum(each for _, each, _ in standing)))
    quantity = sum(each for _, each, _ in standing)
    return found, Decimal(quantity), Decimal(sum(each * price for _, each, price in standing))


def folded(reports: list[ExecutionReport]) -> Fills:
    """The fills after these reports, each counted once."""
    fills, known = NONE, dict[str, ExecutionReport]()
    for each in reports:
        fills = filled(fills, each, known.get, counted=each.exec_id in known)
        known[each.exec_id] = each
    return fills


@given(courses())
def test_what_stands_counts(course: tuple[list[ExecutionReport], Decimal, Decimal]) -> None:
    """After any course of fills, busts and corrections exactly what stands is counted, at its own price."""
    reports, quantity, value = course
    fills = folded(reports)
    assert (fills.quantity, fills.worth) == (quantity, value)
    assert folded([*reports, *reports]).quantity == quantity


@given(st.data())
def test_what_stands_does_not_depend_on_the_order(data: st.DataObject) -> None:
    """In whatever order executions arrive, CumQty, quantity and value are the same, corrections of corrections too."""
    reports, quantity, value = data.draw(courses())
    fills = folded(data.draw(st.permutations(reports)))
    assert (fills.cum_qty, fills.quantity, fills.trades, fills.worth) == (quantity, quantity, quantity, value)


def test_a_correction_that_a_later_fill_overtook_is_not_counted_twice() -> None:
    """The CumQty of a fill that came before the correction it counts already bounds nothing that stands twice."""
    first, corrected = execution("TRADE", "x0", 1, 1, "", 1), execution("TRADE_CORRECT", "x1", 3, 1, "x0", 3)
    second, third = execution("TRADE", "x2", 1, 1, "", 4), execution("TRADE", "x3", 1, 1, "", 5)
    for course in ([first, second, corrected, third], [first, second, third, corrected]):
        assert folded(course).cum_qty == 5
    assert folded([first, second, corrected]).cum_qty == 4


def test_carried_fills_are_not_counted_again() -> None:
    """What was filled under the ClOrdID before is in CumQty, and belongs to that one."""
    before = folded([execution("TRADE", "x1", 40, 1, "", 40)])
    after: Any = filled(carrying(NONE, before), execution("TRADE", "x2", 20, 1, "", 60), lambda _: None, counted=False)
    assert (after.cum_qty, after.quantity) == (60, 20)
    assert carrying(after, before) is after


# --- tables ---


def test_no_digit_is_lost() -> None:
    """Sums and products of the largest and smallest numbers that may be journaled are exact."""
    large, small = Decimal("9" * 40 + "E-9"), Decimal("1." + "0" * 38 + "1E-30")
    assert add(add(large, small), large.copy_negate()) == small
    assert divide(multiply(large, small), small) == large
    assert (plain(Decimal("1E+3")), plain(Decimal("1.500"))) == ("1000", "1.5")


def test_names_that_look_alike_are_kept_apart() -> None:
    """No two triples of names share a position, whatever spaces they hold."""
    names = [("a b", "c", "d"), ("a", "b c", "d"), ("a", "b", "c d")]
    assert len({position_name(*each) for each in names}) == 3
    assert not position_name("a", "b c", "d").startswith(prefix_of("a", "b"))


def test_the_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed positions are forgotten first and open ones never; every other table forgets names of long ago."""
    monkeypatch.setattr(positions, "POSITIONS_MAX", 8)
    monkeypatch.setattr(positions, "SCOPES_MAX", 8)
    monkeypatch.setattr(positions, "RECENT_MAX", 8)
    exposure = Exposure()
    for number in range(50):
        order = intent(f"o{number}", symbol=f"S{number}")
        exposure.granted(order, number)
        for qty in (Decimal(1), Decimal(-1)) if number % 10 else (Decimal(1),):
            exposure.traded(order, qty, qty * number, Decimal(1), number)
    assert [each.symbol for each in exposure.positions.values() if each.qty] == ["S0", "S10", "S20", "S30", "S40"]
    for table in (exposure.positions, exposure.marks, exposure.rates, exposure.recent):
        assert len(table) <= 8
    assert exposure.rate("all", 49) == 50
    assert not exposure.full("SIM", "ACC", "S40")


def test_days_and_seconds() -> None:
    """A result is of its day, a rate of the last second, and an order's age that of the last one like it."""
    exposure: Any = Exposure()
    order = intent()
    at_ns = 20_000 * DAY_NS + 5 * SECOND_NS
    for number in range(4):
        exposure.granted(order, at_ns + number * SECOND_NS // 4)
    exposure.traded(order, Decimal(10), Decimal(100), Decimal(10), at_ns)
    exposure.traded(intent(side="SELL"), Decimal(10), Decimal(90), Decimal(9), at_ns)
    assert (exposure.result("all", at_ns), exposure.result("all", at_ns + DAY_NS)) == (-10, 0)
    exposure.traded(order, Decimal(10), Decimal(100), Decimal(10), at_ns + DAY_NS)
    exposure.traded(intent(side="SELL"), Decimal(10), Decimal(70), Decimal(7), at_ns + DAY_NS)
    assert exposure.result("all", at_ns + DAY_NS) == -30
    assert [exposure.rate("all", at_ns + each * SECOND_NS // 2) for each in (1, 2, 3, 4)] == [4, 4, 2, 0]
    assert exposure.alike_ns(intent("o2", qty=Decimal("100.0")), at_ns + SECOND_NS) == SECOND_NS // 4
    assert likeness(intent(price=None)) != likeness(intent())
