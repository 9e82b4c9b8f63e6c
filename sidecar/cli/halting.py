"""Raising a halt from a command: sent, counted live, and ended with the verdict's exit code.

Owns what halt, kill, flatten and shutdown have in common; the verdict is in `halt_count.py`. Which way it fails: what
is not known to be closed is not called closed, and what is not known to be complete is not called complete.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import typer
from rich.live import Live
from rich.text import Text

from sidecar.broker.interface import BrokerAway
from sidecar.cli.errors import CliError, ExitCode
from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.halt_count import EXIT_CODES, HaltCount, HaltOutcome, sentences
from sidecar.cli.options import actor_or_default
from sidecar.cli.output import console, print_json
from sidecar.config.models import Settings
from sidecar.messages.control import TradingState
from sidecar.messages.measures import Measure

REFRESH_PER_S: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedHalt:
    """What the operator asked for. Without `wait` the command ends once the arbiter has spoken."""

    scopes: tuple[str, ...]
    level: TradingState
    reason: str
    reducing_allowed: bool = True
    measures: tuple[Measure, ...] = ()
    timeout_s: float
    wait: bool = True


def raise_and_count(wanted: WantedHalt, *, config: Path | None, actor: str, as_json: bool) -> NoReturn:
    """Do it, show it, and end with the verdict's exit code. Raises ConfigError, CliError."""
    outcome = asyncio.run(_raise(read_settings(config), actor_or_default(actor), wanted))
    if as_json:
        print_json(outcome)
    else:
        console().print("\n".join(sentences(outcome)), markup=False)
    raise typer.Exit(EXIT_CODES[outcome.verdict])


async def _raise(settings: Settings, actor: str, wanted: WantedHalt) -> HaltOutcome:
    count = HaltCount()
    try:
        async with operator_at(settings, actor, wanted.timeout_s) as operator:
            with Live(
                console=console(stderr=True),
                get_renderable=lambda: _lines(count),
                refresh_per_second=REFRESH_PER_S,
                transient=True,
            ):
                progress = await operator.halt(
                    wanted.scopes,
                    wanted.level,
                    wanted.reason,
                    reducing_allowed=wanted.reducing_allowed,
                    measures=wanted.measures,
                    wait=wanted.wait,
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


def _lines(count: HaltCount) -> Text:
    """How it stands, at the terminal's end; nothing of it stays."""
    if count.latest is None:
        return Text("the halt is on its way")
    return Text("\n".join(sentences(count.outcome(count.latest, _now_ns()))))


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
