"""The next holder's orders wait for those of the last one that may still be on their way."""

from typing import Any

import pytest
from desks import Desk, evidence, halt, intent, serving, started

from sidecar.core import predecessors
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.orders import (
    Absence,
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderIntent,
    OrderKind,
    OrderUnknown,
)

SLOT = "execution/0"
COMMITTED = OrderCommitted(component="exec-a", cl_ord_id="o1", order_id="V1", ord_status="NEW")
ABORTED = OrderAborted(component="exec-a", cl_ord_id="o1", reason="refused locally")
UNKNOWN = OrderUnknown(component="exec-a", cl_ord_id="o1", reason="timeout")


def next_intent(cl_ord_id: str = "n1", epoch: int = 2, **fields: Any) -> OrderIntent:
    """An order of the next holder."""
    values = {"component": "exec-b", "incarnation": "exec-b~1", "token": Token(1, epoch), **fields}
    return intent(cl_ord_id, **values)


def moved(*before: Any) -> Desk:
    """A leader that granted o1 to exec-a and read these messages; then exec-a's run ended, and exec-b has the slot."""
    desk = serving()
    for message in (intent(), *before):
        desk.queue(message)
    desk.release("exec-a", SlotToken(SLOT, Token(1, 1)))
    assert desk.holder() == "exec-b"
    desk.sent.clear()
    return desk


def answers(desk: Desk) -> list[str]:
    """ClOrdIDs that were answered, denials with their codes."""
    both: list[OrderGranted | OrderDenied] = [*desk.replies(OrderGranted), *desk.replies(OrderDenied)]
    return [f"{each.cl_ord_id} {each.code}" if isinstance(each, OrderDenied) else each.cl_ord_id for each in both]


def test_the_next_holders_order_waits_for_the_last_ones() -> None:
    """The slot moves at once; an order of its new holder is neither answered nor settled for A by the slowest clock."""
    desk = moved()
    desk.queue(next_intent())
    desk.tick(300)
    assert (answers(desk), desk.settled()) == ([], [])
    desk.tick(50)
    assert (answers(desk), desk.settled()) == (["n1"], ["ack"])
    assert desk.facts().count("OrderPrecommitted") == 2


@pytest.mark.parametrize("kind", ["NEW", "REPLACE", "CLOSE_POSITION", "TRANSFER"])
def test_whatever_may_open_risk_waits(kind: OrderKind) -> None:
    """An order of each kind but cancels is held back, also one that claims to reduce risk."""
    desk = moved(intent("o2"), OrderCommitted(component="exec-a", cl_ord_id="o2", order_id="V2", ord_status="NEW"))
    desk.queue(next_intent(kind=kind, orig_cl_ord_id="o2", to_account="other", reduces_risk=True))
    assert answers(desk) == []
    desk.tick(350)
    assert answers(desk) == ["n1"]


@pytest.mark.parametrize("kind", ["CANCEL", "MASS_CANCEL"])
def test_cancels_wait_for_nobody(kind: OrderKind) -> None:
    """A cancel of the new holder is granted at once."""
    desk = moved()
    desk.queue(next_intent(kind=kind, orig_cl_ord_id="o1"))
    assert (answers(desk), desk.settled()) == (["n1"], ["ack"])


def test_nobody_waits_for_a_cancel() -> None:
    """A cancel that may be on its way holds up nothing."""
    desk = moved(COMMITTED, intent("c1", kind="CANCEL", orig_cl_ord_id="o1"))
    desk.queue(next_intent())
    assert answers(desk) == ["n1"]


@pytest.mark.parametrize("news", [COMMITTED, ABORTED, evidence()], ids=["committed", "aborted", "seen at the venue"])
@pytest.mark.parametrize("early", [True, False], ids=["before the slot moved", "while the next one waits"])
def test_news_of_the_last_one_ends_the_wait(news: Any, early: bool) -> None:
    """Nothing waits for an order that is at the venue or was never sent, whenever that becomes known."""
    desk = moved(news) if early else moved()
    desk.queue(next_intent(), handle=7)
    assert answers(desk) == (["n1"] if early else [])
    desk.queue(news)
    assert answers(desk) == ["n1"]


def test_an_unknown_order_may_be_on_its_way() -> None:
    """A report that says nobody knows ends no wait, nor does one answer that the venue has no such order."""
    desk = moved(UNKNOWN)
    desk.queue(next_intent())
    desk.queue(Absence(reconciler="r", venue="SIM", cl_ord_id="o1", query_id="q1"))
    assert answers(desk) == []


def test_after_silence_nobody_waits() -> None:
    """The wait for a silent holder's lease covers what passed its gate."""
    desk = serving()
    desk.queue(intent())
    desk.live(3_500, "exec-b")
    assert desk.holder() == "exec-b"
    desk.sent.clear()
    desk.queue(next_intent())
    assert answers(desk) == ["n1"]


def test_a_new_leader_counts_from_its_beginning() -> None:
    """A leader that does not know when a slot was given back waits from the start of its term."""
    first = moved()
    first.tick(1_000)
    desk = Desk(name="arbiter-2", journal=first.journal)
    desk.queue(next_intent())
    assert answers(desk) == []
    desk.tick(350)
    assert answers(desk) == ["n1"]


def test_a_deposed_leader_hands_back_what_it_holds() -> None:
    """Whoever leads next answers an order that waited, once."""
    first = moved()
    first.queue(next_intent(), handle=7)
    first.journal.append(started(2))
    first.read_back()
    assert (answers(first), first.settled()) == ([], ["requeue"])
    first.tick(1_000)
    assert answers(first) == []


def test_what_a_lost_link_takes_away_is_delivered_again() -> None:
    """After a lost link nothing is answered that the broker will deliver again, and its repetition is answered once."""
    desk = moved()
    desk.queue(next_intent())
    desk.core.on_lost()
    desk.tick(100)
    desk.queue(next_intent())
    desk.tick(350)
    assert (answers(desk), desk.settled()) == (["n1"], ["ack"])


def test_a_repeated_question_waits_too_and_is_granted_once() -> None:
    """Both deliveries of a held order are answered, by one record, and orders keep their order."""
    desk = moved()
    for cl_ord_id in ("n1", "n2", "n1"):
        desk.queue(next_intent(cl_ord_id))
    desk.tick(350)
    assert answers(desk) == ["n1", "n2", "n1"]
    assert desk.settled() == ["ack"] * 3
    assert desk.facts().count("OrderPrecommitted") == 3


def test_later_orders_do_not_overtake() -> None:
    """An order that comes when the wait is over, and before time was looked at, is answered after those that waited."""
    desk = moved()
    desk.queue(next_intent("n1"))
    desk.now_ns += 310 * MS
    desk.queue(next_intent("n2"))
    assert answers(desk) == ["n1", "n2"]


def test_what_was_granted_before_is_answered_at_once() -> None:
    """A repeated question about a grant of before a takeover does not wait."""
    first = moved(COMMITTED)
    first.queue(next_intent())
    desk = Desk(name="arbiter-2", journal=first.journal)
    desk.queue(next_intent())
    assert answers(desk) == ["n1"]


def test_every_rule_is_asked_again_when_the_wait_is_over() -> None:
    """A halt that came meanwhile denies what waited; what is forbidden now is denied now."""
    desk = moved()
    desk.queue(next_intent("n1"))
    desk.queue(halt(reducing_allowed=False))
    desk.queue(next_intent("n2"))
    assert answers(desk) == ["n2 HALTED"]
    desk.tick(350)
    assert answers(desk) == ["n2 HALTED", "n1 HALTED"]


def test_an_order_whose_own_hold_ends_is_denied_at_once() -> None:
    """What waits for a slot that its component loses is denied with the next tick."""
    desk = moved()
    desk.hear("exec-a", "exec-a~2")
    desk.queue(next_intent())
    desk.release("exec-b", SlotToken(SLOT, Token(1, 2)))
    desk.tick()
    assert answers(desk) == ["n1 STALE_TOKEN"]


def test_the_time_runs_from_the_last_release() -> None:
    """Of two quick moves the second holder's orders are waited for like the first one's."""
    desk = moved()
    desk.tick(350)
    desk.queue(next_intent("n1"))
    desk.hear("exec-a", "exec-a~2")
    desk.release("exec-b", SlotToken(SLOT, Token(1, 2)))
    assert desk.holder() == "exec-a"
    desk.sent.clear()
    desk.queue(intent("m1", incarnation="exec-a~2", token=Token(1, 3)))
    desk.tick(290)
    assert answers(desk) == []
    desk.tick(60)
    assert answers(desk) == ["m1"]


def test_too_many_are_denied_and_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound an order is denied with what it waits for, nothing is journaled, and it may be asked again."""
    monkeypatch.setattr(predecessors, "HELD_MAX", 1)
    desk = moved()
    desk.tick(100)
    facts = desk.facts()
    desk.queue(next_intent("n1"))
    desk.queue(next_intent("n2"))
    (denial,) = desk.replies(OrderDenied)
    assert denial.code == "PREDECESSOR"
    assert "1 orders" in denial.text
    assert "o1" in denial.text
    assert "203 ms" in denial.text
    assert desk.facts() == facts
    desk.tick(250)
    desk.queue(next_intent("n2"))
    assert answers(desk) == ["n1", "n2", "n2 PREDECESSOR"]


def test_other_slots_do_not_wait() -> None:
    """Without an order of an older token nothing waits, however soon after the slot moved."""
    desk = serving()
    desk.release("exec-a", SlotToken(SLOT, Token(1, 1)))
    desk.sent.clear()
    desk.queue(next_intent())
    assert answers(desk) == ["n1"]
