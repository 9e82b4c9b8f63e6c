"""The cases that broke others, one test each, over the core. Those that cross processes are also in tests/demo."""

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from desks import Desk, evidence, fold, halt, intent, serving
from order_desks import breaks, committed, order, position, resting, told, trade, wanted

from sidecar.core import limit_desk
from sidecar.core.orders import open_orders
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import TradingState
from sidecar.messages.journal import LimitsSet
from sidecar.messages.limits import LimitSet
from sidecar.messages.orders import (
    Absence,
    Evidence,
    OrderDenied,
    OrderGranted,
    OrderUnknown,
    Phase,
)

HOUR_NS = 3_600 * 1_000 * MS


# --- fills ---


def test_fill_before_ack() -> None:
    """A fill that names only the venue's OrderID waits for whoever names that, and is applied then."""
    desk = serving()
    desk.queue(intent())
    desk.queue(trade("", cum="40", order_id="V1"))
    assert position(desk) == 0
    desk.queue(committed())
    assert (order(desk).phase, order(desk).cum_qty, position(desk)) == (Phase.VERIFIED, 40, 40)
    assert desk.core.state.book.orphans == {}
    assert breaks(desk) == []


def test_fill_before_ack_by_another_report() -> None:
    """Such a fill is applied as well when another report names both ids, before the component says anything."""
    desk = serving()
    desk.queue(intent())
    desk.queue(trade("", cum="40", order_id="V1"))
    desk.queue(told("o1", "NEW"))
    assert (order(desk).phase, order(desk).cum_qty, position(desk)) == (Phase.PRECOMMITTED, 40, 40)


def test_fill_after_cancel() -> None:
    """A fill that comes after the cancel is counted, and no other report revises what has ended."""
    desk = resting("o1")
    desk.queue(told("o1", "CANCELED"))
    desk.queue(trade(cum="40", status="CANCELED"))
    desk.queue(evidence(status="NEW", exec_id="late", exec_type="NEW"))
    assert (order(desk).venue_status, order(desk).cum_qty, position(desk)) == ("CANCELED", 40, 40)
    assert breaks(desk) == []


@pytest.mark.parametrize("late", ["NEW", "PENDING_NEW", "PENDING_CANCEL", "PARTIALLY_FILLED", "EXPIRED"])
def test_late_status_regression(late: str) -> None:
    """No late status overwrites FILLED, and CumQty stays."""
    desk = resting("o1")
    desk.queue(trade(qty="100", cum="100"))
    desk.queue(evidence(status=late, exec_id="late", exec_type="NEW", cum="0"))
    assert (order(desk).venue_status, order(desk).cum_qty) == ("FILLED", 100)


def test_duplicate_exec_id() -> None:
    """One ExecID with another payload is a break and counts once; on the other side it is another execution."""
    desk = resting("o1")
    desk.queue(intent("o2", side="SELL"))
    desk.queue(trade(qty="40", cum="40", exec_id="same"))
    desk.queue(trade("o2", qty="60", cum="60", exec_id="same", side="SELL", order_id="V2"))
    assert breaks(desk) == []
    desk.queue(trade(qty="50", cum="50", exec_id="same"))
    assert breaks(desk) == ["EXECUTION_CHANGED"]
    assert position(desk) == -20


@pytest.mark.parametrize("late", [False, True])
def test_fill_correction_and_bust(late: bool) -> None:
    """A correction replaces the execution that ExecRefID names and a bust takes it back, in any order of arrival."""
    desk = resting("o1")
    first, second = trade(qty="40", cum="40", exec_id="f1"), trade(qty="20", cum="60", exec_id="f2")
    corrected = trade(qty="30", cum="50", exec_id="f3", exec_type="TRADE_CORRECT", exec_ref_id="f1")
    busted = trade(qty="20", cum="30", exec_id="f4", exec_type="TRADE_CANCEL", exec_ref_id="f2")
    for each in (corrected, busted, first, second) if late else (first, second, corrected, busted):
        desk.queue(each)
    assert (order(desk).cum_qty, order(desk).fills.trades, position(desk)) == (30, 30, 30)
    desk.queue(evidence(cum="60", status="PARTIALLY_FILLED", exec_id="s1", exec_type="ORDER_STATUS"))
    assert (order(desk).cum_qty, position(desk)) == (30, 30)
    assert breaks(desk) == []


@pytest.mark.parametrize("arrival", list(permutations(range(4))))
def test_a_correction_of_a_correction(arrival: tuple[int, ...]) -> None:
    """A correction may name a correction that has not arrived yet: in the end each stands or falls all the same."""
    desk = resting("o1")
    course = [
        trade(qty="40", cum="40", exec_id="f1"),
        trade(qty="30", cum="30", exec_id="f2", exec_type="TRADE_CORRECT", exec_ref_id="f1"),
        trade(qty="35", cum="35", exec_id="f3", exec_type="TRADE_CORRECT", exec_ref_id="f2"),
        trade(qty="20", cum="55", exec_id="f4"),
    ]
    for each in arrival:
        desk.queue(course[each])
    assert (order(desk).cum_qty, order(desk).fills.trades, position(desk)) == (55, 55, 55)
    assert breaks(desk) == []


def test_overfill() -> None:
    """More filled than ordered is recorded, a break, and a halt of the account; nothing of it is dropped."""
    desk = resting("o1")
    desk.queue(trade(qty="130", cum="130"))
    assert breaks(desk) == ["OVERFILL"]
    assert (order(desk).cum_qty, position(desk)) == (130, 130)
    (raised,) = desk.core.state.halts.values()
    assert (raised.scopes, raised.level, raised.actor) == (("account:ACC",), TradingState.HALTED, "arbiter-1")
    desk.queue(intent("o2"))
    assert desk.replies(OrderDenied)[-1].code == "HALTED"


def test_overfill_by_executions() -> None:
    """Executions that add up to more than ordered are an overfill even where CumQty does not say so."""
    desk = resting("o1")
    desk.queue(trade(qty="80", cum="80", exec_id="f1"))
    desk.queue(trade(qty="80", cum="80", exec_id="f2"))
    assert breaks(desk) == ["OVERFILL"]
    assert position(desk) == 160


@pytest.mark.parametrize("real_first", [False, True])
def test_inferred_fill_plus_the_real_one(real_first: bool) -> None:
    """A fill that was inferred from CumQty and the real one count once, at the real one's price."""
    desk = resting("o1")
    inferred = evidence(cum="40", status="PARTIALLY_FILLED", exec_id="0", exec_type="ORDER_STATUS", avg_px=Decimal(11))
    real = trade(qty="40", cum="40", last_px=Decimal(10))
    for each in (real, inferred) if real_first else (inferred, real):
        desk.queue(each)
        assert position(desk) == 40
    held: Any = next(iter(desk.core.state.book.exposure.positions.values()))
    assert (held.qty, held.cost, held.realised) == (40, 400, 0)


def test_partial_fill_then_missing() -> None:
    """A partly filled order that the venue twice does not know is a break, its fills stay, and the asking ends."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40"))
    for query_id in ("q1", "q2"):
        desk.queue(Absence(reconciler="r", venue="SIM", cl_ord_id="o1", query_id=query_id))
        desk.tick(1_500)
    assert breaks(desk) == ["MISSING_AT_VENUE"]
    assert position(desk) == 40
    desk.sent.clear()
    desk.tick(70_000)
    assert wanted(desk) == []


# --- what is not ours, or not there ---


def test_external_order() -> None:
    """An order that was never granted is a break, told once, and followed with its fills from then on."""
    desk = serving()
    desk.queue(told("theirs", "NEW", order_id="V7"))
    desk.queue(trade("theirs", cum="40", order_id="V7"))
    assert breaks(desk) == ["EXTERNAL_ORDER"]
    assert (order(desk, "theirs").adopted, order(desk, "theirs").phase, position(desk)) == (True, Phase.BREAK, 40)
    assert desk.core.state.halts == {}
    desk.queue(intent("c1", kind="CANCEL", orig_cl_ord_id="theirs"))
    assert order(desk, "theirs").cancel_by == "c1"


def test_external_order_without_a_name() -> None:
    """An order that has an OrderID only is adopted when nobody has named it in time."""
    desk = serving()
    desk.queue(trade("", cum="40", exec_id="f1", order_id="V7"))
    desk.queue(trade("", cum="60", exec_id="f2", qty="20", order_id="V7"))
    desk.tick(9_900)
    assert breaks(desk) == []
    desk.tick(300)
    assert breaks(desk) == ["EXTERNAL_ORDER"]
    assert position(desk) == 60
    desk.queue(trade("", cum="100", exec_id="f3", qty="40", order_id="V7"))
    assert position(desk) == 100
    assert breaks(desk) == ["EXTERNAL_ORDER"]


def test_external_order_halts_where_the_policy_says_so() -> None:
    """The policy of an account decides whether an external order halts it."""
    desk = serving()
    desk.core.state.limits["account:ACC"] = _limits(halt_on_external=True)
    desk.queue(told("theirs", "NEW", order_id="V7"))
    desk.queue(told("others", "NEW", order_id="V8"))
    (raised,) = desk.core.state.halts.values()
    assert raised.scopes == ("account:ACC",)


def test_not_found_on_a_bulk_poll() -> None:
    """An order that is missing from a list is asked for; however often that is said, it proves nothing."""
    desk = serving()
    desk.queue(intent())
    desk.queue(OrderUnknown(component="exec-a", cl_ord_id="o1", reason="timeout"))
    desk.sent.clear()
    for number in range(5):
        desk.queue(Absence(reconciler="r", venue="SIM", cl_ord_id="o1", query_id=f"list-{number}", targeted=False))
        desk.tick(1_900)
    assert order(desk).phase is Phase.UNKNOWN
    assert "AbsenceSeen" not in desk.facts()
    assert len(wanted(desk)) >= 5


def test_in_flight_at_a_crash() -> None:
    """An intent that was journaled when the arbiter died is answered by the next one, once, with the same record."""
    first = serving()
    first.reading = False
    first.sent.clear()
    first.queue(intent())
    assert first.replies(OrderGranted) == []
    second = Desk(journal=list(first.journal), name="arbiter-2")
    second.queue(intent())
    second.queue(intent())
    grants = second.replies(OrderGranted)
    assert len(grants) == 2
    assert {(each.term, each.n) for each in grants} == {(first.journal[-1].term, first.journal[-1].n)}
    assert second.facts().count("OrderPrecommitted") == 1
    second.tick(5_200)
    assert order(second).phase is Phase.UNKNOWN


def test_in_flight_at_a_crash_before_the_append() -> None:
    """An intent whose record never reached the log is granted by the next arbiter, once."""
    first = serving()
    journal = list(first.journal)
    first.reading = False
    first.queue(intent())
    second = Desk(journal=journal, name="arbiter-2")
    for _ in range(2):
        second.queue(intent())
    assert second.facts().count("OrderPrecommitted") == 1
    assert len({(each.term, each.n) for each in second.replies(OrderGranted)}) == 1


def test_venue_timeout() -> None:
    """An ambiguous outcome is UNKNOWN and asked for by its own ClOrdID, for as long as it takes."""
    desk = serving()
    desk.queue(intent())
    desk.queue(OrderUnknown(component="exec-a", cl_ord_id="o1", reason="timeout"))
    desk.sent.clear()
    desk.tick(60_000)
    assert order(desk).phase is Phase.UNKNOWN
    assert set(wanted(desk)) == {"o1"}
    assert len(wanted(desk)) >= 25


# --- time, repetition, restart ---


@pytest.mark.parametrize("jump_ns", [-HOUR_NS, HOUR_NS, 400 * 24 * HOUR_NS])
def test_clock_skew(jump_ns: int) -> None:
    """No wall clock decides: what is known and what is waited for is the same wherever it jumps to."""
    desk = resting("o1")
    steady = resting("o1")
    desk.wall_ahead_ns = jump_ns
    for each in (desk, steady):
        each.queue(trade(qty="40", cum="40"))
        each.queue(intent("o2"))
        each.tick(5_200)
    assert order(desk, "o2").phase is order(steady, "o2").phase is Phase.UNKNOWN
    assert (order(desk), position(desk)) == (order(steady), position(steady))


def test_resend_with_possdup() -> None:
    """A report that is sent again, by whichever way, changes nothing and is journaled once."""
    desk = resting("o1")
    for _ in range(3):
        desk.queue(trade(qty="40", cum="40"))
        desk.queue(Evidence(reconciler="r2", source="query", report=trade(qty="40", cum="40").report))
    assert desk.facts().count("EvidenceSeen") == 2
    assert position(desk) == 40
    assert breaks(desk) == []


def test_restart_replay() -> None:
    """A restart makes nothing anew: the same journal gives the same state, and what comes again is known."""
    desk = resting("o1", "o2")
    desk.queue(trade(qty="130", cum="130"))
    desk.queue(told("theirs", "NEW", order_id="V7"))
    desk.queue(trade("", cum="40", order_id="V8"))
    again = Desk(journal=list(desk.journal), name="arbiter-2")
    known = len(again.journal)
    for each in (trade(qty="130", cum="130"), told("theirs", "NEW", order_id="V7"), trade("", cum="40", order_id="V8")):
        again.queue(each)
    assert len(again.journal) == known
    assert fold(desk.journal).digest() == desk.core.state.digest()


# --- closed when in doubt ---


def test_halt_traps_a_position() -> None:
    """Under HALTED what closes a position and every kind of cancel pass, and nothing else does."""
    desk = resting("o1")
    desk.queue(halt())
    desk.queue(intent("n1", side="SELL"))
    desk.queue(intent("n2", side="SELL", reduces_risk=True))
    desk.queue(intent("n3", kind="CLOSE_POSITION", side="SELL", price=None))
    desk.queue(intent("n4", kind="TRANSFER", to_account="OTHER", reduces_risk=True))
    desk.queue(intent("n5", kind="MASS_CANCEL"))
    desk.queue(intent("n6", kind="CANCEL", orig_cl_ord_id="o1"))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["n2", "n3", "n5", "n6"]


def test_risk_check_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit check that raises denies the order, and the arbiter goes on."""
    desk = serving()
    desk.core.state.limits["all"] = _limits(qty_max=Decimal(1_000))

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(limit_desk, "breach", broken)
    desk.queue(intent())
    assert [each.code for each in desk.replies(OrderDenied)] == ["LIMIT_CHECK_FAILED"]
    assert desk.core.leading
    desk.queue(intent("c1", kind="CANCEL", orig_cl_ord_id="o9"))
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["c1"]


def test_streams_lie_while_heartbeating() -> None:
    """An open order that everybody is silent of is asked about again and again, and hidden fills are found."""
    desk = resting("o1")
    desk.tick(59_000)
    assert wanted(desk) == []
    desk.tick(1_500)
    assert wanted(desk) == ["o1"]
    for number in range(18):
        fill = trade(qty="5", cum=str(5 * (number + 1)), exec_id=f"f{number}").report
        desk.queue(Evidence(reconciler="r", source="query", report=fill))
    assert position(desk) == 90
    desk.tick(60_500)
    assert wanted(desk) == ["o1", "o1"]


def test_a_token_that_has_ended_cannot_cancel_either() -> None:
    """A former holder's cancel and mass cancel are denied: its orders are its successor's."""
    desk = resting("o1")
    desk.release("exec-a", SlotToken("execution/0", Token(1, 1)))
    desk.queue(intent("m1", kind="MASS_CANCEL"))
    assert desk.replies(OrderDenied)[0].code == "STALE_TOKEN"


def test_open_orders() -> None:
    """Open orders are those that may rest at a venue: granted, not known to have ended, no cancels."""
    desk = resting("o1", "o2", "o3")
    desk.queue(intent("o4"))
    desk.queue(intent("c1", kind="CANCEL", orig_cl_ord_id="o3"))
    desk.queue(told("o2", "CANCELED"))
    desk.queue(trade("o1", qty="40", cum="40"))
    book = desk.core.state.book
    assert [each.intent.cl_ord_id for each in open_orders(book, component="exec-a")] == ["o1", "o3", "o4"]
    assert open_orders(book, component="exec-b") == ()
    assert open_orders(book, symbol="XYZ", venue="SIM", account="ACC") == open_orders(book)


def _limits(**values: Any) -> LimitsSet:
    return LimitsSet(
        scope="account:ACC", limits=LimitSet(**values), degraded=LimitSet(), source="operator", actor="dana", reason="t"
    )
