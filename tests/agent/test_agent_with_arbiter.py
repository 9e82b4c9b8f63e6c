"""A sidecar and a real arbiter, both as they run, over the in-process broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

from sidecar_world import PATIENCE_S, SLOT, World, world

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.memory import MemoryBroker
from sidecar.client import CommitReport, OrderRequest, SidecarClient
from sidecar.messages.control import TradingState
from sidecar.messages.orders import OrderDenied, OrderGranted, Phase


@contextlib.asynccontextmanager
async def arbiter(here: World) -> AsyncIterator[None]:
    """An arbiter of this world."""
    process = ArbiterProcess(here.settings(), MemoryBroker(here.hub, name="arbiter-1", user="arbiter-1"))
    running = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


def order(cl_ord_id: str) -> OrderRequest:
    """A plain order."""
    return OrderRequest(cl_ord_id=cl_ord_id, account="A1", venue="SIM", symbol="XYZ", side="BUY", qty=Decimal(1))


async def test_whole_path() -> None:
    """A component gets its slot, an order is granted and its report recorded, and a halt of its own is journaled."""
    async with world(peer=False) as here, arbiter(here), here.sidecar() as client, client.session() as session:
        status = await session.until_open(PATIENCE_S)
        assert [each.slot for each in status.slots] == [SLOT]
        assert isinstance(await client.precommit(order("c-1")), OrderGranted)
        recorded = await client.report("c-1", CommitReport(outcome="committed", order_id="V-1", ord_status="NEW"))
        assert recorded.phase is Phase.COMMITTED
        assert (await client.status()).reports_unrecorded == 0
        halt = await client.halt("enough")
        await journaled(client, 1)
        answer = await client.precommit(order("c-2"))
        assert isinstance(answer, OrderDenied)
        assert (answer.code, halt.level) == ("HALTED", TradingState.HALTED)


async def journaled(client: SidecarClient, version: int) -> None:
    """Wait until the sidecar has the control state of that version."""
    async with asyncio.timeout(PATIENCE_S):
        while (await client.gate()).control_version < version:
            pass


async def test_next_incarnation_gets_the_slot() -> None:
    """When a session ends and the next begins, the slot is granted anew under a higher epoch."""
    async with world(peer=False) as here, arbiter(here), here.sidecar() as client:
        async with client.session() as session:
            first = await session.until_open(PATIENCE_S)
        async with client.session() as session:
            second = await session.until_open(PATIENCE_S)
        assert second.slots[0].token > first.slots[0].token
