"""What was found: the shape of build/chaos.json and the table.

Owns these. It must not measure or judge.
"""

from pathlib import Path

import msgspec
from rich.table import Table

from benchmarks.failover.figures import CauseFigures


class FaultFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `acknowledged` answers were noted by clients from its strike to the next one's; `found` of them stand
    in the journal, `duplicates` more than once. `outage_ms` is the longest time without any order granted,
    `recovered_ms` the time from the healing until all was well."""

    name: str
    target: str
    outage_ms: float
    leases_lost: int
    acknowledged: int
    found: int
    duplicates: int
    overlap: int
    recovered_ms: float
    broker_node_restarted: str = ""
    """The node that was restarted after the measurement, because the broker was still parted then."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. `acknowledged` counts by what was told; `journal` entries by their verdict; `arbiter_kill` by the
    broker's number of nodes; `broken` has every promise that did not hold, with the evidence."""

    broker: str
    seed: int
    seconds: float
    load_average: tuple[float, float, float]
    faults: list[FaultFigures]
    acknowledged: dict[str, int]
    journal: dict[str, int]
    orders_at_venue: int
    arbiter_kill: dict[str, CauseFigures]
    broken: list[str]


def write(report: Report, path: Path) -> None:
    """As JSON, making the directory if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def summary(report: Report) -> Table:
    """One row for each fault."""
    table = Table(title=f"Chaos on three nodes of {report.broker}, {report.seconds:.0f} s", title_justify="left")
    for name in (
        "fault",
        "of",
        "outage ms",
        "leases lost",
        "acknowledged",
        "found",
        "duplicates",
        "overlap",
        "recovered ms",
    ):
        table.add_column(name, justify="left" if name in ("fault", "of") else "right")
    for each in report.faults:
        figures = (each.leases_lost, each.acknowledged, each.found, each.duplicates, each.overlap)
        table.add_row(each.name, each.target, f"{each.outage_ms:.0f}", *map(str, figures), f"{each.recovered_ms:.0f}")
    return table
