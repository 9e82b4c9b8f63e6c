"""`sidecar pause GROUP --for 10m` and `sidecar unpause GROUP`: no automatic failovers for a while.

Owns the two commands and how a duration is written. A pause always ends by itself.
"""

import asyncio
import re
from typing import Annotated, Final

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

UNITS_S: Final = {"s": 1, "m": 60, "h": 3600}
GroupArgument = Annotated[str, typer.Argument(help="The failover group, as in the configuration.")]


def pause(
    group: GroupArgument,
    reason: ReasonOption,
    duration: Annotated[str, typer.Option("--for", metavar="DURATION", help="90s, 10m or 2h; at most a day.")],
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Stop automatic failovers of a group for a while; leases still end, and an operator's failover still works.

    Exit codes: 0 paused; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason, duration_s, settings = require_reason(reason), parse_duration_s(duration), read_settings(config)

    async def ask() -> CommandResult:
        async with operator_at(settings, actor_or_default(actor), timeout_s) as operator:
            return await operator.pause(group, reason, duration_s, timeout_s=timeout_s)

    end_with([asyncio.run(ask())], as_json)


def unpause(
    group: GroupArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """End a pause before its time.

    Exit codes: 0 ended; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason, settings = require_reason(reason), read_settings(config)

    async def ask() -> CommandResult:
        async with operator_at(settings, actor_or_default(actor), timeout_s) as operator:
            return await operator.unpause(group, reason, timeout_s=timeout_s)

    end_with([asyncio.run(ask())], as_json)


def parse_duration_s(text: str) -> int:
    """Seconds in `90s`, `10m` or `2h`. BadParameter for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smh])", text.strip())
    if match is None:
        raise typer.BadParameter("write a whole number with its unit, as 90s, 10m or 2h", param_hint="--for")
    return int(match[1]) * UNITS_S[match[2]]
