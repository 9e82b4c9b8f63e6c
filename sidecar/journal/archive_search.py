"""Reading the archive: finding entries, and the place and anchor that verification starts from.

Owns the questions and how they become SQL. It must not write. Everything here blocks; rows come a page at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, func, inspect, or_, select
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import SQLAlchemyError

from sidecar.journal.archive import decode_place, read_place
from sidecar.journal.archive_errors import ArchiveAway, ArchiveError
from sidecar.journal.archive_ledger import Place, Row, as_column
from sidecar.journal.archive_tables import (
    ANCHORS,
    ENTRIES,
    STATE,
    file_of,
    open_engine,
    shown,
    words_of,
)

PAGE_ROWS: Final = 1_000
TICK: Final = "Ticked"
NO_OFFSET: Final = -1
"""The offset of a row that somebody wrote with something else than a number there."""
_NUMBERS: Final = ("term", "n", "at_ns")
_TEXTS: Final = tuple(each for each in Row.__struct_fields__ if each not in (*_NUMBERS, "stream_offset", "body"))


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries. Empty means any; `cl_ord_id` finds the cancels of that order too. Times are [since, until).

    Without `everything` only what counts is found: no ticks, no repeated and no void entries. `limit` 0 is no limit.
    """

    cl_ord_id: str = ""
    component: str = ""
    group: str = ""
    slot: str = ""
    actor: str = ""
    kinds: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    everything: bool = False
    oldest_first: bool = False
    limit: int = 0


class Anchor(msgspec.Struct, frozen=True):
    """Where the rows begin, and why there."""

    place: Place
    why: str
    made_ns: int


class Reader:
    """A consistent view of one archive. Use it in `reading`; methods raise ArchiveAway when the database goes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def place(self) -> Place:
        """Where the archive says it stands."""
        row = self._connection.execute(select(STATE)).mappings().one_or_none()
        return Place() if row is None else read_place(row)

    def anchor(self) -> Anchor:
        """Where its rows begin."""
        newest = select(ANCHORS).order_by(ANCHORS.c.first_offset.desc()).limit(1)
        row = self._connection.execute(newest).mappings().one_or_none()
        if row is None:
            return Anchor(Place(), "nothing was archived yet", 0)
        return Anchor(decode_place(row["place"]), row["why"], row["made_ns"])

    def rows(self) -> Iterator[Row]:
        """All of them, by offset."""
        return self._fetched(select(ENTRIES).order_by(ENTRIES.c.stream_offset))

    def find(self, wanted: Wanted) -> Iterator[Row]:
        """Those that are wanted, in the log's order or, newest first, against it."""
        offset = ENTRIES.c.stream_offset
        query = select(ENTRIES).where(*_conditions(wanted)).order_by(offset if wanted.oldest_first else offset.desc())
        return self._fetched(query.limit(wanted.limit) if wanted.limit else query)

    def count(self, wanted: Wanted) -> int:
        """How many `find` would give without a limit."""
        return int(self._scalar(select(func.count()).select_from(ENTRIES).where(*_conditions(wanted))))

    def total(self) -> int:
        """Rows in the archive."""
        return int(self._scalar(select(func.count()).select_from(ENTRIES)))

    def chain_at(self, offset: int) -> str | None:
        """The archive's chain behind the row at this offset; None when there is no such row."""
        found = self._connection.execute(select(ENTRIES.c.archive_chain).where(ENTRIES.c.stream_offset == offset))
        return found.scalar()

    def bodies(self, first: int, last: int) -> dict[int, bytes]:
        """The bytes archived for these offsets, both included; those of a gap are our own."""
        columns = ENTRIES.c
        within = select(columns.stream_offset, columns.body).where(columns.stream_offset.between(first, last))
        return {row.stream_offset: row.body for row in self._connection.execute(within)}

    def _scalar(self, query: Select[Any]) -> Any:
        return self._connection.execute(query).scalar() or 0

    def _fetched(self, query: Select[Any]) -> Iterator[Row]:
        for row in self._connection.execute(query, execution_options={"yield_per": PAGE_ROWS}).mappings():
            yield _row(row)


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    """The archive at `url` as it is at one moment. ArchiveError when there is none, ArchiveAway when it is away."""
    engine = open_engine(url, read_only=True)
    path = file_of(engine)
    if path is not None and not path.is_file():
        raise ArchiveError(f"there is no archive at {path}: start `sidecar archive`, or correct archive.url")
    level = {} if path is not None else {"isolation_level": "REPEATABLE READ"}  # SQLite's reads are consistent anyway.
    try:
        with engine.connect() as connection:
            connection = connection.execution_options(**level)
            if not inspect(connection).has_table(STATE.name):
                raise ArchiveError(
                    f"there is no archive in {shown(url)}: start `sidecar archive`, or correct archive.url"
                )
            yield Reader(connection)
    except SQLAlchemyError as error:
        raise ArchiveAway(f"the archive {shown(url)} cannot be read: {words_of(error)}") from error
    finally:
        engine.dispose()


def _row(found: RowMapping) -> Row:
    """The row, whatever types somebody has put into it: SQLite takes any in every column."""
    values: dict[str, Any] = dict(found)
    for name in _TEXTS:
        values[name] = values[name] if isinstance(values[name], str) else f"{values[name]}"
    for name in _NUMBERS:
        values[name] = values[name] if isinstance(values[name], int) else None
    if not isinstance(values["stream_offset"], int):
        values["stream_offset"] = NO_OFFSET
    if not isinstance(values["body"], bytes):
        values["body"] = f"{values['body']}".encode()
    return Row(**values)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    columns, conditions = ENTRIES.c, list[ColumnElement[bool]]()
    if wanted.cl_ord_id:
        name = as_column(wanted.cl_ord_id)
        # The second half of each says what the partial index says, so that it is used.
        conditions.append(
            or_(
                (columns.cl_ord_id == name) & (columns.cl_ord_id != ""),
                (columns.orig_cl_ord_id == name) & (columns.orig_cl_ord_id != ""),
            )
        )
    for column, value in (("component", wanted.component), ("actor", wanted.actor)):
        if value:
            conditions += [columns[column] == as_column(value), columns[column] != ""]
    for column, value in (("group_name", wanted.group), ("slot", wanted.slot)):
        if value:
            conditions.append(columns[column] == as_column(value))
    if wanted.kinds:
        conditions.append(columns.kind.in_(wanted.kinds))
    if wanted.since_ns is not None:
        conditions.append(columns.at_ns >= wanted.since_ns)
    if wanted.until_ns is not None:
        conditions.append(columns.at_ns < wanted.until_ns)
    if not wanted.everything:
        conditions.append(columns.verdict.in_(("valid", "gap")))
        if TICK not in wanted.kinds:
            conditions.append(columns.kind != TICK)
    return conditions
