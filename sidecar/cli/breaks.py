"""`sidecar breaks` and `sidecar break resolve`: where a venue differs from what we know, and an operator's word on it.

Owns the two commands and the gathering of pages. How the list looks is in `breaks_view.py`; docs/orders.md says what a
break is, docs/reconciliation.md what a difference is.
"""

from typing import Annotated

import typer

from sidecar.cli.audit import ArchiveOption, archive_at
from sidecar.cli.breaks_view import Breaks, Settled, breaks_view, settled_of
from sidecar.cli.errors import ExitCode
from sidecar.cli.operator import ask_and_end, ask_one
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    require_reason,
)
from sidecar.cli.output import console, print_json
from sidecar.client.operator import Operator
from sidecar.journal.archive_search import Wanted, reading

SHOWN = 100
"""Settled ones that --all shows unless --limit says otherwise."""


def list_breaks(
    everything: Annotated[
        bool, typer.Option("--all", help="Settled ones too, from the archive, newest first.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="--all: at most so many settled.")] = SHOWN,
    archive: ArchiveOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Open breaks of orders and open differences of accounts: both sides, age, evidence, and how to close each.

    Exit codes: 0 nothing is open; 1 something is; 4 no arbiter, or no archive, answered.
    """
    settled = _settled(archive_at(archive, config), limit) if everything else ()
    found = ask_one(lambda operator: gather_breaks(operator, timeout_s), config, timeout_s)
    found = Breaks(found.arbiter, found.breaks, found.differences, settled)
    if as_json:
        print_json(found)
    else:
        console().print(breaks_view(found))
    raise typer.Exit(ExitCode.NO if found.breaks or found.differences else ExitCode.OK)


def resolve(
    cl_ord_id: Annotated[str, typer.Argument(metavar="ClOrdID", help="The order, as the break names it.")],
    reason: ReasonOption,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Close every open break of one order, journaled with the reason. Lifts no halt that came with it.

    Exit codes: 0 closed; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason = require_reason(reason)

    ask_and_end(
        lambda operator: operator.resolve_break(cl_ord_id, reason, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def build_breaks() -> typer.Typer:
    """The group `sidecar break`."""
    app = typer.Typer(help="Where the venue differs from what we know of an order.", no_args_is_help=True)
    app.command()(resolve)
    app.callback()(lambda: None)  # So that one command alone stays a group.
    return app


async def gather_breaks(operator: Operator, timeout_s: float) -> Breaks:
    """Every page. Raises NoAnswer."""
    page = await operator.breaks(timeout_s=timeout_s)
    lines, differences = list(page.breaks), page.differences
    while page.next:
        page = await operator.breaks(page.next, timeout_s=timeout_s)
        lines.extend(page.breaks)
    return Breaks(page.arbiter, tuple(lines), differences)


def _settled(url: str, limit: int) -> tuple[Settled, ...]:
    with reading(url) as reader:
        rows = list(reader.find(Wanted(kinds=("BreakClosed", "DifferenceClosed"), limit=limit)))
        return tuple(settled_of(row, reader) for row in rows)
