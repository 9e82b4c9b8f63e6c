"""The reconciler between a real venue on a socket and the in-process broker."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from venue_peer import ALWAYS_FILLED, WAIT_S, order, running_venue, venue_session

from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import DEAD_LETTER, EVENTS, ORDERS, RECONCILER_QUEUE, QueueSpec
from sidecar.config.models import Settings
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.demo.venue_book import Book
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import decode, encode
from sidecar.messages.control import Probe
from sidecar.messages.orders import Absence, DropCopy, Evidence, EvidenceWanted, Phase
from sidecar.messages.reconcile import ReconcilerAlive
from sidecar.reconciler.process import Reconciler

ALWAYS_LOST = Behaviour(lost_percent=100, rejected_percent=0, slow_percent=0)


@dataclass
class Desk:
    """What reaches the arbiters, and what is dead-lettered."""

    broker: MemoryBroker
    heard: list[Delivery] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        bindings = ((ORDERS, "evidence.#"), (DEAD_LETTER, ""))
        queue = QueueSpec("test.desk", "classic", bindings, exclusive=True)
        self.broker.subscribe(Subscription(queue=queue, on_delivery=self._hear, no_ack=True))

    def _hear(self, delivery: Delivery) -> None:
        if delivery.type == message_type(ReconcilerAlive):
            return
        self.heard.append(delivery)
        self.news.set()

    async def until(self, count: int) -> list[Delivery]:
        async with asyncio.timeout(WAIT_S):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()
        return self.heard

    async def messages(self, count: int) -> list[Message]:
        return [message_in(each) for each in await self.until(count)]

    async def send(self, exchange: str, key: str, message: Message, app_id: str) -> None:
        await self.broker.publish(
            Outgoing(
                exchange=exchange, routing_key=key, body=encode(message), type=message_type(message), app_id=app_id
            )
        )

    async def want(self, cl_ord_id: str, venue: str = "SIM") -> None:
        wanted = EvidenceWanted(
            arbiter="arbiter-1", venue=venue, account="ACC", cl_ord_id=cl_ord_id, phase=Phase.UNKNOWN
        )
        await self.send(EVENTS, f"evidence-wanted.{venue}", wanted, "arbiter-1")


def message_in(delivery: Delivery) -> Message:
    message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
    assert isinstance(message, Message)
    return message


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
async def desk(hub: MemoryHub) -> AsyncIterator[Desk]:
    desk = Desk(MemoryBroker(hub, name="desk"))
    await desk.broker.start()
    yield desk
    await desk.broker.close()


@asynccontextmanager
async def reconciling(hub: MemoryHub, port: int, *, query_timeout_ms: int = 5_000) -> AsyncIterator[MemoryBroker]:
    """A running reconciler that knows the venue SIM at `port`; yields its broker connection."""
    settings = Settings.model_validate(
        {
            "venues": {"SIM": {"address": f"127.0.0.1:{port}"}},
            "reconciler": {"id": "rec-1", "query_timeout_ms": query_timeout_ms},
        }
    )
    broker = MemoryBroker(hub, name="reconciler")
    reconciler = Reconciler(settings, broker)
    running = asyncio.create_task(reconciler.run())
    try:
        yield broker
    finally:
        reconciler.stop()
        await running


async def test_drop_copy_becomes_evidence(hub: MemoryHub, desk: Desk) -> None:
    """Each drop copy reaches the arbiters as evidence, in its order, under the reconciler's name."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_FILLED) as port, reconciling(hub, port):
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
        evidence = await desk.messages(2)
    assert [(each.source, each.reconciler) for each in evidence if isinstance(each, Evidence)] == [
        ("drop_copy", "rec-1")
    ] * 2
    assert [each.report.ord_status for each in evidence if isinstance(each, Evidence)] == ["NEW", "FILLED"]
    assert hub.length(RECONCILER_QUEUE) == 0


async def test_query_finds(hub: MemoryHub, desk: Desk) -> None:
    """Evidence that is wanted is asked for at the venue, and every report found is handed over."""
    elsewhere = MemoryHub()  # The drop copy goes elsewhere, so what the desk hears comes from the query.
    async with running_venue(MemoryBroker(elsewhere, name="venue"), ALWAYS_FILLED) as port, reconciling(hub, port):
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
            await session.next()
        await desk.want("a-1")
        evidence = await desk.messages(2)
    assert [(each.source, each.report.ord_status) for each in evidence if isinstance(each, Evidence)] == [
        ("query", "NEW"),
        ("query", "FILLED"),
    ]


async def test_query_finds_nothing(hub: MemoryHub, desk: Desk) -> None:
    """An authoritative not-found is an absence, each with an id of its own."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_LOST) as port, reconciling(hub, port):
        await desk.want("a-1")
        await desk.until(1)
        await desk.want("a-1")
        first, second = await desk.messages(2)
    assert isinstance(first, Absence)
    assert isinstance(second, Absence)
    assert first.cl_ord_id == second.cl_ord_id == "a-1"
    assert first.query_id != second.query_id


async def test_no_answer_is_nothing(hub: MemoryHub, desk: Desk) -> None:
    """A venue that gives no answer, or is not configured, yields no evidence, and asking another goes on."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_FILLED) as port:
        pass  # It is gone; its port refuses.
    async with reconciling(hub, port):
        await desk.want("a-1")
        await desk.want("a-2", venue="ELSEWHERE")
        await desk.send(EVENTS, "evidence-wanted.SIM", Probe(arbiter="arbiter-1"), "arbiter-1")
        last = (await desk.until(1))[-1]
    assert last.exchange == DEAD_LETTER
    assert [each.exchange for each in desk.heard] == [DEAD_LETTER]
    assert hub.length(RECONCILER_QUEUE) == 0


@pytest.mark.parametrize("fault", ["not-json", "forged-sender", "foreign-report"])
async def test_bad_input(hub: MemoryHub, desk: Desk, fault: str) -> None:
    """What cannot be believed is dead-lettered with its reason, and what follows is carried."""
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_FILLED) as port, reconciling(hub, port):
        report = Book("SIM").accept(order("a-1"))
        match fault:
            case "not-json":
                out = Outgoing(
                    exchange=ORDERS, routing_key="drop-copy.SIM", body=b"{", type="drop-copy.v1", app_id="SIM"
                )
                await desk.broker.publish(out)
            case "forged-sender":
                await desk.send(ORDERS, "drop-copy.SIM", DropCopy(venue="SIM", report=report), "exec-a")
            case _:
                await desk.send(ORDERS, "drop-copy.OTHER", DropCopy(venue="OTHER", report=report), "OTHER")
        await desk.send(ORDERS, "drop-copy.SIM", DropCopy(venue="SIM", report=report), "SIM")
        refused, carried = await desk.until(2)
    assert refused.exchange == DEAD_LETTER
    assert isinstance(message_in(carried), Evidence)


async def test_lost_link_loses_nothing(hub: MemoryHub, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drop copy whose evidence was not confirmed is carried again after the link is back."""
    monkeypatch.setattr("sidecar.reconciler.process.REQUEUE_AFTER_S", 0.01)
    async with running_venue(MemoryBroker(hub, name="venue"), ALWAYS_FILLED) as port, reconciling(hub, port) as broker:
        await desk.want(f"warm-{uuid.uuid4().hex}")
        await desk.until(1)
        broker.cut()
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
            await session.next()
        broker.mend()
        evidence = [each for each in await desk.messages(3) if isinstance(each, Evidence)]
    assert [each.report.ord_status for each in evidence[:2]] == ["NEW", "FILLED"]
