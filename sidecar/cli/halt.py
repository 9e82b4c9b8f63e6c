"""`sidecar halt`: stop, and know that it stopped.

Owns the command's options. How a halt is raised and counted is in `halting.py`.
"""

from enum import StrEnum
from typing import Annotated

import typer

from sidecar.cli.halting import WantedHalt, raise_and_count
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    ScopesOption,
    TimeoutOption,
    WaitOption,
    require_reason,
    require_scopes,
)
from sidecar.messages.control import TradingState


class Level(StrEnum):
    """The levels a halt can set, as they are typed."""

    REDUCING = "reducing"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"


def halt(
    reason: ReasonOption,
    scope: ScopesOption = None,
    level: Annotated[Level, typer.Option(case_sensitive=False, help="How strict; see docs/halts.md.")] = Level.HALTED,
    forbid_reducing: Annotated[
        bool, typer.Option("--forbid-reducing", help="Deny orders that only reduce risk, too. Cancels always pass.")
    ] = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
    wait: WaitOption = True,
) -> None:
    """Close the gates of everything in scope, now, and count them as they close.

    The halt stays until `sidecar resume`, whatever restarts. Exit codes: 0 every sidecar that could act acknowledged;
    3 somebody is silent and its gate closes by the deadline printed; 4 not known (no arbiter or no broker answered).
    """
    wanted = WantedHalt(
        scopes=require_scopes(scope),
        level=TradingState[level.name],
        reason=require_reason(reason),
        reducing_allowed=not forbid_reducing,
        timeout_s=timeout_s,
        wait=wait,
    )
    raise_and_count(wanted, config=config, actor=actor, as_json=as_json)
