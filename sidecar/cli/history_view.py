"""Failovers as a table for a person and as JSON: their phases as times and as durations.

Owns words, layout and the subtraction of times. It must not ask anybody anything.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.messages.explain import Failover


def durations_ms(failover: Failover) -> dict[str, float | None]:
    """How long each phase took, in milliseconds; None for a phase that had no beginning or no end (yet).

    `suspecting` is from last heard to suspected and `silent` to the end of the hold, where nobody asked for that.
    `stepping_down` is from the request to the release, `granting` from there to the grant, `opening` from there to the
    first heartbeat that says the gate is open. `vacant` is from the end of the old hold to that, `total` from the
    request, else from last heard.
    """
    begun_ns = failover.asked_ns or failover.heard_ns
    return {
        "suspecting": None if failover.asked_ns else _between(failover.heard_ns, failover.suspected_ns),
        "silent": None if failover.asked_ns else _between(failover.heard_ns, failover.vacated_ns),
        "stepping_down": _between(failover.asked_ns, failover.vacated_ns),
        "granting": _between(failover.vacated_ns, failover.granted_ns),
        "opening": _between(failover.granted_ns, failover.taken_ns),
        "vacant": _between(failover.vacated_ns, failover.taken_ns),
        "total": _between(begun_ns, failover.taken_ns),
    }


def failovers_json(failovers: Iterable[Failover]) -> list[dict[str, Any]]:
    """The entries with their durations, as plain values."""
    return [{**msgspec.to_builtins(each), "durations_ms": durations_ms(each)} for each in failovers]


def failovers_table(failovers: Iterable[Failover]) -> Table:
    """One row each, in the order given."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    phases = ("suspected", "silent", "stepping down", "granting", "gate open", "total")
    for column in ("when (UTC)", "slot", "from", "to", "token", "cause", "asked by"):
        table.add_column(column, overflow="fold")
    for column in phases:
        table.add_column(f"{column} ms", justify="right")
    for each in failovers:
        table.add_row(*_row(each))
    return table


def _row(failover: Failover) -> tuple[RenderableType, ...]:
    took = durations_ms(failover)
    holder: RenderableType = failover.component or Text("nobody yet", style="bold red")
    began_ns = failover.asked_ns or failover.vacated_ns or failover.granted_ns
    return (
        datetime.fromtimestamp(began_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        failover.slot,
        failover.previous or "nobody",
        holder,
        str(failover.token or ""),
        failover.cause,
        failover.asked_by,
        *(_shown(took[each]) for each in ("suspecting", "silent", "stepping_down", "granting", "opening", "total")),
    )


def _between(begin_ns: int, end_ns: int) -> float | None:
    return round((end_ns - begin_ns) / 1e6, 1) if 0 < begin_ns <= end_ns else None


def _shown(duration_ms: float | None) -> str:
    return "" if duration_ms is None else f"{duration_ms:.0f}"
