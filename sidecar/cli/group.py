"""`sidecar group`: which failover groups there are, and registering and removing them at run time.

Owns the three commands and the list's layout. What may be registered is decided by the arbiter.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from sidecar.cli.errors import ExitCode
from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.operator import ask_and_end, end_with
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
from sidecar.config.load import load_groups
from sidecar.messages.control import CommandResult
from sidecar.messages.events import GroupStatus

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]


def list_groups(config: ConfigOption = None, as_json: JsonOption = False, timeout_s: TimeoutOption = 5.0) -> None:
    """Every failover group, configured or registered, with its components, and whether the two sources agree.

    Exit codes: 0 they agree; 1 a group is frozen because they contradict each other; 4 no arbiter answered.
    """
    settings = read_settings(config)

    async def ask() -> tuple[GroupStatus, ...]:
        async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
            return (await operator.status(timeout_s=timeout_s)).groups

    groups = asyncio.run(ask())
    if as_json:
        print_json(groups)
    else:
        console().print(_table(groups))
        for each in groups:
            if each.contradiction:
                console(stderr=True).print(Text(each.contradiction, style="bold red"))
    raise typer.Exit(ExitCode.NO if any(each.contradiction for each in groups) else ExitCode.OK)


def register(
    file: Annotated[Path, typer.Argument(help="TOML or JSON with `groups`, or a `high_availability` block, alone.")],
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Register the groups of a file, one after the other; one that is known already and the same changes nothing.

    Exit codes: 0 registered; 1 one was refused, with the reason; 2 the file is wrong; 4 no arbiter answered.
    """
    reason, settings = require_reason(reason), read_settings(config)
    groups, notes = load_groups(file)
    for each in notes:
        console(stderr=True).print(each, markup=False)

    async def ask() -> list[CommandResult]:
        async with operator_at(settings, actor_or_default(actor), timeout_s) as operator:
            return [await operator.register(each, reason, dry_run=dry_run, timeout_s=timeout_s) for each in groups]

    end_with(asyncio.run(ask()), as_json)


def remove(
    group: Annotated[str, typer.Argument(help="The registered group.")],
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Remove a registered group whose slots nobody holds; a configured one is removed in the configuration.

    Exit codes: 0 removed; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason = require_reason(reason)

    ask_and_end(
        lambda operator: operator.remove(group, reason, dry_run=dry_run, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def build_group() -> typer.Typer:
    """The group `sidecar group`."""
    app = typer.Typer(help="Failover groups: list them; register and remove them at run time.", no_args_is_help=True)
    app.command("list")(list_groups)
    app.command()(register)
    app.command()(remove)
    return app


def _table(groups: tuple[GroupStatus, ...]) -> Table:
    table = Table("group", "mode", "components", "slots", "from", box=box.SIMPLE_HEAD, pad_edge=False)
    for each in groups:
        held = sum(bool(slot.component) for slot in each.slots)
        components = ", ".join(each.components)
        table.add_row(each.group, each.mode, components, f"{held} of {len(each.slots)} held", each.origin)
    return table
