"""State hand-over: what the active hands over, the next run of the component finds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sidecar_world import PATIENCE_S, SLOT, World, world

from sidecar.agent.state_keep import StaleVersion, StateKeep
from sidecar.client import SidecarClient, SidecarProblem, SidecarSyncClient
from sidecar.messages.base import Token

TOKEN = Token(1, 1)
FILE = "state-execution%2F0.bin"


async def keep(states: StateKeep, body: bytes, version: int) -> None:
    """Hand it over."""
    await states.hand_over(SLOT, body, version, TOKEN, "i-1", 5)


async def kept_by(states: StateKeep) -> bytes:
    """What is read back."""
    found = await states.read(SLOT)
    assert found is not None
    return found.body


async def test_the_next_run_finds_the_state() -> None:
    """What the active handed over is there for its next session, and after a restart of the sidecar."""
    async with world() as here:
        async with here.sidecar() as client:
            assert await client.get_state() is None
            async with client.session() as session:
                await session.until_open(PATIENCE_S)
                kept = await client.put_state(b"\x00position: 5\xff", 7)
                assert (kept.version, kept.size, kept.incarnation) == (7, 13, session.incarnation)
            async with client.session():
                await finds(client, b"\x00position: 5\xff", 7)
        async with here.sidecar() as client:
            await finds(client, b"\x00position: 5\xff", 7)
            with SidecarSyncClient(here.socket) as blocking:
                found = await asyncio.to_thread(blocking.get_state)
                assert found is not None and found.version == 7
            async with raw(here) as http, http.stream("GET", "/v1/session") as response:
                assert '"state_version":7' in await anext(response.aiter_lines())


def raw(here: World) -> httpx.AsyncClient:
    """A client that says what it is told."""
    transport = httpx.AsyncHTTPTransport(uds=here.socket, verify=False)
    return httpx.AsyncClient(transport=transport, base_url="http://sidecar", timeout=PATIENCE_S)


async def finds(client: SidecarClient, state: bytes, version: int) -> None:
    """The state is there."""
    found = await client.get_state()
    assert found is not None
    assert (found.state, found.version) == (state, version)


async def test_only_the_active_hands_over() -> None:
    """Without a lease nothing is taken; under a halt it is, because that is when it is needed."""
    async with world() as here, here.sidecar() as client:
        with pytest.raises(SidecarProblem, match="NOT_ACTIVE"):
            await client.put_state(b"x", 1)
        async with client.session() as session:
            await session.until_open(PATIENCE_S)
            here.arbiter.halt()
            async with asyncio.timeout(PATIENCE_S):
                async for status in session.changes():
                    if not status.open:
                        break
            assert (await client.put_state(b"x", 1)).version == 1


async def test_bad_states_are_problems() -> None:
    """A state that is too large, old or without a version is refused with the mend, and the kept one stays."""
    async with world() as here, here.sidecar(component={"state_bytes_max": 100}) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await client.put_state(b"a" * 100, 5)
        for state, version, code in ((b"b" * 101, 6, "TOO_LARGE"), (b"b", 5, "STALE_VERSION"), (b"b", 0, "NO_VERSION")):
            with pytest.raises(SidecarProblem, match=code) as refused:
                await client.put_state(state, version)
            assert refused.value.mend
        assert (await client.put_state(b"a" * 100, 5)).version == 5
        async with raw(here) as http:
            for headers in ({}, {"State-Version": "many"}, {"State-Version": "9" * 30}):
                answer = await http.put("/v1/state", content=b"b", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (400, "NO_VERSION")
        await finds(client, b"a" * 100, 5)


async def test_endless_state_is_cut_short() -> None:
    """A state without a length is refused as soon as it is too large."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 8192

    async with world() as here, here.sidecar() as client, client.session() as session, raw(here) as http:
        await session.until_open(PATIENCE_S)
        try:
            answer = await http.put("/v1/state", content=endless(), headers={"State-Version": "1"})
        except httpx.TransportError:
            pass  # The sidecar may hang up before the answer is read.
        else:
            assert answer.status_code == 413
        assert await client.get_state() is None


async def test_versions_only_grow(tmp_path: Path) -> None:
    """A version at or below the kept one is refused, unless it repeats the same bytes."""
    states = StateKeep(tmp_path, "exec-a")
    await keep(states, b"one", 1)
    await keep(states, b"one", 1)
    for body, version in ((b"two", 1), (b"zero", 0)):
        with pytest.raises(StaleVersion):
            await keep(states, body, version)
    await keep(states, b"two", 2)
    again = await StateKeep(tmp_path, "exec-a").read(SLOT)
    assert again is not None
    assert (again.body, again.kept.version, again.kept.token) == (b"two", 2, TOKEN)


async def test_disk_refuses(tmp_path: Path) -> None:
    """A state that cannot be written is not kept, and the one before it stays, there and on disk."""
    states = StateKeep(tmp_path, "exec-a")
    await keep(states, b"one", 1)
    (tmp_path / FILE).with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="directory"):
        await keep(states, b"two", 2)
    assert await kept_by(states) == await kept_by(StateKeep(tmp_path, "exec-a")) == b"one"


@pytest.mark.parametrize("damage", [b"", b"{}", b"{}\n", b"\xff\xfe\n", b"cut"])
async def test_damaged_state_is_never_handed_on(tmp_path: Path, damage: bytes) -> None:
    """A file that is not as it was written is put aside and said, and the next state is kept."""
    states, path = StateKeep(tmp_path, "exec-a"), tmp_path / FILE
    await keep(states, b"one", 1)
    path.write_bytes(damage if damage != b"cut" else path.read_bytes()[:-1])
    damaged = StateKeep(tmp_path, "exec-a")
    assert await damaged.read(SLOT) is None
    assert "put aside" in damaged.trouble
    assert not path.exists()
    await keep(damaged, b"new", 1)
    assert await kept_by(damaged) == b"new"


async def test_a_state_of_an_earlier_version_is_found(tmp_path: Path) -> None:
    """A state that was kept without a slot is every slot's until one of its own is handed over, and bounds versions."""
    await StateKeep(tmp_path, "exec-a").hand_over("", b"old", 5, TOKEN, "i-1", 5)
    assert (tmp_path / "state.bin").exists()
    states = StateKeep(tmp_path, "exec-a")
    assert await kept_by(states) == b"old"
    with pytest.raises(StaleVersion):
        await keep(states, b"new", 5)
    await keep(states, b"new", 6)
    assert await kept_by(StateKeep(tmp_path, "exec-a")) == b"new"
