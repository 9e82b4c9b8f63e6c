"""`sidecar status`: the leader's view of everything, once or live.

Owns the command and the polling. How it looks is in `status_view.py`; what it says is the leader's StatusReport.
"""

import asyncio
from typing import Annotated, Final

import typer
from rich.live import Live

from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption, actor_or_default
from sidecar.cli.output import console, print_json, print_json_line
from sidecar.cli.status_view import status_view, trouble_view
from sidecar.client.operator import NoAnswer, Operator
from sidecar.config.models import Settings
from sidecar.messages.events import StatusReport

WATCH_S: Final = 1.0
"""Between questions of `--watch`. Lower loads the leader, a little."""


def status(
    config: ConfigOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep asking, until interrupted.")] = False,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Who leads, who holds which slot, who is heard, which halts are in force, how the orders stand.

    With --watch --json each answer is one line.
    """
    settings = read_settings(config)
    if watch:
        asyncio.run(_watch(settings, as_json, timeout_s))
        return
    report = asyncio.run(_once(settings, timeout_s))
    if as_json:
        print_json(report)
    else:
        console().print(status_view(report))


async def _once(settings: Settings, timeout_s: float) -> StatusReport:
    async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
        return await operator.status(timeout_s=timeout_s)


async def _watch(settings: Settings, as_json: bool, timeout_s: float) -> None:
    async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
        if as_json:
            while True:
                print_json_line(await operator.status(timeout_s=timeout_s))
                await asyncio.sleep(WATCH_S)
        await _watch_live(operator, timeout_s)


async def _watch_live(operator: Operator, timeout_s: float) -> None:
    """A view that stays when nobody answers, and says so."""
    with Live(console=console(), auto_refresh=False, screen=False) as live:
        while True:
            try:
                view = status_view(await operator.status(timeout_s=timeout_s))
            except NoAnswer as error:
                view = trouble_view(str(error))
            live.update(view, refresh=True)
            await asyncio.sleep(WATCH_S)
