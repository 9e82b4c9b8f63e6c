"""`sidecar resolve-difference`: an operator takes the venue's word for what an account holds.

Owns the command. `sidecar status` shows what is open; docs/reconciliation.md says what a difference is.
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
from sidecar.messages.reconcile import Holds

VenueArgument = Annotated[str, typer.Argument(help="The venue, as in the configuration.")]


def resolve_difference(
    venue: VenueArgument,
    account: Annotated[str, typer.Argument(help="The account there.")],
    name: Annotated[str, typer.Argument(help="The symbol, or with --balance the asset.")],
    reason: ReasonOption,
    balance: Annotated[bool, typer.Option("--balance", help="It is a balance, not a position.")] = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Take the venue's word for what an account holds; fills are counted from there. Lifts no halt.

    Exit codes: 0 resolved; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason = require_reason(reason)
    holds: Holds = "balances" if balance else "positions"

    ask_and_end(
        lambda operator: operator.resolve_difference(venue, account, name, reason, holds=holds, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )
