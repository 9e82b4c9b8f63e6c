"""States on their way from the active to its standbys: real sidecars and a real arbiter, in-process and on RabbitMQ."""

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.agent import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker, Delivery, Outgoing, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import DEAD_LETTERS_QUEUE, QUEUES, STATE, state_to_key
from sidecar.client import SidecarClient, SidecarProblem, SidecarSyncClient
from sidecar.client.operator import Operator
from sidecar.client.protocol import HandedOver
from sidecar.config.models import Settings
from sidecar.messages.base import Message, Token, message_type
from sidecar.messages.codec import encode
from sidecar.messages.local import LocalStatus
from sidecar.messages.state import PIECE_BYTES, StatePiece, StateSaved, StateWanted

PATIENCE_S = 20.0
MEMBERS = ("exec-a", "exec-b", "exec-c")
SLOT = "execution/0"
Connect = Callable[[str], Broker]


class Group:
    """Three members' sidecars as they are started, one arbiter, one broker; each member keeps its own disk."""

    def __init__(self, directory: Path, connect: Connect, arbiters: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.connect = connect
        self.arbiters = arbiters

    def settings(self, name: str, **changes: Any) -> Settings:
        """Fast heartbeats; a lease long enough for a busy machine."""
        own = {"name": name, "gate": str(self.directory / f"{name}.gate"), **changes.pop("component", {})}
        document: dict[str, Any] = {
            "run_dir": str(self.directory),
            "component": own,
            "groups": {"execution": {"components": MEMBERS, **changes.pop("group", {})}},
            "security": {"arbiters": self.arbiters},
            "timing": {
                "heartbeat_ms": 30,
                "holder_lease_ms": 5000,
                "gate_to_effect_ms": 10,
                "holder_wait_ms": 6000,
                "tick_ms": 20,
                "probe_ms": 60,
            },
        }
        return Settings.model_validate(document)

    @contextlib.asynccontextmanager
    async def arbiter(self, **changes: Any) -> AsyncIterator[None]:
        """The arbiter."""
        async with running(ArbiterProcess(self.settings("exec-a", **changes), self.connect("arbiter-1"))):
            yield

    @contextlib.asynccontextmanager
    async def member(self, name: str, **changes: Any) -> AsyncIterator[SidecarClient]:
        """One member's sidecar, and a client of it."""
        agent = Agent(self.settings(name, **changes), self.connect(name))
        async with running(agent):
            async with asyncio.timeout(PATIENCE_S):
                await agent.listening.wait()
            async with SidecarClient(str(agent.places.socket), timeout_s=PATIENCE_S) as client:
                yield client


@contextlib.asynccontextmanager
async def running(process: Agent | ArbiterProcess) -> AsyncIterator[None]:
    """A process of ours, as a task; stopped in order."""
    task = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task


@pytest.fixture
def group(connect: Connect) -> Iterator[Group]:
    """On both brokers, in a directory with a short name, in memory."""
    directory = Path(tempfile.mkdtemp(prefix="sc-", dir="/dev/shm"))
    try:
        yield Group(directory, connect)
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def hub_group() -> Iterator[tuple[Group, MemoryHub]]:
    """The same, in-process only, with the hub at hand, and a user of its own for each process."""
    directory, hub = Path(tempfile.mkdtemp(prefix="sc-", dir="/dev/shm")), MemoryHub()
    try:
        yield Group(directory, lambda name: MemoryBroker(hub, name=name, user=name), ("arbiter-1",)), hub
    finally:
        shutil.rmtree(directory)


async def until(client: SidecarClient, test: Callable[[LocalStatus], object]) -> LocalStatus:
    """The first status that passes."""
    async with asyncio.timeout(PATIENCE_S):
        while not test(status := await client.status()):
            pass
    return status


async def figures(client: SidecarClient) -> str:
    """What Prometheus would read."""
    transport = httpx.AsyncHTTPTransport(uds=client.socket, verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as http:
        return (await http.get("/metrics")).text


async def arrives(client: SidecarClient, version: int) -> None:
    """The standby has this version or a later one."""
    await until(client, lambda status: [each for each in status.states if each.version >= version])


async def finds(client: SidecarClient, **wanted: Any) -> HandedOver:
    """The state that a promoted component begins with."""
    found = await client.get_state(wait_ms=2_000)
    assert found is not None
    assert {name: getattr(found, name) for name in wanted} == wanted
    return found


async def test_a_promoted_standby_finds_the_last_state(group: Group) -> None:
    """What the active handed over is on the standby's disk at once, and is what the standby's component begins with."""
    large = bytes(range(256)) * 1024 + b"tail"
    async with (
        group.arbiter(),
        group.member("exec-a") as a,
        group.member("exec-b") as b,
        contextlib.AsyncExitStack() as stack,
    ):
        async with a.session() as active:
            await active.until_open(PATIENCE_S)
            standby = await stack.enter_async_context(b.session())
            kept = await a.put_state(large, 7, replicas=1, wait_ms=10_000)
            assert (kept.slot, kept.replicas) == (SLOT, ("exec-b",))
            arrived = await anext(standby.states())
            assert (arrived.slot, arrived.version, arrived.author) == (SLOT, 7, "exec-a")
        await standby.until_open(PATIENCE_S)
        found = await finds(b, version=7, state=large, author="exec-a", slot=SLOT, last=True, known_version=7)
        assert found.token == str(kept.token)
        assert (await b.put_state(b"mine", 8)).token > kept.token


async def test_a_component_that_dies_right_after_an_answer_loses_nothing(group: Group) -> None:
    """A state that was answered just before the component's end is what the promoted standby begins with."""
    async with (
        group.arbiter(),
        group.member("exec-a") as a,
        group.member("exec-b") as b,
        contextlib.AsyncExitStack() as stack,
    ):
        async with a.session() as active:
            await active.until_open(PATIENCE_S)
            standby = await stack.enter_async_context(b.session())
            await a.put_state(b"first", 1, replicas=1, wait_ms=10_000)
            for version in range(2, 9):
                await a.put_state(bytes([version]) * 4 * PIECE_BYTES, version)
        await standby.until_open(PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while (await b.status()).states[0].version < 8:
                pass
        await finds(b, version=8, state=bytes([8]) * 4 * PIECE_BYTES, last=True)


async def test_the_blocking_client_hands_over_too(hub_group: tuple[Group, MemoryHub]) -> None:
    """What the blocking client hands over reaches a standby's blocking session, which is told and reads it."""
    group, _ = hub_group

    def stand_by(socket: str, attached: threading.Event) -> HandedOver | None:
        with SidecarSyncClient(socket, timeout_s=PATIENCE_S) as client, client.session() as session:
            attached.set()
            arrived = session.next_state(PATIENCE_S)
            assert arrived is not None and arrived.version == 4
            assert session.next_state(0.001) is None
            return client.get_state(arrived.slot)

    async with group.arbiter(), group.member("exec-a") as a, group.member("exec-b") as b, a.session() as active:
        await active.until_open(PATIENCE_S)
        attached = threading.Event()
        standing_by = asyncio.create_task(asyncio.to_thread(stand_by, b.socket, attached))
        await asyncio.to_thread(attached.wait, PATIENCE_S)
        with SidecarSyncClient(a.socket, timeout_s=PATIENCE_S) as client:
            kept = await asyncio.to_thread(client.put_state, b"book", 4, SLOT, replicas=1, wait_ms=10_000)
        assert kept.replicas == ("exec-b",)
        found = await standing_by
        assert found is not None and (found.state, found.version, found.author) == (b"book", 4, "exec-a")


async def test_a_late_joiner_gets_the_newest(group: Group) -> None:
    """A standby that starts after the state was handed over is sent it, and a restarted one still has it."""
    async with group.arbiter(), group.member("exec-a") as a, a.session() as active:
        await active.until_open(PATIENCE_S)
        await a.put_state(b"early", 1)
        await a.put_state(b"later", 2)
        async with group.member("exec-b") as b:
            await arrives(b, 2)
        async with group.member("exec-b") as b:
            found = await b.get_state()
            assert found is not None and (found.version, found.state) == (2, b"later")


async def waiting_line(group: Group, first: str) -> None:
    """Until the leader says that this member is the next to take the slot."""
    broker = group.connect("dana")
    operator = Operator(broker, "dana", group.settings("exec-a").security.senders())
    await broker.start()
    async with asyncio.timeout(PATIENCE_S):
        while (await operator.explain("execution")).slots[0].line[:1] != (first,):
            pass
    await broker.close()


async def test_the_most_caught_up_is_promoted(hub_group: tuple[Group, MemoryHub]) -> None:
    """A standby that cannot take the state is passed over for one that has it, though it is listed before."""
    group, _ = hub_group
    async with (
        group.arbiter(),
        group.member("exec-a") as a,
        group.member("exec-b", component={"state_bytes_max": 10}) as b,
        group.member("exec-c") as c,
        contextlib.AsyncExitStack() as stack,
    ):
        async with a.session() as active:
            await active.until_open(PATIENCE_S)
            never = await stack.enter_async_context(b.session())
            standby = await stack.enter_async_context(c.session())
            await a.put_state(b"x" * 11, 1, replicas=1)
            await waiting_line(group, "exec-c")
        await standby.until_open(PATIENCE_S)
        assert never.status is not None and not never.status.open
        await finds(c, version=1)


async def test_replicas_that_do_not_come_are_said(hub_group: tuple[Group, MemoryHub]) -> None:
    """Without a standby a state that wants one is kept, and the answer says that no standby has it."""
    group, _ = hub_group
    async with group.arbiter(), group.member("exec-a") as a, a.session() as active:
        await active.until_open(PATIENCE_S)
        with pytest.raises(SidecarProblem, match="NOT_REPLICATED"):
            await a.put_state(b"alone", 3, replicas=1, wait_ms=20)
        async with group.member("exec-b") as b:
            assert (await a.put_state(b"alone", 3, replicas=1, wait_ms=10_000)).replicas == ("exec-b",)
            await finds(b, version=3)


async def test_what_was_missed_is_asked_for(hub_group: tuple[Group, MemoryHub]) -> None:
    """A standby whose connection was away meanwhile gets the newest state when it is back."""
    group, hub = hub_group
    links = {name: MemoryBroker(hub, name=name, user=name) for name in (*MEMBERS, "arbiter-1")}
    group.connect = links.__getitem__
    async with group.arbiter(), group.member("exec-a") as a, group.member("exec-b") as b, a.session() as active:
        await active.until_open(PATIENCE_S)
        await a.put_state(b"one", 1, replicas=1)
        links["exec-b"].cut()
        await a.put_state(b"two", 2)
        links["exec-b"].mend()
        await arrives(b, 2)


async def test_a_link_that_comes_back_is_made_up_for(group: Group) -> None:
    """A standby whose connections all fail in the middle has the newest state soon after."""
    links: dict[str, Any] = {}
    connect = group.connect
    group.connect = lambda name: links.setdefault(name, connect(name))
    async with group.arbiter(), group.member("exec-a") as a, group.member("exec-b") as b, a.session() as active:
        await active.until_open(PATIENCE_S)
        await a.put_state(bytes(3 * PIECE_BYTES), 1, replicas=1, wait_ms=10_000)
        if isinstance(links["exec-b"], RabbitBroker):
            links["exec-b"].abort()
        else:
            links["exec-b"].cut()
            links["exec-b"].mend()
        for version in (2, 3):
            await a.put_state(bytes([version]) * 3 * PIECE_BYTES, version)
        await arrives(b, 3)
        found = await b.get_state()
        assert found is not None and found.state == bytes([3]) * 3 * PIECE_BYTES


async def test_partitions_have_states_of_their_own(hub_group: tuple[Group, MemoryHub]) -> None:
    """In a sharing mode each slot has its state, which is named; every member has all of them."""
    group, _ = hub_group
    sharing = {"group": {"mode": "active_active", "partitions": ["x", "y"], "components": ["exec-a"]}}
    async with group.arbiter(**sharing), group.member("exec-a", **sharing) as a, a.session() as active:
        await until(a, lambda status: len(status.gate.slots) == 2)
        for slot, state in (("execution/x", b"of x"), ("execution/y", b"of y")):
            assert (await a.put_state(state, 1, slot)).slot == slot
        for ask in (a.get_state(), a.put_state(b"z", 2)):
            with pytest.raises(SidecarProblem, match=r"WHICH_SLOT.*execution/x, execution/y"):
                await ask
        found = await a.get_state("execution/y")
        assert found is not None and found.state == b"of y"
        with pytest.raises(SidecarProblem, match="NOT_ACTIVE"):
            await a.put_state(b"z", 2, "execution/z")
        assert active.lost == ""


class Stranger:
    """Another member of the group, that says on the exchange of states what it likes."""

    def __init__(self, hub: MemoryHub, user: str = "exec-c") -> None:
        self.broker = MemoryBroker(hub, name=user, user=user)
        self.buried: asyncio.Queue[Delivery] = asyncio.Queue()
        letters = next(each for each in QUEUES if each.name == DEAD_LETTERS_QUEUE)
        self.broker.subscribe(Subscription(queue=letters, on_delivery=self.buried.put_nowait, no_ack=True))

    def say(self, message: Message, body: bytes | None = None, sender: str = "exec-c") -> None:
        """To exec-b."""
        self.broker.post(
            Outgoing(
                exchange=STATE,
                routing_key=state_to_key("execution", "exec-b"),
                body=encode(message) if body is None else body,
                type=message_type(message),
                app_id=sender,
            )
        )

    async def refused(self) -> str:
        """The code of the next dead letter."""
        async with asyncio.timeout(PATIENCE_S):
            return str((await self.buried.get()).headers["reason-code"])


def piece(**changes: Any) -> StatePiece:
    """A state of one piece by exec-c."""
    data = changes.pop("data", b"forged")
    fields: dict[str, Any] = {
        "component": "exec-c",
        "slot": SLOT,
        "held": Token(1, 1),
        "author": "exec-c",
        "incarnation": "i",
        "token": Token(1, 1),
        "version": 99,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "n": 0,
        "count": 1,
        "data": data,
    }
    return StatePiece(**{**fields, **changes})


async def test_bad_states_are_dead_lettered(hub_group: tuple[Group, MemoryHub]) -> None:
    """What is malformed, forged, torn or too large has its reason, changes nothing, and stops nobody."""
    group, hub = hub_group
    stranger = Stranger(hub)
    await stranger.broker.start()
    async with group.arbiter(), group.member("exec-a") as a, group.member("exec-b") as b, a.session() as active:
        status = await active.until_open(PATIENCE_S)
        held = status.slots[0].token
        await a.put_state(b"true", 1, replicas=1)
        for message, body, code in (
            (piece(), b"{", "not-json"),
            (piece(), b"{}", "wrong-field"),
            (piece(), b"x" * 300_000, "too-large"),
            (piece(held=held, token=held), None, "wrong-sender"),
            (piece(slot="risk/0"), None, "wrong-sender"),
            (piece(size=PIECE_BYTES * 1000, count=1000, data=bytes(PIECE_BYTES)), None, "too-large"),
            (piece(component="exec-a"), None, "wrong-sender"),
            (piece(component="exec-a", held=held, token=held, author="exec-a"), None, "wrong-sender"),
            (StateSaved(component="exec-c", slot=SLOT, token=held, version=1), b'{"type":"what.v1"}', "wrong-field"),
        ):
            stranger.say(message, body, sender=message.author if isinstance(message, StatePiece) else "exec-c")
            assert await stranger.refused() == code, message
        await a.put_state(b"still true", 2, replicas=1)
        await finds(b, version=2, state=b"still true", author="exec-a")
    await stranger.broker.close()


async def test_who_is_not_in_the_group_is_told_nothing(hub_group: tuple[Group, MemoryHub]) -> None:
    """A component of another group that asks for states is refused, whatever its broker's rights let it say."""
    group, hub = hub_group
    foreigner = Stranger(hub, "risk-a")
    await foreigner.broker.start()
    async with group.arbiter(), group.member("exec-a") as a, group.member("exec-b") as b, a.session() as active:
        await active.until_open(PATIENCE_S)
        await a.put_state(b"true", 1, replicas=1)
        foreigner.say(StateWanted(component="risk-a", group="execution"), sender="risk-a")
        assert await foreigner.refused() == "wrong-sender"
        await finds(b, version=1)
    await foreigner.broker.close()


async def test_a_wrong_hash_is_dead_lettered(hub_group: tuple[Group, MemoryHub]) -> None:
    """Bytes that are not what the holder hashed are not kept."""
    group, hub = hub_group
    stranger = Stranger(hub, "exec-a")
    await stranger.broker.start()
    async with group.arbiter(), group.member("exec-b") as b, group.member("exec-a") as a, a.session() as active:
        held = (await active.until_open(PATIENCE_S)).slots[0].token
        await a.put_state(b"true", 1, replicas=1)
        torn = piece(component="exec-a", author="exec-a", held=held, token=held, sha256="0" * 64)
        stranger.say(torn, sender="exec-a")
        assert await stranger.refused() == "wrong-field"
        found = await b.get_state()
        assert found is not None and (found.version, found.state) == (1, b"true")
    await stranger.broker.close()


async def test_an_old_holder_that_wakes_overwrites_nothing(hub_group: tuple[Group, MemoryHub]) -> None:
    """Once the promoted component has read its state, what its predecessor still sends is passed over."""
    group, hub = hub_group
    paused = Stranger(hub, "exec-a")
    await paused.broker.start()
    async with (
        group.arbiter(),
        group.member("exec-a") as a,
        group.member("exec-b") as b,
        contextlib.AsyncExitStack() as stack,
    ):
        async with a.session() as active:
            held = (await active.until_open(PATIENCE_S)).slots[0].token
            await a.put_state(b"true", 1, replicas=1)
            standby = await stack.enter_async_context(b.session())
        await standby.until_open(PATIENCE_S)
        await finds(b, version=1)
        paused.say(piece(component="exec-a", author="exec-a", held=held, token=held), sender="exec-a")
        async with asyncio.timeout(PATIENCE_S):
            while 'sidecar_state_refused_total{code="past"} 1.0' not in await figures(b):
                pass
        await finds(b, version=1, state=b"true")
    await paused.broker.close()


async def test_a_full_disk_leaves_the_state_before(hub_group: tuple[Group, MemoryHub]) -> None:
    """A standby whose disk refuses a state keeps the older one, lags, and takes the newest when there is room."""
    group, _ = hub_group
    blocked = group.directory / "exec-b.state" / "state-execution%2F0.new"
    async with group.arbiter(), group.member("exec-a") as a, group.member("exec-b") as b, a.session() as active:
        await active.until_open(PATIENCE_S)
        await a.put_state(b"one", 1, replicas=1)
        blocked.mkdir()
        await a.put_state(b"two", 2)
        async with asyncio.timeout(PATIENCE_S):
            while 'sidecar_state_refused_total{code="disk"} 1.0' not in await figures(b):
                pass
        (status,) = (await b.status()).states
        assert (status.version, status.known_version) == (1, 2)
        assert status.lag_ns > 0
        blocked.rmdir()
        await arrives(b, 2)


async def test_a_state_that_nobody_took_over_is_put_aside(hub_group: tuple[Group, MemoryHub]) -> None:
    """A state of ours that the next holder never had is kept beside what it hands over instead."""
    group, _ = hub_group
    aside = group.directory / "exec-a.state" / "superseded-state-execution%2F0.bin"
    async with group.arbiter(), group.member("exec-a") as a:
        async with a.session() as active:
            await active.until_open(PATIENCE_S)
            await a.put_state(b"lost", 9)
        async with group.member("exec-b", component={"state_bytes_max": 3}) as b, b.session() as standby:
            await standby.until_open(PATIENCE_S)
            await b.put_state(b"new", 1, replicas=1)
            await finds(a, version=1, state=b"new", author="exec-b")
            assert aside.read_bytes().endswith(b"lost")
