"""Breaks end by an operator's word only, and what is known of the order decides where it stands then."""

from typing import Any

import pytest
from desks import Desk, intent, serving
from order_desks import breaks, committed, order, position, resting, told, trade, wanted

from sidecar.messages.control import CommandResult
from sidecar.messages.events import BreakResolved
from sidecar.messages.orders import Absence, OrderAborted, Phase, ResolveBreak

ABORTED = OrderAborted(component="exec-a", cl_ord_id="o1", reason="refused locally")


def resolve(desk: Desk, cl_ord_id: str = "o1", *, user: str = "operator", reason: str = "looked at") -> CommandResult:
    """An operator's request, and its answer."""
    request = ResolveBreak(request_id="r1", cl_ord_id=cl_ord_id, actor="dana", reason=reason)
    desk.queue(request, user=user)
    return desk.replies(CommandResult)[-1]


def missing(desk: Desk) -> Desk:
    """The same desk after the venue twice did not know the order."""
    for query_id in ("q1", "q2"):
        desk.queue(Absence(reconciler="r", venue="SIM", cl_ord_id="o1", query_id=query_id))
        desk.tick(1_500)
    return desk


def asked(*messages: Any) -> Desk:
    """A leader that granted o1 and read these messages."""
    desk = serving()
    for each in (intent(), *messages):
        desk.queue(each)
    return desk


@pytest.mark.parametrize(
    ("desk", "phase", "ended"),
    [
        (lambda: missing(asked(committed())), Phase.ABORTED, False),
        (lambda: missing(resting("o1")), Phase.VERIFIED, True),
        (lambda: asked(ABORTED, told("o1", "NEW")), Phase.VERIFIED, False),
        (lambda: asked(ABORTED, committed()), Phase.ABORTED, False),
        (lambda: asked(committed(), trade(qty="130", cum="130")), Phase.VERIFIED, True),
        (lambda: asked(committed(), told("o1", "NEW", order_id="V9")), Phase.VERIFIED, False),
    ],
)
def test_what_is_known_decides_where_it_stands(desk: Any, phase: Phase, ended: bool) -> None:
    """A closed break leaves the order where the venue's word puts it, over where the venue does not know it."""
    found = desk()
    assert order(found).phase is Phase.BREAK
    assert resolve(found).ok
    assert (order(found).phase, order(found).ended, order(found).breaks) == (phase, ended, ())
    (event,) = found.events(BreakResolved)
    assert event.kinds
    assert found.facts()[-1] == "BreakClosed"


@pytest.mark.parametrize(
    ("name", "user", "reason"),
    [("o1", "exec-a", "looked at"), ("o1", "operator", " "), ("o2", "operator", "looked at")],
)
def test_only_an_operator_closes_what_is_open(name: str, user: str, reason: str) -> None:
    """Without an operator, a reason or an open break nothing changes, and the answer says why."""
    desk = asked(committed(), trade(qty="130", cum="130"))
    desk.queue(intent("o2", account="OTHER"))
    answer = resolve(desk, name, user=user, reason=reason)
    assert not answer.ok
    assert answer.text
    assert "BreakClosed" not in desk.facts()


def test_an_order_of_others_is_followed_on() -> None:
    """An external order that was looked into is followed like one of ours, and asked about while it is open."""
    desk = serving()
    desk.queue(told("theirs", "NEW", order_id="V7"))
    assert resolve(desk, "theirs").ok
    desk.tick(60_100)
    assert wanted(desk) == ["theirs"]
    desk.queue(trade("theirs", qty="100", cum="100", order_id="V7"))
    assert (order(desk, "theirs").finished, position(desk)) == (True, 100)
    assert breaks(desk) == ["EXTERNAL_ORDER"]


def test_a_new_difference_is_a_new_break() -> None:
    """What was closed does not hide what comes later."""
    desk = asked(committed(), trade(qty="130", cum="130", exec_id="f1"))
    resolve(desk)
    desk.queue(trade(qty="10", cum="140", exec_id="f2"))
    assert breaks(desk) == ["OVERFILL", "OVERFILL"]


def test_evidence_of_nobodys_order_can_be_closed() -> None:
    """A break without an order is closed too, and counted no more."""
    desk = serving()
    desk.core.state.book._remembered["old"] = None
    desk.queue(told("old", "NEW", order_id="V7"))
    assert desk.core.state.book.counts().broken == 1
    assert resolve(desk, "old").ok
    assert desk.core.state.book.counts().broken == 0
