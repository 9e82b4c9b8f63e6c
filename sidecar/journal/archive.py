"""The archive: the journal in SQL, each entry once, with its place and its rows in one transaction.

Owns writing: open, append, prune. It must not know where entries come from, nor judge them (`archive_ledger.py`).
Everything here blocks; `archiving.py` calls it from a thread of its own.

Which way it fails: nothing is half written. An append that fails, or whose outcome is unknown because the database went
away during the commit, is simply repeated: what is already there is left out.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import SQLAlchemyError

from sidecar.journal.archive_errors import ArchiveAway, ArchiveError
from sidecar.journal.archive_ledger import Entry, Ledger, Place, Row
from sidecar.journal.archive_tables import (
    ANCHORS,
    ENTRIES,
    METADATA,
    SCHEMA_VERSION,
    STATE,
    file_of,
    identity_of,
    open_engine,
    shown,
    words_of,
)

_ONE: Final = 1
"""The key of the only row of `archive_state`."""


class StreamChanged(ArchiveError):
    """The stream is not the one that was archived so far."""


class ArchiveMoved(ArchiveError):
    """The archive stands before what was already written to it: it was replaced or restored."""


class Written(msgspec.Struct, frozen=True):
    """What one append did. `gaps` are the rows of kind Gap among what was written."""

    place: Place
    rows: int
    gaps: tuple[Row, ...]
    began_late: bool = False


class Archive:
    """One archive, open for writing. Methods raise ArchiveAway when the database does not answer or has no room."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._url = shown(url)
        self._file = file_of(self._engine)
        self._identity: tuple[int, int] | None = None

    def open(self, now_ns: int) -> Place:
        """Make the tables where there are none; returns where the archive stands."""
        self._engine.dispose()  # A file that was replaced is still open as it was.
        try:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._engine.begin() as connection:
                METADATA.create_all(connection)
                place = self._locked(connection, now_ns)
        except (SQLAlchemyError, OSError) as error:
            raise self._away(error) from error
        self._identity = identity_of(self._file)
        return place

    def append(self, entries: Sequence[Entry], expected: int, now_ns: int) -> Written:
        """Write the entries that are not there yet, in order of their offsets.

        `expected` is the next offset as the caller knows it. StreamChanged and ArchiveMoved need a person.
        """
        self._require_same_file()
        try:
            with self._engine.begin() as connection:
                place = self._locked(connection, now_ns)
                if place.next_offset < expected:
                    raise ArchiveMoved(
                        f"{self._url} stands at offset {place.next_offset}, but {expected} was reached: it was "
                        "replaced or restored under us; start the archive again, it fetches what the stream still has"
                    )
                return _write(connection, place, entries, now_ns)
        except SQLAlchemyError as error:
            raise self._away(error) from error

    def prune(self, before_ns: int, rows_max: int, now_ns: int) -> int:
        """Delete rows from the beginning, all older than `before_ns`, at most `rows_max`; returns how many.

        Only a whole prefix goes; the chains up to its end are kept, so that what remains can still be verified.
        """
        self._require_same_file()
        try:
            with self._engine.begin() as connection:
                place = self._locked(connection, now_ns)
                return _prune(connection, place, before_ns, rows_max, now_ns)
        except SQLAlchemyError as error:
            raise self._away(error) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _locked(self, connection: Connection, now_ns: int) -> Place:
        """The place, with everybody else kept from writing until the transaction ends."""
        row = connection.execute(select(STATE).where(STATE.c.id == _ONE).with_for_update()).mappings().one_or_none()
        if row is None:
            return _begin(connection, now_ns)
        return read_place(row)

    def _require_same_file(self) -> None:
        if self._file is not None and identity_of(self._file) != self._identity:
            raise ArchiveMoved(f"{self._file} was removed or replaced while it was open; start the archive again")

    def _away(self, error: SQLAlchemyError | OSError) -> ArchiveAway:
        return ArchiveAway(f"the archive {self._url} cannot be written: {words_of(error)}")


def read_place(state: RowMapping) -> Place:
    """The place in a row of `archive_state`. ArchiveError for another version's."""
    if state["schema_version"] != SCHEMA_VERSION:
        raise ArchiveError(
            f"the archive's tables are of version {state['schema_version']}, this is {SCHEMA_VERSION}: "
            "use the release that wrote them"
        )
    place = decode_place(state["place"])
    if place.next_offset != state["next_offset"]:
        raise ArchiveError("archive_state contradicts itself: next_offset was changed by hand; restore a copy")
    return place


def decode_place(text: str) -> Place:
    """A place as it is kept in a row. ArchiveError when somebody changed it into none."""
    try:
        place = msgspec.json.decode(text, type=Place)
        bytes.fromhex(place.archive_chain)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise ArchiveError(
            "archive_state or archive_anchors was changed by hand and cannot be read: restore a copy"
        ) from error
    return place


def _begin(connection: Connection, now_ns: int) -> Place:
    place = Place()
    connection.execute(insert(STATE).values(id=_ONE, schema_version=SCHEMA_VERSION, next_offset=0, place=_text(place)))
    _anchor(connection, place, "the journal begins here", now_ns)
    return place


def _write(connection: Connection, place: Place, entries: Sequence[Entry], now_ns: int) -> Written:
    ledger, rows, late = Ledger(place), list[Row](), False
    for entry in entries:
        due = ledger.place.next_offset
        if entry.offset < due:
            if entry.offset == place.next_offset - 1:
                _require_same_entry(connection, entry)
            continue
        if entry.offset > due:
            if due == 0:  # Nothing was ever archived: this is where it begins, not something lost.
                ledger.place, late = Place(next_offset=entry.offset, adrift=True), True
                _anchor(connection, ledger.place, "older entries had left the stream", now_ns)
            else:
                rows.append(ledger.skip(entry, now_ns))
        rows.append(ledger.enter(entry))
    if rows:
        connection.execute(insert(ENTRIES), [msgspec.structs.asdict(each) for each in rows])
        _keep(connection, ledger.place)
    return Written(ledger.place, len(rows), tuple(each for each in rows if each.verdict == "gap"), late)


def _require_same_entry(connection: Connection, entry: Entry) -> None:
    kept = connection.execute(select(ENTRIES.c.body).where(ENTRIES.c.stream_offset == entry.offset)).scalar()
    if kept is not None and kept != entry.body:
        raise StreamChanged(
            f"offset {entry.offset} holds another entry than the one archived: the stream was deleted and made anew, "
            "or this is another broker; give the new journal an archive of its own, at another archive.url"
        )


def _prune(connection: Connection, place: Place, before_ns: int, rows_max: int, now_ns: int) -> int:
    last = place.next_offset - 1  # It stays: the next start looks whether the stream still has it.
    columns = (ENTRIES.c.stream_offset, ENTRIES.c.verdict, ENTRIES.c.at_ns, ENTRIES.c.body, ENTRIES.c.archive_chain)
    oldest = select(*columns).where(ENTRIES.c.stream_offset < last).order_by(ENTRIES.c.stream_offset).limit(rows_max)
    anchor = connection.execute(select(ANCHORS).order_by(ANCHORS.c.first_offset.desc()).limit(1)).mappings().one()
    ledger, end, count = Ledger(decode_place(anchor["place"])), -1, 0
    for row in connection.execute(oldest).mappings():
        if row["at_ns"] is not None and row["at_ns"] >= before_ns:
            break
        if not _sound(ledger, row):
            raise ArchiveError(
                f"offset {row['stream_offset']} was changed: nothing is deleted; see `sidecar audit verify`"
            )
        end, count = row["stream_offset"], count + 1
    if count:
        connection.execute(delete(ENTRIES).where(ENTRIES.c.stream_offset <= end))
        connection.execute(delete(ANCHORS))
        _anchor(connection, ledger.place, "rows before it were deleted by retention", now_ns)
    return count


def _sound(ledger: Ledger, row: RowMapping) -> bool:
    """Whether the row follows; SQLite holds whatever type somebody wrote into it."""
    try:
        due = ledger.place.next_offset
        chain = ledger.replay(row["stream_offset"], row["verdict"], row["body"]).archive_chain
    except (TypeError, ValueError):
        return False
    return bool(due == row["stream_offset"] and chain == row["archive_chain"])


def _anchor(connection: Connection, place: Place, why: str, now_ns: int) -> None:
    connection.execute(delete(ANCHORS).where(ANCHORS.c.first_offset == place.next_offset))
    connection.execute(
        insert(ANCHORS).values(first_offset=place.next_offset, place=_text(place), why=why, made_ns=now_ns)
    )


def _keep(connection: Connection, place: Place) -> None:
    connection.execute(
        update(STATE).where(STATE.c.id == _ONE).values(next_offset=place.next_offset, place=_text(place))
    )


def _text(place: Place) -> str:
    return msgspec.json.encode(place).decode()
