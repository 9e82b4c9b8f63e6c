"""Measures under any order and repetition of halts, control states, answers, restarts and liftings."""

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_worlds import DONE, START_NS, World, halt, left

from sidecar.core.ladder import ControlMemory
from sidecar.core.measure_run import MeasureRules
from sidecar.core.measures import Measures
from sidecar.messages.control import ControlState, Halt
from sidecar.messages.local import MeasureAnswer
from sidecar.messages.measures import Measure

HALTS = [halt("h1"), halt("h2", "flatten"), halt("h3", "cancel", "stop"), halt("h4", "persist")]
STATES = [
    ControlState(arbiter="arbiter-1", term=1, version=1, halts=(HALTS[0],)),
    ControlState(arbiter="arbiter-1", term=1, version=3, halts=(HALTS[0], HALTS[1], HALTS[2])),
    ControlState(arbiter="arbiter-1", term=1, version=4, halts=(HALTS[1], HALTS[2]), lifted=("h1",)),
]


def latched(messages: list[Halt | ControlState]) -> tuple[ControlMemory, Measures]:
    """A receiver's memory and its measures after these messages, each followed by what the shell does."""
    memory, core = ControlMemory(), Measures("exec-a", MeasureRules())
    core.attached("a~1", START_NS)
    for at, each in enumerate(messages):
        memory = memory.heard(each) if isinstance(each, Halt) else memory.told(each)
        core.sync(memory.in_force, lambda _: True)
        core.tick(START_NS + at)
    return memory, core


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([*HALTS, *STATES]), max_size=12))
def test_order_and_repetition_of_halts_cannot_matter(extra: list[Halt | ControlState]) -> None:
    """However halts and control states arrive, and however often, the same halts are latched and measured at last."""
    last = STATES[-1]
    memory, core = latched([*extra, *HALTS, last])
    in_force = {each.halt_id for each in memory.in_force}
    assert in_force == {"h2", "h3", "h4"}
    open_runs = {each.halt.halt_id for each in core.kept()}
    assert open_runs - {"h1"} == in_force  # The cancel of h1 goes on where it was begun.


@settings(deadline=None, max_examples=50)
@given(st.permutations([("cancel", left("o-1")), ("cancel", DONE), ("flatten", DONE), ("cancel", left("o-2"))]))
def test_order_and_repetition_of_answers_cannot_matter(answers: list[tuple[Measure, MeasureAnswer]]) -> None:
    """Once both measures are under way, their answers in any order and repeated complete the run all the same."""
    world = World(halt("h1", "cancel", "flatten"))
    world.tick(1_000)
    for measure, answer in [*answers, *reversed(answers)]:
        world.answer(measure, answer)
    assert world.states == ["done", "done"]
    assert world.said[-1].completed


INPUTS: dict[str, Callable[[World], object]] = {
    "tick": lambda world: world.tick(450),
    "attach": lambda world: world.core.attached(f"a~{world.now_ns}", world.now_ns),
    "detach": lambda world: world.core.attached("", world.now_ns),
    "done": lambda world: world.answer("cancel"),
    "left": lambda world: world.answer("cancel", left("o-1")),
    "flat": lambda world: world.answer("flatten"),
    "lift": lambda world: world.latch(),
    "halt": lambda world: world.latch(halt("h1", "cancel", "flatten")),
    "restart": lambda world: world.restart(),
    "recorded": lambda world: world.record() if world.said else None,
}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(sorted(INPUTS)), max_size=25))
def test_whatever_happens_a_live_component_completes(steps: list[str]) -> None:
    """After any course of events, a component that is there and does what it is asked completes every run."""
    world = World(halt("h1", "cancel", "flatten"))
    for each in steps:
        INPUTS[each](world)
    world.core.attached("a~last", world.now_ns)
    for _ in range(3):
        world.tick(4_000)
        for measure in ("cancel", "flatten"):
            world.answer(measure)
    assert all(each.completed for each in world.core.reports(world.now_ns))


@pytest.mark.parametrize("order", list(permutations(["restart", "lift", "left"])), ids="-".join)
def test_restarts_and_liftings_in_every_order(order: tuple[str, ...]) -> None:
    """In whichever order sidecar, halt and component change, an unfinished cancel is still asked for at the end."""
    world = World(halt("h1", "cancel", "flatten"))
    for each in order:
        INPUTS[each](world)
    world.outputs.clear()
    world.tick(1_000)
    assert "cancel" in world.asked
