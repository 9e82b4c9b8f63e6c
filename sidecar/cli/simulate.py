"""`sidecar simulate`: try to split the leases of your own configuration, in virtual time.

Owns the command line and the printing. It must not know how a run works.
"""

import os
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from sidecar.cli.errors import ExitCode
from sidecar.cli.graph import read_settings
from sidecar.cli.options import ConfigOption, JsonOption
from sidecar.cli.output import console, print_json
from sidecar.core.groups import GroupPlan, Mode, plan_group
from sidecar.simulator.campaign import Report, simulate
from sidecar.simulator.histogram import as_svg, as_text
from sidecar.simulator.timeline import lines, replay
from sidecar.simulator.world import Scenario

LINE_EVERY_S = 60.0
"""Where no progress bar can be shown, a line says so often how far it is."""
EXAMPLE = "example"
"""The group that is simulated when the configuration has none."""


def simulate_command(
    config: ConfigOption = None,
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=10_000, help="Virtual hours.")] = 1.0,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.0, max=10_000, help="Run for minutes of real time instead; 0 is off.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="The first run's seed; each run takes the next.")] = 1,
    replayed: Annotated[
        int | None, typer.Option("--replay", metavar="SEED", help="Show the one run of SEED as a timeline.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw the failover times; SVG only.")
    ] = None,
    arbiters: Annotated[int, typer.Option("--arbiters", min=1, max=9, help="How many arbiters.")] = 2,
    faults: Annotated[int, typer.Option("--faults-per-minute", min=0, max=600, help="Faults per minute.")] = 12,
    halts: Annotated[int, typer.Option("--halts-per-minute", min=0, max=600, help="Halts per minute.")] = 2,
    orders: Annotated[
        int, typer.Option("--orders-per-minute", min=0, max=600, help="Orders per minute of each holder.")
    ] = 0,
    errands: Annotated[
        int, typer.Option("--errands-per-minute", min=0, max=600, help="Claims per minute of side effects to run once.")
    ] = 0,
    processes: Annotated[
        int, typer.Option("--processes", min=0, max=256, help="Processes to use; 0 is one per core.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Run the real decisions against crashes, stops, cuts, loss and erring clocks; report any broken promise.

    Exit code 1 when a promise was broken; the seed printed with it shows it again.
    """
    if plot is not None and plot.suffix != ".svg":
        raise typer.BadParameter("only SVG is drawn: name a file that ends in .svg", param_hint="--plot")
    settings = read_settings(config)
    scenario = Scenario(
        plans=settings.plans() or _example(),
        arbiters=arbiters,
        timing=settings.timing.to_core(),
        detection=settings.detection.to_core(),
        failovers_per_hour_max=settings.arbiter.failovers_per_hour_max,
        faults_per_minute=faults,
        halts_per_minute=halts,
        orders_per_minute=orders,
        errands_per_minute=errands,
        resume_operators=settings.security.resume_operators,
    )
    if replayed is not None:
        _replay(scenario, replayed)
    report = _run(scenario, seed, hours, minutes, processes or os.cpu_count() or 1, quiet=json)
    if plot is not None:
        title = f"{report.failovers} failovers in {report.hours:.1f} virtual hours"
        plot.write_text(as_svg(report.failover_times_ms, title))
    if json:
        print_json(report.as_json())
    else:
        again = f"sidecar simulate {_same_options(config, scenario)}--replay"
        _print(report, again)
    raise typer.Exit(ExitCode.NO if report.violations else ExitCode.OK)


def _run(scenario: Scenario, seed: int, hours: float, minutes: float, processes: int, *, quiet: bool) -> Report:
    errors = console(stderr=True)
    what = f"{minutes:g} minutes" if minutes else f"{hours:g} virtual hours"
    limit = {"minutes": minutes} if minutes else {"hours": hours}
    told_s = time.monotonic()

    def in_lines(done: float, report: Report) -> None:
        """For a log, where a bar is none: a line now and then."""
        nonlocal told_s
        if not quiet and time.monotonic() >= told_s + LINE_EVERY_S:
            told_s = time.monotonic()
            typer.echo(f"{done:4.0%} of {what}: {_so_far(report)}", err=True)

    if not errors.is_terminal:
        return simulate(scenario, seed=seed, processes=processes, progress=in_lines, **limit)
    with Progress(console=errors, disable=quiet, transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        return simulate(
            scenario,
            seed=seed,
            processes=processes,
            progress=lambda done, so_far: progress.update(
                task, completed=done, description=f"{what}: {_so_far(so_far)}"
            ),
            **limit,
        )


def _so_far(report: Report) -> str:
    broken = len(report.violations)
    return f"{report.hours:.1f} virtual hours, {report.failovers} failovers, {broken} broken promises"


def _replay(scenario: Scenario, seed: int) -> None:
    world = replay(scenario, seed)
    for line in lines(world):
        typer.echo(line)
    raise typer.Exit(ExitCode.NO if world.referee.violations else ExitCode.OK)


def _example() -> tuple[GroupPlan, ...]:
    return (plan_group(EXAMPLE, Mode.ACTIVE_PASSIVE, (f"{EXAMPLE}-a", f"{EXAMPLE}-b")),)


def _same_options(config: Path | None, scenario: Scenario) -> str:
    named = f"--config {shlex.quote(str(config))} " if config is not None else ""
    rates = (
        f"--faults-per-minute {scenario.faults_per_minute} --halts-per-minute {scenario.halts_per_minute} "
        f"--orders-per-minute {scenario.orders_per_minute} --errands-per-minute {scenario.errands_per_minute} "
    )
    return f"{named}--arbiters {scenario.arbiters} {rates}"


def _print(report: Report, again: str) -> None:
    causes = ", ".join(f"{count} {cause}" for cause, count in report.failovers_by_cause.items())
    typer.echo(f"{report.hours:.2f} virtual hours in {report.runs} runs, {report.faults} faults, {report.halts} halts")
    if report.orders:
        typer.echo(f"{report.orders} orders granted")
    typer.echo(f"{report.failovers} failovers{f': {causes}' if causes else ''}")
    if report.failover_times_ms:
        typer.echo("from a holder's last sign of life to the next one's open gate:")
        typer.echo("  " + ", ".join(f"{name} {value:.0f} ms" for name, value in report.failover_ms().items()))
        for line in as_text(report.failover_times_ms):
            typer.echo(line)
    typer.echo(f"{report.no_holder_seconds:.1f} s with no holder, summed over slots")
    typer.echo(f"{len(report.violations)} broken promises")
    for each in report.violations:
        typer.echo(f"seed {each.seed} at {each.at_ns / 1e9:.3f} s, {each.rule}: {each.text}")
        typer.echo(f"  again: {again} {each.seed}")
