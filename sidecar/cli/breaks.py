"""`sidecar break resolve`: an operator closes the breaks of an order that evidence will not close.

Owns the command. docs/orders.md says what a break is; `break-found.v1` on `sidecar.events` has its kind and both sides.
"""

from typing import Annotated

import typer

from sidecar.cli.operator import ask_and_end
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    require_reason,
)


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
