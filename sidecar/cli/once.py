"""`sidecar once`: what is remembered of side effects, and an operator's word on one of which nobody knows.

Owns the two commands and the list's layout. What an operator may settle is decided by the arbiter; docs/execute-once.md
says what the states mean.
"""

import shlex
from collections.abc import Iterable
from typing import Annotated, Final, get_args

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from sidecar.cli.breaks_view import age_since
from sidecar.cli.default_command import falling_back_to
from sidecar.cli.errors import ExitCode
from sidecar.cli.halts_view import columns_of
from sidecar.cli.operator import ask_and_end, ask_one
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    require_reason,
)
from sidecar.cli.output import console, print_json
from sidecar.client.operator import Operator
from sidecar.messages.once import RESULT_BYTES_MAX, OnceKind, OnceState
from sidecar.messages.once_queries import OnceLine, OnceQuery

SHOWN: Final = 50
"""Side effects on the screen unless --limit says otherwise."""
LIMIT_MAX: Final = 100_000
STYLES: Final = {OnceState.UNKNOWN: "bold red", OnceState.RESOLVING: "yellow", OnceState.RUNNING: "cyan"}
KINDS: Final[tuple[OnceKind, ...]] = get_args(OnceKind)


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `sidecar once list`. `more` says that further ones match, or were not looked at."""

    arbiter: str
    effects: tuple[OnceLine, ...]
    unknown_count: int
    more: bool


def list_effects(
    state: Annotated[
        list[OnceState] | None, typer.Option("--state", case_sensitive=False, help="That stand so; repeatable.")
    ] = None,
    unknown: Annotated[bool, typer.Option("--unknown", help="The same as --state UNKNOWN.")] = False,
    kind: Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="As place; repeatable.")] = None,
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="Of this key.")] = "",
    component: Annotated[str, typer.Option("--component", metavar="NAME", help="Of this component.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, metavar="N", help="At most so many.")] = SHOWN,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Side effects of execute-once: those under way or UNKNOWN, the oldest first, then those done, the newest first.

    Exit codes: 0 none is UNKNOWN; 1 some are, listed or not; 4 no arbiter answered.
    """
    states = tuple(dict.fromkeys([*(state or []), *([OnceState.UNKNOWN] if unknown else [])]))
    query = OnceQuery(
        request_id="", actor="", states=states, kinds=tuple(map(_kind, kind or [])), key=key, component=component
    )
    found = ask_one(lambda operator: gather_effects(operator, query, limit, timeout_s), config, timeout_s)
    if as_json:
        print_json(found)
    else:
        console().print(effects_view(found))
    raise typer.Exit(ExitCode.NO if found.unknown_count else ExitCode.OK)


def resolve(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As `sidecar once list` names it.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The same.")],
    reason: ReasonOption,
    happened: Annotated[
        str | None, typer.Option("--happened", metavar="JSON", help="It happened; whoever asks gets this result.")
    ] = None,
    never: Annotated[
        bool, typer.Option("--never", help="It never happened, and will not: it may be claimed again.")
    ] = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Settle a side effect of which nobody knows what became of it, journaled with the reason.

    Exit codes: 0 settled; 1 refused, with the reason; 2 no JSON, or not exactly one of both; 4 no arbiter answered.
    """
    if (happened is None) is not never:
        raise typer.BadParameter("say either --happened JSON or --never", param_hint="--happened")
    reason, wanted = require_reason(reason), _kind(kind)
    result = None if happened is None else _result(happened)

    ask_and_end(
        lambda operator: operator.resolve_once(wanted, key, reason, result=result, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def build_once() -> typer.Typer:
    """The group `sidecar once`."""
    app = typer.Typer(
        cls=falling_back_to("list"), help="Side effects that are done once. Without a command: `once list`."
    )
    app.command("list")(list_effects)
    app.command()(resolve)
    return app


async def gather_effects(operator: Operator, query: OnceQuery, limit: int, timeout_s: float) -> Effects:
    """Pages until there are so many, or no more; one that was settled meanwhile is not listed twice."""
    found: dict[tuple[str, str], OnceLine] = {}
    while True:
        asked = msgspec.structs.replace(query, limit=limit - len(found))
        page = await operator.once(asked, timeout_s=timeout_s)
        found |= {(each.kind, each.key): each for each in page.effects}
        if len(found) >= limit or not page.next:
            effects = tuple(found.values())[:limit]
            return Effects(
                arbiter=page.arbiter, effects=effects, unknown_count=page.unknown_count, more=bool(page.next)
            )
        query = msgspec.structs.replace(query, after=page.next)


def effects_view(found: Effects) -> RenderableType:
    """The list, and how to settle what is UNKNOWN."""
    if not found.effects:
        return Text("no side effect matches")
    table = columns_of("kind", "key", "state", "for", "by", "claim", "result", "what is said of it")
    for each in found.effects:
        state = Text(each.state, style=STYLES.get(each.state, "green"))
        names = (Text(each.kind), Text(each.key), state, Text(age_since(each.at_ns)), Text(each.component))
        table.add_row(*names, Text(each.claim_id), Text(each.result), Text(each.text))
    parts: list[RenderableType] = [table]
    if found.more:
        parts.append(Text("there are more: --limit", style="dim"))
    if any(each.state is OnceState.UNKNOWN for each in found.effects):
        parts.append(Text("once you have found out, and whoever ran it is gone:"))
        parts += _commands(found.effects)
    return Group(*parts)


def _commands(effects: Iterable[OnceLine]) -> list[Text]:
    first = next(each for each in effects if each.state is OnceState.UNKNOWN)
    name = f"sidecar once resolve {first.kind} {shlex.quote(first.key)}"
    return [Text(f'  {name} --happened \'"V-1"\' --reason "..."'), Text(f'  {name} --never --reason "..."')]


def _kind(given: str) -> OnceKind:
    if given not in KINDS:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(KINDS)}", param_hint="KIND")
    return given


def _result(text: str) -> str:
    """The JSON, as short as it can be written."""
    try:
        result = msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise typer.BadParameter(
            f"it is no JSON: {error}; a text stands in double quotes", param_hint="--happened"
        ) from None
    if len(result.encode()) > RESULT_BYTES_MAX:
        raise typer.BadParameter(f"it is longer than {RESULT_BYTES_MAX} bytes", param_hint="--happened")
    return result
