"""The archive's tables, and how they are reached: SQLite by default, PostgreSQL by URL.

Owns names, types, indexes and the settings of a connection. It must not know what is written into the tables.

SQLite runs with `journal_mode=WAL`, so that readers never block the archive, and `synchronous=FULL`, so that a commit
is on the disk when it returns (sqlite.org/pragma.html). PostgreSQL is as durable as its own `synchronous_commit` says.
"""

import os
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from sidecar.journal.archive_errors import ArchiveError

SCHEMA_VERSION: Final = 1
BUSY_S: Final = 5
"""How long SQLite waits for another process's lock, and how long PostgreSQL may take to connect."""
STATEMENT_MS: Final = 60_000
"""A statement of PostgreSQL that takes longer is given up and tried again."""

METADATA: Final = MetaData()

ENTRIES: Final = Table(
    "journal_entries",
    METADATA,
    Column("stream_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("verdict", String(16), nullable=False),
    Column("kind", Text, nullable=False),
    Column("term", BigInteger),
    Column("n", BigInteger),
    Column("author", Text, nullable=False),
    Column("at_ns", BigInteger),
    Column("cl_ord_id", Text, nullable=False),
    Column("orig_cl_ord_id", Text, nullable=False),
    Column("component", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("journal_chain", String(64), nullable=False),
    Column("archive_chain", String(64), nullable=False),
)
"""One row for each entry of the journal, and one for each stretch that is missing from it."""

ANCHORS: Final = Table(
    "archive_anchors",
    METADATA,
    Column("first_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("place", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("made_ns", BigInteger, nullable=False),
)
"""Where the rows begin, the chains up to there, and why they do not begin earlier. The highest one counts."""

STATE: Final = Table(
    "archive_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("place", Text, nullable=False),
)
"""One row: where the archive stands, written in the transaction that writes the rows."""

for _column in ("cl_ord_id", "orig_cl_ord_id", "component", "actor"):
    # Most rows are ticks, which have none of these.
    _filled = ENTRIES.c[_column] != ""
    Index(
        f"journal_entries_{_column}",
        ENTRIES.c[_column],
        ENTRIES.c.stream_offset,
        sqlite_where=_filled,
        postgresql_where=_filled,
    )
Index("journal_entries_kind", ENTRIES.c.kind, ENTRIES.c.stream_offset)
Index("journal_entries_at_ns", ENTRIES.c.at_ns)


def open_engine(url: str, *, read_only: bool = False) -> Engine:
    """An engine for the URL; nothing is connected yet. ArchiveError for a URL or driver that cannot work."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": BUSY_S})
        _prepare_sqlite(engine, read_only)
        return engine
    settings = f"-c statement_timeout={STATEMENT_MS}"
    if read_only:
        settings += " -c default_transaction_read_only=on"
    arguments = {
        "connect_timeout": BUSY_S,
        "options": settings,
        "application_name": "trading-sidecar archive",
        # A host that is gone is noticed within these, not after TCP's own two hours.
        "keepalives_idle": BUSY_S,
        "keepalives_interval": BUSY_S,
        "tcp_user_timeout": BUSY_S * 2_000,
    }
    try:
        return create_engine(parsed, connect_args=arguments, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ArchiveError(
            f"{error.name} is not installed: install trading-sidecar[postgresql] to use PostgreSQL"
        ) from error


def file_of(engine: Engine) -> Path | None:
    """The file of a SQLite archive; None for a server's."""
    return Path(engine.url.database or "") if engine.url.get_backend_name() == "sqlite" else None


def words_of(error: SQLAlchemyError | OSError) -> str:
    """The database's own word on what is wrong, on one line, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split())[:400] or type(cause).__name__


def shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(not a URL)"


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        backend = ""
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ArchiveError("archive.url: name a file, as in sqlite:////var/lib/sidecar/archive.db")
        return parsed
    if backend != "postgresql":
        raise ArchiveError("archive.url: it must begin with sqlite:/// or postgresql://")
    return parsed.set(drivername="postgresql+psycopg")


def _prepare_sqlite(engine: Engine, read_only: bool) -> None:
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # We say BEGIN ourselves (SQLAlchemy documentation, "pysqlite").
        for pragma in ("query_only=ON",) if read_only else ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    def begins(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begins)


def identity_of(path: Path | None) -> tuple[int, int] | None:
    """What file a path leads to now; None for none."""
    try:
        status = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if status is None else (status.st_dev, status.st_ino)
