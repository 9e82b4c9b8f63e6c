"""`sidecar archive` and `sidecar audit` as processes: searched, exported, verified; killed, out of room, and back."""

import asyncio
import contextlib
import csv
import functools
import json
import resource
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from archived import a_day, body, rows, tamper, ticks, write
from cli_world import arbiter, sidecar_command, write_config

from sidecar.broker.interface import Outgoing
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM
from sidecar.cli.errors import ExitCode
from sidecar.demo.brokers_node import free_port
from sidecar.journal.archive_errors import ArchiveError
from sidecar.journal.archive_ledger import Entry
from sidecar.journal.archive_search import reading

WAIT_S = 120.0
LOOK_AGAIN_S = 0.05
ROOM_BYTES = 400_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An archive of a day."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    write(url, a_day())
    return url


async def test_search(url: str) -> None:
    """A search prints what matches, newest first, as a table and as JSON with the entry as it was read."""
    found = await sidecar_command("audit", "--component", "exec-b", "--archive", url, "--json")
    assert found.code == ExitCode.OK
    assert [each["offset"] for each in found.json] == [11, 7]
    assert json.loads(found.json[0]["body"])["fact"]["intent"]["ClOrdID"] == "o-2"
    table = await sidecar_command("audit", "search", "--actor", "ann@desk", "--archive", url)
    assert "HaltRaised" in table.out
    assert "drill over" in table.out
    nothing = await sidecar_command("audit", "--until", "2020-01-01", "--archive", url)
    assert (nothing.code, nothing.out.strip()) == (ExitCode.OK, "nothing in the archive matches")


async def test_export(url: str, tmp_path: Path) -> None:
    """CSV and JSON Lines hold the same entries, oldest first, complete."""
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    ended = await sidecar_command("audit", "--all", "--jsonl", lines, "--csv", table, "--archive", url)
    assert ended.code == ExitCode.OK
    as_json = [json.loads(each) for each in lines.read_text().splitlines()]
    with table.open(newline="") as file:
        as_csv = list(csv.DictReader(file))
    kept = rows(url)
    assert [each["body"].encode() for each in as_json] == [each.body for each in kept]
    assert [each["body"] for each in as_csv] == [each["body"] for each in as_json]
    assert [each["archive_chain"] for each in as_csv] == [each.archive_chain for each in kept]
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("a.")) == ["a.csv", "a.jsonl"]


async def test_verify(url: str) -> None:
    """Verification names what was changed, and ends with 1; what it prints of a sound archive can be given back."""
    sound = await sidecar_command("audit", "verify", "--archive", url, "--json")
    assert (sound.code, sound.json["ok"], sound.json["rows"]) == (ExitCode.OK, True, 13)
    again = await sidecar_command("audit", "verify", "--archive", url, "--expect", sound.json["note"])
    assert again.code == ExitCode.OK
    tamper(url, "update journal_entries set actor = 'eve' where stream_offset = 7")
    changed = await sidecar_command("audit", "verify", "--archive", url)
    assert changed.code == ExitCode.NO
    assert "offset 7: actor is 'eve', not 'ann@desk'" in changed.out


async def test_gaps_can_be_allowed(url: str) -> None:
    """A gap that was noted when it arose is a failure unless it is allowed, and is told in both cases."""
    write(url, ticks(5, 100), expected=13)
    refused = await sidecar_command("audit", "verify", "--archive", url)
    allowed = await sidecar_command("audit", "verify", "--archive", url, "--allow-gaps")
    assert (refused.code, allowed.code) == (ExitCode.NO, ExitCode.OK)
    assert all("offsets 13 to 99" in each.out for each in (refused, allowed))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--since", "yesterday"), "write a time"),
        (("--archive", "postgresql://u:secret@h/d"), "SIDECAR_ARCHIVE__URL"),
        (("--limit", "0"), "limit"),
    ],
)
async def test_wrong_options(arguments: tuple[str, ...], why: str) -> None:
    """A wrong option is refused with the mend, and shows no secret."""
    ended = await sidecar_command("audit", *arguments)
    assert ended.code == ExitCode.USAGE
    assert why in ended.err.replace("│\n│ ", "")
    assert "u:secret" not in ended.err


async def test_no_archive(tmp_path: Path) -> None:
    """Without an archive the answer is one sentence."""
    ended = await sidecar_command("audit", "verify", "--archive", f"sqlite:///{tmp_path / 'none.db'}")
    assert ended.code == ExitCode.NO
    assert "there is no archive" in ended.err


async def test_database_that_does_not_answer() -> None:
    """A server that does not answer is not the same as no archive."""
    ended = await sidecar_command("audit", "verify", "--archive", f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    assert ended.code == ExitCode.UNKNOWN


async def test_password_in_the_file(tmp_path: Path) -> None:
    """A password of the archive in the configuration file is refused, and not shown."""
    config = write_config(tmp_path, "amqp://guest:guest@127.0.0.1/", archive={"url": "postgresql://u:hunter2@h/d"})
    ended = await sidecar_command("archive", "-c", config)
    assert ended.code == ExitCode.USAGE
    assert "url_file" in ended.err
    assert "hunter2" not in ended.err


@contextlib.asynccontextmanager
async def running(name: str, config: Path, *before: str) -> AsyncIterator[Process]:
    """`sidecar NAME`, killed at the end if it still runs."""
    command = (*before, sys.executable, "-m", "sidecar.cli.main", name, "-c", str(config))
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(met: Callable[[], Any]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(WAIT_S):
        while not met():
            await asyncio.wait_for(_after(LOOK_AGAIN_S), WAIT_S)


async def _after(seconds: float) -> None:
    """A turn of the clock: another process gives no event to wait for."""
    turned = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, turned.set)
    await turned.wait()


def archived(url: str) -> int:
    """How many entries are archived; 0 while there is no archive."""
    try:
        with reading(url) as reader:
            return reader.total()
    except ArchiveError:
        return 0


def beyond(url: str, count: int) -> bool:
    """Whether more than so many are."""
    return archived(url) > count


async def append(url: str, first: int, end: int) -> None:
    """Records of an author of our own, for volume; behind an arbiter's term they are void, and archived too."""
    broker = RabbitBroker([url], name="volume")
    await broker.start()
    try:
        await broker.wait_ready(WAIT_S)
        for at in range(first, end, 500):
            out = (body(n, author="volume#1") for n in range(at, min(at + 500, end)))
            await asyncio.gather(
                *(
                    broker.submit(
                        Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=each, type="record.v1", app_id="volume")
                    )
                    for each in out
                )
            )
    finally:
        await broker.close()


async def stand(config: Path, **archive: Any) -> tuple[Path, str]:
    """The configuration with an archive in quick small batches, and the archive's URL."""
    url = f"sqlite:///{config.parent / 'archive.db'}"
    settings = json.loads(config.read_text()) | {"archive": {"url": url, "batch_rows": 50, "flush_ms": 5, **archive}}
    config.write_text(json.dumps(settings))
    return config, url


@pytest.mark.broker
async def test_killed_while_an_arbiter_writes(clean_amqp_url: str, tmp_path: Path) -> None:
    """An archive that is killed again and again while the journal grows has every entry once, as the journal has it."""
    config, url = await stand(write_config(tmp_path, clean_amqp_url))
    async with arbiter(config):
        volume = asyncio.create_task(append(clean_amqp_url, 0, 3_000))
        reached = 0
        for _ in range(4):
            async with running("archive", config) as process:
                await until(functools.partial(beyond, url, reached))
                process.send_signal(signal.SIGKILL)
            reached = archived(url)
        await volume
        async with running("archive", config) as process:
            await until(lambda: archived(url) > 3_000)
            audited = await sidecar_command("audit", "verify", "--journal", "--json", "-c", config)
            process.terminate()
            assert await process.wait() == ExitCode.OK
    assert audited.code == ExitCode.OK, audited.out + audited.err
    assert audited.json["compared"]["entries"] >= 3_000
    offsets = [each.stream_offset for each in rows(url)]
    assert offsets == list(range(len(offsets)))


@pytest.mark.broker
async def test_cut_off_at_the_end(clean_amqp_url: str, tmp_path: Path) -> None:
    """An archive whose end was removed without a trace in it verifies alone, and not against the journal."""
    config, url = await stand(write_config(tmp_path, clean_amqp_url))
    await append(clean_amqp_url, 0, 100)
    async with running("archive", config):
        await until(lambda: archived(url) == 100)
    kept = [Entry(each.stream_offset, each.body) for each in rows(url)][:60]
    tamper(url, "delete from journal_entries", "delete from archive_state", "delete from archive_anchors")
    write(url, kept)
    assert (await sidecar_command("audit", "verify", "-c", config)).code == ExitCode.OK
    audited = await sidecar_command("audit", "verify", "--journal", "--timeout", "3", "--json", "-c", config)
    assert audited.code == ExitCode.NO
    assert [(each["kind"], each["first"]) for each in audited.json["findings"]] == [("behind", 60)]


@pytest.mark.broker
async def test_full_disk(clean_amqp_url: str, tmp_path: Path) -> None:
    """An archive without room says so at its health endpoint, loses nothing, and goes on once there is room."""
    port = free_port()
    sections = {"telemetry": {"port": port, "log_level": "error"}}
    config, url = await stand(write_config(tmp_path, clean_amqp_url, **sections), backoff_max_ms=100)
    await append(clean_amqp_url, 0, 2_000)
    # A limit on the size of files is what an ordinary user has instead of a full disk: the same write fails.
    async with (
        running("archive", config, "prlimit", f"--fsize={ROOM_BYTES}:unlimited") as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as http,
    ):
        answer = await _unhealthy(http)
        assert any("cannot be written" in each for each in answer["reasons"])
        assert archived(url) < 2_000
        psutil.Process(process.pid).rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await until(lambda: archived(url) == 2_000)
        page = (await http.get("/metrics")).text
        assert "sidecar_archive_failures_total 0.0" not in page
    assert (await sidecar_command("audit", "verify", "-c", config)).code == ExitCode.OK


async def _unhealthy(http: httpx.AsyncClient) -> dict[str, Any]:
    """The first answer that says why it is unhealthy for want of room."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer: dict[str, Any] = (await http.get("/health")).json()
                if any("cannot be written" in each for each in answer.get("reasons", ())):
                    return answer
            await _after(LOOK_AGAIN_S)


async def test_url_from_a_file(url: str, tmp_path: Path) -> None:
    """The URL may stand in a file of its own, and not in two places."""
    secret = tmp_path / "archive.url"
    secret.write_text(f"{url}\n")
    amqp = "amqp://guest:guest@127.0.0.1/"
    config = write_config(tmp_path, amqp, archive={"url_file": str(secret)})
    found = await sidecar_command("audit", "--actor", "bob", "--json", "-c", config)
    assert [each["offset"] for each in found.json] == [2]
    write_config(tmp_path, amqp, archive={"url_file": str(secret), "url": url})
    twice = await sidecar_command("audit", "-c", config)
    assert (twice.code, "remove one" in twice.err) == (ExitCode.USAGE, True)


@pytest.mark.broker
async def test_carried_by_an_arbiter(clean_amqp_url: str, tmp_path: Path) -> None:
    """An arbiter that is told to archives what it decides, and ends in order with it."""
    config, url = await stand(write_config(tmp_path, clean_amqp_url), in_arbiter=True)
    async with running("arbiter", config) as process:
        await until(lambda: archived(url) > 20)
        process.terminate()
        assert await process.wait() == ExitCode.OK
    assert rows(url)[0].kind == "TermStarted"
    assert (await sidecar_command("audit", "verify", "-c", config)).code == ExitCode.OK
