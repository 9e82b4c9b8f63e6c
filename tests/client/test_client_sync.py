"""The blocking client against a running sidecar, from a thread of its own."""

import asyncio
import gc
from decimal import Decimal

import pytest
from sidecar_world import PATIENCE_S, world

from sidecar.client import OrderRefused, OrderRequest, SessionLost, SidecarSyncClient, SidecarUnreachable
from sidecar.messages.health import Heartbeat, Released
from sidecar.messages.orders import OrderAborted, OrderCommitted, OrderUnknown


def order(cl_ord_id: str) -> OrderRequest:
    """A plain order."""
    return OrderRequest(cl_ord_id=cl_ord_id, account="A1", venue="SIM", symbol="XYZ", side="BUY", qty=Decimal(2))


async def test_whole_life_of_a_blocking_component() -> None:
    """A blocking component attaches, trades, reports in every way and detaches."""

    def live(socket: str) -> None:
        with SidecarSyncClient(socket, PATIENCE_S) as client:
            with client.session() as session:
                session.until_open(PATIENCE_S)
                assert session.gate.check()
                client.push_health(metrics={"feed_age_s": 0.5})
                with client.order(order("c-1")) as ticket:
                    ticket.committed("V-1")
                with client.order(order("c-2")) as ticket:
                    ticket.not_sent("the price moved")
                with pytest.raises(ConnectionResetError), client.order(order("c-3")):
                    raise ConnectionResetError
                with client.order(order("c-4")):
                    pass
                assert client.gate().open
            with pytest.raises(OrderRefused, match="NO_SESSION"), client.order(order("c-5")):
                pytest.fail("the block was entered")
            assert client.status().healthy

    async with world() as here, here.sidecar():
        await asyncio.to_thread(live, here.socket)
        assert (await here.arbiter.saw(OrderCommitted)).cl_ord_id == "c-1"
        assert (await here.arbiter.saw(OrderAborted)).cl_ord_id == "c-2"
        assert [each.cl_ord_id for each in here.arbiter.heard if isinstance(each, OrderUnknown)] == ["c-3", "c-4"]
        await here.arbiter.saw(Released)


async def test_blocking_session_is_lost_with_the_sidecar() -> None:
    """When the sidecar ends, a blocking wait for the gate raises SessionLost."""

    def live(socket: str) -> None:
        client = SidecarSyncClient(socket, PATIENCE_S)
        with client, client.session() as session, pytest.raises(SessionLost, match="stopping"):
            session.until_open(PATIENCE_S)

    async with world() as here:
        here.arbiter.granting = False
        async with here.sidecar():
            living = asyncio.create_task(asyncio.to_thread(live, here.socket))
            await here.arbiter.saw(Heartbeat, lambda each: each.incarnation != "")
            await here.stop()
            await living


async def test_blocking_wait_ends() -> None:
    """A blocking wait for a gate that stays closed ends with TimeoutError."""

    def live(socket: str) -> None:
        client = SidecarSyncClient(socket, PATIENCE_S)
        with client, client.session() as session, pytest.raises(TimeoutError):
            session.until_open(0.01)

    async with world() as here:
        here.arbiter.granting = False
        async with here.sidecar():
            await asyncio.to_thread(live, here.socket)


# httpcore 1.0.9 leaves a Unix socket that could not connect to the garbage collector, which warns and closes it. It is
# collected here, so that the warning meets this test and no other.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_there() -> None:
    """Without a sidecar a blocking call raises SidecarUnreachable."""
    with SidecarSyncClient("/nowhere/a.sock") as client:
        with pytest.raises(SidecarUnreachable):
            client.gate()
        with pytest.raises(SidecarUnreachable), client.session():
            pytest.fail("the block was entered")
    gc.collect()
