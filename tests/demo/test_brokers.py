"""How a broker is found: the order of the ways, what each failure says, and that nothing is left behind."""

import asyncio
import shutil
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from sidecar.demo.brokers import (
    WAYS_VARIABLE,
    BrokerNotFound,
    FoundBroker,
    Say,
    Way,
    WayClosed,
    by_environment,
    find_broker,
    standard_ways,
)
from sidecar.demo.brokers_apt import no_service_starts, turn
from sidecar.demo.brokers_command import CommandFailed, run_command
from sidecar.demo.brokers_greeting import PROTOCOL_HEADER, ask_version, wait_for_version
from sidecar.demo.brokers_node import PrivateNode, server_program


def quiet(line: str) -> None:
    """Say nothing."""


def start_frame(version: str) -> bytes:
    """A connection.start frame as a RabbitMQ of that version begins it (AMQP 0-9-1, 1.4.2.1)."""
    value = version.encode()
    table = b"\x07productS\x00\x00\x00\x08RabbitMQ" + b"\x07versionS" + struct.pack("!I", len(value)) + value
    payload = b"\x00\x0a\x00\x0a\x00\x09" + struct.pack("!I", len(table)) + table
    return struct.pack("!BHI", 1, 0, len(payload)) + payload + b"\xce"


@asynccontextmanager
async def listener(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers the protocol header with these bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PROTOCOL_HEADER))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"amqp://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def way(name: str, *, url: str = "", tried: list[str]) -> Way:
    """A way that leads to `url`, or nowhere when there is none, and notes that it was tried."""

    async def attempt(say: Say) -> FoundBroker:
        tried.append(name)
        if not url:
            raise WayClosed(f"{name} is shut")
        return FoundBroker(url=url, started_by=name, version="4.0.5")

    return Way(name, attempt)


@pytest.fixture
def every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """No restriction from the environment of the test run itself."""
    monkeypatch.delenv(WAYS_VARIABLE, raising=False)


@pytest.mark.usefixtures("every_way")
async def test_first_open_way() -> None:
    """The first way that leads to a broker is taken, the shut ones before it say why, and none after it is tried."""
    tried: list[str] = []
    said: list[str] = []
    ways = [way("a", tried=tried), way("b", url="amqp://b/", tried=tried), way("c", url="amqp://c/", tried=tried)]
    found = await find_broker(say=said.append, ways=ways)
    assert (found.started_by, found.url, tried) == ("b", "amqp://b/", ["a", "b"])
    assert said == ["not by a: a is shut", "RabbitMQ 4.0.5 answers, by b"]


@pytest.mark.usefixtures("every_way")
async def test_no_way() -> None:
    """With every way shut the error names each of them, its reason, and what to do."""
    tried: list[str] = []
    with pytest.raises(BrokerNotFound) as caught:
        await find_broker(say=quiet, ways=[way("a", tried=tried), way("b", tried=tried)])
    for part in ("a: a is shut", "b: b is shut", "SIDECAR_AMQP_URL", "Docker", "rabbitmq-server", "apt-get"):
        assert part in str(caught.value)


async def test_ways_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIDECAR_BROKER_WAYS restricts the ways and sets their order."""
    monkeypatch.setenv(WAYS_VARIABLE, "c, b")
    tried: list[str] = []
    found = await find_broker(
        say=quiet,
        ways=[way("a", url="amqp://a/", tried=tried), way("b", url="amqp://b/", tried=tried), way("c", tried=tried)],
    )
    assert (found.started_by, tried) == ("b", ["c", "b"])


async def test_unknown_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that does not exist is refused with the list of those that do."""
    monkeypatch.setenv(WAYS_VARIABLE, "podman")
    with pytest.raises(BrokerNotFound, match=r"'podman': use one or more of environment, docker, private-node, apt"):
        await find_broker(say=quiet)


def test_standard_order() -> None:
    """The order is the documented one: the given URL, Docker, an installed server, an installation."""
    assert [each.name for each in standard_ways({}, None)] == ["environment", "docker", "private-node", "apt"]


async def test_given_broker() -> None:
    """A broker that SIDECAR_AMQP_URL names is used as it is and outlives stop()."""
    async with listener(start_frame("3.10.8")) as url:
        found = await by_environment(quiet, urls=url)
        await found.stop()
        assert await ask_version(url) == "3.10.8"
    assert (found.url, found.started_by, found.version) == (url, "environment", "3.10.8")


async def test_given_cluster() -> None:
    """Of several given URLs the first that answers is used."""
    async with listener(b"") as dead, listener(start_frame("4.0.5")) as url:
        found = await by_environment(quiet, urls=f"{dead}, {url}", timeout_s=0.3)
    assert (found.url, found.version) == (url, "4.0.5")


async def test_given_broker_is_silent() -> None:
    """A given URL where nothing answers is an error of its own, without the password and without another broker."""
    async with listener(b"") as url:
        with pytest.raises(BrokerNotFound, match=r"at 127\.0\.0\.1 nothing answered") as caught:
            await by_environment(quiet, urls=url, timeout_s=0.3)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak AMQP"),
        (PROTOCOL_HEADER, "does not speak AMQP"),
        (struct.pack("!BHI", 1, 0, 2**31), "does not speak AMQP"),
        (struct.pack("!BHI", 1, 0, 4) + b"none", "names no version"),
    ],
)
async def test_not_rabbitmq(answer: bytes, reason: str) -> None:
    """Something that is not RabbitMQ is told apart by its first bytes, however long they claim to be."""
    async with listener(answer) as url:
        with pytest.raises(ValueError, match=reason):
            await ask_version(url)


async def test_waiting_is_bounded() -> None:
    """Waiting for an answer ends in time and tells the last failure."""
    async with listener(b"HTTP/1.1") as url:
        with pytest.raises(TimeoutError, match="does not speak AMQP"):
            await wait_for_version(url, timeout_s=0.3)


@pytest.mark.broker
async def test_real_greeting(amqp_url: str, broker_version: tuple[int, int]) -> None:
    """A real RabbitMQ tells its version before any login."""
    assert (await ask_version(amqp_url)).startswith(f"{broker_version[0]}.{broker_version[1]}.")


async def test_command_output() -> None:
    """A command's standard output comes back, and the environment given is added to ours."""
    assert await run_command("sh", "-c", "echo $GREETING", timeout_s=10, environment={"GREETING": "hello"}) == "hello\n"


async def test_command_fails() -> None:
    """A command that fails is quoted with its status and last words."""
    with pytest.raises(CommandFailed, match="ended with 3: no room"):
        await run_command("sh", "-c", "echo no room >&2; exit 3", timeout_s=10)


async def test_command_missing() -> None:
    """A program that does not exist is named."""
    with pytest.raises(CommandFailed, match="no-such-program: No such file"):
        await run_command("no-such-program", timeout_s=10)


async def test_command_hangs(tmp_path: Path) -> None:
    """A command that runs too long is killed together with what it started."""
    with pytest.raises(CommandFailed, match="did not end within"):
        await run_command("sh", "-c", f"tail -f /dev/null & echo $! > {tmp_path}/pid; wait", timeout_s=0.5)
    await gone(lambda: running(int((tmp_path / "pid").read_text())))


def running(pid: int) -> bool:
    """Whether it exists and is not merely waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(still_there: Callable[[], bool]) -> None:
    """Return when the kernel has finished what was killed."""
    async with asyncio.timeout(5):
        while still_there():  # noqa: ASYNC110 - there is no event for the end of a process that is not our child
            await asyncio.sleep(0)


async def test_node_that_ends(tmp_path: Path) -> None:
    """A server that ends at once is told with its last words, and its directory and port mapper go."""
    program = tmp_path / "rabbitmq-server"
    program.write_text('#!/bin/sh\necho "boot failed in $HOME"\nexit 7\n')
    program.chmod(0o755)
    mapper = tmp_path / "epmd"
    mapper.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    mapper.chmod(0o755)
    node = PrivateNode(program=program, epmd=str(mapper))
    with pytest.raises(OSError, match=r"ended with 7: boot failed in .*sidecar-broker-"):
        await node.start()
    pids = [process.pid for process in node.processes]
    node.stop()
    assert not node.home.exists()
    assert not any(running(pid) for pid in pids)


async def test_private_node() -> None:
    """A private node runs from its own directory and leaves neither a process nor a file behind."""
    program = server_program()
    if program is None:
        pytest.skip("no rabbitmq-server on PATH; CI installs one")
    node = PrivateNode(program=program, epmd=shutil.which("epmd") or "")
    home = str(node.home)
    try:
        version = await node.start()
        assert await ask_version(node.url) == version
        assert any(cwd_of(each).startswith(home) for each in psutil.process_iter())
    finally:
        node.stop()
    node.stop()
    assert not node.home.exists()
    await gone(lambda: any(cwd_of(each).startswith(home) for each in psutil.process_iter()))


def cwd_of(process: psutil.Process) -> str:
    """Its working directory; empty when it is gone or not ours to see."""
    try:
        return process.cwd()
    except psutil.Error:
        return ""


def test_policy_made_and_removed(tmp_path: Path) -> None:
    """Services may not start while a package is installed, and the ban goes afterwards."""
    policy = tmp_path / "policy-rc.d"
    with no_service_starts(policy):
        assert policy.read_text().endswith("exit 101\n")
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()


def test_policy_of_others(tmp_path: Path) -> None:
    """A policy that stood before is left as it was."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("mine")
    with no_service_starts(policy):
        assert policy.read_text() == "mine"
    assert policy.read_text() == "mine"


async def test_one_installs_at_a_time(tmp_path: Path) -> None:
    """Who wants to install while another does waits for its end."""
    lock, order = tmp_path / "lock", list[str]()

    async def second() -> None:
        async with turn(lock):
            order.append("second")

    async with turn(lock):
        waiting = asyncio.create_task(second())
        taken = await asyncio.create_subprocess_exec("flock", "--nonblock", str(lock), "true")
        assert await taken.wait() == 1  # Locked for other processes too.
        order.append("first")
    await waiting
    assert order == ["first", "second"]
