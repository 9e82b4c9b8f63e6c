"""The simulated venue over its real socket."""

from decimal import Decimal

import msgspec
import pytest
from venue_peer import ALWAYS_FILLED, VenueSession, drop_copy_reader, order, running_venue, venue_session

from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.demo.audit import holders, overlaps, read_audit
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.messages.base import Token
from sidecar.messages.venue import CancelOrder, Executed, OrderFound, OrderNotFound, OrderQuery, Refused, VenueAnswer

ALWAYS_LOST = Behaviour(lost_percent=100, rejected_percent=0, slow_percent=0)
ALWAYS_SLOW = Behaviour(slow_percent=100, rejected_percent=0, slow_ms=60_000)
ALWAYS_RESTING = Behaviour(resting_percent=100, rejected_percent=0, slow_percent=0, lost_percent=0)


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def test_order_is_filled_and_copied(hub: MemoryHub) -> None:
    """An order is acknowledged and filled, to its session and, the same reports, to the drop copy."""
    copies = await drop_copy_reader(hub)
    async with running_venue(MemoryBroker(hub, name="venue")) as port, venue_session(port) as session:
        first, second = await session.ask(order("a-1")), await session.next()
        assert isinstance(first, Executed)
        assert isinstance(second, Executed)
        assert [first.report.ord_status, second.report.ord_status] == ["NEW", "FILLED"]
        assert await copies.until(2) == [first.report, second.report]
        assert await session.ask(OrderQuery(query_id="q", cl_ord_id="a-1")) == OrderFound(
            query_id="q", cl_ord_id="a-1", reports=(first.report, second.report)
        )


async def test_slow_order_is_found_by_a_query(hub: MemoryHub) -> None:
    """A slow order is told to nobody yet, but a query finds it."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_SLOW) as port, venue_session(port) as session:
        answer = await _send_then_query(session, "a-1")
        assert isinstance(answer, OrderFound)
        assert answer.reports[0].ord_status == "NEW"


async def test_lost_order_is_truthfully_absent(hub: MemoryHub) -> None:
    """A lost order is not in the book, and a query says so."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_LOST) as port, venue_session(port) as session:
        assert await _send_then_query(session, "a-1") == OrderNotFound(query_id="q", cl_ord_id="a-1")


async def test_cancel(hub: MemoryHub) -> None:
    """A resting order is cancelled on request."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_RESTING) as port, venue_session(port) as session:
        await session.ask(order("a-1"))
        request = CancelOrder(
            cl_ord_id="c-1",
            orig_cl_ord_id="a-1",
            account="ACC",
            symbol="ACME",
            side="BUY",
            qty=Decimal(10),
            token=Token(1, 1),
        )
        answers = [await session.ask(request), await session.next()]
        assert [(each.report.cl_ord_id, each.report.ord_status) for each in answers if isinstance(each, Executed)] == [
            ("c-1", "CANCELED"),
            ("a-1", "CANCELED"),
        ]


async def test_duplicate(hub: MemoryHub) -> None:
    """A ClOrdID that was received before is refused, and the first order is left as it is."""
    copies = await drop_copy_reader(hub)
    async with running_venue(MemoryBroker(hub, name="venue")) as port:
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
            await session.next()
        async with venue_session(port, component="exec-b") as session:
            answer = await session.ask(order("a-1"))
            assert isinstance(answer, Refused)
            assert answer.code == "DUPLICATE"
        assert len(await read_audit(port)) == 1
    assert len(copies.reports) == 2


async def test_bad_input(hub: MemoryHub) -> None:
    """Orders before a logon, of no quantity, and lines that are no messages are refused; the venue goes on."""
    async with running_venue(MemoryBroker(hub, name="venue")) as port:
        async with venue_session(port, logon=False) as session:
            early = await session.ask(order("a-1"))
            assert isinstance(early, Refused)
            assert early.code == "NO_LOGON"
        async with venue_session(port) as session:
            nothing = await session.ask(order("a-1", qty=0))
            assert isinstance(nothing, Refused)
            assert nothing.code == "BAD_QTY"
            session.writer.write(b"hello\n")
            bad = await session.next()
            assert isinstance(bad, Refused)
            assert bad.code == "BAD_LINE"
            assert await session.ended()
        async with venue_session(port) as session:
            assert isinstance(await session.ask(order("a-2")), Executed)


async def test_broker_outage_loses_no_drop_copy(hub: MemoryHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop copies that the broker did not confirm are sent when it is back, in their order."""
    monkeypatch.setattr("sidecar.demo.drop_copies.RETRY_S", 0.01)
    copies = await drop_copy_reader(hub)
    broker = MemoryBroker(hub, name="venue")
    async with running_venue(broker, ALWAYS_FILLED) as port, venue_session(port) as session:
        broker.cut()
        told = [await session.ask(order("a-1")), await session.next(), await session.ask(order("a-2"))]
        assert copies.reports == []
        broker.mend()
        seen = await copies.until(3)
        assert seen[:3] == [each.report for each in told if isinstance(each, Executed)]


async def test_busy_without_room_for_drop_copies(hub: MemoryHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that could not publish one more drop copy takes no order."""
    monkeypatch.setattr("sidecar.demo.drop_copies.RESERVE", 9_999)
    broker = MemoryBroker(hub, name="venue")
    async with running_venue(broker, ALWAYS_RESTING) as port, venue_session(port) as session:
        broker.cut()
        assert isinstance(await session.ask(order("a-1")), Executed)
        busy = await session.ask(order("a-2"))
        assert isinstance(busy, Refused)
        assert busy.code == "BUSY"
        broker.mend()


async def test_audit_in_order(hub: MemoryHub) -> None:
    """The audit names each arrival with its token, and growing tokens are no overlap."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_RESTING) as port:
        async with venue_session(port, component="exec-a") as session:
            await session.ask(order("a-1", token=Token(1, 1)))
        async with venue_session(port, component="exec-b") as session:
            await session.ask(order("b-1", token=Token(1, 2)))
            await session.ask(order("b-2", token=Token(2, 1)))
        entries = await read_audit(port)
    assert [each.cl_ord_id for each in entries] == ["a-1", "b-1", "b-2"]
    assert [each.received_ns for each in entries] == sorted(each.received_ns for each in entries)
    assert overlaps(entries) == []
    assert holders(entries) == "exec-a under 1.1: 1, exec-b under 1.2: 1, exec-b under 2.1: 1"


async def test_audit_finds_an_overlap(hub: MemoryHub) -> None:
    """An arrival under an older token, or of another holder under the same one, is an overlap."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_RESTING) as port:
        async with venue_session(port, component="exec-b") as session:
            await session.ask(order("b-1", token=Token(1, 2)))
        async with venue_session(port, component="exec-a") as session:
            await session.ask(order("a-1", token=Token(1, 1)))
            await session.ask(order("a-2", token=Token(1, 2)))
        async with venue_session(port, component="exec-b") as session:
            await session.ask(order("b-2", token=Token(1, 2)))
        found = overlaps(await read_audit(port))
    assert len(found) == 2
    assert "a-1 under token 1.1 of exec-a" in found[0]
    assert "b-2 under token 1.2 of exec-b" in found[1]


async def _send_then_query(session: VenueSession, cl_ord_id: str) -> VenueAnswer:
    """The venue says nothing of such an order by itself, so the next answer is the query's."""
    session.writer.write(msgspec.json.encode(order(cl_ord_id)) + b"\n")
    return await session.ask(OrderQuery(query_id="q", cl_ord_id=cl_ord_id))
