"""What the leader answers to questions about orders and breaks: filters, pages, bounds."""

from decimal import Decimal
from typing import Any

import pytest
from desks import Desk, evidence, intent, serving
from msgspec.structs import replace
from order_desks import committed, resting, told, trade

from sidecar.core import milestones, order_queries
from sidecar.core.order_queries import LOOKED_MAX
from sidecar.core.sanity import TEXT_MAX
from sidecar.core.senders import Senders
from sidecar.messages.base import Message
from sidecar.messages.codec import decode, encode
from sidecar.messages.journal import DifferenceOpened, Record, Ticked
from sidecar.messages.limits import LimitSet, LimitsQuery, LimitsReport, LimitsRequest
from sidecar.messages.once_queries import OnceQuery, ResolveOnce
from sidecar.messages.order_queries import (
    LINES_MAX,
    PAGE_BYTES_MAX,
    BreaksPage,
    BreaksQuery,
    OrderQuery,
    OrderReport,
    OrdersPage,
    OrdersQuery,
)
from sidecar.messages.orders import OrderAborted, OrderUnknown, Phase, ResolveBreak
from sidecar.messages.reconcile import ResolveDifference

NOBODY = "nobody"


def page(desk: Desk, **fields: Any) -> OrdersPage:
    """The answer to one question, asked by somebody who is no operator."""
    desk.queue(OrdersQuery(request_id="q", actor=NOBODY, **fields), user=NOBODY)
    return desk.replies(OrdersPage)[-1]


def pages(desk: Desk, **fields: Any) -> list[list[str]]:
    """ClOrdIDs of every page until the last."""
    found, after = [], ""
    while True:
        answer = page(desk, after=after, **fields)
        found.append([each.cl_ord_id for each in answer.orders])
        after = answer.next
        if not after:
            return found


def order(desk: Desk, name: str) -> OrderReport:
    """The answer about one order."""
    desk.queue(OrderQuery(request_id="q", actor=NOBODY, order=name), user=NOBODY)
    return desk.replies(OrderReport)[-1]


def breaks(desk: Desk, after: str = "") -> BreaksPage:
    """One page of open breaks."""
    desk.queue(BreaksQuery(request_id="q", actor=NOBODY, after=after), user=NOBODY)
    return desk.replies(BreaksPage)[-1]


@pytest.fixture
def traded() -> Desk:
    """Orders in every phase; wall clocks show START_NS."""
    desk = resting("o1", "o2")
    desk.queue(trade("o2", "100", cum="100", order_id="V2"))
    desk.queue(intent("o3", symbol="ABC", account="B", strategy="maker"))
    desk.queue(OrderUnknown(component="exec-a", cl_ord_id="o3", reason="timeout"))
    desk.queue(intent("o4", venue="DARK"))
    desk.queue(OrderAborted(component="exec-a", cl_ord_id="o4", reason="no session"))
    desk.queue(intent("o5"))
    desk.queue(intent("o6", qty=Decimal(0)))
    desk.sent.clear()
    return desk


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["o5", "o4", "o3", "o2", "o1"]),
        ({"phases": (Phase.UNKNOWN,)}, ["o3"]),
        ({"phases": (Phase.ABORTED, Phase.PRECOMMITTED)}, ["o5", "o4"]),
        ({"phases": (Phase.DENIED,)}, ["o6"]),
        ({"phases": (Phase.DENIED,), "account": "B"}, []),
        ({"statuses": ("NEW",)}, ["o1"]),
        ({"statuses": ("FILLED",), "account": "ACC"}, ["o2"]),
        ({"statuses": ("FILLED",), "account": "B"}, []),
        ({"account": "B"}, ["o3"]),
        ({"venue": "DARK"}, ["o4"]),
        ({"symbol": "ABC"}, ["o3"]),
        ({"strategy": "maker"}, ["o3"]),
        ({"component": "exec-b"}, []),
        ({"slot": "execution/0", "limit": 2}, ["o5", "o4"]),
        ({"open_only": True}, ["o5", "o3", "o1"]),
    ],
)
def test_filters(traded: Desk, fields: dict[str, Any], names: list[str]) -> None:
    """A list holds what matches every filter, the newest first, whoever asks."""
    assert [each.cl_ord_id for each in page(traded, **fields).orders] == names


def test_a_row_says_what_is_known(traded: Desk) -> None:
    """A row has the intent's fields, where the order stands at the venue, when it was granted, what it waits for."""
    (filled,) = page(traded, statuses=("FILLED",)).orders
    assert (filled.phase, filled.ord_status, filled.order_id, filled.cum_qty) == (
        "VERIFIED",
        "FILLED",
        "V2",
        Decimal(100),
    )
    assert (filled.component, filled.qty, filled.open, filled.waits) == ("exec-a", Decimal(100), False, "")
    (unknown,) = page(traded, phases=(Phase.UNKNOWN,)).orders
    assert (unknown.open, unknown.waits, unknown.granted_ns > 0) == (True, "query", True)
    (denied,) = page(traded, phases=(Phase.DENIED,)).orders
    assert (denied.phase, denied.code) == ("DENIED", "BAD_QTY")


@pytest.mark.parametrize("limit", [1, 2, 3, LINES_MAX])
@pytest.mark.parametrize("phases", [(), (Phase.PRECOMMITTED,), (Phase.DENIED,)])
def test_pages_hold_each_order_once(monkeypatch: pytest.MonkeyPatch, limit: int, phases: tuple[Phase, ...]) -> None:
    """Pages together hold every match once, however few orders are looked at for each."""
    monkeypatch.setattr(order_queries, "LOOKED_MAX", 4)
    desk = serving()
    for at in range(7):
        desk.queue(intent(f"o{at}"))
        desk.queue(intent(f"d{at}", qty=Decimal(0)))
        if at % 2:
            desk.queue(OrderAborted(component="exec-a", cl_ord_id=f"o{at}", reason="no session"))
    found = pages(desk, limit=limit, phases=phases)
    wanted = {
        (): [f"o{at}" for at in range(6, -1, -1)],
        (Phase.PRECOMMITTED,): ["o6", "o4", "o2", "o0"],
        (Phase.DENIED,): [f"d{at}" for at in range(6, -1, -1)],
    }[phases]
    assert [name for names in found for name in names] == wanted
    assert all(len(names) <= limit for names in found)


def test_new_orders_between_two_pages_move_nothing() -> None:
    """Orders that are granted between two pages, or leave memory, leave the following page as it would have been."""
    desk = serving()
    for at in range(6):
        desk.queue(intent(f"o{at}"))
    first = page(desk, limit=2)
    desk.queue(intent("o6"))
    del desk.core.state.book.orders["o4"]
    assert [each.cl_ord_id for each in page(desk, limit=2, after=first.next).orders] == ["o3", "o2"]


@pytest.mark.parametrize("after", ["x", "1", "1.x", "-1.2", "9" * 30 + ".1"])
def test_a_cursor_that_nobody_gave_out(after: str) -> None:
    """A cursor that is none of ours gives an empty page, and never an error."""
    desk = resting("o1")
    assert page(desk, after=after).orders == () or page(desk, after=after).next == ""


def test_a_page_is_bounded_in_bytes() -> None:
    """A page of the longest names that a journal carries, in characters that JSON must escape, can be read."""
    desk = serving()
    long = dict.fromkeys(("account", "venue", "symbol", "strategy"), "\x01" * TEXT_MAX)
    for at in range(LINES_MAX):
        name = f"{at:04d}" + "\x01" * (TEXT_MAX - 4)
        desk.queue(intent(name, **long))
    found, after = 0, ""
    while True:
        answer = page(desk, after=after)
        body = encode(answer)
        assert len(body) <= PAGE_BYTES_MAX + 1_000 < OrdersPage.BYTES_MAX
        assert decode(body, "orders-page.v1", app_id="arbiter-1", user_id="u") == answer
        found, after = found + len(answer.orders), answer.next
        if not after:
            break
    assert found == LINES_MAX


def test_one_order(traded: Desk) -> None:
    """One order's report has its intent, the record that granted it, its executions, and how long it waits."""
    report = order(traded, "o1")
    assert (report.remembered, report.intent) == ("WHOLE", intent("o1"))
    granted = next(each for each in traded.journal if getattr(each.fact, "intent", None) == intent("o1"))
    assert (report.granted_term, report.granted_n) == (granted.term, granted.n)
    assert [each.exec_id for each in report.reports] == ["o1.NEW"]
    assert report.line is not None
    assert (report.line.waits, 0 < report.wait_left_ns <= 60 * 10**9) == ("review", True)
    assert order(traded, "o2").wait_left_ns == 0


def test_where_a_story_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report says from which offset on the journal has the order's chain, and 0 where a part of it left memory."""
    monkeypatch.setattr(milestones, "EVERY", 3)
    desk = resting("o1")
    at = next(at for at, each in enumerate(desk.journal) if getattr(each.fact, "intent", None) is not None)
    for number in range(10):
        desk.queue(intent(f"x{number}"))
    desk.queue(intent("o2", kind="REPLACE", orig_cl_ord_id="o1"))
    desk.core.milestones = milestones.Milestones()
    for offset, record in enumerate(desk.journal):
        desk.core.milestones.note(record, offset)
    assert at - 3 < order(desk, "o1").begins <= at
    assert order(desk, "o2").begins == order(desk, "o1").begins
    assert order(desk, "x9").begins > order(desk, "o1").begins
    del desk.core.state.book.orders["o1"]
    assert order(desk, "o2").begins == 0


def test_milestones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the journal, few milestones are kept, and each record stands at or behind the one it is told."""
    monkeypatch.setattr(milestones, "EVERY", 2)
    monkeypatch.setattr(milestones, "KEPT_MAX", 8)
    places = milestones.Milestones()
    records = [Record(term=1 + at // 50, n=at % 50, arbiter="a#1", at_ns=0, fact=Ticked()) for at in range(200)]
    for offset, record in enumerate(records):
        places.note(record, offset)
    for offset, record in enumerate(records):
        assert offset - 64 <= places.before(record.term, record.n) <= offset
    assert places.before(0, 0) == 0
    assert len(places._offsets) <= 8


def test_one_order_by_the_venues_name() -> None:
    """An order is found as VENUE/OrderID too, and a ClOrdID with a slash in it by that."""
    desk = resting("o1", "o2")
    assert order(desk, "SIM/V2").cl_ord_id == "o2"
    desk.queue(intent("SIM/V2"))
    assert order(desk, "SIM/V2").cl_ord_id == "SIM/V2"


def test_orders_that_are_not_whole_in_memory(traded: Desk) -> None:
    """A denial is told with its code, a name that is remembered as that, and anything else as not known."""
    denied = order(traded, "o6")
    assert denied.remembered == "DENIED"
    assert denied.line is not None
    assert denied.line.code == "BAD_QTY"
    traded.core.state.book._remembered["old"] = None
    assert order(traded, "old").remembered == "NAME"
    for name in ("nowhere", "SIM/nowhere", "/", ""):
        assert order(traded, name).remembered == "NOT"


def test_a_chain() -> None:
    """A report names what an order replaced and was replaced by, what is asked for, and a cancel that concerns it."""
    desk = resting("o1")
    desk.queue(intent("o2", kind="REPLACE", orig_cl_ord_id="o1"))
    assert order(desk, "o1").replacing == "o2"
    desk.queue(committed("o2", "V1"))
    desk.queue(told("o2", "NEW", order_id="V1", exec_type="REPLACED"))
    assert (order(desk, "o1").replaced_by, order(desk, "o1").replacing) == (("o2",), "")
    assert order(desk, "o2").replaces == ("o1",)
    desk.queue(intent("m", kind="MASS_CANCEL", symbol=""))
    assert order(desk, "o2").cancelled_by == "m"


def test_breaks_have_both_sides_and_the_time() -> None:
    """A break is listed with both sides, since when, and the last evidence until it is closed; its halt stays named."""
    desk = resting("o1")
    desk.queue(trade("o1", "150", cum="150"))
    (line,) = breaks(desk).breaks
    (found,) = line.breaks
    assert (found.kind, found.ours, found.theirs, found.at_ns) == ("OVERFILL", "100", "150", desk.now.wall_ns)
    assert line.halts == ("break-overfill-o1",)
    assert line.evidence is not None
    assert line.evidence.cum_qty == 150
    assert order(desk, "o1").breaks == line.breaks
    desk.queue(ResolveBreak(request_id="r", cl_ord_id="o1", actor="dana", reason="seen"), user="operator")
    assert (breaks(desk).breaks, breaks(desk).breaks_count) == ((), 0)
    assert (order(desk, "o1").breaks, order(desk, "o1").halts) == ((), ("break-overfill-o1",))


def test_differences_are_on_the_first_page() -> None:
    """An open difference is listed with both sides, since when, and its halt, until it is closed."""
    desk = serving()
    shown: dict[str, Any] = {"venue": "SIM", "account": "ACC", "holds": "positions", "name": "XYZ"}
    desk.core.desk.begin(desk.now)
    desk.core.desk.emit(DifferenceOpened(**shown, ours=Decimal(3), theirs=Decimal(4)))
    (found,) = breaks(desk).differences
    assert (found.name, found.ours, found.theirs, found.at_ns) == ("XYZ", Decimal(3), Decimal(4), desk.now.wall_ns)
    assert breaks(desk, "x").differences == ()
    desk.queue(ResolveDifference(request_id="r", actor="dana", reason="seen", **shown), user="operator")
    assert (breaks(desk).differences, desk.core.state.dated) == ((), {})


def test_the_time_of_limits_goes_with_them() -> None:
    """Limits that are given back leave no time behind."""
    desk = serving()
    for limits in (LimitSet(qty_max=Decimal(1)), None):
        request = LimitsRequest(request_id="r", scope="all", limits=limits, actor="dana", reason="a test")
        desk.queue(request, user="operator")
        assert bool(desk.core.state.dated) is (limits is not None)


@pytest.mark.parametrize(
    "query",
    [
        OrdersQuery(request_id="q", actor=NOBODY),
        OrderQuery(request_id="q", actor=NOBODY, order="o1"),
        BreaksQuery(request_id="q", actor=NOBODY),
        OnceQuery(request_id="q", actor=NOBODY),
    ],
)
def test_asking_is_no_alarm(query: Message) -> None:
    """Whoever only asks oversteps nothing; whoever settles without being an operator does."""
    senders = Senders(operators=frozenset({"operator"}))
    assert not senders.oversteps(query, NOBODY)
    settling = ResolveOnce(request_id="q", actor=NOBODY, kind="place", key="k", happened=False, reason="r")
    assert senders.oversteps(settling, NOBODY)


def test_pages_of_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of breaks hold each once, the oldest first, and only the first has differences."""
    monkeypatch.setattr(order_queries, "LINES_MAX", 2)
    desk = serving()
    for at in range(5):
        desk.queue(evidence(f"theirs-{at}", order_id=f"T{at}"))
    found, after, counts = [], "", []
    while True:
        answer = breaks(desk, after)
        found += [each.cl_ord_id for each in answer.breaks]
        counts.append(len(answer.breaks))
        after = answer.next
        if not after:
            break
    assert found == [f"theirs-{at}" for at in range(5)]
    assert counts == [2, 2, 1]


def test_asking_walks_over_a_bounded_number_of_orders() -> None:
    """No page looks at more than LOOKED_MAX orders, and says where the next one goes on."""
    desk = serving()
    desk.queue(intent("first", account="B"))
    book = desk.core.state.book
    for at in range(LOOKED_MAX + 10):
        book.orders[f"x{at}"] = later(book.orders["first"], at)
    answer = page(desk, symbol="NONE")
    assert (answer.orders, bool(answer.next)) == ((), True)
    assert page(desk, symbol="NONE", after=answer.next).next == ""


def later(order_: Any, at: int) -> Any:
    """The same order as if it had been granted later."""
    return replace(order_, n=order_.n + 1 + at)


def test_the_report_on_limits_has_times_and_figures() -> None:
    """Limits are reported with who set them when, and with the largest position and exposure of their scope."""
    desk = resting("o1")
    desk.queue(trade("o1", "40", cum="40"))
    desk.queue(intent("o2", qty=Decimal(30), symbol="ABC", account="B"))
    limits = LimitSet(position_max=Decimal(500), exposure_max=Decimal(9000))
    for scope in ("all", "account:B", "symbol:XYZ", "component:exec-a"):
        desk.queue(
            LimitsRequest(request_id=scope, scope=scope, limits=limits, actor="dana", reason="a test"), user="operator"
        )
    shown = {each.scope: each for each in _reported(desk).limits}
    assert shown["all"].set_ns == desk.now.wall_ns
    assert (shown["all"].position, shown["all"].position_of) == (Decimal(100), "XYZ in ACC at SIM")
    assert (shown["all"].exposure, shown["all"].exposure_of) == (Decimal(1000), "ACC at SIM")
    assert (shown["account:B"].position, shown["account:B"].position_of) == (Decimal(30), "ABC in B at SIM")
    assert (shown["symbol:XYZ"].position, shown["symbol:XYZ"].exposure) == (Decimal(100), None)
    assert (shown["component:exec-a"].position, shown["component:exec-a"].exposure) == (None, None)


def _reported(desk: Desk) -> LimitsReport:
    desk.queue(LimitsQuery(request_id="q", actor=NOBODY), user=NOBODY)
    return desk.replies(LimitsReport)[-1]
