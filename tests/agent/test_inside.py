"""A component in the sidecar's own process, without HTTP."""

import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sidecar_world import SLOT, World, world

from sidecar.agent.inside import Inside
from sidecar.agent.problems import Refused
from sidecar.agent.sessions import OPENINGS_MAX, TooManySessions
from sidecar.messages.health import Heartbeat
from sidecar.messages.local import CommitReport, OrderRequest
from sidecar.messages.orders import OrderCommitted, OrderDenied, OrderGranted, OrderIntent

COMMITTED = CommitReport(outcome="committed", order_id="V-1", ord_status="NEW")


def order(cl_ord_id: str, **changes: Any) -> OrderRequest:
    """A plain order."""
    fields = {"account": "A1", "venue": "SIM", "symbol": "XYZ", "side": "BUY", "qty": Decimal(1), **changes}
    return OrderRequest(cl_ord_id=cl_ord_id, **fields)


@contextlib.asynccontextmanager
async def inside() -> AsyncIterator[tuple[World, Inside]]:
    """A running sidecar and the way in; no session is open."""
    async with world() as here, here.sidecar():
        assert here.agent is not None and here.agent.inside is not None
        yield here, here.agent.inside


async def active(here: World) -> None:
    """The component holds its slot, as its sidecar says with the next heartbeat."""
    await here.arbiter.saw(Heartbeat, lambda beat: beat.role == "ACTIVE")


async def test_an_order_goes_through_both_phases() -> None:
    """An order that is asked for inside is granted under the slot's token, and its report is recorded."""
    async with inside() as (here, sidecar), sidecar.session():
        await active(here)
        assert isinstance(await sidecar.precommit(order("c-1")), OrderGranted)
        assert (await here.arbiter.saw(OrderIntent)).slot == SLOT
        recorded = await sidecar.report("c-1", COMMITTED)
        assert recorded.cl_ord_id == (await here.arbiter.saw(OrderCommitted)).cl_ord_id == "c-1"


async def test_the_end_of_its_session_closes_the_gate() -> None:
    """When the block ends the gate is closed, and an order is denied without a question."""
    async with inside() as (here, sidecar):
        async with sidecar.session():
            await active(here)
            assert sidecar.gate().open
        assert not sidecar.gate().open
        answer = await sidecar.precommit(order("c-1"))
        assert isinstance(answer, OrderDenied)
        assert (answer.code, here.arbiter.count(OrderIntent)) == ("NO_SESSION", 0)


async def test_what_is_refused_over_http_is_refused_inside() -> None:
    """Orders and reports are checked as they are over HTTP, and the field is named."""
    async with inside() as (_, sidecar):
        with pytest.raises(Refused, match="qty"):
            await sidecar.precommit(order("c-1", qty=Decimal(0)))
        with pytest.raises(Refused, match="OrderID"):
            sidecar.report("c-1", CommitReport(outcome="committed"))
        with pytest.raises(Refused, match="ClOrdID"):
            sidecar.report("c 1", COMMITTED)


async def test_sessions_in_a_ring_are_refused() -> None:
    """Too many sessions in a short time are refused on entering, as over HTTP."""
    async with inside() as (_, sidecar):
        for _ in range(OPENINGS_MAX):
            async with sidecar.session():
                pass
        with pytest.raises(TooManySessions):
            async with sidecar.session():
                pass
