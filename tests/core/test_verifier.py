"""The commit verifier: three phases at the leader's desk."""

from decimal import Decimal
from typing import Any

import pytest
from desks import Desk, evidence, halt, intent, serving

from sidecar.core import precommit, waits
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import TradingState
from sidecar.messages.events import BreakFound, OrderChanged
from sidecar.messages.orders import (
    Absence,
    EvidenceWanted,
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderUnknown,
    Phase,
    ReportRecorded,
)

COMMITTED = OrderCommitted(component="exec-a", cl_ord_id="o1", order_id="V1", ord_status="NEW")
ABORTED = OrderAborted(component="exec-a", cl_ord_id="o1", reason="refused locally")
UNKNOWN = OrderUnknown(component="exec-a", cl_ord_id="o1", reason="timeout")


def granted(*messages: Any) -> Desk:
    """A leader that granted o1 and then read these messages."""
    desk = serving()
    desk.sent.clear()
    for message in (intent(), *messages):
        desk.queue(message)
    return desk


def phase(desk: Desk, cl_ord_id: str = "o1") -> Phase:
    """Where the order stands."""
    return desk.core.state.book.orders[cl_ord_id].phase


def absence(query_id: str, venue: str = "SIM") -> Absence:
    """One targeted query that found nothing."""
    return Absence(reconciler="r", venue=venue, cl_ord_id="o1", query_id=query_id)


# --- phase one ---


def test_a_grant_is_journaled_before_it_is_answered() -> None:
    """No answer to an intent leaves before its record was read back."""
    desk = serving()
    desk.reading = False
    desk.sent.clear()
    desk.queue(intent())
    assert desk.facts()[-1] == "OrderPrecommitted"
    assert desk.sent == []
    desk.read_back()
    (answer,) = desk.replies(OrderGranted)
    assert (answer.term, answer.n) == (desk.journal[-1].term, desk.journal[-1].n)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": Token(1, 2)}, "STALE_TOKEN"),
        ({"token": Token(0, 1)}, "STALE_TOKEN"),
        ({"incarnation": "exec-a~0"}, "STALE_TOKEN"),
        ({"component": "exec-b"}, "STALE_TOKEN"),
        ({"slot": "other/0"}, "STALE_TOKEN"),
        ({"qty": Decimal(0)}, "BAD_QTY"),
        ({"qty": Decimal(-1)}, "BAD_QTY"),
        ({"price": Decimal(0)}, "BAD_PRICE"),
        ({"qty": Decimal("NaN")}, "BAD_FIELD"),
        ({"qty": Decimal("sNaN")}, "BAD_FIELD"),
        ({"qty": Decimal("Infinity")}, "BAD_FIELD"),
        ({"qty": Decimal("1E+999999999999")}, "BAD_FIELD"),
        ({"price": Decimal("1." + "1" * 60_000)}, "BAD_FIELD"),
        ({"cl_ord_id": ""}, "BAD_FIELD"),
        ({"cl_ord_id": "x" * 60_000}, "BAD_FIELD"),
        ({"strategy": "x" * 257}, "BAD_FIELD"),
        ({"token": Token(-1, 1)}, "BAD_FIELD"),
        ({"token": Token(10**300, 1)}, "BAD_FIELD"),
    ],
)
def test_a_bad_order_is_denied_with_its_code(change: dict[str, Any], code: str) -> None:
    """Each rule denies with a code of its own, the leader goes on leading, and asking again gets the same answer."""
    desk = serving()
    for _ in range(2):
        desk.sent.clear()
        desk.queue(intent(**change))
        assert [each.code for each in desk.replies(OrderDenied)] == [code]
        assert desk.settled() == ["ack"]
    assert desk.core.leading
    assert desk.core.state.book.counts().granted == 0


def test_a_cancel_needs_no_quantity_and_passes_a_halt() -> None:
    """A cancel is granted under HALTED, whatever its quantity says."""
    desk = granted(halt(reducing_allowed=False), intent("c1", kind="CANCEL", qty=Decimal(0)))
    assert len(desk.replies(OrderGranted)) == 2


@pytest.mark.parametrize(
    "scope", ["all", "group:execution", "component:exec-a", "venue:SIM", "account:ACC", "symbol:XYZ"]
)
def test_a_halt_denies_orders_in_every_matching_scope(scope: str) -> None:
    """The trading state of every matching scope is checked at the arbiter, too."""
    desk = serving()
    desk.queue(halt("h", scope))
    desk.queue(intent())
    desk.queue(intent("o2", reduces_risk=True))
    assert [each.code for each in desk.replies(OrderDenied)] == ["HALTED"]
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o2"]


def test_a_paused_holder_is_stopped_by_its_token() -> None:
    """Once the slot has moved, an order under the earlier token is denied."""
    desk = serving()
    desk.release("exec-a", SlotToken("execution/0", Token(1, 1)))
    desk.queue(intent())
    assert desk.replies(OrderDenied)[0].code == "STALE_TOKEN"


def test_in_flight_at_a_crash() -> None:
    """A redelivered intent gets the same grant and is journaled once."""
    desk = granted(intent())
    first, second = desk.replies(OrderGranted)
    assert first == second
    assert desk.facts().count("OrderPrecommitted") == 1


@pytest.mark.parametrize("after", [COMMITTED, ABORTED, UNKNOWN, halt(), intent(qty=Decimal(7))])
def test_each_order_is_granted_at_most_once(after: Any) -> None:
    """A grant is not repeated after a report, under a halt, or for another order with the same ClOrdID."""
    desk = granted(after)
    desk.queue(after if getattr(after, "cl_ord_id", "") == "o1" and hasattr(after, "qty") else intent())
    assert len(desk.replies(OrderGranted)) == 1
    assert desk.replies(OrderDenied)[-1].code in ("DUPLICATE", "HALTED")


def test_a_denial_stays_a_denial() -> None:
    """A ClOrdID that was denied is never granted later, even when the reason is gone."""
    desk = serving()
    desk.queue(halt(level=TradingState.REDUCING))
    desk.queue(intent())
    desk.core.state.halts.clear()
    desk.queue(intent())
    desk.queue(intent(symbol="ABC"))
    assert [each.code for each in desk.replies(OrderDenied)] == ["REDUCING", "REDUCING", "DUPLICATE"]


def test_the_id_of_an_external_order_is_taken() -> None:
    """A ClOrdID that the venue knows from somebody else is not granted to us."""
    desk = serving()
    desk.queue(evidence())
    desk.queue(intent())
    assert desk.replies(OrderDenied)[0].code == "DUPLICATE"


def test_capacity_denies_entries_before_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many open orders entries are denied while cancels still pass."""
    monkeypatch.setattr(precommit, "OPEN_MAX", 3)
    desk = serving()
    for n in range(4):
        desk.queue(intent(f"o{n}"))
    desk.queue(intent("c", kind="CANCEL"))
    assert [each.code for each in desk.replies(OrderDenied)] == ["CAPACITY"]
    assert [each.cl_ord_id for each in desk.replies(OrderGranted)] == ["o0", "o1", "o2", "c"]


# --- phase two ---


def test_reports_are_recorded_and_repeated_ones_change_nothing() -> None:
    """A report is answered with the phase it led to, and its repetition says that nothing changed."""
    desk = granted(COMMITTED, COMMITTED)
    first, second = desk.replies(ReportRecorded)
    assert (first.phase, first.text) == (Phase.COMMITTED, "")
    assert "nothing changed" in second.text
    assert desk.facts().count("OrderReported") == 1


@pytest.mark.parametrize(
    "stray",
    [
        OrderCommitted(component="exec-b", cl_ord_id="o1", order_id="V1", ord_status="NEW"),
        OrderAborted(component="exec-a", cl_ord_id="other", reason=""),
        OrderCommitted(component="exec-a", cl_ord_id="o1", order_id="V" * 60_000, ord_status="NEW"),
    ],
)
def test_a_report_that_fits_no_order_changes_nothing(stray: Any) -> None:
    """A report of somebody else's, an unknown or an absurd order is answered and not recorded."""
    desk = granted(stray)
    assert phase(desk) is Phase.PRECOMMITTED
    assert desk.replies(ReportRecorded)[0].text


def test_venue_timeout_is_unknown_and_asked_for() -> None:
    """An ambiguous outcome is UNKNOWN, never rejected, and evidence is wanted at once and again."""
    desk = granted(UNKNOWN)
    assert phase(desk) is Phase.UNKNOWN
    assert len(desk.events(EvidenceWanted)) == 1
    desk.tick(4_500)
    assert len(desk.events(EvidenceWanted)) == 3
    desk.queue(evidence())
    assert phase(desk) is Phase.VERIFIED


def test_no_report_by_the_deadline_is_unknown() -> None:
    """A granted order that nobody reports on is UNKNOWN after the deadline, and never given up."""
    desk = granted()
    desk.tick(4_900)
    assert phase(desk) is Phase.PRECOMMITTED
    desk.tick(200)
    assert phase(desk) is Phase.UNKNOWN
    assert desk.events(EvidenceWanted)


def test_a_commit_without_evidence_is_asked_for() -> None:
    """A committed order for which no drop copy comes is asked for at the venue: streams lie while heartbeating."""
    desk = granted(COMMITTED)
    desk.tick(9_900)
    assert desk.events(EvidenceWanted) == []
    desk.tick(300)
    assert desk.events(EvidenceWanted)[0].phase is Phase.COMMITTED


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ((ABORTED, COMMITTED), "COMMITTED_AFTER_ABORT"),
        ((COMMITTED, ABORTED), "ABORTED_AFTER_COMMIT"),
        ((evidence(), ABORTED), "ABORTED_BUT_AT_VENUE"),
        ((ABORTED, evidence()), "ABORTED_BUT_AT_VENUE"),
        ((evidence(order_id="V9"), COMMITTED), "OTHER_ORDER_ID"),
        ((COMMITTED, evidence(cum="130", status="FILLED")), "OVERFILL"),
        ((COMMITTED, evidence(order_qty=Decimal(7))), "OTHER_QUANTITY"),
        ((COMMITTED, evidence(cum_qty=Decimal("NaN"))), "UNREADABLE_EVIDENCE"),
        ((COMMITTED, evidence(order_qty=Decimal("sNaN"))), "UNREADABLE_EVIDENCE"),
        ((COMMITTED, evidence(order_id="V" * 60_000)), "UNREADABLE_EVIDENCE"),
    ],
)
def test_every_difference_is_a_break_and_told_once(messages: tuple[Any, ...], kind: str) -> None:
    """A difference between the component's word and the venue's is a BREAK with an alert, however often repeated."""
    desk = granted(*messages)
    desk.queue(messages[-1])
    assert phase(desk) is Phase.BREAK
    assert [each.kind for each in desk.events(BreakFound)] == [kind]
    assert desk.core.leading


# --- phase three ---


def test_evidence_before_the_report() -> None:
    """Evidence that overtakes the report waits for it, and both verify the order."""
    desk = granted(evidence())
    assert phase(desk) is Phase.PRECOMMITTED
    desk.queue(COMMITTED)
    assert phase(desk) is Phase.VERIFIED


def test_evidence_without_a_report_verifies_after_the_deadline() -> None:
    """An order that the venue has and nobody reports on is VERIFIED when the report is overdue."""
    desk = granted(evidence())
    desk.tick(5_200)
    assert phase(desk) is Phase.VERIFIED


def test_resend_with_possdup() -> None:
    """Evidence that is handed over twice is journaled once."""
    desk = granted(COMMITTED, evidence(), evidence())
    assert desk.facts().count("EvidenceSeen") == 1


def test_external_order() -> None:
    """An order at the venue that we never granted is a break, told once, whatever its id looks like."""
    desk = serving()
    for cl_ord_id in ("theirs", "theirs", "", "x" * 60_000):
        unreadable = {"cum_qty": Decimal("NaN"), "order_id": "V9"} if cl_ord_id == "" else {}
        desk.queue(evidence(cl_ord_id, **unreadable))
    assert [each.kind for each in desk.events(BreakFound)] == ["EXTERNAL_ORDER"] * 3
    assert max(len(each.cl_ord_id) for each in desk.events(BreakFound)) <= 256


def test_absence_needs_two_targeted_queries_apart_in_time() -> None:
    """One empty query, the same one twice, two at once or one at another venue prove nothing; two apart do."""
    desk = granted(UNKNOWN, absence("q1"), absence("q1"), absence("q2"), absence("q3", venue="OTHER"))
    desk.tick(2_000)
    desk.queue(absence("q1"))
    desk.queue(absence("q4", venue="OTHER"))
    assert phase(desk) is Phase.UNKNOWN
    desk.queue(absence("q2"))
    assert phase(desk) is Phase.ABORTED
    desk.queue(evidence())
    assert phase(desk) is Phase.BREAK


def test_absence_of_what_was_committed_is_a_break() -> None:
    """An order that the component says is at the venue and the venue does not know is a break."""
    desk = granted(COMMITTED, absence("q1"))
    desk.tick(1_500)
    desk.queue(absence("q2"))
    assert [each.kind for each in desk.events(BreakFound)] == ["MISSING_AT_VENUE"]


def test_absence_before_anybody_is_in_doubt_says_nothing() -> None:
    """An empty query about an order whose report is still awaited is no evidence."""
    desk = granted(absence("q1"))
    assert "AbsenceSeen" not in desk.facts()


def test_late_evidence_for_a_retired_order_is_a_break() -> None:
    """A fill for an order that has left memory is never hidden."""
    desk = serving()
    desk.core.state.book._remembered["old"] = None
    desk.queue(evidence("old"))
    assert [each.kind for each in desk.events(BreakFound)] == ["LATE_EVIDENCE"]


def test_a_new_leader_takes_over_the_deadlines() -> None:
    """Deadlines survive the leader: the next one counts them afresh and asks for evidence."""
    desk = Desk(journal=granted(UNKNOWN).journal, name="arbiter-2")
    desk.tick(2_200)
    assert [each.cl_ord_id for each in desk.events(EvidenceWanted)] == ["o1"]


def test_a_stall_does_not_handle_every_deadline_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stall overdue orders are handled in batches, and none is left out."""
    monkeypatch.setattr(waits, "DUE_MAX", 10)
    desk = serving()
    for n in range(35):
        desk.queue(intent(f"o{n}"))
    desk.now_ns += 60_000 * MS
    desk.tick()
    assert desk.facts().count("OrderLost") == 10
    desk.tick(500)
    assert desk.facts().count("OrderLost") == 35
    assert len([each for each in desk.events(OrderChanged) if each.phase is Phase.UNKNOWN]) == 35
