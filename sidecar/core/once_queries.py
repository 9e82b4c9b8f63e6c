"""Lists of side effects: the leader's answer to questions about execute-once.

Owns the pages, as `order_queries.py` does for orders. It decides nothing.

A cursor is the table and the name of the last effect that was looked at. One under way that is gone has been settled
meanwhile: the list of those then begins again. Those done leave their table in order, so nothing is left before one.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.core.once_table import Effect, OnceTable
from sidecar.messages.codec import encode
from sidecar.messages.once import OnceState
from sidecar.messages.once_queries import OnceLine, OncePage, OnceQuery

LINES_MAX: Final = 200
LOOKED_MAX: Final = 5_000
"""Side effects that are looked at for one page: a few milliseconds."""
PAGE_BYTES_MAX: Final = 1024 * 1024
SHOWN_MAX: Final = 1_000
"""Characters of a result in a list."""
UNDER_WAY: Final = "u "
DONE: Final = "d "


def once_page(arbiter: str, table: OnceTable, query: OnceQuery) -> OncePage:
    """One page of the side effects that match."""
    lines: list[OnceLine] = []
    room, looked, more = PAGE_BYTES_MAX, "", False
    limit = max(1, min(query.limit, LINES_MAX))
    for count, (cursor, effect) in enumerate(_behind(table, query.after)):
        more = len(lines) == limit or count == LOOKED_MAX
        if not more and _wanted(effect, query):
            line = _line(effect)
            room -= len(encode(line))
            more = room < 0
            if not more:
                lines.append(line)
        if more:
            break
        looked = cursor
    return OncePage(
        arbiter=arbiter,
        request_id=query.request_id,
        effects=tuple(lines),
        unknown_count=sum(each.state is OnceState.UNKNOWN for each in table.under_way.values()),
        next=looked if more else "",
    )


def _behind(table: OnceTable, after: str) -> Iterator[tuple[str, Effect]]:
    """What stands behind a cursor."""
    waiting, done = list(table.under_way.items()), list(table.done.items())
    if not after.startswith(DONE):
        begin = next((at + 1 for at, (name, _) in enumerate(waiting) if UNDER_WAY + name == after), 0)
        yield from ((UNDER_WAY + name, each) for name, each in waiting[begin:])
        end = len(done)
    else:
        end = next((at for at, (name, _) in enumerate(done) if DONE + name == after), 0)
    yield from ((DONE + name, each) for name, each in reversed(done[:end]))


def _wanted(effect: Effect, query: OnceQuery) -> bool:
    if query.states and effect.state not in query.states:
        return False
    if query.kinds and effect.kind not in query.kinds:
        return False
    return query.component in ("", effect.component) and query.key in ("", effect.key)


def _line(effect: Effect) -> OnceLine:
    return OnceLine(
        kind=effect.kind,
        key=effect.key,
        state=effect.state,
        component=effect.component,
        claim_id=effect.claim_id,
        ran=effect.ran,
        incarnation=effect.incarnation,
        at_ns=effect.at_ns,
        limit_ns=effect.limit_ns,
        result=effect.result[:SHOWN_MAX],
        text=effect.text,
    )
