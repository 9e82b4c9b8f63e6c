"""Kill, flatten and emergency shutdown in a whole system: component, venue and evidence, over the broker."""

from collections.abc import Callable

import pytest
from trading_system import TradingSystem, trading_system

from sidecar.broker.interface import Broker
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.client.halt_progress import HaltProgress
from sidecar.demo.venue_behaviour import Behaviour, refuses_cancel
from sidecar.messages.control import TradingState
from sidecar.messages.events import HaltStatus
from sidecar.messages.measures import MEASURES, Measure

ALL_REST = Behaviour(rejected_percent=0, slow_percent=0, lost_percent=0, resting_percent=100, partial_percent=0)
SOME_STAY = Behaviour(
    rejected_percent=0,
    slow_percent=0,
    lost_percent=0,
    resting_percent=100,
    partial_percent=0,
    uncancellable_percent=30,
)
ALL_FILL = Behaviour(
    rejected_percent=0, slow_percent=0, lost_percent=0, resting_percent=0, partial_percent=0, fill_ms=1
)


@pytest.fixture
def embedded() -> Callable[[str], Broker]:
    """The in-process broker."""
    hub = MemoryHub()
    return lambda name: MemoryBroker(hub, name=name)


async def halt(system: TradingSystem, level: TradingState, *measures: Measure, timeout_s: float = 20) -> HaltProgress:
    """An operator's halt of everything with these measures, followed until it is over."""
    return await system.operator.halt(("all",), level, "a drill", measures=measures, timeout_s=timeout_s)


def incomplete(halt: HaltStatus) -> bool:
    """Whether the component has reported and the arbiter has not found it complete."""
    return any(each.outcomes and not each.complete for each in halt.components)


async def test_a_kill_names_what_cannot_be_cancelled(clean_amqp_url: str) -> None:
    """Orders whose cancel the venue refuses keep a kill incomplete, by name, across every restart and the lifting."""
    async with trading_system(lambda name: RabbitBroker([clean_amqp_url], name=name), SOME_STAY) as system:
        await system.arrived(lambda names: any(refuses_cancel(each, SOME_STAY) for each in names[:-3]))
        await halt(system, TradingState.HALTED, "cancel", timeout_s=0.5)
        stays = [each for each in await system.arrived(lambda names: True) if refuses_cancel(each, SOME_STAY)]

        def as_wanted(each: HaltStatus) -> bool:
            rows = each.components
            if not (rows and rows[0].outcomes) or rows[0].complete:
                return False
            remaining, still_open = set(rows[0].outcomes[0].remaining), set(rows[0].still_open)
            return bool(remaining) and remaining == still_open and remaining <= set(stays)

        found = await system.halt_status(as_wanted)
        assert (found.in_force, found.incomplete_count) == (True, 1)
        remaining = found.components[0].still_open
        for each in ("arbiter", "sidecar"):
            await system.end(each)
            system.start(each)
            again = await system.halt_status(lambda each: incomplete(each) and each.age_ns > 0)
            assert (again.in_force, again.components[0].still_open) == (True, remaining)
        answer = await system.operator.resume(found.halt_id, "they are worked by hand")
        assert answer.code == "LIFTED"
        lifted = await system.halt_status(lambda each: not each.in_force)
        assert lifted.components[0].still_open == remaining


async def test_a_flatten_closes_positions(embedded: Callable[[str], Broker]) -> None:
    """A flatten lets no new entry pass, and closes what the component holds by orders that only reduce."""
    async with trading_system(embedded, ALL_FILL) as system:
        await system.arrived(lambda names: len(names) >= 11)
        await halt(system, TradingState.REDUCING, "flatten")
        found = await system.halt_status(lambda each: each.concerned_count == 1 and each.incomplete_count == 0)
        assert (found.level, found.components[0].outcomes[0].state) == (TradingState.REDUCING, "done")


async def test_an_emergency_shutdown_stops_the_component(embedded: Callable[[str], Broker]) -> None:
    """A shutdown cancels, flattens, hands over the state and stops the component; the sidecar lives on, closed."""
    async with trading_system(embedded, ALL_FILL) as system:
        await system.arrived(lambda names: len(names) >= 5)
        await halt(system, TradingState.HALTED, *MEASURES)
        found = await system.halt_status(lambda each: each.concerned_count == 1 and each.incomplete_count == 0)
        assert [each.state for each in found.components[0].outcomes] == ["done"] * 4
        await system.ended("component")
        assert system.runs("sidecar")


@pytest.mark.parametrize("order", [("sidecar", "arbiter"), ("arbiter", "sidecar")], ids="-".join)
async def test_halts_and_measures_outlive_everything(embedded: Callable[[str], Broker], order: tuple[str, str]) -> None:
    """When everything ends and starts again, in either order, the halt holds and what was done is still done."""
    async with trading_system(embedded, ALL_REST) as system:
        await system.arrived(lambda names: len(names) >= 5)
        await halt(system, TradingState.HALTED, "cancel")
        await system.halt_status(lambda each: each.concerned_count == 1 and each.incomplete_count == 0)
        await system.end("component", *order)
        before = len(await system.arrived(lambda names: True))
        system.start(*reversed(order), "component")
        await system.status(lambda each: any(sidecar.incarnation for sidecar in each.sidecars))
        found = await system.halt_status(lambda each: each.unlatched_count == 0 and bool(each.components))
        assert (found.in_force, found.incomplete_count) == (True, 0)
        assert len(await system.arrived(lambda names: True)) == before
