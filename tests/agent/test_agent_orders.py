"""Orders through a running sidecar: the question, the answer, and what became of the order."""

import asyncio
from decimal import Decimal

import pytest
from sidecar_world import PATIENCE_S, SLOT, World, world

from sidecar.client import CommitReport, OrderDenied, OrderGranted, OrderRequest, SidecarClient, SidecarProblem
from sidecar.messages.base import Token
from sidecar.messages.orders import OrderAborted, OrderCommitted, OrderIntent, Phase

QUICK = {"precommit_timeout_ms": 100}
COMMITTED = CommitReport(outcome="committed", order_id="V-1", ord_status="NEW")


def order(cl_ord_id: str, **changes: str) -> OrderRequest:
    """A plain order."""
    fields = {"account": "A1", "venue": "SIM", "symbol": "XYZ", **changes}
    return OrderRequest(cl_ord_id=cl_ord_id, side="BUY", qty=Decimal("1.5"), **fields)  # type: ignore[arg-type]  # All of these fields are strings.


async def denial(client: SidecarClient, request: OrderRequest) -> str:
    """The code of the denial that `request` must get."""
    answer = await client.precommit(request)
    assert isinstance(answer, OrderDenied), answer
    return answer.code


async def test_order_is_granted_under_the_token() -> None:
    """A granted order was asked for with the slot, token and incarnation that the component holds."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        answer = await client.precommit(order("c-1"))
        assert isinstance(answer, OrderGranted)
        intent = await here.arbiter.saw(OrderIntent)
        assert (intent.slot, intent.token, intent.incarnation) == (SLOT, Token(1, 1), session.incarnation)
        assert (intent.cl_ord_id, intent.qty) == ("c-1", Decimal("1.5"))


async def test_arbiters_denial_is_passed_on() -> None:
    """The arbiter's denial reaches the component with its code and the numbers of the limit."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.denying = True
        answer = await client.precommit(order("c-1"))
        assert isinstance(answer, OrderDenied)
        assert (answer.code, answer.limit) == ("LIMIT", Decimal(1))


async def test_no_session_no_question() -> None:
    """Without a session an order is denied here, and the arbiter is not asked."""
    async with world() as here, here.sidecar() as client:
        assert await denial(client, order("c-1")) == "NO_SESSION"
        assert here.arbiter.count(OrderIntent) == 0


async def test_halted_no_question() -> None:
    """Under a halt an order is denied here with the halt's words, and a cancel still passes."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.halt(reason="a fat finger")
        await here.arbiter.quiet()
        answer = await client.precommit(order("c-1"))
        assert isinstance(answer, OrderDenied)
        assert answer.code == "HALTED"
        assert "a fat finger" in answer.text
        cancel = order("c-2", kind="CANCEL", orig_cl_ord_id="c-0")
        assert isinstance(await client.precommit(cancel), OrderGranted)


async def test_no_answer_means_no() -> None:
    """Without an answer in time the intent was sent twice and the order is denied."""
    async with world() as here, here.sidecar(orders=QUICK) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.deciding = False
        assert await denial(client, order("c-1")) == "NO_ANSWER"
        assert here.arbiter.count(OrderIntent) == 2


async def test_late_grant_is_aborted() -> None:
    """A grant that comes after the component was told no is reported aborted, and its ClOrdID stays spent."""
    async with world() as here, here.sidecar(orders=QUICK) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.deciding = False
        assert await denial(client, order("c-1")) == "NO_ANSWER"
        assert await denial(client, order("c-1")) == "DUPLICATE"
        here.arbiter.release()
        aborted = await here.arbiter.saw(OrderAborted)
        assert (aborted.cl_ord_id, aborted.reason) == ("c-1", "granted too late, never passed on")
        await here.arbiter.quiet()
        assert here.arbiter.count(OrderAborted) == 1
        assert await denial(client, order("c-1")) == "DUPLICATE"


async def test_halt_during_the_wait_stops_the_order() -> None:
    """A halt that arrives while the arbiter decides turns its grant into a denial and an abort."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.deciding = False
        asked = asyncio.create_task(client.precommit(order("c-1")))
        await here.arbiter.saw(OrderIntent)
        here.arbiter.halt()
        await here.arbiter.quiet()
        here.arbiter.release()
        answer = await asked
        assert isinstance(answer, OrderDenied)
        assert answer.code == "HALTED"
        assert (await here.arbiter.saw(OrderAborted)).cl_ord_id == "c-1"


async def test_new_session_does_not_inherit_an_order() -> None:
    """A grant for a run of the component that was replaced meanwhile is not passed on."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.deciding = False
        asked = asyncio.create_task(client.precommit(order("c-1")))
        await here.arbiter.saw(OrderIntent)
        async with client.session() as newer:
            await newer.until_open(PATIENCE_S)
            here.arbiter.release()
            answer = await asked
            assert isinstance(answer, OrderDenied)
            assert answer.code == "SESSION_CHANGED"
            await here.arbiter.saw(OrderAborted)


async def test_grant_is_passed_on_once() -> None:
    """A ClOrdID that was granted is not granted again."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        assert isinstance(await client.precommit(order("c-1")), OrderGranted)
        assert await denial(client, order("c-1")) == "DUPLICATE"
        assert here.arbiter.count(OrderIntent) == 1


async def test_denied_order_may_be_asked_again() -> None:
    """A ClOrdID that was denied here is free: nobody else has heard of it."""
    async with world() as here:
        here.arbiter.granting = False
        async with here.sidecar() as client, client.session() as session:
            assert await denial(client, order("c-1")) == "NO_LEASE"
            here.arbiter.granting = True
            await session.until_open(PATIENCE_S)
            assert isinstance(await client.precommit(order("c-1")), OrderGranted)


async def test_broker_away_means_no() -> None:
    """Without a link nothing is sent, the order is denied, and it may be asked for again."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        assert here.broker is not None
        here.broker.cut()
        assert await denial(client, order("c-1")) == "NO_BROKER"
        here.broker.mend()
        assert isinstance(await client.precommit(order("c-1")), OrderGranted)


async def test_orders_in_flight_are_bounded() -> None:
    """One order more than may be in flight is refused, and those before it are not harmed."""
    async with world() as here, here.sidecar(orders={"in_flight_max": 2}) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.deciding = False
        asked = [asyncio.create_task(client.precommit(order(f"c-{number}"))) for number in range(2)]
        await here.arbiter.saw(OrderIntent, lambda each: each.cl_ord_id == "c-0")
        await here.arbiter.saw(OrderIntent, lambda each: each.cl_ord_id == "c-1")
        with pytest.raises(SidecarProblem, match="in_flight_max") as refused:
            await client.precommit(order("c-2"))
        assert refused.value.code == "TOO_MANY_ORDERS"
        here.arbiter.release()
        assert all(isinstance(each, OrderGranted) for each in await asyncio.gather(*asked))


async def granted(here: World, client: SidecarClient, cl_ord_id: str) -> None:
    """An order that may be sent."""
    answer = await client.precommit(order(cl_ord_id))
    assert isinstance(answer, OrderGranted), answer


async def test_report_is_recorded() -> None:
    """A report is answered with the phase in which the order now stands."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await granted(here, client, "c-1")
        recorded = await client.report("c-1", COMMITTED)
        assert recorded.phase is Phase.COMMITTED
        heard = await here.arbiter.saw(OrderCommitted)
        assert (heard.order_id, heard.ord_status) == ("V-1", "NEW")


async def test_unrecorded_report_is_repeated() -> None:
    """A report that no arbiter records is kept and repeated, its caller is told so, and it is recorded once."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await granted(here, client, "c-1")
        here.arbiter.recording = False
        with pytest.raises(SidecarProblem, match="kept and repeated") as kept:
            await client.report("c-1", COMMITTED)
        assert kept.value.code == "NOT_RECORDED_YET"
        assert here.arbiter.count(OrderCommitted) > 1
        assert (await client.status()).reports_unrecorded == 1
        here.arbiter.release()
        await here.arbiter.quiet()
        while (await client.status()).reports_unrecorded:
            pass


async def test_reports_kept_are_bounded() -> None:
    """When the outbox is full a report is refused, not dropped in silence."""
    async with world() as here, here.sidecar(orders={"unrecorded_max": 1}) as client, client.session():
        here.arbiter.recording = False
        first = asyncio.create_task(client.report("c-1", COMMITTED))
        await here.arbiter.saw(OrderCommitted)
        with pytest.raises(SidecarProblem, match="unrecorded_max") as refused:
            await client.report("c-2", COMMITTED)
        assert refused.value.code == "TOO_MANY_REPORTS"
        here.arbiter.release()
        await first
