"""Runs the demo from its first process to its last: what `sidecar demo` calls.

Owns the set-up, the total time limit, the tidying up and the verdict. The story itself is `scenario.py`.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from sidecar.broker.interface import Broker, BrokerAway
from sidecar.client.operator import Operator
from sidecar.demo.display import Narration, live_table
from sidecar.demo.figures import BrokerFigures, DemoFigures, summary, write_figures
from sidecar.demo.gates import GateWatch
from sidecar.demo.happenings import Happenings
from sidecar.demo.launcher import Launcher
from sidecar.demo.layout import COMPONENTS, DemoLayout, free_port
from sidecar.demo.narrator import Narrator
from sidecar.demo.scenario import ACTOR, Scenario
from sidecar.demo.system import System
from sidecar.demo.witness import StepFailed

TOTAL_S: Final = 58.0
BROKER_S: Final = 15.0
OK: Final = 0
FAILED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """`broker_settings` is the section `broker` of every process's configuration, for example {"urls": [...]}.

    `keep_logs` keeps the directory with the logs of a demo that went well; a failed one is always kept.
    """

    broker_settings: dict[str, Any]
    started_by: str
    output: Path = field(default_factory=lambda: Path("build/demo.json"))
    keep_logs: bool = False
    seed: int = 1


async def run_demo(
    options: DemoOptions, broker: Broker, launcher_in: Callable[[Path], Launcher], console: Console
) -> int:
    """Run the demo to its end and return its exit code: 0 if every step really happened, else 1.

    `broker` is the demo's own connection, not started yet, and is closed here. `launcher_in` makes the launcher, given
    the directory for log files. Cancelling stops everything that was started, then raises CancelledError.
    """
    directory = Path(tempfile.mkdtemp(prefix="sidecar-demo-"))
    narration = Narration(console)
    try:
        figures = await _run(options, broker, launcher_in(directory), directory, narration, console)
    except BaseException:
        narration.say(f"stopped; the logs of all processes are in {directory}")
        raise
    if figures is None:
        narration.say(f"FAILED; the logs of all processes are in {directory}")
        return FAILED
    write_figures(figures, options.output)
    narration.say(f"figures written to {options.output}")
    if options.keep_logs:
        narration.say(f"the logs of all processes are in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return OK


async def _run(
    options: DemoOptions,
    broker: Broker,
    launcher: Launcher,
    directory: Path,
    narration: Narration,
    console: Console,
) -> DemoFigures | None:
    layout = DemoLayout(
        directory=directory,
        venue_port=free_port(),
        broker=options.broker_settings,
        operator=broker.user,
        seed=options.seed,
    )
    system = System(launcher)
    gates = GateWatch({name: layout.gate(name) for name in COMPONENTS})
    happenings = Happenings(broker, Narrator(narration.say).hear)
    scenario = Scenario(layout, system, Operator(broker, ACTOR), happenings, gates, narration.say)
    async with _running(broker, system, gates):
        try:
            with live_table(console, system, gates, happenings):
                async with asyncio.timeout(TOTAL_S):
                    await broker.wait_ready(BROKER_S)
                    orders, holders = await _play(scenario)
        except (StepFailed, BrokerAway, TimeoutError) as error:
            _explain(scenario, system, error, narration.say)
            return None
    measured = scenario.measured
    version = broker.info.version if broker.info else ""
    figures = DemoFigures(
        broker=BrokerFigures(version=version, started_by=options.started_by),
        failover_ms=round(measured.failover_ms, 3),
        halt_ms=round(measured.halt_ms, 3),
        gates=measured.gates,
        arbiter_takeover_ms=round(measured.arbiter_takeover_ms, 3),
        leases_lost=measured.leases_lost,
        orders=orders,
    )
    console.print(summary(figures, holders))
    return figures


async def _play(scenario: Scenario) -> tuple[Any, str]:
    await scenario.start()
    await scenario.fail_over()
    await scenario.halt()
    await scenario.resume()
    await scenario.take_over()
    return await scenario.finish()


@contextlib.asynccontextmanager
async def _running(broker: Broker, system: System, gates: GateWatch) -> AsyncIterator[None]:
    """Whatever happens inside, nothing that was started is left behind."""
    watching = asyncio.create_task(gates.run(), name="gate-watch")
    await broker.start()
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await system.stop()
        await broker.close()


def _explain(scenario: Scenario, system: System, error: Exception, say: Callable[[str], None]) -> None:
    if isinstance(error, TimeoutError):
        say(f"the demo did not end within {TOTAL_S:g} s; it was in the step {scenario.step!r}")
    else:
        say(f"step {scenario.step!r} did not happen: {error}")
    for each in system.unexpectedly_ended():
        say(f"ended by itself: {each}")
