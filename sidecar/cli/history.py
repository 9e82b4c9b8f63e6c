"""`sidecar history [GROUP]`: past failovers, with cause and the time of each phase.

Owns the command. What it says is folded from the journal; how it looks is in `history_view.py`.
"""

from typing import Annotated

import typer

from sidecar.cli.history_view import failovers_json, failovers_table
from sidecar.cli.operator import ask_one
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption
from sidecar.cli.output import console, print_json
from sidecar.messages.explain import LAST_DEFAULT


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
    found = ask_one(
        lambda operator: operator.history(group, last=last, timeout_s=timeout_s), config, timeout_s
    ).failovers
    if as_json:
        print_json(failovers_json(found))
    elif found:
        console().print(failovers_table(found))
    else:
        console().print("no slot was ever held")
