"""`sidecar history [GROUP]`: past failovers, with cause and the time of each phase.

Owns the command. What it says is folded from the journal; how it looks is in `history_view.py`.
"""

import asyncio
from typing import Annotated

import typer

from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.history_view import failovers_json, failovers_table
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption, actor_or_default
from sidecar.cli.output import console, print_json
from sidecar.messages.explain import LAST_DEFAULT, HistoryReport


def history(
    group: Annotated[str, typer.Argument(metavar="[GROUP]", help="Of this group only.", show_default=False)] = "",
    last: Annotated[int, typer.Option("--last", min=1, max=1000, metavar="N", help="How many.")] = LAST_DEFAULT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Past failovers: cause, who asked, from, to, token, and how long each phase took.

    Exit codes: 0 answered; 1 there is and was no such group; 4 no arbiter answered.
    """
    settings = read_settings(config)

    async def ask() -> HistoryReport:
        async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
            return await operator.history(group, last=last, timeout_s=timeout_s)

    found = asyncio.run(ask()).failovers
    if as_json:
        print_json(failovers_json(found))
    elif found:
        console().print(failovers_table(found))
    else:
        console().print("no slot was ever held")
