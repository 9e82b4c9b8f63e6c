"""Many runs, one report. Owns seeds, sums, and the spreading of runs over processes.

Runs are independent and taken in order of their seeds, whichever process finishes first: the same report comes out of
any number of processes. It must not know how results are shown.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from multiprocessing import get_context
from typing import Any

from sidecar.simulator.invariants import Violation
from sidecar.simulator.world import Scenario, World

CHUNK_RUNS = 8
"""Runs that one process does before it answers."""
AHEAD = 2
"""Chunks waiting for each process, so that none is idle."""
PERCENTILES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "max"))
HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run saw."""

    seed: int
    faults: int
    failovers: dict[str, int]
    failover_ms: tuple[float, ...]
    no_holder_ns: int
    violations: tuple[Violation, ...]
    halts: int = 0
    orders: int = 0


@dataclass(slots=True)
class Report:
    """What a campaign saw. `violations` carry the seed that shows each again.

    `failover_times_ms` run from a holder's last sign of life (its last page, or its release) to the next holder's open
    gate, in true time; `no_holder_seconds` are summed over slots. A holder under a halt is a holder: its cancels pass.
    `orders` were granted.
    """

    hours: float = 0.0
    runs: int = 0
    faults: int = 0
    halts: int = 0
    orders: int = 0
    failovers: int = 0
    failovers_by_cause: dict[str, int] = field(default_factory=dict)
    failover_times_ms: list[float] = field(default_factory=list)
    no_holder_seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Count one run of `seconds` in."""
        self.runs += 1
        self.hours += seconds / HOUR_S
        self.faults += outcome.faults
        self.halts += outcome.halts
        self.orders += outcome.orders
        self.failovers += sum(outcome.failovers.values())
        self.failovers_by_cause = dict(sorted((Counter(self.failovers_by_cause) + Counter(outcome.failovers)).items()))
        self.failover_times_ms.extend(outcome.failover_ms)
        self.no_holder_seconds += outcome.no_holder_ns / 1e9
        self.violations.extend(outcome.violations)

    def failover_ms(self) -> dict[str, float]:
        """Percentiles of the failover time, by nearest rank; empty without failovers."""
        times = sorted(self.failover_times_ms)
        if not times:
            return {}
        return {name: round(times[min(len(times) - 1, int(share * len(times)))], 3) for share, name in PERCENTILES}

    def as_json(self) -> dict[str, Any]:
        """The report as plain data, the single times folded into percentiles."""
        plain = asdict(self)
        del plain["failover_times_ms"]
        plain["hours"], plain["no_holder_seconds"] = round(self.hours, 4), round(self.no_holder_seconds, 3)
        return {**plain, "failover_ms": self.failover_ms()}


def play(scenario: Scenario, seed: int) -> Outcome:
    """One run."""
    world = World(scenario, seed)
    world.run()
    referee = world.referee
    return Outcome(
        seed=seed,
        faults=len(world.faults.happened),
        failovers=dict(world.failovers),
        failover_ms=tuple(referee.failover_ms),
        no_holder_ns=referee.no_holder_ns,
        violations=tuple(referee.violations),
        halts=world.faults.operators.halted,
        orders=len(world.ledger.granted),
    )


def simulate(
    scenario: Scenario,
    *,
    seed: int,
    hours: float = float("inf"),
    minutes: float = float("inf"),
    processes: int = 1,
    progress: Callable[[float, Report], None] = lambda done, report: None,
) -> Report:
    """Run seeds `seed`, `seed` + 1, ... until `hours` of virtual time or `minutes` of our own are over.

    `progress` is told the share that is done, and the report so far. ValueError when neither end is given. Only with
    `minutes` can two calls differ: in how many runs they do. None begins after them, but one is always done.
    """
    if hours == minutes == float("inf"):
        raise ValueError("say when to end: give hours or minutes")
    report, began_s = Report(), time.monotonic()
    seconds = scenario.length_ns / 1e9
    runs = None if hours == float("inf") else max(1, -int(-hours * HOUR_S // seconds))
    seeds: Iterable[int] = islice(count(seed), runs)
    for outcome in _outcomes(scenario, seeds, processes, began_s + 60 * minutes):
        report.add(outcome, seconds)
        spent = (time.monotonic() - began_s) / (60 * minutes)
        progress(min(1.0, max(spent, report.runs / runs if runs else 0.0)), report)
    return report


def _outcomes(scenario: Scenario, seeds: Iterable[int], processes: int, until_s: float) -> Iterator[Outcome]:
    """The outcome of each seed, in order. No run begins after `until_s` of the monotonic clock, but for the first."""
    rest = iter(seeds)
    first = tuple(islice(rest, 1))
    chunks = iter(lambda: tuple(islice(rest, CHUNK_RUNS)), ())
    if processes <= 1:
        yield from _play_chunk(scenario, first, float("inf"))
        for chunk in chunks:
            yield from _play_chunk(scenario, chunk, until_s)
            if time.monotonic() >= until_s:
                return
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    waiting = [pool.submit(_play_chunk, scenario, first, float("inf"))]
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_play_chunk, scenario, chunk, until_s))
            if len(waiting) >= AHEAD * processes:
                yield from waiting.pop(0).result()
            if time.monotonic() >= until_s:
                break
        while waiting:
            yield from waiting.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)


def _play_chunk(scenario: Scenario, seeds: tuple[int, ...], until_s: float) -> list[Outcome]:
    with _no_collector():
        return [play(scenario, seed) for seed in seeds if time.monotonic() < until_s]


@contextmanager
def _no_collector() -> Iterator[None]:
    """Collect after these runs, not during them: their garbage is small, and looking for it a fifth of their time.

    What was there before cannot become garbage of theirs, and is left out.
    """
    before = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        if before:
            gc.enable()
