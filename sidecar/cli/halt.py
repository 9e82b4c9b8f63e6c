"""`sidecar halt`: stop, and know that it stopped.

Owns the command and its live display; the verdict is in `halt_count.py`. Which way it fails: what is not known to be
closed is not called closed.
"""

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.live import Live
from rich.text import Text

from sidecar.broker.interface import BrokerAway
from sidecar.cli.errors import CliError, ExitCode
from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.halt_count import EXIT_CODES, HaltCount, HaltOutcome, sentences
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    actor_or_default,
    require_reason,
)
from sidecar.cli.output import console, print_json
from sidecar.config.models import Settings
from sidecar.core.ladder import scope_problem
from sidecar.messages.control import TradingState

REFRESH_PER_S: Final = 10


@dataclass(frozen=True, slots=True)
class _Wanted:
    scopes: tuple[str, ...]
    level: TradingState
    reason: str
    reducing_allowed: bool
    timeout_s: float


class Level(StrEnum):
    """The levels a halt can set, as they are typed."""

    REDUCING = "reducing"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"


def halt(
    reason: ReasonOption,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="'all' (the default) or KIND:NAME with KIND one of group, component, venue, account, symbol, "
            "strategy. Repeatable.",
        ),
    ] = None,
    level: Annotated[Level, typer.Option(case_sensitive=False, help="How strict; see docs/halts.md.")] = Level.HALTED,
    forbid_reducing: Annotated[
        bool, typer.Option("--forbid-reducing", help="Deny orders that only reduce risk, too. Cancels always pass.")
    ] = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Close the gates of everything in scope, now, and count them as they close.

    The halt stays until `sidecar resume`, whatever restarts. Exit codes: 0 every sidecar that could act acknowledged;
    3 somebody is silent and its gate closes by the deadline printed; 4 not known (no arbiter or no broker answered).
    """
    scopes = tuple(scope or ("all",))
    if problem := next(filter(None, map(scope_problem, scopes)), ""):
        raise typer.BadParameter(problem, param_hint="--scope")
    wanted = _Wanted(scopes, TradingState[level.name], require_reason(reason), not forbid_reducing, timeout_s)
    outcome = asyncio.run(_halt(read_settings(config), actor_or_default(actor), wanted))
    if as_json:
        print_json(outcome)
    else:
        console().print("\n".join(sentences(outcome)))
    raise typer.Exit(EXIT_CODES[outcome.verdict])


async def _halt(settings: Settings, actor: str, wanted: _Wanted) -> HaltOutcome:
    count = HaltCount()
    try:
        async with operator_at(settings, actor, wanted.timeout_s) as operator:
            with Live(
                console=console(stderr=True),
                get_renderable=lambda: _line(count),
                refresh_per_second=REFRESH_PER_S,
                transient=True,
            ):
                progress = await operator.halt(
                    wanted.scopes,
                    wanted.level,
                    wanted.reason,
                    reducing_allowed=wanted.reducing_allowed,
                    timeout_s=wanted.timeout_s,
                    on_progress=lambda progress: count.see(progress, _now_ns()),
                )
    except BrokerAway as error:
        raise CliError(
            f"nothing was sent, so no halt is raised: {error}; a sidecar that cannot reach the broker either closes "
            f"its gate by itself, at most {settings.timing.holder_lease_ms} ms after its last answered heartbeat",
            ExitCode.UNKNOWN,
        ) from error
    return count.outcome(progress, _now_ns())


def _line(count: HaltCount) -> Text:
    """The count so far, on the terminal's last line; nothing of it stays."""
    if count.latest is None:
        return Text("the halt is on its way")
    return Text("; ".join(sentences(count.outcome(count.latest, _now_ns()))))


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
