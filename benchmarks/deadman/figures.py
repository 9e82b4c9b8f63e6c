"""What was measured, whether it is as it must be, and the files and the table that say so.

Owns the judgement: pure functions of what was seen. It must not measure. Percentiles are those of the failover
benchmark, by nearest rank.

Two things make a run fail: a gate that was seen open after its deadline, and a gate that was open longer after the
fault than any lease then running allows, since somebody must have renewed it who could not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.table import Table

from benchmarks.deadman.page_watch import Closing, OpenTooLong
from benchmarks.failover.figures import Times, times
from benchmarks.failover.places import TIMING
from sidecar.core.timing import MS
from sidecar.messages.venue import AuditEntry

BOUND_NS: Final = TIMING.holder_lease_ns + TIMING.heartbeat_ns
"""From the fault to the last moment at which a gate may be open: D after a heartbeat that was sent right before it; an
interval more, for a fault that takes a moment to be done."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One gate in one round: the fault, and the closing that followed."""

    struck_ns: int
    closing: Closing


class EndFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One cause. `after_deadline` is from the last deadline to the first look that saw the gate closed, and so an upper
    bound that contains the pause between two looks (`look_max_ms`); `after_fault` the same from the fault.

    `open_past_deadline` counts gates that were certainly open after their deadline, `renewed_after_fault` those open
    after `BOUND_NS`, `early` those that were closed before their deadline, which harms nobody, and `orders_late` orders
    that reached the venue after their holder's deadline and gate_to_effect_ms.
    """

    rounds: int
    after_deadline: Times
    after_fault: Times
    look_max_ms: float
    open_past_deadline: int
    renewed_after_fault: int
    early: int
    orders_late: int

    @property
    def well(self) -> bool:
        """Whether nothing was found that must not be."""
        return not (self.open_past_deadline or self.renewed_after_fault or self.orders_late)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    broker: str
    holder_lease_ms: float
    heartbeat_ms: float
    load_average: tuple[float, float, float]
    seconds: float
    causes: dict[str, EndFigures]


def figures(rounds: int, seen: Sequence[Measured], too_long: Sequence[OpenTooLong], orders_late: int) -> EndFigures:
    """Of at least one closing; `too_long` are the gates seen open after their deadline meanwhile."""
    closings = [each.closing for each in seen]
    return EndFigures(
        rounds=rounds,
        after_deadline=times([max(0, each.closed_by_ns - each.deadline_ns) for each in closings]),
        after_fault=times([each.closing.closed_by_ns - each.struck_ns for each in seen]),
        look_max_ms=round(max(each.closed_by_ns - each.last_open_ns for each in closings) / MS, 3),
        open_past_deadline=len(too_long),
        renewed_after_fault=sum(each.closing.last_open_ns - each.struck_ns > BOUND_NS for each in seen),
        early=sum(each.closed_by_ns < each.deadline_ns for each in closings),
        orders_late=orders_late,
    )


def orders_late(entries: Sequence[AuditEntry], rounds: Sequence[tuple[Measured, int]]) -> int:
    """Orders that reached the venue under a gate that had closed, before the healing at which it could open again."""
    return sum(
        _sent_under(entry, each.closing) and each.closing.deadline_ns + TIMING.effect_ns < entry.received_ns < healed_ns
        for each, healed_ns in rounds
        for entry in entries
    )


def write(report: Report, path: Path) -> None:
    """As JSON, making the directory if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def merge(report: Report, path: Path) -> None:
    """One line for each cause into the file that all benchmarks share."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for cause, each in report.causes.items():
        kept[f"deadman_{cause}"] = {
            "ours": each.after_fault.p99_ms,
            "floor": report.holder_lease_ms,
            "ratio": round(each.after_fault.p99_ms / report.holder_lease_ms, 3),
            "unit": "ms",
            "after_deadline_max_ms": each.after_deadline.max_ms,
            "open_past_deadline": each.open_past_deadline,
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=2) + "\n")


def summary(report: Report) -> Table:
    """One row for each cause."""
    load = " ".join(f"{each:.2f}" for each in report.load_average)
    bound = f"D {report.holder_lease_ms:.0f} ms, heartbeat {report.heartbeat_ms:.0f} ms"
    title = f"Dead man on {report.broker}, {bound}, {report.seconds:.0f} s, load average {load}"
    table = Table(title=title, title_justify="left")
    columns = ("cause", "gates", "fault p50 ms", "p99", "max", "deadline p50 ms", "p99", "max", "look max", "past")
    for name in columns:
        table.add_column(name, justify="left" if name == "cause" else "right")
    for cause, each in report.causes.items():
        table.add_row(
            cause,
            str(each.after_fault.rounds),
            *_cells(each.after_fault),
            *_cells(each.after_deadline),
            f"{each.look_max_ms:.2f}",
            str(each.open_past_deadline),
        )
    return table


def failures(causes: Mapping[str, EndFigures]) -> list[str]:
    """What must not be, in words."""
    found = []
    for name, each in causes.items():
        if each.open_past_deadline:
            found.append(f"{name}: {each.open_past_deadline} gates were open after their deadline")
        if each.renewed_after_fault:
            found.append(f"{name}: {each.renewed_after_fault} gates were open longer than D and a heartbeat after it")
        if each.orders_late:
            found.append(f"{name}: {each.orders_late} orders reached the venue too late")
    return found


def _sent_under(entry: AuditEntry, closing: Closing) -> bool:
    """A toy component's ClOrdID is its incarnation and a number."""
    return (entry.cl_ord_id.rpartition("-")[0], entry.token) == (closing.incarnation, closing.token)


def _cells(each: Times) -> tuple[str, ...]:
    return f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.max_ms:.2f}"
