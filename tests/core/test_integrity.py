"""What cannot be is found, halts its scope, and stays halted until an operator says why not."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from desks import Desk
from journals import journal
from order_desks import order, resting, told, trade

from sidecar.core import integrity
from sidecar.core.fills import Fills
from sidecar.core.integrity import checks, order_problem
from sidecar.core.state import Holder, State
from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.control import ResumeRequest
from sidecar.messages.orders import OrderDenied


def traded() -> Desk:
    """A leader whose holder has orders in several states, and a position."""
    desk = resting("o1", "o2", "o3")
    for each in (
        trade("o1", qty="40", cum="40", exec_id="f1"),
        trade("o1", qty="30", cum="30", exec_id="f2", exec_type="TRADE_CORRECT", exec_ref_id="f1"),
        trade("o2", qty="100", cum="100", order_id="V2"),
        told("o3", "CANCELED", order_id="V3"),
        told("theirs", "NEW", order_id="V9"),
    ):
        desk.queue(each)
    return desk


def test_what_happens_is_never_a_violation() -> None:
    """A leader that traded finds nothing against itself, at the start of its term or later."""
    desk = traded()
    again = Desk(journal=list(desk.journal), name="arbiter-2")
    again.tick(200)
    desk.tick(61_000)
    assert again.core.state.halts == {}
    assert [each for each in checks(desk.core.state) if each is not None] == []


def _position(desk: Desk) -> None:
    positions = desk.core.state.book.exposure.positions
    name = next(iter(positions))
    positions[name] = msgspec.structs.replace(positions[name], cash=positions[name].cash + 1)


def _fills(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = replace(order(desk), fills=Fills(cum_qty=Decimal(-1)))


def _executions(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = replace(order(desk), fills=Fills(cum_qty=Decimal(30), trades=Decimal(30)))


def _unsent(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = replace(order(desk), never_sent=True, breaks=())


def _nameless(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = replace(order(desk), superseded=True)


def _token(desk: Desk) -> None:
    desk.core.state.holders["execution/0"] = Holder("exec-a", "exec-a~1", Token(1, 9))


def _sums(desk: Desk) -> None:
    desk.core.state.book.working.counts["all"] += 1


@pytest.mark.parametrize(
    ("harm", "scope"),
    [
        (_position, "account:ACC"),
        (_fills, "account:ACC"),
        (_executions, "account:ACC"),
        (_token, "group:execution"),
        (_sums, "all"),
    ],
)
def test_a_violation_halts_its_scope(harm: Callable[[Desk], None], scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each violation is found within a round and halts its scope, once, with what is wrong as the reason."""
    monkeypatch.setattr(integrity, "CHECK_NS", 100 * MS)
    desk = traded()
    harm(desk)
    desk.tick(61_000 if scope != "group:execution" else 300)
    raised = [each for each in desk.core.state.halts.values() if each.scopes == (scope,)]
    assert len(raised) == 1
    assert raised[0].reason.startswith("integrity: ")
    assert desk.core.leading


@pytest.mark.parametrize("harm", [_fills, _executions, _unsent, _nameless])
def test_states_that_nothing_legal_leads_to(harm: Callable[[Desk], None]) -> None:
    """Each illegal state of an order is named."""
    desk = traded()
    assert order_problem(order(desk)) == ""
    harm(desk)
    assert order_problem(order(desk))


def test_only_an_operator_lifts_it() -> None:
    """Trading goes on when an operator has said why, and stops again if the next round still finds it."""
    desk = traded()
    _position(desk)
    desk.tick(61_000)
    (halt_id,) = desk.core.state.halts
    desk.queue(ResumeRequest(request_id="r", halt_id=halt_id, actor="dana", reason="looked at"), user="operator")
    assert desk.core.state.halts == {}
    desk.tick(61_000)
    assert len(desk.core.state.halts) == 1
    assert desk.replies(OrderDenied) == []


def test_a_round_takes_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a whole round: a tick looks at so many, and the rest comes with the next ones."""
    monkeypatch.setattr(integrity, "SLICE", 1)
    desk = traded()
    _position(desk)
    desk.tick(50)
    assert desk.core.state.halts == {}
    desk.tick(61_000)
    assert len(desk.core.state.halts) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_checks_raise_for_no_journal(seed: int) -> None:
    """Whatever a journal holds, the checks come to an end."""
    folded = State()
    for each in journal(seed, length=1_500):
        folded.apply(each)
    assert sum(1 for _ in checks(folded)) > 0
