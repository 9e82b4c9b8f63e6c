"""`python -m benchmarks.chaos`: a real cluster of three, the whole system on it, and one fault after the other.

Owns the command line, the order of things and the exit code: 1 if any promise was broken, with the evidence named.
Processes and containers are gone afterwards in any case.
"""

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.chaos.cluster import Cluster, ClusterFailed
from benchmarks.chaos.faults import FAULTS, Fault, NoTarget
from benchmarks.chaos.figures import FaultFigures, Report, summary, write
from benchmarks.chaos.records import Records, read_records
from benchmarks.chaos.rounds import Struck
from benchmarks.chaos.stage import OPERATOR, ChaosStage, chaos_stage
from benchmarks.chaos.takeovers import broken, on_one_node, on_three_nodes
from benchmarks.chaos.verdict import Holders, counts, fault_figures, held, lost_or_twice, sentences
from benchmarks.chaos.witness import open_in_silence, orders_too_late
from benchmarks.failover.figures import CauseFigures
from benchmarks.failover.rounds import RoundFailed
from sidecar.broker.interface import BrokerError
from sidecar.cli.process import run_to_end
from sidecar.core.timing import MS
from sidecar.demo.audit import read_audit
from sidecar.demo.brokers import BrokerNotFound
from sidecar.demo.brokers_command import CommandFailed

TOTAL_S: Final = 3_600.0
"""The end of a run in any case; all faults and takeovers take well under half of it."""
TABLE_COLUMNS: Final = 140
"""Where the output is no terminal."""
RUNS: Final = 20
SETTLE_S: Final = 2.0
"""After the last fault: what clients were told by then is read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosOptions:
    """One run. `runs` arbiters are killed at the end, on the cluster and on one node."""

    faults: tuple[Fault, ...]
    runs: int
    output: Path
    keep_logs: bool
    seed: int
    conf: Path | None


@dataclass(slots=True)
class Findings:
    """What a run has found so far; a run that fails in the middle reports what it has."""

    version: str = ""
    struck: list[Struck] = field(default_factory=list)
    faults: list[FaultFigures] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    journal: dict[str, int] = field(default_factory=dict)
    orders_at_venue: int = 0
    arbiter_kill: dict[str, CauseFigures] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class Run:
    """One run from beginning to end."""

    def __init__(self, options: ChaosOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._found = Findings()
        self._began_s = time.monotonic()
        self._top = Path(tempfile.mkdtemp(prefix="sidecar-chaos-"))
        (self._top / "one").mkdir()
        logging.basicConfig(filename=self._top / "chaos.log", format="%(asctime)s %(message)s")

    async def run(self) -> int:
        """The exit code."""
        try:
            async with asyncio.timeout(TOTAL_S):
                await self._everything()
        except (RoundFailed, ClusterFailed, NoTarget, BrokerError, CommandFailed, BrokerNotFound) as error:
            self._found.broken.append(f"the run ended early: {error}")
        except TimeoutError as error:
            self._found.broken.append(f"the run ended early: {error or f'not over within {TOTAL_S:g} s'}")
        return self._report()

    async def _everything(self) -> None:
        options, found = self._options, self._found
        self._say(f"starting a cluster of three; logs are in {self._top}")
        async with Cluster(options.conf) as cluster:
            found.version = cluster.version
            self._say(f"RabbitMQ {cluster.version} on three nodes; starting the processes")
            async with chaos_stage(cluster, self._top, options.seed) as running:
                try:
                    for number, each in enumerate(options.faults, start=1):
                        await self._strike(running, each, number)
                    if options.runs:
                        self._kills("three nodes", await on_three_nodes(running, options.runs, self._say))
                except (RoundFailed, ClusterFailed, NoTarget, CommandFailed) as error:
                    found.broken.append(f"the run ended early: {error}")
                    await cluster.autopsy(self._top)
                # Also after a fault that never healed: what clients were told until then must stand.
                await asyncio.sleep(SETTLE_S)
                await self._judge(running, await read_records(cluster.urls(OPERATOR)))
        if options.runs:
            single = await on_one_node(self._top / "one", options.runs, options.seed, self._console, self._say)
            self._kills("one node", single)

    async def _strike(self, running: ChaosStage, fault: Fault, number: int) -> None:
        struck = await running.rounds.strike(fault)
        self._found.struck.append(struck)
        self._say(
            f"{number}/{len(self._options.faults)} {fault.name} of {struck.target}: no order granted for "
            f"{struck.outage_ns / MS:.0f} ms, {struck.leases_lost} leases lost, all well "
            f"{(struck.recovered_ns - struck.healed_ns) / MS:.0f} ms after healing"
            + (f"; the broker stayed parted until {struck.helped} was restarted" if struck.helped else "")
        )

    def _kills(self, where: str, figures: CauseFigures) -> None:
        self._found.arbiter_kill[where.replace(" ", "_")] = figures
        self._found.broken += broken(where, figures)
        self._say(
            f"arbiter_kill on {where}: p50 {figures.p50_ms} ms, max {figures.max_ms} ms to the last slot leased again, "
            f"{figures.leases_lost} leases lost in {figures.rounds} runs"
        )

    async def _judge(self, running: ChaosStage, records: Records) -> None:
        """Every promise against what was seen, over the whole run."""
        found, gates = self._found, running.gates
        running.told.look()
        # What was told while the journal was read may stand behind what was read.
        entries = [
            each
            for each in (*running.told.entries, *held(gates.spans))
            if counts(each) and each.at_ns < records.asked_boot_ns
        ]
        arrivals = await read_audit(running.places.venue_port, timeout_s=30.0)
        holders = Holders(spans=gates.spans, arrivals=arrivals, records=records)
        silent = [one for each in found.struck for one in open_in_silence(gates.spans, each.silenced, each.healing_ns)]
        found.faults = fault_figures(found.struck, entries, records, holders.overlaps)
        found.acknowledged = Counter(each.told for each in entries)
        found.journal = {verdict.value: count for verdict, count in records.verdicts.items()}
        found.orders_at_venue = len(arrivals)
        found.broken += [
            *sentences("lost or twice", lost_or_twice(entries, records)),
            *sentences("two holders", [(0, each) for each in holders.overlaps()]),
            *sentences("open after its deadline", gates.open_too_long),
            *sentences("open in silence", silent),
            *sentences("order after its deadline", orders_too_late(arrivals, gates.deadlines)),
            *([f"the journal has {records.unreadable} unreadable entries"] if records.unreadable else []),
            *([f"the journal begins at offset {records.first_offset}"] if records.first_offset else []),
        ]

    def _report(self) -> int:
        found, options = self._found, self._options
        report = Report(
            broker=f"RabbitMQ {found.version}",
            seed=options.seed,
            seconds=round(time.monotonic() - self._began_s, 1),
            load_average=os.getloadavg(),
            faults=found.faults,
            acknowledged=dict(found.acknowledged),
            journal=found.journal,
            orders_at_venue=found.orders_at_venue,
            arbiter_kill=found.arbiter_kill,
            broken=found.broken,
        )
        write(report, options.output)
        self._console.print(summary(report))
        told = ", ".join(f"{count} {what}" for what, count in sorted(report.acknowledged.items()))
        self._say(f"acknowledged in all: {told or 'nothing'}; the venue received {report.orders_at_venue} orders")
        self._say(f"the journal has {report.journal}; figures written to {options.output}")
        for each in found.broken:
            self._say(f"BROKEN {each}")
        if found.broken:
            self._say(f"FAILED: {len(found.broken)} findings; the logs are in {self._top}")
            return 1
        self._say(f"every promise held through {len(found.struck)} faults")
        if not options.keep_logs:
            shutil.rmtree(self._top, ignore_errors=True)
        return 0

    def _say(self, line: str) -> None:
        stamp = f"{time.monotonic() - self._began_s:6.1f} s  "
        self._console.print(stamp + line, markup=False, highlight=False, soft_wrap=True)


def parse(arguments: Sequence[str]) -> ChaosOptions:
    """The options in a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", default="", help=f"comma-separated, of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--short", action="store_true", help="a few kinds of fault, no series of arbiter kills")
    parser.add_argument(
        "--runs", type=int, default=None, help=f"arbiter kills on three nodes and one (default: {RUNS})"
    )
    parser.add_argument("--seed", type=int, default=1, help="decides the moments of the strikes")
    parser.add_argument("--keep-logs", action="store_true", help="keep the logs of all processes")
    parser.add_argument("--conf", type=Path, help="RabbitMQ configuration instead of deploy/rabbitmq/cluster.conf")
    parser.add_argument("--output", type=Path, default=Path("build/chaos.json"))
    given = parser.parse_args(arguments)
    names = [each for each in given.faults.split(",") if each]
    if unknown := sorted(set(names) - set(FAULTS)):
        parser.error(f"no such fault: {', '.join(unknown)}")
    chosen = names or [name for name, each in FAULTS.items() if each.short or not given.short]
    runs = given.runs if given.runs is not None else 0 if given.short or names else RUNS
    if not 0 <= runs <= 1_000:
        parser.error("--runs must be from 0 to 1000")
    return ChaosOptions(
        faults=tuple(FAULTS[each] for each in chosen),
        runs=runs,
        output=given.output,
        keep_logs=given.keep_logs,
        seed=given.seed,
        conf=given.conf,
    )


def main() -> None:
    """Run; SIGINT and SIGTERM end everything that was started."""
    options = parse(sys.argv[1:])
    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_COLUMNS)
    try:
        sys.exit(run_to_end(Run(options, console).run()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("interrupted; everything that was started is stopped, and no figures were written")


if __name__ == "__main__":
    main()
