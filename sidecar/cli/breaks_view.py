"""Breaks and differences for a person, and as JSON: both sides, since when, and the command that closes each.

Owns words and layout. It must not ask an arbiter anything; what opened a settled break is looked up in the archive.
"""

import re
import shlex
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.halts_view import age_of, columns_of
from sidecar.cli.orders_view import when, words_of
from sidecar.journal.archive_ledger import Row
from sidecar.journal.archive_search import Reader, Wanted
from sidecar.messages.codec import decode_record
from sidecar.messages.journal import BreakClosed, BreakOpened, DifferenceClosed, Record
from sidecar.messages.order_queries import BreakLine, DifferenceLine

REPORT: Final = "ExecutionReport("
FIELD: Final = re.compile(r"(\w+)=(?:Decimal\()?'([^']*)'")
"""A field of an execution report as Python shows it, which is what a break says of a changed execution."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """A break or a difference that was closed. `actor` is empty where evidence closed it; times are of the journal."""

    what: str
    kinds: tuple[str, ...]
    ours: str
    theirs: str
    opened_ns: int
    closed_ns: int
    actor: str
    reason: str
    offset: int


class Breaks(msgspec.Struct, frozen=True):
    """The JSON of `sidecar breaks`."""

    arbiter: str
    breaks: tuple[BreakLine, ...]
    differences: tuple[DifferenceLine, ...]
    settled: tuple[Settled, ...] = ()


def breaks_view(found: Breaks) -> RenderableType:
    """Everything, each with the command that closes it."""
    parts: list[RenderableType] = []
    if found.breaks:
        parts.append(_breaks(found.breaks))
    if found.differences:
        parts.append(_differences(found.differences))
    if not parts:
        parts.append(Text("no break and no difference is open", style="green"))
    commands = list(_commands(found))
    if commands:
        parts += [Text("to close them, once you have looked (it lifts no halt):"), *map(Text, commands)]
    if found.settled:
        parts.append(_settled(found.settled))
    return Group(*parts)


def sides_of(ours: str, theirs: str) -> tuple[str, str]:
    """Both sides for a person: of two reports of one execution only what differs."""
    if not (ours.startswith(REPORT) and theirs.startswith(REPORT)):
        return ours, theirs
    left, right = dict(FIELD.findall(ours)), dict(FIELD.findall(theirs))
    names = [each for each in left if left[each] != right.get(each)]
    if not names:
        return ours, theirs
    return ", ".join(f"{each} {left[each]}" for each in names), ", ".join(f"{each} {right.get(each)}" for each in names)


def close_break(cl_ord_id: str) -> str:
    """The command that closes an order's breaks."""
    return f'sidecar break resolve {shlex.quote(cl_ord_id)} --reason "..."'


def close_difference(each: DifferenceLine) -> str:
    """The command that takes the venue's word."""
    names = " ".join(map(shlex.quote, (each.venue, each.account, each.name)))
    return f'sidecar resolve-difference {names}{" --balance" if each.holds == "balances" else ""} --reason "..."'


def settled_of(row: Row, reader: Reader) -> Settled:
    """What the archive has of one that was closed."""
    record = decode_record(row.body)
    fact = record.fact if isinstance(record, Record) else None
    if isinstance(fact, DifferenceClosed):
        return _settled_difference(row, fact)
    name = fact.cl_ord_id if isinstance(fact, BreakClosed) else row.cl_ord_id
    opened = list(_opened(row, reader, name))
    return Settled(
        what=f"order {name}",
        kinds=tuple(each.kind for each, _ in opened),
        ours="; ".join(each.ours for each, _ in opened),
        theirs="; ".join(each.theirs for each, _ in opened),
        opened_ns=min((at_ns for _, at_ns in opened), default=0),
        closed_ns=row.at_ns or 0,
        actor=row.actor,
        reason=fact.reason if isinstance(fact, BreakClosed) else "",
        offset=row.stream_offset,
    )


def _settled_difference(row: Row, fact: DifferenceClosed) -> Settled:
    return Settled(
        what=f"{fact.holds} of {fact.name} in {fact.account} at {fact.venue}",
        kinds=("DIFFERENCE",),
        ours=f"{fact.ours:f}",
        theirs=f"{fact.theirs:f}",
        opened_ns=0,
        closed_ns=row.at_ns or 0,
        actor=fact.actor,
        reason=fact.reason,
        offset=row.stream_offset,
    )


def _opened(closed: Row, reader: Reader, name: str) -> Iterator[tuple[BreakOpened, int]]:
    """What opened the breaks that this record closed: those since the closing before it."""
    wanted = Wanted(cl_ord_id=name, kinds=("BreakOpened", "BreakClosed"))
    for row in reader.find(wanted):
        if row.stream_offset >= closed.stream_offset or row.cl_ord_id != name:
            continue
        record = decode_record(row.body)
        if not isinstance(record, Record) or not isinstance(record.fact, BreakOpened):
            return
        yield record.fact, record.at_ns


# --- tables ---


def _breaks(lines: Iterable[BreakLine]) -> Table:
    table = columns_of(
        "ClOrdID", "kind", "age", "ours", "the venue's", "order", "scope", "last evidence", "halted by it"
    )
    for line in lines:
        for at, each in enumerate(line.breaks):
            first = _order_cells(line) if at == 0 else ("", "", "", "")
            age, (ours, theirs) = age_since(each.at_ns), sides_of(each.ours, each.theirs)
            table.add_row(
                Text(line.cl_ord_id),
                Text(each.kind, style="bold red"),
                age,
                Text(ours),
                Text(theirs),
                *map(Text, first),
            )
    return table


def _order_cells(line: BreakLine) -> tuple[str, str, str, str]:
    order, evidence = line.line, line.evidence
    asked = f"{words_of(order)}, {order.ord_status or order.phase}" if order is not None else ""
    scope = f"{order.account} at {order.venue}, {order.component or 'not ours'}" if order is not None else ""
    seen = ""
    if evidence is not None:
        seen = f"{evidence.exec_type} {evidence.ord_status} {evidence.cum_qty:f} OrderID {evidence.order_id}"
    return asked, scope, seen, " ".join(line.halts)


def _differences(lines: Iterable[DifferenceLine]) -> Table:
    table = columns_of("difference", "account", "venue", "our fills say", "the venue says", "age", "halted by it")
    for each in lines:
        what = f"{each.holds[:-1]} of {each.name}"
        sides = (f"{each.ours:f}", f"{each.theirs:f}", age_since(each.at_ns))
        table.add_row(Text(what, style="bold red"), Text(each.account), Text(each.venue), *sides, " ".join(each.halts))
    return table


def _commands(found: Breaks) -> Iterator[str]:
    yield from (f"  {close_break(each.cl_ord_id)}" for each in found.breaks)
    yield from (f"  {close_difference(each)}" for each in found.differences)


def _settled(rows: Iterable[Settled]) -> Table:
    table = columns_of("closed (UTC)", "what", "kind", "open for", "ours", "the venue's", "by", "reason", "offset")
    for each in rows:
        lasted = age_of(each.closed_ns - each.opened_ns) if each.opened_ns else ""
        cells: tuple[Any, ...] = (each.what, ", ".join(each.kinds), lasted, each.ours, each.theirs)
        table.add_row(
            when(each.closed_ns), *map(Text, cells), Text(each.actor or "evidence"), Text(each.reason), str(each.offset)
        )
    return table


def age_since(at_ns: int) -> str:
    """How long ago, by this host's wall clock; a question mark where it is not known."""
    return age_of(max(0, time.time_ns() - at_ns)) if at_ns else "?"
