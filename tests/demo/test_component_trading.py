"""The toy component's order flow: a real gate page, a real venue, and a sidecar that answers as told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from venue_peer import ALWAYS_FILLED, WAIT_S, running_venue

from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.client import Session, SidecarClient, SidecarUnreachable
from sidecar.core.page import CLOSED, Page
from sidecar.demo.audit import read_audit
from sidecar.demo.component_trading import Desk, Trading
from sidecar.demo.component_venue import OrderEntry
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState
from sidecar.messages.local import CommitReport, OrderRequest, SessionOpened
from sidecar.messages.orders import OrderDenied, OrderGranted, Phase, ReportRecorded

ALWAYS_LOST = Behaviour(lost_percent=100, rejected_percent=0, slow_percent=0)
OPEN = Page(
    role="ACTIVE",
    trading_state=TradingState.ACTIVE,
    deadline_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12,
    token=Token(1, 1),
    incarnation="a-1",
)
Answer = OrderGranted | OrderDenied


class ScriptedClient(SidecarClient):
    """A sidecar whose answer to each pre-commit is given; it keeps the reports."""

    def __init__(self, answer: Callable[[OrderRequest], Answer]) -> None:
        super().__init__("/nowhere.sock")
        self._answer = answer
        self.asked: list[str] = []
        self.reports: dict[str, CommitReport] = {}
        self.news = asyncio.Event()

    async def precommit(self, request: OrderRequest) -> Answer:
        """As scripted."""
        self.asked.append(request.cl_ord_id)
        self.news.set()
        return self._answer(request)

    async def report(self, cl_ord_id: str, report: CommitReport) -> ReportRecorded:
        """Kept."""
        self.reports[cl_ord_id] = report
        self.news.set()
        return ReportRecorded(arbiter="arbiter-1", cl_ord_id=cl_ord_id, phase=Phase.COMMITTED)

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for what was asked or reported."""
        async with asyncio.timeout(WAIT_S):
            while not seen():
                self.news.clear()
                await self.news.wait()


@dataclass
class Floor:
    """One trading component at work."""

    client: ScriptedClient
    page: GateWriter
    port: int

    async def first_report(self) -> CommitReport:
        """What was reported of the first order."""
        await self.client.until(lambda: bool(self.client.reports))
        return next(iter(self.client.reports.values()))

    async def arrivals(self) -> list[str]:
        """ClOrdIDs that reached the venue."""
        return [each.cl_ord_id for each in await read_audit(self.port)]


def grant(request: OrderRequest) -> Answer:
    return OrderGranted(arbiter="arbiter-1", cl_ord_id=request.cl_ord_id, term=1, n=1)


def deny(request: OrderRequest) -> Answer:
    return OrderDenied(arbiter="", cl_ord_id=request.cl_ord_id, code="HALTED", text="drill")


@asynccontextmanager
async def trading(
    path: Path,
    answer: Callable[[OrderRequest], Answer],
    *,
    behaviour: Behaviour = ALWAYS_FILLED,
    connected: bool = True,
    first_page: Page = OPEN,
) -> AsyncIterator[Floor]:
    """A component that trades, one order after the other, at 100 a second."""
    writer = GateWriter(path)
    writer.write(first_page)
    reader = GateReader(path)
    session = Session(SessionOpened(component="exec-a", incarnation="a-1", gate_path=str(path)), reader)
    client = ScriptedClient(answer)
    desk = Desk(venue="SIM", account="ACC", rate=100, answer_timeout_s=0.1)
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), behaviour) as port:
        entry = OrderEntry(("127.0.0.1", port), "exec-a", run="1")
        work = Trading(desk, client, session, entry)
        tasks = []
        if connected:
            tasks.append(asyncio.create_task(entry.run()))
            async with asyncio.timeout(WAIT_S):
                await entry.changed.wait()
        tasks.append(asyncio.create_task(work.run()))
        try:
            yield Floor(client, writer, port)
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await work.finish(0)
            await client.close()
            writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.gate"


async def test_committed(path: Path) -> None:
    """A granted order is sent once, under the page's token, and reported with the venue's OrderID and OrdStatus."""
    async with trading(path, grant) as floor:
        await floor.client.until(lambda: len(floor.client.reports) >= 20)
        arrived = await read_audit(floor.port)
    report = next(iter(floor.client.reports.values()))
    assert (report.outcome, report.ord_status) == ("committed", "NEW")
    assert report.order_id.startswith("SIM-")
    assert {each.token for each in arrived} == {Token(1, 1)}
    sent = [each.cl_ord_id for each in arrived]
    assert len(set(sent)) == len(sent)
    assert sent[:3] == ["a-1-0", "a-1-1", "a-1-2"]


async def test_denied(path: Path) -> None:
    """A denied order is neither sent nor reported."""
    async with trading(path, deny) as floor:
        await floor.client.until(lambda: len(floor.client.asked) >= 3)
        assert await floor.arrivals() == []
        assert floor.client.reports == {}


async def test_no_answer_to_the_question(path: Path) -> None:
    """An order whose pre-commit got no answer is not sent."""

    def fail(request: OrderRequest) -> Answer:
        raise SidecarUnreachable("nobody there")

    async with trading(path, fail) as floor:
        await floor.client.until(lambda: len(floor.client.asked) >= 3)
        assert await floor.arrivals() == []


@pytest.mark.parametrize("page", [CLOSED, replace(OPEN, token=Token(1, 2))], ids=["closed", "other-token"])
async def test_gate_changes_after_the_grant(path: Path, page: Page) -> None:
    """An order whose gate closed or changed hands between grant and sending is aborted, never sent."""
    writers: list[GateWriter] = []

    def grant_too_late(request: OrderRequest) -> Answer:
        writers[0].write(page)
        return grant(request)

    async with trading(path, grant_too_late, first_page=CLOSED) as floor:
        writers.append(floor.page)
        floor.page.write(OPEN)
        report = await floor.first_report()
        assert report.outcome == "aborted"
        assert floor.client.asked[0] not in await floor.arrivals()


async def test_silent_venue(path: Path) -> None:
    """An order on which the venue says nothing is UNKNOWN, never aborted: it may have arrived."""
    async with trading(path, grant, behaviour=ALWAYS_LOST) as floor:
        assert (await floor.first_report()).outcome == "unknown"


async def test_no_venue(path: Path) -> None:
    """An order that certainly never left is aborted."""
    async with trading(path, grant, connected=False) as floor:
        assert (await floor.first_report()).outcome == "aborted"


async def test_closed_gate(path: Path) -> None:
    """Behind a closed gate nothing is even asked for; once it opens, orders begin."""
    async with trading(path, grant, first_page=replace(OPEN, deadline_ns=1)) as floor:
        assert floor.client.asked == []
        floor.page.write(OPEN)
        await floor.client.until(lambda: bool(floor.client.asked))


async def test_halted_holder_asks_slowly(path: Path) -> None:
    """A halted holder goes on asking, so that the denial and its reason are seen."""
    async with trading(path, deny, first_page=replace(OPEN, trading_state=TradingState.HALTED)) as floor:
        await floor.client.until(lambda: len(floor.client.asked) >= 2)
        assert await floor.arrivals() == []
