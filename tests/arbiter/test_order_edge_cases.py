"""The cases that broke others, across processes: an arbiter, a reconciler and a venue that is told to misbehave.

One system runs for all of them. The same cases over the core alone are in tests/core; docs/orders.md has the table.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from conftest import remove_our_queues
from msgspec.structs import replace
from order_venue import Trading, line, trading

from sidecar.arbiter import process
from sidecar.broker.interface import Broker
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.core import limit_desk
from sidecar.core.outputs import Now
from sidecar.messages.control import CommandResult, Halt, ResumeRequest, TradingState
from sidecar.messages.events import BreakFound
from sidecar.messages.journal import BreakOpened, EvidenceSeen, OrderPrecommitted
from sidecar.messages.limits import LimitSet, LimitsRequest
from sidecar.messages.orders import (
    Absence,
    DropCopy,
    EvidenceWanted,
    OrderAborted,
    OrderDenied,
    OrderGranted,
    OrderUnknown,
    ReportRecorded,
)
from sidecar.messages.reconcile import OpenOrdersSeen
from sidecar.messages.venue import Quirk

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR_NS = 3_600 * 10**9


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)]
)
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Trading]:
    """One running system for all tests of this file; each has accounts of its own."""
    connect: Callable[[str], Broker]
    if request.param == "memory":
        hub = MemoryHub()

        def connect(name: str) -> Broker:
            return MemoryBroker(hub, name=name)
    else:
        url = request.getfixturevalue("amqp_url")
        await remove_our_queues(url)

        def connect(name: str) -> Broker:
            return RabbitBroker([url], name=name)

    async with trading(connect) as system:
        yield system


# --- fills ---


async def test_fill_before_ack(here: Trading) -> None:
    """A fill that comes first, by the venue's OrderID alone, is applied when its order is known."""
    await here.trade("before-ack", "FILL_BEFORE_ACK")
    await here.stands("before-ack", "10", status="FILLED")
    told = [each.fact for each in here.peer.valid() if isinstance(each.fact, EvidenceSeen)]
    fills = [each.source for each in told if each.report.cl_ord_id == "before-ack" and each.report.last_qty]
    assert (here.position("before-ack"), fills, here.state.book.orphans) == (10, ["drop_copy"], {})


async def test_fill_after_cancel(here: Trading) -> None:
    """A fill of a cancelled order is counted, and the order stays cancelled."""
    await here.trade("after-cancel", "FILL_AFTER_CANCEL")
    await here.trade("after-cancel-c", kind="CANCEL", orig_cl_ord_id="after-cancel", account="after-cancel")
    await here.stands("after-cancel", "5", status="CANCELED")
    assert here.position("after-cancel") == 5


async def test_late_status_regression(here: Trading) -> None:
    """A NEW that is told after the fill overwrites nothing."""
    await here.trade("late", "LATE_STATUS")
    await here.stands("late", "10", status="FILLED")


async def test_duplicate_exec_id(here: Trading) -> None:
    """One execution that is told twice, with two quantities, counts once and is a break."""
    await here.trade("twice", "DUPLICATE_EXEC_ID")
    await here.stands("twice", "5", "EXECUTION_CHANGED")
    assert here.position("twice") == 5


async def test_duplicate_exec_id_on_a_side_flip(here: Trading) -> None:
    """Two fills under one trade id, a buy and a sell, are two executions."""
    await here.trade("flip-1", "ONE_TRADE_ID", account="flip")
    await here.trade("flip-2", "ONE_TRADE_ID", account="flip", side="SELL", qty=Decimal(4))
    await here.stands("flip-1", "10")
    await here.stands("flip-2", "4")
    assert here.position("flip") == 6


async def test_fill_correction_and_bust(here: Trading) -> None:
    """A corrected fill counts as corrected, and a busted one not at all."""
    await here.trade("corrected", "CORRECT")
    await here.trade("busted", "BUST")
    await here.stands("corrected", "5")
    await here.stands("busted", "0", status="NEW")
    assert (here.position("corrected"), here.position("busted")) == (5, 0)


async def test_overfill(here: Trading) -> None:
    """More filled than ordered is recorded whole, is a break, and halts its account alone until an operator resumes."""
    await here.trade("over", "OVERFILL")
    await here.stands("over", "15", "OVERFILL")
    assert here.position("over") == 15
    halted = {scope for each in here.state.halts.values() if each.actor == "arbiter-1" for scope in each.scopes}
    assert halted == {"account:over"}
    assert (await here.denied("over-2", account="over")).code == "HALTED"
    halt_id = next(each.halt_id for each in here.state.halts.values() if each.scopes == ("account:over",))
    lift = ResumeRequest(request_id="lift", halt_id=halt_id, actor="dana", reason="sold it")
    await here.peer.command(lift, "resume")
    assert (await here.peer.first(CommandResult, lambda each: each.request_id == "lift")).ok
    await here.granted("over-3", account="over")


async def test_inferred_fill_plus_the_real_one(here: Trading) -> None:
    """What a status shows as filled and the fill that comes later count once."""
    await here.trade("inferred", "INFERRED")
    await here.stands("inferred", "5")
    await here.peer.until(lambda: _told(here, "inferred") == {"NEW", "ORDER_STATUS", "TRADE"})
    assert (here.position("inferred"), here.order("inferred").breaks) == (5, ())


# --- what is not ours, or not there ---


async def test_external_order(here: Trading) -> None:
    """An order that was never asked for is a break, and followed with its fills."""
    here.session.send(line(here.intent("theirs")))
    order = await here.stands("theirs", "10", "EXTERNAL_ORDER")
    assert (order.adopted, here.position("theirs")) == (True, 10)


async def test_an_order_of_another_account_under_our_name(here: Trading) -> None:
    """An order elsewhere that has the ClOrdID of ours changes nothing of ours, and is followed under another name."""
    await here.trade("namesake", "REST")
    order = await here.stands("namesake", "0", status="NEW")
    seen = next(iter(order.executions.values()))
    elsewhere = replace(
        seen,
        account="elsewhere",
        order_id="V-9",
        exec_id="e-1",
        exec_type="TRADE",
        cum_qty=Decimal(10),
        last_qty=Decimal(10),
    )
    await here.peer.order(DropCopy(venue="SIM", report=elsewhere), "drop-copy")
    await here.stands("~SIM/V-9", "10", "EXTERNAL_ORDER")
    await here.stands("namesake", "0", "OTHER_ORDER", status="NEW")
    assert (here.position("namesake"), here.position("elsewhere")) == (0, 10)


async def test_venue_timeout(here: Trading) -> None:
    """An order that the venue took without a word is UNKNOWN, asked for by its own ClOrdID, and found."""
    await here.trade("mute", "NO_ANSWER", silent=True)
    asked = await here.peer.first(EvidenceWanted, lambda each: each.cl_ord_id == "mute")
    assert asked.phase == "UNKNOWN"
    await here.stands("mute", "10", status="FILLED")


async def test_partial_fill_then_missing(here: Trading) -> None:
    """A partly filled order that the venue then knows nothing of is a break, and keeps its fill."""
    await here.trade("forgotten", "FORGET")
    await here.stands("forgotten", "5", "MISSING_AT_VENUE")
    assert here.position("forgotten") == 5


async def test_not_found_on_a_bulk_poll(here: Trading) -> None:
    """However often an order is missing from a list, the venue is asked for it by name, and its answer stands."""
    await here.trade("unlisted", "REST")
    await here.stands("unlisted", "0", status="NEW")
    for number in range(5):
        listed = OpenOrdersSeen(reconciler="reconciler-1", venue="SIM", account="unlisted", cl_ord_ids=())
        missing = Absence(
            reconciler="reconciler-1", venue="SIM", cl_ord_id="unlisted", query_id=f"list-{number}", targeted=False
        )
        for each in (listed, missing):
            await here.peer.order(each, "evidence")
    asked = [each for each in here.peer.seen if isinstance(each, EvidenceWanted) and each.cl_ord_id == "unlisted"]
    await here.peer.until(lambda: _asked(here, "unlisted") > len(asked) + 2)
    order = await here.stands("unlisted", "0", status="NEW")
    assert order.absences == frozenset()


async def test_streams_lie_while_heartbeating(here: Trading) -> None:
    """Fills that the drop copy never tells, while it tells of others, are found by asking."""
    await asyncio.gather(
        *(here.trade(f"hidden-{n}", "HIDE_FILLS" if n % 4 else None, account="lie") for n in range(18))
    )
    for number in range(18):
        await here.stands(f"hidden-{number}", "10", status="FILLED")
    assert here.position("lie") == 180


# --- cancels and replacements ---


async def test_cancel_replace_race(here: Trading) -> None:
    """A replacement that the venue made a second order of is followed beside the first: two alive are a break."""
    await here.trade("race", "TWO_ORDERS")
    await here.trade("race-2", kind="REPLACE", orig_cl_ord_id="race", account="race", qty=Decimal(7))
    await here.stands("race", "0", "STILL_OPEN")
    await here.stands("race-2", "0", status="NEW")
    assert here.position("race") == 0


async def test_cancel_replace_race_that_ends_well(here: Trading) -> None:
    """A replacement under the same OrderID ends the ClOrdID before it."""
    await here.trade("chain", "REST")
    await here.trade("chain-2", kind="REPLACE", orig_cl_ord_id="chain", account="chain", qty=Decimal(20))
    await here.stands("chain", "0", status="REPLACED")
    await here.stands("chain-2", "0", status="NEW")


async def test_batch_cancel(here: Trading) -> None:
    """Each order of a mass cancel is followed until it is gone, and one that stays is a break of its own."""
    quirks: dict[str, Quirk] = {f"batch-{n}": "KEEP" if n == 3 else "REST" for n in range(4)}
    await asyncio.gather(*(here.trade(name, quirk, account="batch") for name, quirk in quirks.items()))
    await here.trade("batch-m", kind="MASS_CANCEL", account="batch", symbol="")
    for name in ("batch-0", "batch-1", "batch-2"):
        await here.stands(name, "0", status="CANCELED")
    await here.stands("batch-3", "0", "STILL_OPEN")


async def test_uncancellable_orders(here: Trading) -> None:
    """An order whose cancel was confirmed and that the venue keeps all the same is a break, and counts as open."""
    await here.trade("kept", "KEEP")
    await here.trade("kept-c", kind="CANCEL", orig_cl_ord_id="kept", account="kept")
    order = await here.stands("kept", "0", "STILL_OPEN")
    assert order.resting


# --- all kinds, halts, limits ---


async def test_all_six_kinds_through_all_phases(here: Trading) -> None:
    """An order of each kind is granted, reported, and ends with the venue's evidence."""
    await here.trade("six", "REST")
    await here.trade("six-r", kind="REPLACE", orig_cl_ord_id="six", account="six", qty=Decimal(20))
    await here.stands("six-r", "0", status="NEW")
    await here.trade("six-c", kind="CANCEL", orig_cl_ord_id="six-r", account="six")
    await here.trade("six-m", kind="MASS_CANCEL", account="six", symbol="", qty=Decimal(0))
    await here.trade("six-p", kind="CLOSE_POSITION", account="six", side="SELL", price=None)
    await here.trade("six-t", kind="TRANSFER", account="six", side="SELL", to_account="other")
    for name in ("six", "six-r", "six-c", "six-m", "six-p", "six-t"):
        order = await here.finished(name)
        assert (order.phase, order.reported) == ("VERIFIED", True)
    assert here.position("six") == -10


async def test_halt_traps_a_position(here: Trading) -> None:
    """Under a halt of its account a position can be closed and orders cancelled, and nothing else is granted."""
    await here.trade("trapped")
    await here.trade("trapped-2", "REST", account="trapped")
    halted = Halt(halt_id="trap", scopes=("account:trapped",), level=TradingState.HALTED, reason="t", actor="dana")
    await here.peer.command(halted, "halt")
    await here.peer.until(lambda: "trap" in here.fold().halts)
    assert (await here.denied("trapped-3", account="trapped")).code == "HALTED"
    await here.trade("trapped-c", kind="CANCEL", orig_cl_ord_id="trapped-2", account="trapped")
    await here.trade("trapped-p", kind="CLOSE_POSITION", account="trapped", side="SELL", price=None)
    await here.stands("trapped-p", "10")
    await here.stands("trapped-2", "0", status="CANCELED")
    assert here.position("trapped") == 0


async def test_risk_check_raises(here: Trading, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit check that raises denies its order, and the arbiter goes on."""
    await _limit(here, "account:raises", qty_max=Decimal(1_000))

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(limit_desk, "breach", broken)
        assert (await here.denied("raises-1", account="raises")).code == "LIMIT_CHECK_FAILED"
    await here.trade("raises-2", account="raises")
    await here.stands("raises-2", "10")


async def test_each_limit_denies_with_its_numbers(here: Trading) -> None:
    """Each limit, set while the system runs, denies over the broker with its code, scope and numbers."""
    await here.trade("limit-0", account="limited")
    await here.stands("limit-0", "10")
    await here.trade("limit-1", "REST", account="limited", qty=Decimal(3))
    await here.stands("limit-1", "0", status="NEW")
    cases: list[tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = [
        ({"qty_max": Decimal(9)}, {}, ("LIMIT_QTY", 10, 9, None)),
        ({"notional_max": Decimal(14)}, {}, ("LIMIT_NOTIONAL", 15, 14, Decimal("1.5"))),
        ({"collar_percent": Decimal(5)}, {"price": Decimal(2)}, ("LIMIT_COLLAR", 2, 5, Decimal("1.5"))),
        ({"position_max": Decimal(22)}, {}, ("LIMIT_POSITION", 23, 22, 10)),
        ({"exposure_max": Decimal(34)}, {}, ("LIMIT_EXPOSURE", Decimal("34.5"), 34, Decimal("19.5"))),
        ({"open_orders_max": 1}, {}, ("LIMIT_OPEN_ORDERS", 1, 1, 1)),
        ({"orders_per_second_max": 0}, {}, ("LIMIT_RATE", 1, 0, None)),
        ({"loss_per_day_max": Decimal(0)}, {}, ("LIMIT_LOSS", None, 0, 0)),
        ({"duplicate_window_ms": 60_000}, {"qty": Decimal(3)}, ("LIMIT_DUPLICATE", None, 60_000, None)),
        ({"no_self_trade": True}, {"side": "SELL"}, ("LIMIT_SELF_TRADE", Decimal("1.5"), None, Decimal("1.5"))),
        ({"notional_max": Decimal(9)}, {"price": None, "symbol": "NEVER"}, ("NO_REFERENCE", 10, 9, None)),
    ]
    for number, (values, order, expected) in enumerate(cases):
        await _limit(here, "account:limited", **values)
        denied = await here.denied(f"limited-{number}", account="limited", **order)
        current = None if expected[0] in ("LIMIT_RATE", "LIMIT_DUPLICATE") else denied.current  # Of that moment.
        assert (denied.scope, denied.code, denied.asked, denied.limit, current) == ("account:limited", *expected)


async def test_a_name_that_no_frame_can_carry_harms_nobody(here: Trading) -> None:
    """An order for a venue with a name of 512 bytes is granted, lost, asked for, and others go on."""
    venue = "\u00e9" * 256
    await here.granted("endless", venue=venue)
    await here.peer.order(OrderUnknown(component="exec-a", cl_ord_id="endless", reason="x"), "report")
    await here.peer.first(ReportRecorded, lambda each: each.cl_ord_id == "endless")
    await here.peer.first(EvidenceWanted, lambda each: each.venue == venue)
    await here.trade("endless-2")
    await here.stands("endless-2", "10")


# --- time, repetition, restart: the arbiter that served until here dies ---


async def test_clock_skew(here: Trading, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arbiter whose wall clock is a day off, and then jumps back, decides nothing by it."""
    true = process._now
    monkeypatch.setattr(process, "_now", lambda: Now(true().boot_ns, true().wall_ns - 24 * HOUR_NS))
    await here.trade("skewed", "NO_ANSWER", silent=True)
    await here.stands("skewed", "10", status="FILLED")
    await here.trade("skewed-2", "FILL_BEFORE_ACK")
    monkeypatch.undo()
    await here.stands("skewed-2", "10", status="FILLED")


async def test_resend_with_possdup(here: Trading) -> None:
    """An order of which everything is told twice is filled once."""
    await here.trade("resent", "RESEND")
    await here.stands("resent", "10", status="FILLED")
    assert here.position("resent") == 10


async def test_in_flight_at_a_crash(here: Trading) -> None:
    """A hundred questions in flight when the arbiter dies, and asked again, are answered by one record each."""
    names = [f"flight-{number}" for number in range(100)]
    asking = asyncio.gather(*(here.peer.order(here.intent(name, account="flight")) for name in names))
    await here.peer.first(OrderGranted, lambda each: each.cl_ord_id in names)
    await here.arbiters.kill("arbiter-1")
    here.arbiters.start("arbiter-2")
    await asking
    await asyncio.gather(*(here.peer.order(here.intent(name, account="flight")) for name in names))
    await here.peer.until(lambda: {each.cl_ord_id for each in _grants(here)} >= set(names))
    answers = {(each.cl_ord_id, each.term, each.n) for each in _grants(here) if each.cl_ord_id in names}
    assert len(answers) == len(names)
    assert not [each for each in here.peer.seen if isinstance(each, OrderDenied) and each.cl_ord_id in names]
    granted = [each.fact.intent.cl_ord_id for each in here.peer.valid() if isinstance(each.fact, OrderPrecommitted)]
    assert len(granted) == len(set(granted))
    for name in names:
        await here.peer.order(OrderAborted(component="exec-a", cl_ord_id=name, reason="nobody sent it"), "report")
    for name in names:
        await here.stands(name, "0", phase="ABORTED")


async def test_limits_set_at_run_time_outlive_their_arbiter(here: Trading) -> None:
    """The limits that an operator set under the arbiter that died are those of the next one, with the same numbers."""
    denied = await here.denied("limited-again", account="limited", price=None, symbol="NEVER")
    assert (denied.arbiter, denied.code, denied.asked, denied.limit) == (
        "arbiter-2",
        "NO_REFERENCE",
        Decimal(10),
        Decimal(9),
    )


async def test_restart_replay(here: Trading) -> None:
    """Everything that the venue ever told, told again to the next arbiter, changes no order, break or position."""
    here.fold()
    told = [each.fact.report for each in here.peer.valid() if isinstance(each.fact, EvidenceSeen)]
    before = _outcome(here)
    for report in told:
        await here.peer.order(DropCopy(venue="SIM", report=report), "drop-copy")
    await here.trade("replayed")
    await here.stands("replayed", "10", status="FILLED")
    assert {name: each for name, each in _outcome(here).items() if name != "replayed"} == before
    opened = [(each.fact.cl_ord_id, each.fact.kind) for each in here.peer.valid() if isinstance(each.fact, BreakOpened)]
    assert len(opened) == len(set(opened))


async def test_every_break_was_told(here: Trading) -> None:
    """Each break in the journal was told as an event."""
    told = {(each.cl_ord_id, each.kind) for each in here.peer.seen if isinstance(each, BreakFound)}
    opened = {(each.fact.cl_ord_id, each.fact.kind) for each in here.peer.valid() if isinstance(each.fact, BreakOpened)}
    assert opened == told


def _told(here: Trading, cl_ord_id: str) -> set[str]:
    return {each.exec_type for each in here.order(cl_ord_id).executions.values()}


def _asked(here: Trading, cl_ord_id: str) -> int:
    return sum(isinstance(each, EvidenceWanted) and each.cl_ord_id == cl_ord_id for each in here.peer.seen)


def _grants(here: Trading) -> list[OrderGranted]:
    return [each for each in here.peer.seen if isinstance(each, OrderGranted)]


def _outcome(here: Trading) -> dict[str, Any]:
    return {
        name: (each.phase, each.cum_qty, each.breaks, each.venue_status, here.position(each.intent.account))
        for name, each in here.fold().book.orders.items()
    }


async def _limit(here: Trading, scope: str, **values: Any) -> None:
    """An operator sets the limits of one scope."""
    request_id = f"{scope}-{sorted(values)}"
    asked = LimitsRequest(request_id=request_id, scope=scope, limits=LimitSet(**values), actor="dana", reason="a test")
    await here.peer.command(asked, "limits")
    answer = await here.peer.first(CommandResult, lambda each: each.request_id == request_id)
    assert answer.ok, answer.text
