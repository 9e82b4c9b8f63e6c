"""`sidecar simulate`: try to split the leases of your own configuration, in virtual time.

Owns the command line and the printing. It must not know how a run works.
"""

from typing import Annotated

import typer
from rich.progress import Progress

from sidecar.cli.errors import ExitCode
from sidecar.cli.graph import read_settings
from sidecar.cli.options import ConfigOption, JsonOption
from sidecar.cli.output import console, print_json
from sidecar.core.groups import GroupPlan, Mode, plan_group
from sidecar.simulator.campaign import Report, simulate
from sidecar.simulator.world import Scenario

EXAMPLE = "example"
"""The group that is simulated when the configuration has none."""


def simulate_command(
    config: ConfigOption = None,
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=10_000, help="Virtual hours.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="The first run's seed; each run takes the next.")] = 1,
    arbiters: Annotated[int, typer.Option("--arbiters", min=1, max=9, help="How many arbiters.")] = 2,
    faults: Annotated[int, typer.Option("--faults-per-minute", min=0, max=600, help="Faults per minute.")] = 12,
    json: JsonOption = False,
) -> None:
    """Run the real decisions against crashes, stops, cuts, loss and erring clocks; report any broken promise.

    Exit code 1 when a promise was broken; the seed printed with it shows it again.
    """
    settings = read_settings(config)
    scenario = Scenario(
        plans=settings.plans() or _example(),
        arbiters=arbiters,
        timing=settings.timing.to_core(),
        faults_per_minute=faults,
    )
    with Progress(console=console(stderr=True), disable=json, transient=True) as progress:
        task = progress.add_task(f"{hours:g} virtual hours", total=1.0)
        report = simulate(scenario, hours=hours, seed=seed, progress=lambda done: progress.update(task, completed=done))
    if json:
        print_json(report.as_json())
    else:
        _print(report)
    raise typer.Exit(ExitCode.NO if report.violations else ExitCode.OK)


def _example() -> tuple[GroupPlan, ...]:
    return (plan_group(EXAMPLE, Mode.ACTIVE_PASSIVE, (f"{EXAMPLE}-a", f"{EXAMPLE}-b")),)


def _print(report: Report) -> None:
    out = console()
    out.print(
        f"{report.hours:.2f} virtual hours in {report.runs} runs: {report.faults} faults, "
        f"{report.failovers} failovers, {len(report.violations)} broken promises"
    )
    for each in report.violations:
        out.print(f"seed {each.seed} at {each.at_ns / 1e9:.3f} s, {each.rule}: {each.text}")
        out.print(f"  again: sidecar simulate --hours 0.01 --seed {each.seed}")
