"""The sidecar's side of a cold start: each row of the table in core/starter.py."""

import pytest

from sidecar.core.starter import Starter
from sidecar.messages.base import Token
from sidecar.messages.health import StartComponent, StartFailed


def order(n: int = 1, term: int = 1, component: str = "exec-b", run: str = "r1") -> StartComponent:
    """An order to start."""
    return StartComponent(arbiter="arbiter-1", component=component, run=run, order=Token(term, n))


def starter(*, able: bool = True) -> Starter:
    """A sidecar's starter."""
    return Starter("exec-b", "r1", able=able)


def test_an_order_is_obeyed_once() -> None:
    """The first order has the action run; the same one and older ones never do again, and a newer one does."""
    one = starter()
    seen = [one.startable]
    assert one.ordered(order(5), attached=False) is True
    assert one.ordered(order(5), attached=False) is False
    seen.append(one.startable)
    one.failed("exit code 1")
    assert [*seen, one.startable] == [True, False, True]
    assert one.ordered(order(5), attached=False) is False
    assert one.ordered(order(4), attached=False) is False
    assert one.ordered(order(1, term=2), attached=False) is True


@pytest.mark.parametrize("foreign", [order(component="exec-c"), order(run="r0")], ids=["component", "run"])
def test_an_order_for_somebody_else_does_nothing(foreign: StartComponent) -> None:
    """An order for another component or another run of the sidecar is not obeyed, and does not use the number up."""
    one = starter()
    assert one.ordered(foreign, attached=False) is False
    assert one.ordered(order(), attached=False) is True


def test_nothing_is_started_beside_an_attached_component() -> None:
    """While a component is attached no order has the action run."""
    one = starter()
    assert one.ordered(order(), attached=True) is False
    assert one.startable


def test_one_action_at_a_time() -> None:
    """A newer order while an action runs is refused, before its component came up and after."""
    one = starter()
    one.ordered(order(1), attached=False)
    refused = one.ordered(order(2), attached=False)
    assert isinstance(refused, StartFailed)
    assert (refused.order, refused.reason) == (Token(1, 2), "an earlier start action still runs")
    one.came_up(running=True)
    assert not one.startable
    assert isinstance(one.ordered(order(3), attached=False), StartFailed)
    one.ended()
    assert one.ordered(order(4), attached=False) is True


def test_an_action_that_returned_leaves_the_sidecar_able() -> None:
    """When the component came up and the action has returned, the next order is obeyed."""
    one = starter()
    one.ordered(order(1), attached=False)
    one.came_up(running=False)
    assert one.startable
    assert one.ordered(order(2), attached=False) is True


def test_a_failure_is_told_once() -> None:
    """The failure names the order that failed; without a start under way there is nothing to tell."""
    one = starter()
    one.ordered(order(7), attached=False)
    assert one.failed("exit code 1") == StartFailed(
        component="exec-b", run="r1", order=Token(1, 7), reason="exit code 1"
    )
    assert one.failed("exit code 1") is None


def test_without_an_action_every_order_is_refused() -> None:
    """A sidecar that has no start action says so."""
    one = starter(able=False)
    assert not one.startable
    refused = one.ordered(order(), attached=False)
    assert isinstance(refused, StartFailed)
    assert refused.reason == "its sidecar has no component.start"
