"""`kill -9` of the leading arbiter, again and again: until every slot is under a lease of the next leader.

Owns the repetition on the cluster and on one node; how one is measured is `benchmarks/failover/rounds.py`.
"""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.chaos.stage import ChaosStage
from benchmarks.failover.__main__ import stage
from benchmarks.failover.causes import CAUSES
from benchmarks.failover.figures import ARBITER_GOAL_MS, CauseFigures, times
from benchmarks.rounds import Options
from sidecar.core.timing import MS
from sidecar.demo.brokers import checkout_compose_file, find_broker

Say = Callable[[str], None]
KILL = CAUSES["arbiter_kill"]


async def on_three_nodes(running: ChaosStage, runs: int, say: Say) -> CauseFigures:
    """On the cluster that chaos left behind, orders flowing. Overlaps are counted by the verdict, over everything."""
    seen = []
    for n in range(runs):
        seen.append(await running.takeovers.takeover(KILL))
        say(f"arbiter_kill on three nodes {n + 1}/{runs}: {seen[-1].leased_ns / MS:.1f} ms")
    whole = times([each.leased_ns for each in seen])
    return CauseFigures(
        p50_ms=whole.p50_ms,
        p99_ms=whole.p99_ms,
        max_ms=whole.max_ms,
        rounds=whole.rounds,
        overlap=0,
        goal_p99_ms=KILL.goal_p99_ms,
        modes={},
        leases_lost=sum(each.lost for each in seen),
        term=times([each.term_ns for each in seen]),
    )


async def on_one_node(directory: Path, runs: int, seed: int, console: Console, say: Say) -> CauseFigures:
    """On one node, found or started as for the demo; the same as `make bench-failover` does."""
    found = await find_broker(say=say, compose_file=checkout_compose_file())
    options = Options(rounds=runs, causes=(KILL,), output=directory / "figures.json", keep_logs=True, seed=seed)
    try:
        async with stage(found.url, options, directory, proxied=False, console=console) as measured:
            return await measured.run(KILL, runs)
    finally:
        await found.stop()


def broken(where: str, figures: CauseFigures) -> list[str]:
    """What did not hold, in sentences."""
    found = []
    if figures.leases_lost:
        found.append(f"arbiter_kill on {where}: {figures.leases_lost} leases were lost")
    if figures.max_ms >= ARBITER_GOAL_MS:
        found.append(f"arbiter_kill on {where}: the slowest took {figures.max_ms:.0f} ms, not < {ARBITER_GOAL_MS:.0f}")
    if figures.overlap:
        found.append(f"arbiter_kill on {where}: two held one slot {figures.overlap} times")
    return found
