"""`sidecar limits`: what orders are limited to, where the figures stand, and an operator's change of it.

Owns the commands and how limits are written on a command line. How the list looks is in `limits_view.py`; what each
limit means stands in docs/limits.md.
"""

import asyncio
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
import typer

from sidecar.cli.default_command import falling_back_to
from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.limits_view import limits_view, positions_view
from sidecar.cli.operator import ask_and_end
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    actor_or_default,
    require_reason,
    require_scopes,
)
from sidecar.cli.output import console, print_json
from sidecar.client.operator import Operator
from sidecar.messages.control import CommandResult
from sidecar.messages.limits import LimitSet, LimitsInForce, LimitsReport

NONE: Final = "none"
"""What takes a limit away."""
DEGRADED: Final = "degraded."
"""What stands before the name of a limit that holds while a group is degraded."""
ScopeArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCOPE", help="all, or KIND:NAME with KIND one of group, component, venue, account, symbol, strategy."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]


def show(
    positions: Annotated[bool, typer.Option("--positions", help="The open positions instead.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Limits in force by scope: where the figures stand against them, who set them, when and why.

    Exit codes: 0 answered; 4 no arbiter answered.
    """
    report = asyncio.run(_report(config, timeout_s))
    if as_json:
        print_json(report)
    else:
        console().print(positions_view(report) if positions else limits_view(report))


def set_limits(
    scope: ScopeArgument,
    limits: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="As position_max=500; none takes it away; degraded.position_max=100 holds while a group is degraded.",
        ),
    ],
    reason: ReasonOption,
    replace: Annotated[
        bool, typer.Option("--replace", help="These alone; else the scope's other limits stay.")
    ] = False,
    dry_run: DryRunOption = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Change limits of one scope, from the next order on; the scope is an operator's then, until it is reset.

    Exit codes: 0 set; 1 refused, with the reason; 2 no such limit, or no value of it; 4 no arbiter answered.
    """
    (scope,), reason = require_scopes([scope]), require_reason(reason)
    changes = dict(map(_change, limits))

    async def change(operator: Operator) -> CommandResult:
        known = None if replace else await _known(operator, scope, timeout_s)
        wanted, degraded = changed_limits(known, changes)
        return await operator.set_limits(scope, wanted, reason, degraded=degraded, dry_run=dry_run, timeout_s=timeout_s)

    ask_and_end(change, actor=actor, config=config, as_json=as_json, timeout_s=timeout_s)


def reset(
    scope: ScopeArgument,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Give the limits of one scope back to the leader's configuration.

    Exit codes: 0 given back, or they were the configuration's; 1 refused, with the reason; 4 no arbiter answered.
    """
    (scope,), reason = require_scopes([scope]), require_reason(reason)

    ask_and_end(
        lambda operator: operator.set_limits(scope, None, reason, dry_run=dry_run, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def build_limits() -> typer.Typer:
    """The group `sidecar limits`."""
    app = typer.Typer(cls=falling_back_to("show"), help="What orders are limited to. Without a command: `limits show`.")
    app.command()(show)
    app.command("set")(set_limits)
    app.command()(reset)
    return app


def changed_limits(known: LimitsInForce | None, changes: dict[str, Any]) -> tuple[LimitSet, LimitSet]:
    """The limits of a scope after these changes, and those for a degraded system. None takes a limit away."""
    plain = {name: each for name, each in changes.items() if not name.startswith(DEGRADED)}
    tighter = {name.removeprefix(DEGRADED): each for name, each in changes.items() if name not in plain}
    before, degraded = (known.limits, known.degraded) if known is not None else (LimitSet(), LimitSet())
    return msgspec.structs.replace(before, **plain), msgspec.structs.replace(degraded, **tighter)


async def _known(operator: Operator, scope: str, timeout_s: float) -> LimitsInForce | None:
    report = await operator.limits(timeout_s=timeout_s)
    return next((each for each in report.limits if each.scope == scope), None)


async def _report(config: Path | None, timeout_s: float) -> LimitsReport:
    async with operator_at(read_settings(config), actor_or_default(""), timeout_s) as operator:
        return await operator.limits(timeout_s=timeout_s)


def _change(text: str) -> tuple[str, Any]:
    """One KEY=VALUE. BadParameter says which limits there are."""
    key, found, value = text.partition("=")
    kind = get_type_hints(LimitSet).get(key.removeprefix(DEGRADED))
    if kind is None or not found:
        known = ", ".join(LimitSet.__struct_fields__)
        raise typer.BadParameter(f"{text!r} is no KEY=VALUE of a limit; there are {known}", param_hint="KEY=VALUE")
    return key, _value(key, kind, value.strip().lower())


def _value(key: str, kind: Any, value: str) -> Any:
    if kind is bool:
        if value not in ("true", "false", NONE):
            raise typer.BadParameter(f"{key} is true or false", param_hint="KEY=VALUE")
        return value == "true"
    if value == NONE:
        return None
    whole = Decimal not in kind.__args__
    try:
        number = Decimal(value)
        if not number.is_finite() or (whole and number != int(number)):
            raise InvalidOperation
    except InvalidOperation:
        what = "a whole number" if whole else "a number"
        raise typer.BadParameter(f"{key} is {what} or none, not {value!r}", param_hint="KEY=VALUE") from None
    return int(number) if whole else number
