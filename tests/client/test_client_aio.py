"""The async client against a running sidecar."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from sidecar_world import PATIENCE_S, world

from sidecar.client import (
    HealthPush,
    OrderRefused,
    OrderRequest,
    SessionLost,
    SidecarClient,
    SidecarProblem,
    SidecarUnreachable,
)
from sidecar.client.protocol import SOCKET_VARIABLE, decode_answer
from sidecar.messages.local import GateStatus
from sidecar.messages.orders import OrderAborted, OrderCommitted, OrderUnknown, Phase


def order(cl_ord_id: str) -> OrderRequest:
    """A plain order."""
    return OrderRequest(cl_ord_id=cl_ord_id, account="A1", venue="SIM", symbol="XYZ", side="SELL", qty=Decimal(2))


async def test_order_block_reports_the_commit() -> None:
    """An order that was committed inside its block is reported once, as committed."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        async with client.order(order("c-1")) as ticket:
            recorded = await ticket.committed("V-1", "FILLED")
        assert recorded.phase is Phase.COMMITTED
        assert (await here.arbiter.saw(OrderCommitted)).ord_status == "FILLED"
        assert here.arbiter.count(OrderUnknown) == 0


async def test_order_block_that_raises_reports_unknown() -> None:
    """A block that ends by an exception reports UNKNOWN, never aborted, and the exception goes on."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        with pytest.raises(ConnectionResetError):
            async with client.order(order("c-1")):
                raise ConnectionResetError
        unknown = await here.arbiter.saw(OrderUnknown)
        assert "ConnectionResetError" in unknown.reason
        assert here.arbiter.count(OrderAborted) == 0


async def test_order_block_that_says_nothing_reports_unknown() -> None:
    """A block that ends without a word reports UNKNOWN."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        async with client.order(order("c-1")):
            pass
        assert (await here.arbiter.saw(OrderUnknown)).reason == "the order block ended without a report"


async def test_order_block_that_is_cancelled_reports_unknown() -> None:
    """A block that is cancelled reports UNKNOWN before the cancellation goes on."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        inside = asyncio.Event()

        async def hang() -> None:
            async with client.order(order("c-1")):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "CancelledError" in (await here.arbiter.saw(OrderUnknown)).reason


async def test_order_that_was_not_sent_is_aborted() -> None:
    """Only the component's own word makes an order aborted."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        with pytest.raises(ValueError, match="too late"):
            async with client.order(order("c-1")) as ticket:
                await ticket.not_sent("the price moved")
                raise ValueError("too late")
        assert (await here.arbiter.saw(OrderAborted)).reason == "the price moved"
        assert here.arbiter.count(OrderUnknown) == 0


async def test_refused_order_raises() -> None:
    """A denied order never enters its block."""
    async with world() as here, here.sidecar() as client:
        with pytest.raises(OrderRefused) as refused:
            async with client.order(order("c-1")):
                pytest.fail("the block was entered")
        assert refused.value.code == "NO_SESSION"


async def test_a_limits_numbers_reach_the_component() -> None:
    """What an arbiter denies with numbers is raised with them."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.denying = True
        with pytest.raises(OrderRefused) as refused:
            async with client.order(order("c-1")):
                pytest.fail("the block was entered")
        assert (refused.value.code, refused.value.denied.limit) == ("LIMIT", Decimal(1))


async def test_lost_sidecar_leaves_a_note() -> None:
    """When the sidecar goes while an order is under way, the error that ended the block says what was not reported."""
    async with world() as here:
        async with here.sidecar() as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            with pytest.raises(ConnectionResetError) as lost:
                async with client.order(order("c-1")):
                    await here.stop()
                    await here.ended()
                    raise ConnectionResetError
        assert "c-1 could not be reported UNKNOWN" in lost.value.__notes__[0]


async def test_session_is_lost_with_the_sidecar() -> None:
    """When the sidecar ends, the session raises SessionLost and every call SidecarUnreachable."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await here.stop()
        await here.ended()
        with pytest.raises(SessionLost):
            async with asyncio.timeout(PATIENCE_S):
                async for _ in session.changes():
                    pass
        with pytest.raises(SidecarUnreachable, match="no answer from the sidecar"):
            await client.gate()
        assert not session.gate.check()


async def test_no_sidecar_no_session(tmp_path: Path) -> None:
    """Without a sidecar neither a session nor a call comes about."""
    async with SidecarClient(str(tmp_path / "none.sock")) as client:
        with pytest.raises(SidecarUnreachable):
            async with client.session():
                pytest.fail("the block was entered")
        with pytest.raises(SidecarUnreachable):
            await client.precommit(order("c-1"))


def test_socket_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the socket is the one that `sidecar run` names to its child."""
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    with pytest.raises(SidecarUnreachable, match=SOCKET_VARIABLE):
        SidecarClient()
    monkeypatch.setenv(SOCKET_VARIABLE, "/run/a.sock")
    assert SidecarClient().socket == "/run/a.sock"


@pytest.mark.parametrize(("status_code", "body"), [(200, b"{}"), (200, b"<html>"), (502, b"Bad Gateway"), (500, b"")])
def test_foreign_answers_are_problems(status_code: int, body: bytes) -> None:
    """An answer that is not the sidecar's is a problem, not a crash."""
    with pytest.raises(SidecarProblem) as problem:
        decode_answer(status_code, body, GateStatus)
    assert problem.value.code == "NOT_UNDERSTOOD"


def test_health_push_is_well_by_default() -> None:
    """A component that says nothing else says that it is ready and healthy."""
    assert (HealthPush().ready, HealthPush().status) == (True, "HEALTHY")
