"""`python -m benchmarks.failover`: starts everything, strikes it round after round, prints and writes the figures.

Owns the command line, the stages and the verdict: exit code 1 if two ever held one slot, or a round did not end. Every
process is on a leash (`sidecar/demo/leash.py`), so none outlives this one, however it dies.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console

from benchmarks.failover.causes import CAUSES, Cause, Stage
from benchmarks.failover.figures import CauseFigures, Report, summary, times, write
from benchmarks.failover.overlap import gates_overlapping, orders_overlapping
from benchmarks.failover.places import ARBITERS, COMPONENTS, GROUPS, Places
from benchmarks.failover.rounds import RoundFailed, Rounds
from benchmarks.failover.watch import Gates, Moves
from benchmarks.rounds import Options, parse
from sidecar.broker.interface import BrokerAway
from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.process import run_to_end
from sidecar.client.operator import Operator
from sidecar.core.timing import MS
from sidecar.demo.audit import read_audit
from sidecar.demo.brokers import BrokerNotFound, checkout_compose_file, find_broker
from sidecar.demo.launcher import ProcessLauncher
from sidecar.demo.layout import free_port
from sidecar.demo.proxy import Proxy
from sidecar.demo.system import System

TOTAL_S: Final = 3_600.0
"""The end of a run in any case; 20 rounds of every cause take well under half of it."""
TABLE_COLUMNS: Final = 120
"""Where the output is no terminal."""
SPOKEN_MAX: Final = 5
"""Overlaps printed of one cause; the count is always whole."""


class Measured:
    """What the rounds of one stage measured."""

    def __init__(self, rounds: Rounds, gates: Gates, moves: Moves, places: Places, console: Console) -> None:
        self._rounds = rounds
        self._gates = gates
        self._moves = moves
        self._places = places
        self._console = console
        self._overlaps = 0

    async def run(self, cause: Cause, count: int) -> CauseFigures:
        """All rounds of one cause."""
        began_s = time.monotonic()
        figures = await (self._takeovers(cause, count) if cause.arbiter else self._failovers(cause, count))
        self._say(
            f"{cause.name}: p50 {figures.p50_ms} ms, p99 {figures.p99_ms} ms, max {figures.max_ms} ms, "
            f"overlap {figures.overlap}, {figures.rounds} measured in {time.monotonic() - began_s:.0f} s"
        )
        return figures

    async def _failovers(self, cause: Cause, count: int) -> CauseFigures:
        measured: dict[str, list[int]] = {group.mode.value: [] for group in GROUPS}
        for n in range(count):
            if cause.apart:
                took = [await self._rounds.failover(cause, group) for group in GROUPS]
            else:
                took = await asyncio.gather(*(self._rounds.failover(cause, group) for group in GROUPS))
            for group, each in zip(GROUPS, took, strict=True):
                measured[group.mode.value].append(each)
            self._progress(cause, n, count, took)
        whole = times([each for part in measured.values() for each in part])
        return CauseFigures(
            p50_ms=whole.p50_ms,
            p99_ms=whole.p99_ms,
            max_ms=whole.max_ms,
            rounds=whole.rounds,
            overlap=await self._new_overlaps(),
            goal_p99_ms=cause.goal_p99_ms,
            modes={mode: times(part) for mode, part in measured.items()},
        )

    async def _takeovers(self, cause: Cause, count: int) -> CauseFigures:
        """One arbiter serves both groups, so one takeover is measured for both at once."""
        seen = []
        for n in range(count):
            seen.append(await self._rounds.takeover(cause))
            self._progress(cause, n, count, [seen[-1].leased_ns])
        whole = times([each.leased_ns for each in seen])
        return CauseFigures(
            p50_ms=whole.p50_ms,
            p99_ms=whole.p99_ms,
            max_ms=whole.max_ms,
            rounds=whole.rounds,
            overlap=await self._new_overlaps(),
            goal_p99_ms=cause.goal_p99_ms,
            modes={},
            leases_lost=sum(each.lost for each in seen),
            term=times([each.term_ns for each in seen]),
        )

    async def _new_overlaps(self) -> int:
        """Found since the last cause, by both witnesses; each is said."""
        arrivals = await read_audit(self._places.venue_port)
        found = [
            *gates_overlapping(self._gates.spans, self._moves.slot),
            *orders_overlapping(arrivals, self._moves.slot),
        ]
        new, self._overlaps = max(0, len(found) - self._overlaps), len(found)
        for each in found[:SPOKEN_MAX] if new else ():
            self._say(f"OVERLAP {each}")
        self._say(f"{len(arrivals)} orders arrived at the venue and {len(self._gates.spans)} gates opened so far")
        return new

    def _progress(self, cause: Cause, n: int, count: int, took: Sequence[int]) -> None:
        self._say(f"{cause.name} {n + 1}/{count}: {', '.join(f'{each / MS:.1f}' for each in took)} ms")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.asynccontextmanager
async def stage(
    url: str, options: Options[Cause], directory: Path, *, proxied: bool, console: Console
) -> AsyncIterator[Measured]:
    """The running system; whatever happens inside, nothing that was started is left behind."""
    broker = RabbitBroker([url], name="benchmark")
    moves, operator = Moves(broker), Operator(broker, "benchmark")
    async with contextlib.AsyncExitStack() as stack:
        proxies: dict[str, Proxy] = {}
        for each in COMPONENTS if proxied else ():
            proxies[each] = await stack.enter_async_context(Proxy.before(url))
        places = Places(
            directory=directory,
            venue_port=free_port(),
            url=url,
            operator=broker.user,
            links={each: proxies[each].url(url) if proxied else url for each in COMPONENTS},
            arbiter_ports={each: free_port() for each in ARBITERS},
        )
        system = System(ProcessLauncher(directory))
        gates = Gates({each: places.gate(each) for each in COMPONENTS})
        http = await stack.enter_async_context(httpx.AsyncClient())
        await broker.start()
        stack.push_async_callback(broker.close)
        stack.push_async_callback(system.stop)
        await broker.wait_ready(15.0)
        watching = asyncio.create_task(gates.run(), name="gates")
        stack.callback(watching.cancel)
        await system.start(*places.servers(), *(places.component(each) for each in COMPONENTS))
        rounds = Rounds(Stage(places, system, proxies, http), gates, moves, operator, options.seed)
        await rounds.steady(*GROUPS)
        yield Measured(rounds, gates, moves, places, console)


async def run(options: Options[Cause], console: Console) -> int:
    """All stages on one broker; the exit code."""

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    began_s = time.monotonic()
    found = await find_broker(say=say, compose_file=checkout_compose_file())
    causes: dict[str, CauseFigures] = {}
    failed = ""
    top = Path(tempfile.mkdtemp(prefix="sidecar-failover-"))
    try:
        async with asyncio.timeout(TOTAL_S):
            for proxied in (False, True):
                chosen = [each for each in options.causes if each.proxied is proxied]
                if chosen:
                    directory = top / ("proxied" if proxied else "direct")
                    directory.mkdir()
                    say(f"starting {len(ARBITERS) + 2 * len(COMPONENTS) + 2} processes; their logs are in {directory}")
                    async with stage(found.url, options, directory, proxied=proxied, console=console) as measured:
                        for each in chosen:
                            causes[each.name] = await measured.run(each, options.rounds)
    except (RoundFailed, BrokerAway, TimeoutError) as error:
        failed = str(error) or f"not over within {TOTAL_S:g} s"
    finally:
        await found.stop()
    report = Report(
        broker=f"RabbitMQ {found.version}",
        load_average=os.getloadavg(),
        seconds=round(time.monotonic() - began_s, 1),
        causes=causes,
    )
    write(report, options.output)
    console.print(summary(report))
    say(f"figures written to {options.output}")
    overlapping = [name for name, each in causes.items() if each.overlap]
    if failed or overlapping:
        say(f"FAILED: {failed or 'two held one slot after ' + ', '.join(overlapping)}; the logs are in {top}")
        return 1
    if not options.keep_logs:
        shutil.rmtree(top, ignore_errors=True)
    return 0


def main() -> None:
    """Run; SIGINT and SIGTERM end everything that was started."""
    options = parse(
        sys.argv[1:],
        CAUSES,
        prog="python -m benchmarks.failover",
        what=__doc__.partition("\n")[0],
        output=Path("build/failover.json"),
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_COLUMNS)
    try:
        sys.exit(run_to_end(run(options, console)))
    except BrokerNotFound as error:
        sys.exit(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted; everything that was started is stopped, and no figures were written")


if __name__ == "__main__":
    main()
