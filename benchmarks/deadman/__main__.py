"""`python -m benchmarks.deadman`: takes away whoever keeps gates open, and measures from outside when they close.

Owns the command line, the stage and the verdict: exit code 1 if a gate was open past its deadline, or a round did not
end. Every process is on a leash (`sidecar/demo/leash.py`), so none outlives this one, however it dies.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console

from benchmarks.deadman.causes import ENDS, End, Scene
from benchmarks.deadman.figures import EndFigures, Measured, Report, failures, figures, merge, summary, write
from benchmarks.deadman.own_broker import OwnBroker, own_broker
from benchmarks.deadman.rounds import DeadmanRounds, milliseconds
from benchmarks.deadman.witness import Witness, witness
from benchmarks.failover.causes import Stage
from benchmarks.failover.places import ARBITERS, COMPONENTS, TIMING, Places
from benchmarks.failover.rounds import RoundFailed, Rounds
from benchmarks.failover.watch import Gates, Moves
from benchmarks.rounds import Options, parse
from sidecar.broker.interface import BrokerAway
from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.process import run_to_end
from sidecar.client.operator import Operator
from sidecar.core.timing import MS
from sidecar.demo.audit import read_audit
from sidecar.demo.brokers_found import WayClosed
from sidecar.demo.launcher import ProcessLauncher
from sidecar.demo.layout import free_port
from sidecar.demo.proxy import Proxy
from sidecar.demo.system import System
from sidecar.telemetry.logs import configure_logs

TOTAL_S: Final = 3_000.0
"""The end of a run in any case; 20 rounds of every cause take well under half of it."""
TABLE_COLUMNS: Final = 120
"""Where the output is no terminal."""
SHARED: Final = Path("build/bench.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The running system, and who watches it."""

    rounds: DeadmanRounds
    witness: Witness
    places: Places


@contextlib.asynccontextmanager
async def stage(own: OwnBroker, directory: Path, seed: int) -> AsyncIterator[Running]:
    """Whatever happens inside, nothing that was started is left behind."""
    url = own.url
    broker = RabbitBroker([url], name="deadman")
    moves, operator = Moves(broker), Operator(broker, "deadman")
    async with contextlib.AsyncExitStack() as stack:
        proxies = {each: await stack.enter_async_context(Proxy.before(url)) for each in COMPONENTS}
        places = Places(
            directory=directory,
            venue_port=free_port(),
            url=url,
            operator=broker.user,
            links={each: proxy.url(url) for each, proxy in proxies.items()},
            arbiter_ports={each: free_port() for each in ARBITERS},
        )
        system = System(ProcessLauncher(directory))
        pages = {each: places.gate(each) for each in COMPONENTS}
        gates = Gates(pages)
        http = await stack.enter_async_context(httpx.AsyncClient())
        await broker.start()
        stack.push_async_callback(broker.close)
        stack.push_async_callback(system.stop)
        await broker.wait_ready(15.0)
        watching = asyncio.create_task(gates.run(), name="gates")
        stack.callback(watching.cancel)
        seen = await stack.enter_async_context(witness(pages))
        await system.start(*places.servers(), *(places.component(each) for each in COMPONENTS))
        scene = Scene(Stage(places, system, proxies, http), own)
        steady = Rounds(scene.stage, gates, moves, operator, seed)
        yield Running(rounds=DeadmanRounds(scene, gates, steady, seen, seed), witness=seen, places=places)


async def measure(running: Running, end: End, count: int, console: Console) -> EndFigures:
    """All rounds of one cause."""
    began_s, known = time.monotonic(), len(running.witness.open_too_long)
    seen: list[Measured] = []
    for n in range(count):
        found = await running.rounds.one(end)
        seen += found
        console.print(f"{end.name} {n + 1}/{count}: {milliseconds(found)} ms", highlight=False)
    late = running.rounds.orders_late(await read_audit(running.places.venue_port))
    result = figures(count, seen, list(running.witness.open_too_long)[known:], late)
    console.print(
        f"{end.name}: {len(seen)} gates, closed at most {result.after_deadline.max_ms} ms after the deadline and "
        f"{result.after_fault.max_ms} ms after the fault, {result.open_past_deadline} past the deadline, in "
        f"{time.monotonic() - began_s:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
    return result


async def run(options: Options[End], console: Console) -> int:
    """All causes on one broker; the exit code."""
    began_s = time.monotonic()
    causes: dict[str, EndFigures] = {}
    failed, version = "", "that did not answer"
    directory = Path(tempfile.mkdtemp(prefix="sidecar-deadman-"))
    log = (directory / "benchmark.log").open("w")
    configure_logs("console", "info", stream=log)  # That links break is what this is about; nobody need read of each.
    try:
        async with asyncio.timeout(TOTAL_S), own_broker() as (own, version):
            console.print(f"starting the processes; their logs are in {directory}", soft_wrap=True)
            async with stage(own, directory, options.seed) as running:
                for each in options.causes:
                    causes[each.name] = await measure(running, each, options.rounds, console)
    except (RoundFailed, BrokerAway, TimeoutError) as error:
        failed = str(error) or f"not over within {TOTAL_S:g} s"
    finally:
        log.close()
    report = Report(
        broker=f"RabbitMQ {version}",
        holder_lease_ms=TIMING.holder_lease_ns / MS,
        heartbeat_ms=TIMING.heartbeat_ns / MS,
        load_average=os.getloadavg(),
        seconds=round(time.monotonic() - began_s, 1),
        causes=causes,
    )
    write(report, options.output)
    merge(report, SHARED)
    console.print(summary(report))
    console.print(f"figures written to {options.output} and {SHARED}")
    if problems := [*filter(None, (failed,)), *failures(causes)]:
        console.print(f"FAILED: {'; '.join(problems)}; the logs are in {directory}", soft_wrap=True)
        return 1
    if not options.keep_logs:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def main() -> None:
    """Run; SIGINT and SIGTERM end everything that was started."""
    options = parse(
        sys.argv[1:],
        ENDS,
        prog="python -m benchmarks.deadman",
        what=__doc__.partition("\n")[0],
        output=Path("build/deadman.json"),
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_COLUMNS)
    try:
        sys.exit(run_to_end(run(options, console)))
    except WayClosed as error:
        sys.exit(f"no broker of our own can be started, and no other may be stopped: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted; everything that was started is stopped, and no figures were written")


if __name__ == "__main__":
    main()
