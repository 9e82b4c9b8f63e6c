"""The adapter of the simulated venue, against the real one and against peers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from venue_peer import ALWAYS_FILLED, order, running_venue, venue_session

from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.reconciler.adapter import NoAnswer, Wanted
from sidecar.reconciler.simulated import SimulatedVenue

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[str]:
    """A server on a free port; yields its address."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_found_and_absent() -> None:
    """A known order is answered with its reports, an unknown one with its absence, on one connection."""
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), ALWAYS_FILLED) as port:
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
            await session.next()
        venue = SimulatedVenue(f"127.0.0.1:{port}", 5.0)
        found, absent = await asyncio.gather(venue.query(Wanted("a-1")), venue.query(Wanted("nobody")))
        await venue.close()
    assert found is not None
    assert [each.ord_status for each in found] == ["NEW", "FILLED"]
    assert absent is None


async def test_nobody_listens() -> None:
    """A venue that cannot be reached gives no answer, which is not an absence."""
    async with peer(_silent) as address:
        pass
    with pytest.raises(NoAnswer):
        await SimulatedVenue(address, 5.0).query(Wanted("a-1"))


async def test_silence() -> None:
    """A venue that does not answer in time gives no answer."""
    async with peer(_silent) as address:
        venue = SimulatedVenue(address, 0.05)
        with pytest.raises(NoAnswer, match=r"within 0\.05 s"):
            await venue.query(Wanted("a-1"))
        await venue.close()


async def test_nonsense() -> None:
    """A peer that does not speak the protocol gives no answer, at once."""

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with peer(babble) as address:
        venue = SimulatedVenue(address, 30.0)
        async with asyncio.timeout(5):
            with pytest.raises(NoAnswer, match="connection to the venue failed"):
                await venue.query(Wanted("a-1"))
        await venue.close()


async def test_connects_again() -> None:
    """After a lost connection the next question makes a new one."""
    hub = MemoryHub()
    async with running_venue(MemoryBroker(hub, name="venue")) as port:
        venue = SimulatedVenue(f"127.0.0.1:{port}", 5.0)
        assert await venue.query(Wanted("a-1")) is None
    with pytest.raises(NoAnswer):
        await venue.query(Wanted("a-1"))
    async with running_venue(MemoryBroker(hub, name="venue"), port=port):
        assert await venue.query(Wanted("a-1")) is None
        await venue.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()
