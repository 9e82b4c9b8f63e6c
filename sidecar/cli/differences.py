"""`sidecar resolve-difference`: an operator takes the venue's word for what an account holds.

Owns the command. `sidecar status` shows what is open; docs/reconciliation.md says what a difference is.
"""

import asyncio
from typing import Annotated

import typer

from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.operator import end_with
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    actor_or_default,
    require_reason,
)
from sidecar.messages.control import CommandResult
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
    reason, settings = require_reason(reason), read_settings(config)
    holds: Holds = "balances" if balance else "positions"

    async def ask() -> CommandResult:
        async with operator_at(settings, actor_or_default(actor), timeout_s) as operator:
            return await operator.resolve_difference(venue, account, name, reason, holds=holds, timeout_s=timeout_s)

    end_with([asyncio.run(ask())], as_json)
