"""`sidecar orders`: the orders in the leader's memory, the newest first, once or live.

Owns the command, its filters and the gathering of pages. How a row looks is in `orders_view.py`.
"""

import asyncio
from typing import Annotated, Final, get_args

import msgspec
import typer
from rich.live import Live

from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption, actor_or_default
from sidecar.cli.orders_view import orders_view
from sidecar.cli.output import console, print_json, print_json_line
from sidecar.cli.status_view import trouble_view
from sidecar.client.operator import NoAnswer, Operator
from sidecar.config.models import Settings
from sidecar.messages.order_queries import LINES_MAX, OrderLine, OrdersQuery
from sidecar.messages.orders import OrdStatus, Phase

LIVE_S: Final = 1.0
"""Between questions of `--live`. Lower loads the leader, a little."""
SHOWN: Final = 50
"""Orders on the screen unless --limit says otherwise."""
LIMIT_MAX: Final = 100_000


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `sidecar orders`. `more` says that further ones match, or were not looked at."""

    arbiter: str
    orders: tuple[OrderLine, ...]
    more: bool


def orders(
    phase: Annotated[
        list[Phase] | None,
        typer.Option("--phase", case_sensitive=False, help="In this commit phase; repeatable. DENIED lists denials."),
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="ORDSTATUS", help="With this OrdStatus; repeatable.")
    ] = None,
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="Of this account.")] = "",
    venue: Annotated[str, typer.Option("--venue", metavar="NAME", help="At this venue.")] = "",
    symbol: Annotated[str, typer.Option("--symbol", metavar="NAME", help="In this symbol.")] = "",
    component: Annotated[str, typer.Option("--component", metavar="NAME", help="Of this component.")] = "",
    strategy: Annotated[str, typer.Option("--strategy", metavar="NAME", help="Of this strategy.")] = "",
    slot: Annotated[str, typer.Option("--slot", metavar="NAME", help="Under this slot, as execution/0.")] = "",
    open_only: Annotated[
        bool, typer.Option("--open", help="Only what may rest at a venue, for all that is known.")
    ] = False,
    unknown: Annotated[bool, typer.Option("--unknown", help="The same as --phase UNKNOWN.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, metavar="N", help="At most so many.")] = SHOWN,
    live: Annotated[bool, typer.Option("--live", "-w", help="Keep asking, until interrupted.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Orders in the leader's memory, the newest first. Older ones are in the archive: `sidecar order`, `sidecar audit`.

    With --live --json each answer is one line. Exit codes: 0 answered; 4 no arbiter answered.
    """
    query = OrdersQuery(
        request_id="",
        actor="",
        phases=_phases(phase or [], unknown=unknown),
        statuses=_statuses(status or []),
        account=account,
        venue=venue,
        symbol=symbol,
        component=component,
        strategy=strategy,
        slot=slot,
        open_only=open_only,
    )
    settings = read_settings(config)
    if live:
        asyncio.run(_live(settings, query, limit, as_json, timeout_s))
        return
    found = asyncio.run(_once(settings, query, limit, timeout_s))
    if as_json:
        print_json(found)
    else:
        console().print(orders_view(found.orders, more=found.more))


async def gather_orders(operator: Operator, query: OrdersQuery, limit: int, timeout_s: float) -> Orders:
    """Pages until there are so many, or no more. Raises NoAnswer."""
    found: list[OrderLine] = []
    while True:
        asked = msgspec.structs.replace(query, limit=min(limit - len(found), LINES_MAX))
        page = await operator.orders(asked, timeout_s=timeout_s)
        found.extend(page.orders)
        if len(found) >= limit or not page.next:
            return Orders(arbiter=page.arbiter, orders=tuple(found[:limit]), more=bool(page.next))
        query = msgspec.structs.replace(query, after=page.next)


async def _once(settings: Settings, query: OrdersQuery, limit: int, timeout_s: float) -> Orders:
    async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
        return await gather_orders(operator, query, limit, timeout_s)


async def _live(settings: Settings, query: OrdersQuery, limit: int, as_json: bool, timeout_s: float) -> None:
    async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
        if as_json:
            while True:
                print_json_line(await gather_orders(operator, query, limit, timeout_s))
                await asyncio.sleep(LIVE_S)
        with Live(console=console(), auto_refresh=False, screen=False) as shown:
            while True:
                try:
                    found = await gather_orders(operator, query, limit, timeout_s)
                    view = orders_view(found.orders, more=found.more)
                except NoAnswer as error:
                    view = trouble_view(str(error))
                shown.update(view, refresh=True)
                await asyncio.sleep(LIVE_S)


def _phases(given: list[Phase], *, unknown: bool) -> tuple[Phase, ...]:
    phases = tuple(dict.fromkeys([*given, *([Phase.UNKNOWN] if unknown else [])]))
    if Phase.DENIED in phases and len(phases) > 1:
        raise typer.BadParameter("denials are listed alone: they are no orders", param_hint="--phase")
    return phases


def _statuses(given: list[str]) -> tuple[OrdStatus, ...]:
    known: tuple[OrdStatus, ...] = get_args(OrdStatus)
    by_name = {each.replace("_", ""): each for each in known}
    found = [by_name.get(each.upper().replace("_", "").replace("-", "")) for each in given]
    if None in found:
        raise typer.BadParameter(f"write one of {', '.join(known)}", param_hint="--status")
    return tuple(each for each in found if each is not None)
