"""Limits and positions as tables for a person: each limit beside its figure, with how much of it is used.

Owns words, colours and layout. It must not ask anybody anything.
"""

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from sidecar.cli.halts_view import columns_of
from sidecar.cli.orders_view import when
from sidecar.messages.limits import LimitSet, LimitsInForce, LimitsReport

BAR: Final = 10
"""Characters of a bar."""
TIGHT: Final = 70
FULL: Final = 90
"""Percent of a limit from which it is shown in yellow, and in red."""


class Used(NamedTuple):
    """Where a figure stands against its limit, and what it is of."""

    figure: Decimal
    of: str = ""


def limits_view(report: LimitsReport) -> RenderableType:
    """Every limit in force, each scope's together."""
    if not report.limits:
        return Text("no scope has limits")
    table = columns_of("scope", "limit", "is", "now", "used", "", "of", "set by", "when (UTC)", "why")
    for each in report.limits:
        for at, row in enumerate(_rows(each, tightened=report.tightened)):
            whose = (each.scope, _setter(each), when(each.set_ns), each.reason) if at == 0 else ("", "", "", "")
            table.add_row(Text(whose[0]), *row, *map(Text, whose[1:]))
    parts: list[RenderableType] = [table]
    if report.tightened:
        parts.append(Text("a group is degraded: the tighter limits of `degraded` are in force", style="bold red"))
    return Group(*parts)


def positions_view(report: LimitsReport) -> RenderableType:
    """The open positions by the fills of the journal."""
    if not report.positions:
        return Text("no position is open")
    table = columns_of("venue", "account", "symbol", "position", "cost", "last price", "worth", "realised")
    for each in report.positions:
        price = "" if each.price is None else f"{each.price:f}"
        worth = "" if each.price is None else f"{(each.qty * each.price).normalize():f}"
        style = "red" if each.qty < 0 else ""
        names = map(Text, (each.venue, each.account, each.symbol))
        table.add_row(*names, Text(f"{each.qty:f}", style=style), f"{each.cost:f}", price, worth, f"{each.realised:f}")
    left = report.positions_count - len(report.positions)
    return Group(table, Text(f"and {left} more", style="dim")) if left > 0 else table


def percent(figure: Decimal, limit: Decimal) -> int:
    """How much of a limit is used, rounded up; a limit of zero is used whole by anything."""
    if limit <= 0:
        return 100 if figure > 0 or limit == 0 else 0
    return max(0, math.ceil(figure * 100 / limit))


def _rows(scope: LimitsInForce, *, tightened: bool) -> Iterator[tuple[RenderableType, ...]]:
    for name in LimitSet.__struct_fields__:
        plain, tighter = getattr(scope.limits, name), getattr(scope.degraded, name)
        if plain in (None, False) and tighter in (None, False):
            continue
        replaced = tightened and tighter not in (None, False)
        limit = tighter if replaced else plain
        beside = (
            ""
            if tighter in (None, False)
            else f" ({'else' if replaced else 'degraded'} {_shown(plain if replaced else tighter)})"
        )
        used = _used(scope, name)
        yield name, f"{_shown(limit)}{beside}", *_standing(used, limit)


def _standing(used: Used | None, limit: Decimal | int | bool | None) -> tuple[RenderableType, ...]:
    if used is None or limit is None or isinstance(limit, bool):
        return "", "", "", ""
    share = percent(used.figure, Decimal(limit))
    style = "bold red" if share >= FULL else "yellow" if share >= TIGHT else "green"
    filled = min(BAR, share * BAR // 100)
    return (
        f"{used.figure:f}",
        Text(f"{share} %", style=style),
        Text("█" * filled + "░" * (BAR - filled), style=style),
        Text(used.of),
    )


def _used(scope: LimitsInForce, name: str) -> Used | None:
    match name:
        case "position_max" if scope.position is not None:
            return Used(scope.position, scope.position_of)
        case "exposure_max" if scope.exposure is not None:
            return Used(scope.exposure, scope.exposure_of)
        case "open_orders_max":
            return Used(Decimal(scope.open_orders), "open orders")
        case "orders_per_second_max":
            return Used(scope.orders_per_second, "in the last second")
        case "loss_per_day_max":
            return Used(max(-scope.result_today, Decimal(0)), "lost today")
        case _:
            return None


def _setter(scope: LimitsInForce) -> str:
    return scope.actor if scope.source == "operator" else f"configuration of {scope.actor}"


def _shown(limit: Decimal | int | bool | None) -> str:
    if limit is None:
        return "none"
    if isinstance(limit, bool):
        return "yes" if limit else "no"
    return f"{limit:f}" if isinstance(limit, Decimal) else str(limit)
