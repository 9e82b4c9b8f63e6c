"""`sidecar resume` and `sidecar failover`: what only an operator may ask, answered by the arbiter.

Owns the two commands, how any command with one request ends, and how one question is asked. Whether the caller is an
operator is decided by the arbiter, from the broker user.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from sidecar.cli.errors import ExitCode
from sidecar.cli.graph import operator_at, read_settings
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
from sidecar.client.operator import Operator
from sidecar.messages.control import CommandResult

Answer = TypeVar("Answer")
PROPOSED: Final = "PROPOSED"
"""The arbiter's code for a resume that needs another operator's."""


def resume(
    reason: ReasonOption,
    halt_id: Annotated[
        str, typer.Argument(metavar="[HALT_ID]", help="As `sidecar status` shows it.", show_default=False)
    ] = "",
    all_halts: Annotated[bool, typer.Option("--all", help="Lift every halt in force.")] = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Lift one halt by its id, or all of them; gates open by themselves afterwards, where nothing else closes them.

    Where two operators are needed (security.resume_operators) the first one only proposes: nothing is lifted. Exit
    codes: 0 lifted; 1 refused, with the reason; 4 no arbiter answered; 10 proposed.
    """
    if bool(halt_id) is all_halts:
        raise typer.BadParameter("name one halt, or say --all", param_hint="HALT_ID")
    reason, settings = require_reason(reason), read_settings(config)

    async def lift() -> list[CommandResult]:
        async with operator_at(settings, actor_or_default(actor), timeout_s) as operator:
            chosen = [halt_id] if halt_id else await _in_force(operator, timeout_s)
            return [await operator.resume(each, reason, timeout_s=timeout_s) for each in chosen]

    end_with(asyncio.run(lift()), as_json, nothing="no halt is in force")


def failover(
    group: Annotated[str, typer.Argument(help="The failover group, as in the configuration.")],
    reason: ReasonOption,
    to: Annotated[str, typer.Option("--to", metavar="COMPONENT", help="Who takes over; else the preferred one.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")] = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Ask a group's holders to step down, each once its gate is closed, and others to take over.

    Exit codes: 0 under way, see `sidecar history`; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason = require_reason(reason)

    ask_and_end(
        lambda operator: operator.failover(group, reason, to=to, dry_run=dry_run, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def ask_and_end(
    ask: Callable[[Operator], Awaitable[CommandResult]],
    *,
    actor: str,
    config: Path | None,
    as_json: bool,
    timeout_s: float,
) -> None:
    """One request of an operator's, its answer, and the end with the answer's exit code."""
    end_with([ask_one(ask, config, timeout_s, actor=actor)], as_json)


def ask_one(
    ask: Callable[[Operator], Awaitable[Answer]], config: Path | None, timeout_s: float, *, actor: str = ""
) -> Answer:
    """What the arbiters answer to one question, or to a few over one connection. Raises NoAnswer."""
    settings = read_settings(config)

    async def one() -> Answer:
        async with operator_at(settings, actor_or_default(actor), timeout_s) as operator:
            return await ask(operator)

    return asyncio.run(one())


async def _in_force(operator: Operator, timeout_s: float) -> list[str]:
    return [each.halt_id for each in (await operator.status(timeout_s=timeout_s)).halts]


def end_with(results: list[CommandResult], as_json: bool, *, nothing: str = "") -> None:
    """Show the arbiter's answers and end with their exit code."""
    if as_json:
        print_json(results)
    else:
        for each in results:
            proposed = f"{PROPOSED}, not lifted: " if each.code == PROPOSED else ""
            console(stderr=not each.ok).print(f"{proposed}{each.text}", markup=False)
        if not results:
            console().print(nothing)
    raise typer.Exit(_code(results))


def _code(results: list[CommandResult]) -> ExitCode:
    if not all(each.ok or each.code == PROPOSED for each in results):
        return ExitCode.NO
    return ExitCode.PROPOSED if any(each.code == PROPOSED for each in results) else ExitCode.OK
