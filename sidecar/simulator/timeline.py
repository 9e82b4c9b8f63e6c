"""One run, told in order. Owns the wording of a replay; it must not know how the run was made."""

from collections.abc import Iterator

from sidecar.simulator.world import Scenario, World


def replay(scenario: Scenario, seed: int) -> World:
    """The run of this seed again, with its timeline."""
    world = World(scenario, seed, traced=True)
    world.run()
    return world


def lines(world: World) -> Iterator[str]:
    """One line for each fault, record (ticks left out), gate and broken promise: true time in seconds, then what."""
    for at_ns, text in world.timeline:
        yield f"{at_ns / 1e9:10.4f}  {text}"
    moved = ", ".join(f"{count} {cause}" for cause, count in sorted(world.failovers.items())) or "none"
    broken = len(world.referee.violations)
    yield f"{world.agenda.now_ns / 1e9:10.4f}  end    failovers: {moved}; broken promises: {broken or 'none'}"
