"""Orders as a table for a person: one row each.

Owns words, colours and layout. It must not ask anybody anything.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.halts_view import columns_of
from sidecar.messages.order_queries import OrderLine
from sidecar.messages.orders import Phase

PHASE_STYLES: Final = {
    Phase.PRECOMMITTED: "cyan",
    Phase.COMMITTED: "cyan",
    Phase.UNKNOWN: "bold red",
    Phase.VERIFIED: "green",
    Phase.ABORTED: "dim",
    Phase.BREAK: "bold red",
    Phase.DENIED: "yellow",
}
WAITS: Final = {
    "report": "the component's report",
    "query": "an answer of the venue",
    "evidence": "the venue's evidence",
    "ending": "its end at the venue",
    "review": "news; reviewed regularly",
    "claim": "whoever names its OrderID",
}
"""What an order waits for, in words; see core/waits.py."""


def orders_view(lines: Iterable[OrderLine], *, more: bool) -> RenderableType:
    """The list, and whether it is all."""
    rows = list(lines)
    if not rows:
        return Text("no order in the leader's memory matches")
    denied = any(each.phase is Phase.DENIED for each in rows)
    table = _denials(rows) if denied else _orders(rows)
    return Group(table, Text("there are more: --limit", style="dim")) if more else table


def _orders(rows: Iterable[OrderLine]) -> Table:
    table = columns_of(
        "when (UTC)",
        "ClOrdID",
        "component",
        "account",
        "venue",
        "order",
        "phase",
        "OrdStatus",
        "CumQty",
        "OrderID",
        "waits for",
    )
    table.columns[0].no_wrap = True
    for each in rows:
        table.add_row(
            when(each.granted_ns),
            Text(each.cl_ord_id),
            Text(each.component or "not ours"),
            Text(each.account),
            Text(each.venue),
            Text(words_of(each)),
            phase_text(each),
            each.ord_status or "",
            f"{each.cum_qty:f}",
            Text(each.order_id),
            WAITS.get(each.waits, each.waits),
        )
    return table


def _denials(rows: Iterable[OrderLine]) -> Table:
    table = columns_of("ClOrdID", "component", "account", "venue", "order", "code", "why")
    for each in rows:
        cells = (each.cl_ord_id, each.component, each.account, each.venue, words_of(each), each.code, each.text)
        table.add_row(*map(Text, cells))
    return table


def words_of(line: OrderLine) -> str:
    """What is asked for, in words: `BUY 10 XYZ at 101.25`."""
    kind = "" if line.kind == "NEW" else f"{line.kind} "
    if line.kind in ("CANCEL", "MASS_CANCEL"):
        return f"{kind}{line.symbol}".strip()
    price = f"at {line.price:f}" if line.price is not None else "at the market" if line.component else ""
    return f"{kind}{line.side} {line.qty:f} {line.symbol} {'' if line.kind == 'TRANSFER' else price}".strip()


def phase_text(line: OrderLine) -> Text:
    """The phase in its colour, a break with its kinds."""
    words = f"{line.phase} {', '.join(line.breaks)}".strip()
    return Text(words, style=PHASE_STYLES[line.phase])


def when(at_ns: int) -> str:
    """To the millisecond, UTC, for a person; a question mark where it is not known."""
    moment = _moment(at_ns)
    return "?" if moment is None else moment.isoformat(" ", "milliseconds").removesuffix("+00:00")


def iso(at_ns: int) -> str:
    """To the microsecond, UTC, as ISO 8601 has it; empty where it is not known."""
    moment = _moment(at_ns)
    return "" if moment is None else moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(at_ns: int) -> datetime | None:
    """None for no time, and for what no calendar has."""
    try:
        return datetime.fromtimestamp(at_ns / 1e9, UTC) if at_ns else None
    except (ValueError, OverflowError, OSError):
        return None
