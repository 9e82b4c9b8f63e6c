"""`sidecar pause GROUP --for 10m` and `sidecar unpause GROUP`: no automatic failovers for a while.

Owns the two commands and how a duration is written. A pause always ends by itself.
"""

import re
from typing import Annotated, Final

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
    reason, duration_s = require_reason(reason), parse_duration_s(duration)

    ask_and_end(
        lambda operator: operator.pause(group, reason, duration_s, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


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
    reason = require_reason(reason)

    ask_and_end(
        lambda operator: operator.unpause(group, reason, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def parse_duration_s(text: str) -> int:
    """Seconds in `90s`, `10m` or `2h`. BadParameter for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smh])", text.strip())
    if match is None:
        raise typer.BadParameter("write a whole number with its unit, as 90s, 10m or 2h", param_hint="--for")
    return int(match[1]) * UNITS_S[match[2]]
