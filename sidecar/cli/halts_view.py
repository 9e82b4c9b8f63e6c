"""Halts in force as tables for a person: who raised them, what they still wait for, and what lifts them.

Owns words and layout only. It must not ask anybody anything.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.measures_count import status_sentences
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.events import HaltStatus, StatusReport

STYLES: Final = {
    TradingState.ACTIVE: "green",
    TradingState.REDUCING: "yellow",
    TradingState.CANCEL_ONLY: "yellow",
    TradingState.HALTED: "bold red",
}
UNLATCHED_MAX: Final = 10
"""Sidecars that are named; the JSON has more."""


def halts_view(report: StatusReport) -> Iterator[RenderableType]:
    """Each halt in force, and each lifted one whose measures are not complete; then what they wait for."""
    standing = report.halt_status
    known = {each.halt_id for each in standing}
    if standing:
        yield _standing_table(standing)
    if plain := [each for each in report.halts if each.halt_id not in known]:  # A leader of an earlier version.
        yield _plain_table(plain)
    for each in standing:
        yield from (Text(line, style="yellow") for line in _waits(each))


def _standing_table(halts: Iterable[HaltStatus]) -> Table:
    """The first column is what `sidecar resume` wants."""
    table = columns_of("halt", "level", "scopes", "by", "reason", "age", "to lift it")
    for each in halts:
        level = Text(each.level.name, style=STYLES[each.level]) if each.in_force else Text("lifted", style="green")
        scopes, age = " ".join(each.scopes), age_of(each.age_ns)
        table.add_row(each.halt_id, level, scopes, each.actor, each.reason, age, each.to_lift)
    return table


def _plain_table(halts: Iterable[Halt]) -> Table:
    table = columns_of("halt", "level", "scopes", "by", "reason")
    for each in halts:
        level = Text(each.level.name, style=STYLES[each.level])
        table.add_row(each.halt_id, level, " ".join(each.scopes), each.actor, each.reason)
    return table


def _waits(halt: HaltStatus) -> Iterator[str]:
    """What a halt still waits for, one line each."""
    name = f"halt {halt.halt_id}"
    if halt.unlatched_count:
        shown = ", ".join(halt.unlatched[:UNLATCHED_MAX])
        more = halt.unlatched_count - min(len(halt.unlatched), UNLATCHED_MAX)
        yield f"{name}: not latched by {shown}" + (f" and {more} more" if more else "")
    if halt.incomplete_count:
        what = ", ".join(halt.measures)
        yield f"{name}: {what} not complete at {halt.incomplete_count} of {halt.concerned_count} components"
        yield from (f"  {line}" for line in status_sentences(halt.components))


def age_of(value_ns: int) -> str:
    """A duration as its two largest units."""
    seconds = value_ns // 10**9
    for unit_s, unit, smaller_s, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit_s:
            return f"{seconds // unit_s} {unit} {seconds % unit_s // smaller_s} {smaller}"
    return f"{seconds} s"


def columns_of(*columns: str) -> Table:
    """An empty table with these headings."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for each in columns:
        table.add_column(each, overflow="fold")
    return table
