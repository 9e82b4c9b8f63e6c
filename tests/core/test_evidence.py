"""Evidence that comes late, twice, half, for somebody else, or against the component's word."""

from decimal import Decimal
from typing import Any

import pytest
from desks import Desk, evidence, intent, serving
from order_desks import breaks, committed, order, position, resting, told, trade, wanted

from sidecar.core import orders
from sidecar.core.orders import open_orders
from sidecar.messages.control import ResumeRequest
from sidecar.messages.journal import BreakOpened
from sidecar.messages.limits import LimitSet, LimitsRequest
from sidecar.messages.orders import Absence, Evidence, OrderAborted, OrderDenied, OrderGranted, Phase, ResolveBreak


def absence(query_id: str) -> Absence:
    """One targeted query for o1 that found nothing."""
    return Absence(reconciler="r", venue="SIM", cl_ord_id="o1", query_id=query_id)


def resolve(desk: Desk, cl_ord_id: str = "o1") -> None:
    """An operator closes the breaks of an order."""
    closed = ResolveBreak(request_id="q", cl_ord_id=cl_ord_id, actor="dana", reason="looked into it")
    desk.queue(closed, user="operator")


def aborted(desk: Desk) -> None:
    """The component says that o1 was never sent."""
    desk.queue(OrderAborted(component="exec-a", cl_ord_id="o1", reason="refused locally"))


def queried(desk: Desk, found: Evidence) -> None:
    """The same word, as the answer to a targeted query."""
    desk.queue(Evidence(reconciler="r", source="query", report=found.report))


def outcome(desk: Desk) -> Any:
    """Breaks, halted scopes, phases and quantities, each once."""
    book = desk.core.state.book
    opened = [(each.fact.cl_ord_id, each.fact.kind) for each in desk.journal if isinstance(each.fact, BreakOpened)]
    halted = sorted(scope for each in desk.core.state.halts.values() for scope in each.scopes)
    stand = {name: (each.phase, each.cum_qty, each.adopted) for name, each in book.orders.items()}
    return sorted(opened), halted, stand, {name: each.qty for name, each in book.exposure.positions.items()}


# --- what is known already ---


def test_what_the_venue_has_seen_is_not_granted_again() -> None:
    """A question that is repeated after the venue's word on its order gets no second grant: it was sent."""
    desk = serving()
    desk.queue(intent())
    desk.queue(told("o1", "NEW"))
    desk.sent.clear()
    desk.queue(intent())
    assert desk.replies(OrderGranted) == []
    assert [each.code for each in desk.replies(OrderDenied)] == ["DUPLICATE"]


def test_a_resolved_break_is_not_opened_by_the_same_evidence() -> None:
    """What an operator has looked into stays closed when the venue repeats it, and more of it is a new break."""
    desk = resting("o1")
    over = trade(qty="130", cum="130")
    desk.queue(over)
    resolve(desk)
    desk.queue(over)
    queried(desk, over)
    assert breaks(desk) == ["OVERFILL"]
    desk.queue(trade(qty="10", cum="140", exec_id="f2"))
    assert breaks(desk) == ["OVERFILL"] * 2


def test_a_second_break_halts_again_after_the_first_halt_was_lifted() -> None:
    """The name of a halt that was lifted is not used again: a new overfill of the same order halts its account."""
    desk = resting("o1")
    desk.queue(trade(qty="130", cum="130"))
    (first,) = desk.core.state.halts
    desk.tick(3_000)
    lift = ResumeRequest(request_id="q", halt_id=first, actor="dana", reason="sold it")
    desk.queue(lift, user="operator")
    resolve(desk)
    assert desk.core.state.halts == {}
    desk.queue(trade(qty="10", cum="140", exec_id="f2"))
    (second,) = desk.core.state.halts.values()
    assert (second.scopes, second.halt_id != first) == (("account:ACC",), True)


def test_long_names_that_look_alike_halt_each() -> None:
    """Overfills of two orders whose ids differ in the last of many characters halt both accounts."""
    desk = serving()
    for name, account in (("x" * 255 + "a", "A1"), ("x" * 255 + "b", "A2")):
        desk.queue(intent(name, account=account))
        desk.queue(trade(name, qty="130", cum="130", account=account))
    halted = {scope for each in desk.core.state.halts.values() for scope in each.scopes}
    assert halted == {"account:A1", "account:A2"}


# --- somebody else's ---


@pytest.mark.parametrize("other", [{"account": "OTHER"}, {"venue": "OTHER"}])
def test_evidence_for_another_account_or_venue(other: dict[str, str]) -> None:
    """An order elsewhere under our ClOrdID ends, fills and verifies nothing of ours; it is a break, and external."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40", order_id="V9", **other))
    desk.queue(told("o1", "CANCELED", order_id="V9", cum="40", **other))
    assert breaks(desk) == ["OTHER_ORDER", "EXTERNAL_ORDER"]
    assert (order(desk).venue_status, order(desk).cum_qty, position(desk)) == ("NEW", 0, 0)
    theirs = order(desk, f"~{other.get('venue', 'SIM')}/V9")
    assert (theirs.adopted, theirs.cum_qty, theirs.venue_status) == (True, 40, "CANCELED")
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book)] == ["o1"]
    resolve(desk)
    desk.queue(trade(qty="10", cum="50", exec_id="f2", order_id="V9", **other))
    assert breaks(desk) == ["OTHER_ORDER", "EXTERNAL_ORDER"]
    assert order(desk).phase is Phase.VERIFIED


def test_no_order_of_ours_has_a_name_that_we_make() -> None:
    """A ClOrdID that begins as our names for orders of others do is denied."""
    desk = serving()
    desk.queue(intent("~SIM/V7"))
    assert [each.code for each in desk.replies(OrderDenied)] == ["BAD_FIELD"]


@pytest.mark.parametrize("said", [True, False])
def test_a_fill_before_an_ack_that_is_very_late(said: bool) -> None:
    """A fill that was taken for an external order's is ours, once, as soon as anybody says that the order is ours."""
    desk = serving()
    desk.queue(intent())
    fill = trade("", cum="40", order_id="V1")
    desk.queue(fill)
    desk.tick(10_500)
    assert (breaks(desk), position(desk)) == (["EXTERNAL_ORDER"], 40)
    if said:
        desk.queue(committed())
        assert (position(desk), order(desk).cum_qty) == (40, 40)
    queried(desk, trade("o1", cum="40", order_id="V1"))
    desk.queue(fill)
    desk.queue(trade("", cum="60", qty="20", exec_id="f2", order_id="V1"))
    assert (position(desk), order(desk).cum_qty, order(desk, "~SIM/V1").ended) == (60, 60, True)
    resolve(desk, "~SIM/V1")
    assert order(desk, "~SIM/V1").finished
    assert breaks(desk) == ["EXTERNAL_ORDER"]
    again = Desk(journal=list(desk.journal), name="arbiter-2")
    assert again.core.state.digest() != ""
    assert again.core.state.book.exposure.position("SIM", "ACC", "XYZ") == 60


def test_an_external_order_that_is_named_later_is_one_order() -> None:
    """An order of others that was followed by its OrderID, and then has a ClOrdID after all, holds one position."""
    desk = serving()
    desk.queue(trade("", cum="40", order_id="V7"))
    desk.tick(10_500)
    desk.queue(trade("theirs", cum="40", order_id="V7"))
    desk.queue(trade("", qty="20", cum="60", exec_id="f2", order_id="V7"))
    assert (position(desk), order(desk, "theirs").cum_qty, order(desk, "~SIM/V7").ended) == (60, 60, True)


def test_reports_without_a_name_find_their_order_in_a_chain() -> None:
    """A fill that names only the OrderID is of the replacement, a resent one of whoever had it, and neither a break."""
    desk = resting("o1")
    early = trade("", qty="40", cum="40", exec_id="f1", order_id="V1")
    desk.queue(early)
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1", qty=Decimal(150)))
    desk.queue(committed("r1"))
    desk.queue(told("r1", "NEW", exec_type="REPLACED", cum="40", order_qty=Decimal(150)))
    more: dict[str, Any] = {"order_qty": Decimal(150), "status": "PARTIALLY_FILLED", "order_id": "V1"}
    desk.queue(trade("", qty="80", cum="120", exec_id="f2", **more))
    desk.queue(early)
    assert breaks(desk) == []
    assert (position(desk), order(desk, "r1").cum_qty) == (120, 120)


def test_a_chain_keeps_its_name_when_its_first_order_leaves_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report by OrderID finds the replacement also when the order that it replaced is forgotten."""
    monkeypatch.setattr(orders, "FINISHED_MAX", 0)
    desk = resting("o1")
    desk.queue(intent("r1", kind="REPLACE", orig_cl_ord_id="o1", qty=Decimal(150)))
    desk.queue(committed("r1"))
    desk.queue(told("r1", "NEW", exec_type="REPLACED", order_qty=Decimal(150)))
    assert "o1" not in desk.core.state.book.orders
    desk.queue(trade("", qty="20", cum="20", order_id="V1", order_qty=Decimal(150)))
    assert (breaks(desk), order(desk, "r1").cum_qty) == ([], 20)


# --- old news ---


def test_absences_count_in_a_row() -> None:
    """One query that finds nothing, then the venue's word, then another one that finds nothing, proves nothing."""
    desk = resting("o1")
    desk.queue(absence("q1"))
    desk.tick(5_000)
    desk.queue(trade(cum="40"))
    desk.tick(5_000)
    desk.queue(absence("q2"))
    assert breaks(desk) == []
    desk.tick(5_000)
    desk.queue(absence("q3"))
    assert breaks(desk) == ["MISSING_AT_VENUE"]


@pytest.mark.parametrize(("status", "ended"), [("FILLED", False), ("CANCELED", True)])
def test_an_old_status_after_a_bust_ends_nothing(status: str, ended: bool) -> None:
    """FILLED at a CumQty that a bust took back is old; what can never be undone ends the order all the same."""
    desk = resting("o1")
    desk.queue(trade(qty="40", cum="40", exec_id="f1"))
    desk.queue(trade(qty="60", cum="100", exec_id="f2"))
    bust = {"exec_type": "TRADE_CANCEL", "exec_ref_id": "f2", "status": "PARTIALLY_FILLED"}
    desk.queue(trade(qty="60", cum="40", exec_id="f3", **bust))
    desk.queue(evidence(cum="100", status=status, exec_id="s1", exec_type="ORDER_STATUS"))
    assert (order(desk).cum_qty, order(desk).ended, position(desk)) == (40, ended, 40)


@pytest.mark.parametrize("name", ["order_qty", "cum_qty", "last_qty"])
def test_a_negative_quantity_is_no_quantity(name: str) -> None:
    """A report with a negative quantity changes no position and is a break."""
    desk = resting("o1")
    negative: Any = {name: Decimal(-40)}
    desk.queue(trade(cum="-40") if name == "cum_qty" else trade(cum="40", **negative))
    assert (position(desk), breaks(desk)) == (0, ["UNREADABLE_EVIDENCE"])


def test_a_number_that_cannot_be_compared_with_what_is_known() -> None:
    """An answer under a known ExecID with a signalling NaN is a break, and the leader goes on."""
    desk = resting("o1")
    status: Any = {"exec_id": "0", "exec_type": "ORDER_STATUS"}
    desk.queue(evidence(**status))
    desk.queue(evidence(**status, cum_qty=Decimal("sNaN")))
    assert (breaks(desk), desk.core.leading) == (["UNREADABLE_EVIDENCE"], True)


# --- word against word ---


@pytest.mark.parametrize(
    ("before", "last"),
    [
        ([], trade(qty="130", cum="130")),
        ([trade(qty="80", cum="80", exec_id="f0")], trade(qty="80", cum="80")),
        ([], told("theirs", "NEW", order_id="V7")),
        ([], trade(qty="40", cum="40", account="OTHER", order_id="V9")),
        ([], OrderAborted(component="exec-a", cl_ord_id="o1", reason="x")),
        ([OrderAborted(component="exec-a", cl_ord_id="o2", reason="x")], committed("o2", "V2")),
        ([told("o2", "NEW", order_id="V2")], OrderAborted(component="exec-a", cl_ord_id="o2", reason="x")),
        ([told("o2", "NEW", order_id="V2")], committed("o2", "V3")),
    ],
)
def test_a_leader_that_dies_in_the_middle_of_a_break_leaves_nothing_out(before: list[Any], last: Any) -> None:
    """Wherever the journal ends, the next leader that reads the same news journals the rest, and nothing twice."""
    desk = resting("o1")
    limits = LimitSet(halt_on_external=True, halt_on_break=True)
    asked = LimitsRequest(request_id="q", scope="account:ACC", limits=limits, actor="dana", reason="a test")
    desk.queue(asked, user="operator")
    for each in (intent("o2"), *before):
        desk.queue(each)
    known = len(desk.journal)
    desk.queue(last)
    whole = outcome(desk)
    assert len(desk.journal) > known + 1
    for end in range(known, len(desk.journal) + 1):
        heir = Desk(journal=desk.journal[:end], name="arbiter-2")
        heir.queue(last)
        assert outcome(heir) == whole


def test_an_order_that_was_never_sent_and_yet_sent_is_asked_about() -> None:
    """While it is disputed whether an order is at the venue it counts as open, and the venue is asked."""
    desk = serving()
    desk.queue(intent())
    aborted(desk)
    desk.queue(committed())
    assert breaks(desk) == ["COMMITTED_AFTER_ABORT"]
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book)] == ["o1"]
    desk.sent.clear()
    desk.tick(61_000)
    assert wanted(desk) == ["o1"]
    for query_id in ("q1", "q2"):
        desk.queue(absence(query_id))
        desk.tick(2_000)
    assert breaks(desk) == ["MISSING_AT_VENUE"]
    assert [each.intent.cl_ord_id for each in open_orders(desk.core.state.book)] == ["o1"]
    resolve(desk)
    assert (order(desk).phase, open_orders(desk.core.state.book)) == (Phase.ABORTED, ())


@pytest.mark.parametrize("first", ["component", "venue"])
def test_an_order_at_the_venue_is_open_whatever_its_component_says(first: str) -> None:
    """An order that the venue shows open is open, can be cancelled, and is followed until it is gone."""
    desk = serving()
    desk.queue(intent())
    if first == "component":
        aborted(desk)
        desk.queue(told("o1", "NEW"))
    else:
        desk.queue(told("o1", "NEW"))
        aborted(desk)
    assert breaks(desk) == ["ABORTED_BUT_AT_VENUE"]
    assert desk.core.state.book.working.count("account:ACC") == 1
    desk.queue(intent("m1", kind="MASS_CANCEL"))
    assert order(desk).cancel_by == "m1"
    desk.queue(told("o1", "CANCELED"))
    assert open_orders(desk.core.state.book) == ()
    assert desk.core.state.book.working.count("account:ACC") == 0


@pytest.mark.parametrize(("kind", "status"), [("CANCEL", "PENDING_CANCEL"), ("TRANSFER", "PENDING_NEW")])
def test_a_request_that_is_pending_is_asked_about_until_it_ends(kind: Any, status: str) -> None:
    """A cancel or transfer that the venue only says is pending is followed until it has ended, and is no leak."""
    desk = resting("o1")
    desk.queue(intent("c1", kind=kind, orig_cl_ord_id="o1", to_account="B", side="BUY"))
    desk.queue(committed("c1"))
    desk.queue(told("c1", status, exec_type="ORDER_STATUS"))
    desk.queue(told("o1", "CANCELED"))
    desk.sent.clear()
    desk.tick(61_000)
    assert wanted(desk) == ["c1"]
    desk.queue(told("c1", "CANCELED"))
    assert desk.core.state.book.open_count == 0


def test_nothing_is_kept_of_what_has_ended() -> None:
    """What the leader notes beside the journal on an order is forgotten with it."""
    desk = resting("o1", "o2")
    desk.queue(absence("q1"))
    desk.queue(intent("m1", kind="MASS_CANCEL"))
    desk.queue(told("m1", "CANCELED", order_id=""))
    queried(desk, told("o1", "NEW"))
    desk.tick(10_100)
    queried(desk, told("o1", "CANCELED"))
    queried(desk, told("o2", "CANCELED", order_id="V2"))
    desk.tick(70_000)
    verifier: Any = desk.core.verifier
    assert (verifier._absent_ns, verifier._answered, verifier._answers) == ({}, set(), {})
