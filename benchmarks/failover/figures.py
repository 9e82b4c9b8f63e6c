"""What was measured: percentiles, the shape of build/failover.json, and the table with the goals beside the figures.

Owns these three. It must not measure.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.table import Table

from benchmarks.failover.places import TIMING
from sidecar.core.timing import MS

SILENCE_GOAL_MS: Final = TIMING.holder_wait_ns / MS + 500
DEAF_GOAL_MS: Final = SILENCE_GOAL_MS + TIMING.holder_lease_ns / MS
"""A holder that hears nothing is renewed until it cannot have heard anything for D."""
CRASH_GOAL_MS: Final = 50.0
ARBITER_GOAL_MS: Final = 1_000.0


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles by nearest rank: with fewer than 100 measurements p99 is the largest of them."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    rounds: int


class CauseFigures(Times, frozen=True, kw_only=True):
    """One cause. `leases_lost` and `term` (from the fault to the next TermBegan heard) are for arbiters only."""

    overlap: int
    goal_p99_ms: float | None
    modes: dict[str, Times]
    leases_lost: int | None = None
    term: Times | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    broker: str
    load_average: tuple[float, float, float]
    seconds: float
    causes: dict[str, CauseFigures]


def times(measured_ns: Sequence[int]) -> Times:
    """Of at least one measurement."""
    ordered = sorted(measured_ns)

    def rank(percent: int) -> float:
        return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] / MS, 2)

    return Times(p50_ms=rank(50), p99_ms=rank(99), max_ms=rank(100), rounds=len(ordered))


def write(report: Report, path: Path) -> None:
    """As JSON, making the directory if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def summary(report: Report) -> Table:
    """One row for each cause, and one below it for each mode."""
    load = " ".join(f"{each:.2f}" for each in report.load_average)
    table = Table(
        title=f"Failover on {report.broker}, {report.seconds:.0f} s, load average {load}", title_justify="left"
    )
    for name in ("cause", "rounds", "p50 ms", "p99 ms", "max ms", "goal p99", "", "overlap", "leases lost"):
        table.add_column(name, justify="left" if name == "cause" else "right")
    for cause, each in report.causes.items():
        goal = f"< {each.goal_p99_ms:.0f}" if each.goal_p99_ms else "none"
        met = "" if each.goal_p99_ms is None else "met" if each.p99_ms < each.goal_p99_ms else "missed"
        lost = "" if each.leases_lost is None else str(each.leases_lost)
        table.add_row(cause, *_cells(each), goal, met, str(each.overlap), lost)
        for mode, part in each.modes.items():
            table.add_row(f"  {mode}", *_cells(part))
        if each.term is not None:
            table.add_row("  next term", *_cells(each.term))
    return table


def _cells(each: Times) -> tuple[str, ...]:
    return str(each.rounds), f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.max_ms:.2f}"
