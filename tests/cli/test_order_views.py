"""Words and figures of the commands about orders, breaks and limits."""

import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from rich.console import Console

from sidecar.cli.breaks_view import sides_of
from sidecar.cli.limits import changed_limits
from sidecar.cli.limits_view import limits_view, percent
from sidecar.cli.order_view import OrderTold, order_view
from sidecar.cli.orders_view import when, words_of
from sidecar.messages.examples import example_of
from sidecar.messages.limits import LimitSet, LimitsInForce, LimitsReport
from sidecar.messages.order_queries import OrderLine, OrderReport, Remembered
from sidecar.messages.orders import ExecutionReport


def shown(view: Any) -> str:
    """The view as a person reads it."""
    written = io.StringIO()
    Console(file=written, width=200).print(view)
    return written.getvalue()


@pytest.mark.parametrize(
    ("figure", "limit", "used"),
    [("0", "10", 0), ("1", "3", 34), ("10", "10", 100), ("20", "10", 200), ("-5", "10", 0), ("0", "0", 100)],
)
def test_percent(figure: str, limit: str, used: int) -> None:
    """How much of a limit is used is rounded up; a limit of zero leaves nothing."""
    assert percent(Decimal(figure), Decimal(limit)) == used


def test_sides_of_a_changed_execution() -> None:
    """Of two reports of one execution a person is shown what differs; every other break as it was journaled."""
    report = example_of(ExecutionReport)
    other = msgspec.structs.replace(report, last_qty=Decimal(41), symbol="ABC")
    assert sides_of(repr(report), repr(other)) == ("symbol XYZ, last_qty 40", "symbol ABC, last_qty 41")
    assert sides_of("10", "15") == ("10", "15")
    assert sides_of(repr(report), repr(report)) == (repr(report), repr(report))


def test_words_of_an_order() -> None:
    """An order is told in words by its kind; of somebody else's no price is known."""
    line = msgspec.structs.replace(example_of(OrderLine), kind="NEW", side="BUY")
    assert words_of(line) == "BUY 100 XYZ at 101.25"
    assert words_of(msgspec.structs.replace(line, price=None)) == "BUY 100 XYZ at the market"
    assert words_of(msgspec.structs.replace(line, price=None, component="")) == "BUY 100 XYZ"
    assert words_of(msgspec.structs.replace(line, kind="MASS_CANCEL", symbol="")) == "MASS_CANCEL"
    assert words_of(msgspec.structs.replace(line, kind="REPLACE")) == "REPLACE BUY 100 XYZ at 101.25"


def test_times_that_no_calendar_has() -> None:
    """A time that is not known, or that no calendar has, is a question mark."""
    assert when(1_767_225_600_123_000_000) == "2026-01-01 00:00:00.123"
    assert (when(0), when(10**30)) == ("?", "?")


@pytest.mark.parametrize(
    ("remembered", "words"),
    [
        ("WHOLE", "waits for"),
        ("NAME", "not in the leader's memory any more"),
        ("EXTERNAL", "known by its break only"),
        ("NOT", "nobody knows an order x"),
    ],
)
def test_how_much_the_leader_knows(remembered: Remembered, words: str) -> None:
    """An order is told as far as the leader remembers it."""
    line = msgspec.structs.replace(example_of(OrderLine), waits="query")
    report = msgspec.structs.replace(
        example_of(OrderReport), remembered=remembered, line=line if remembered == "WHOLE" else None
    )
    assert words in shown(order_view(OrderTold.of("x", report, None, source="", notes=())))


def test_changes_of_limits() -> None:
    """A change leaves the scope's other limits as they are, takes away what is none, and keeps both sets apart."""
    known = LimitsInForce(
        scope="all",
        limits=LimitSet(qty_max=Decimal(5), open_orders_max=3),
        degraded=LimitSet(qty_max=Decimal(1)),
        source="operator",
        actor="dana",
        reason="r",
    )
    changes = {"open_orders_max": None, "degraded.position_max": Decimal(9), "no_self_trade": True}
    plain, degraded = changed_limits(known, changes)
    assert plain == LimitSet(qty_max=Decimal(5), no_self_trade=True)
    assert degraded == LimitSet(qty_max=Decimal(1), position_max=Decimal(9))
    assert changed_limits(None, {"qty_max": Decimal(2)}) == (LimitSet(qty_max=Decimal(2)), LimitSet())


def test_limits_of_a_degraded_system() -> None:
    """While a group is degraded the tighter limits are shown as those in force, beside what they replace."""
    scope = LimitsInForce(
        scope="symbol:XYZ",
        limits=LimitSet(position_max=Decimal(100)),
        degraded=LimitSet(position_max=Decimal(40)),
        source="configuration",
        actor="arbiter-1",
        reason="as configured",
        position=Decimal(30),
        position_of="XYZ in ACC at SIM",
    )
    report = LimitsReport(arbiter="arbiter-1", request_id="r", limits=(scope,), positions=(), positions_count=0)
    plain = shown(limits_view(report))
    assert "100 (degraded 40)" in plain
    assert "30 %" in plain
    tightened = shown(limits_view(msgspec.structs.replace(report, tightened=True)))
    assert "40 (else 100)" in tightened
    assert "75 %" in tightened
