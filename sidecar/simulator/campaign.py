"""Many runs, one report. Owns seeds and sums."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sidecar.simulator.invariants import Violation
from sidecar.simulator.world import Scenario, World


@dataclass(slots=True)
class Report:
    """What a campaign saw. `violations` carry the seed that shows each again."""

    hours: float = 0.0
    runs: int = 0
    failovers: int = 0
    faults: int = 0
    violations: list[Violation] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)


def simulate(
    scenario: Scenario, *, hours: float, seed: int, progress: Callable[[float], None] = lambda _: None
) -> Report:
    """Run seeds `seed`, `seed` + 1, ... until `hours` of virtual time are done."""
    report = Report()
    while report.hours < hours:
        world = World(scenario, seed + report.runs)
        world.run()
        report.runs += 1
        report.hours += scenario.seconds / 3600
        report.failovers += world.failovers
        report.faults += len(world.faults)
        report.violations.extend(world.referee.violations)
        progress(min(1.0, report.hours / hours))
    return report
