"""Writing and searching the archive, in SQLite and in a real PostgreSQL server."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from archived import NOW_NS, SECOND_NS, a_day, body, entries, rows, tamper, ticks, write
from postgres_server import PostgresServer

from sidecar.journal.archive import Archive, ArchiveMoved, StreamChanged
from sidecar.journal.archive_errors import ArchiveAway, ArchiveError
from sidecar.journal.archive_ledger import Entry
from sidecar.journal.archive_search import Wanted, reading
from sidecar.journal.archive_tables import open_engine
from sidecar.messages.journal import OrderNeverSent


def offsets(url: str, **wanted: object) -> list[int]:
    """The offsets that a search finds, oldest first."""
    with reading(url) as reader:
        return [each.stream_offset for each in reader.find(msgspec.convert(wanted | {"oldest_first": True}, Wanted))]


def test_each_entry_once(archive_url: str) -> None:
    """Batches that overlap, as after a lost link, leave each entry in the archive once, in order."""
    found = ticks(30)
    assert write(archive_url, found[:12]).rows == 12
    assert write(archive_url, found[5:20], expected=12).rows == 8
    assert write(archive_url, found[:20], expected=20).rows == 0
    assert write(archive_url, found[19:], expected=20).rows == 10
    assert [each.body for each in rows(archive_url)] == [each.body for each in found]
    assert [each.stream_offset for each in rows(archive_url)] == list(range(30))


def test_two_writers(archive_url: str) -> None:
    """Two archives that write the same entries at the same time write each once."""
    found = ticks(200)
    write(archive_url, found[:1])
    archives = [Archive(archive_url), Archive(archive_url)]

    def copy(archive: Archive) -> int:
        place = archive.open(NOW_NS)
        return sum(archive.append(found[at : at + 10], place.next_offset, NOW_NS).rows for at in range(0, 200, 10))

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(copy, archives)) == 199
    for each in archives:
        each.close()
    assert [each.stream_offset for each in rows(archive_url)] == list(range(200))


def test_a_batch_that_fails_leaves_nothing(archive_url: str) -> None:
    """A batch of which one row cannot be written leaves neither its other rows nor a moved place."""
    write(archive_url, ticks(5))
    tamper(archive_url, "create unique index only_once on journal_entries (cl_ord_id) where cl_ord_id <> ''")
    twice = [body(n, OrderNeverSent(cl_ord_id="same", reason="")) for n in (6, 7)]
    with pytest.raises(ArchiveAway, match=r"only_once|UNIQUE"):
        write(archive_url, entries([body(5), *twice], 5), expected=5)
    assert offsets(archive_url, everything=True) == list(range(5))
    tamper(archive_url, "drop index only_once")
    assert write(archive_url, entries([body(5), *twice], 5), expected=5).rows == 3


def test_a_gap_is_a_row(archive_url: str) -> None:
    """What the stream lost before it was archived has a row that says which offsets, and is told to the caller."""
    write(archive_url, ticks(5))
    written = write(archive_url, [Entry(100, body(99)), Entry(101, body(100))], expected=5)
    (gap,) = written.gaps
    assert msgspec.json.decode(gap.body) == {"first": 5, "last": 99, "noticed_ns": NOW_NS}
    assert [(each.stream_offset, each.verdict) for each in rows(archive_url)][-3:] == [
        (5, "gap"),
        (100, "valid"),
        (101, "valid"),
    ]


def test_begun_late(archive_url: str) -> None:
    """An archive that is begun when the stream has lost its beginning begins there, and calls it no gap."""
    written = write(archive_url, [Entry(100, body(99)), Entry(101, body(100))])
    assert written.began_late
    assert not written.gaps
    assert [(each.stream_offset, each.verdict) for each in rows(archive_url)] == [(100, "valid"), (101, "valid")]


def test_another_stream(archive_url: str) -> None:
    """A stream whose entry at the last archived offset is another one is refused, and nothing is written."""
    write(archive_url, ticks(5))
    with pytest.raises(StreamChanged, match="offset 4"):
        write(archive_url, [Entry(4, body(7)), Entry(5, body(8))], expected=5)
    assert offsets(archive_url, everything=True) == list(range(5))


def test_replaced_file(tmp_path: Path) -> None:
    """An archive whose file is removed while it is open says so instead of writing to nowhere."""
    path = tmp_path / "archive.db"
    archive = Archive(f"sqlite:///{path}")
    archive.open(NOW_NS)
    archive.append(ticks(5), 0, NOW_NS)
    path.unlink()
    with pytest.raises(ArchiveMoved, match="removed"):
        archive.append(ticks(5, 5), 5, NOW_NS)
    assert archive.open(NOW_NS).next_offset == 0
    archive.close()


def test_set_back(archive_url: str) -> None:
    """An archive that stands before what was already written to it is not written to."""
    write(archive_url, ticks(5))
    with pytest.raises(ArchiveMoved, match="stands at offset 5, but 9"):
        write(archive_url, ticks(5, 9), expected=9)


def test_names_that_databases_refuse(archive_url: str) -> None:
    """A ClOrdID with a NUL, or longer than an index takes, is archived and found by what it is."""
    long, nul = "L" * 10_000, "a\x00b"
    facts = [OrderNeverSent(cl_ord_id=each, reason="") for each in (long, nul)]
    huge = b'{"term":9223372036854775808,"n":9223372036854775809,"arbiter":"x","at_ns":9223372036854775810}'
    write(archive_url, entries([body(0), body(1, facts[0]), body(2, facts[1]), huge]))
    assert offsets(archive_url, cl_ord_id=long) == [1]
    assert offsets(archive_url, cl_ord_id=nul) == [2]
    assert [each.term for each in rows(archive_url)][-1] is None


def test_search(archive_url: str) -> None:
    """Entries are found by ClOrdID, component, group, slot, actor, kind and time, and by several at once."""
    write(archive_url, a_day())
    assert offsets(archive_url) == [0, 2, 4, 5, 7, 9, 11]
    assert offsets(archive_url, everything=True) == list(range(13))
    assert offsets(archive_url, cl_ord_id="o-1") == [4, 5]
    assert offsets(archive_url, component="exec-b") == [7, 11]
    assert offsets(archive_url, group="execution") == [2, 4, 11]
    assert offsets(archive_url, slot="execution/0", component="exec-a") == [2, 4]
    assert offsets(archive_url, actor="ann@desk") == [7, 9]
    assert offsets(archive_url, kinds=["HaltRaised", "SlotGranted"]) == [2, 7]
    assert offsets(archive_url, since_ns=NOW_NS + 4 * SECOND_NS, until_ns=NOW_NS + 9 * SECOND_NS) == [4, 5, 7]
    assert offsets(archive_url, kinds=["Ticked"], limit=2) == [1, 3]
    assert offsets(archive_url, component="nobody") == []
    with reading(archive_url) as reader:
        assert [each.stream_offset for each in reader.find(Wanted(limit=2))] == [11, 9]
        assert reader.count(Wanted(actor="ann@desk")) == 2


def test_nothing_there(tmp_path: Path, postgres_url: str) -> None:
    """Reading an archive that does not exist says so, and makes none."""
    path = tmp_path / "none.db"
    for url in (f"sqlite:///{path}", postgres_url):
        with pytest.raises(ArchiveError, match="there is no archive"), reading(url):
            pass
    assert not path.exists()


def test_readers_cannot_write(archive_url: str) -> None:
    """A reader's connection refuses to change anything."""
    write(archive_url, ticks(3))
    engine = open_engine(archive_url, read_only=True)
    with pytest.raises(Exception, match=r"read-?only"), engine.begin() as connection:
        connection.exec_driver_sql("delete from journal_entries")
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must begin with"),
        ("mysql://host/db", "must begin with"),
        ("nonsense", "must begin with"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
    ],
)
def test_urls_that_cannot_work(url: str, why: str) -> None:
    """A URL of no use is refused with the mend."""
    with pytest.raises(ArchiveError, match=why):
        Archive(url)


def test_another_version(archive_url: str) -> None:
    """Tables of another version are neither written nor read."""
    write(archive_url, ticks(3))
    tamper(archive_url, "update archive_state set schema_version = 99")
    with pytest.raises(ArchiveError, match="version 99"):
        write(archive_url, ticks(3))


def test_secrets_stay_secret(postgres: PostgresServer) -> None:
    """The error of an archive that cannot be reached names it without its password."""
    url = f"postgresql://sidecar:hunter2@127.0.0.1:{postgres.port}/no_such_database"
    with pytest.raises(ArchiveAway) as raised:
        write(url, ticks(1))
    assert "no_such_database" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_unix_socket(postgres: PostgresServer) -> None:
    """PostgreSQL is reached on its Unix socket too."""
    postgres.database("by_socket")
    assert write(postgres.url("by_socket", socket=True), ticks(3)).rows == 3


def test_durable_as_documented(tmp_path: Path) -> None:
    """A SQLite archive is in WAL mode, and its writer commits with synchronous FULL."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    write(url, ticks(1))
    engine = open_engine(url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2
    engine.dispose()


def test_retention(archive_url: str) -> None:
    """Retention deletes the beginning that is older, in steps, and never the last row."""
    write(archive_url, ticks(30))
    archive = Archive(archive_url)
    archive.open(NOW_NS)
    before_ns = NOW_NS + 20 * SECOND_NS
    assert [archive.prune(before_ns, 12, NOW_NS) for _ in range(3)] == [12, 8, 0]
    assert offsets(archive_url, everything=True) == list(range(20, 30))
    assert archive.prune(NOW_NS * 2, 100, NOW_NS) == 9
    assert archive.append(ticks(5, 29), 30, NOW_NS).rows == 4
    archive.close()


def test_retention_hides_nothing(archive_url: str) -> None:
    """Retention deletes nothing when a row that would go was changed."""
    write(archive_url, ticks(30))
    tamper(archive_url, "update journal_entries set body = '{}' where stream_offset = 3")
    archive = Archive(archive_url)
    archive.open(NOW_NS)
    with pytest.raises(ArchiveError, match="offset 3 was changed"):
        archive.prune(NOW_NS * 2, 100, NOW_NS)
    archive.close()
    assert len(rows(archive_url)) == 30
