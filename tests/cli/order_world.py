"""A system in which one order of each sort was traded: arbiter, archive, reconciler, sidecar and venue in one process.

    order_world.py AMQP_URL      # Prints one line of JSON when all is traded, and ends when its stdin does.

It is a process of its own, so that commands can run in the test's: what they print is not mixed with logs. The
component asks through its sidecar, sends to the venue, which is told how to treat each order, and reports.
"""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aio_pika
from cli_world import PATIENCE_S
from venue_peer import ALWAYS_FILLED, VenueSession, running_venue, venue_session

from sidecar.agent.process import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import QUEUES
from sidecar.cli.archive import with_archive
from sidecar.client import SidecarClient
from sidecar.client.errors import OrderRefused
from sidecar.config.load import load_settings
from sidecar.config.models import Settings
from sidecar.messages.base import Token
from sidecar.messages.local import OncePush, OnceRequest, OrderRequest
from sidecar.messages.venue import CancelOrder, Executed, Instruct, MassCancel, NewOrder, Quirk, ReplaceOrder
from sidecar.reconciler.process import Reconciler
from sidecar.telemetry.logs import configure_logs

SLOT = "execution/0"


class Trader:
    """A component that does what it must: asks, sends what was granted, and reports the venue's first word."""

    def __init__(self, client: SidecarClient, venue: VenueSession, token: Token) -> None:
        self._client = client
        self._venue = venue
        self._token = token
        self._heard: dict[str, asyncio.Future[Executed]] = {}

    async def listen(self) -> None:
        """Hand out the venue's first word on each order, for ever."""
        while True:
            answer = await self._venue.next(patience_s=None)
            if isinstance(answer, Executed):
                waiting = self._heard.setdefault(answer.report.cl_ord_id, asyncio.Future())
                if not waiting.done():
                    waiting.set_result(answer)

    async def trade(self, name: str, quirk: Quirk | None = None, *, send: bool = True, **fields: Any) -> None:
        """One order through the phases; with `send` false it is lost on the way, and said to be unknown."""
        values: dict[str, Any] = {"account": name, "venue": "SIM", "symbol": "XYZ", "side": "BUY", "qty": Decimal(10)}
        request = OrderRequest(cl_ord_id=name, **(values | {"price": Decimal("1.5")} | fields))
        if quirk is not None:
            self._venue.send(Instruct(cl_ord_id=name, quirk=quirk))
        waiting = self._heard.setdefault(name, asyncio.Future())
        async with self._client.order(request) as ticket:
            if not send:
                await ticket.unknown("no answer within 5 s")
                return
            self._venue.send(self.line(request))
            async with asyncio.timeout(PATIENCE_S):
                told = (await waiting).report
            await ticket.committed(told.order_id, told.ord_status)

    async def lose(self, key: str) -> None:
        """A side effect `place KEY` of which nobody knows whether it happened."""
        answer = await self._client.claim_once(OnceRequest(kind="place", key=key))
        lost = OncePush(claim_id=answer.claim_id, kind="place", key=key, outcome="UNKNOWN", text="a test")
        await self._client.report_once(lost)

    def send_unasked(self, request: OrderRequest) -> None:
        """An order that no arbiter was asked for."""
        self._venue.send(self.line(request))

    def line(self, request: OrderRequest) -> NewOrder | CancelOrder | ReplaceOrder | MassCancel:
        """The order as the venue takes it."""
        names: dict[str, Any] = {"cl_ord_id": request.cl_ord_id, "account": request.account, "token": self._token}
        if request.kind == "MASS_CANCEL":
            return MassCancel(**names, symbol=request.symbol)
        names |= {"symbol": request.symbol, "side": request.side, "qty": request.qty}
        if request.kind == "CANCEL":
            return CancelOrder(**names, orig_cl_ord_id=request.orig_cl_ord_id)
        if request.kind == "REPLACE":
            return ReplaceOrder(**names, orig_cl_ord_id=request.orig_cl_ord_id, price=request.price)
        return NewOrder(**names, price=request.price)


def configured(folder: Path, url: str, venue_port: int) -> Settings:
    """One configuration for every process, on a file that commands read too."""
    path = folder / "sidecar.json"
    told = {
        "broker": {"urls": [url]},
        "run_dir": str(folder),
        "groups": {"execution": {"components": ["exec-a", "exec-b"]}},
        "component": {"name": "exec-a", "gate": str(folder / "a.gate")},
        "venues": {"SIM": {"address": f"127.0.0.1:{venue_port}"}},
        "security": {"operators": ["guest"]},
        "archive": {"in_arbiter": True, "flush_ms": 50},
        "limits": {"all": {"qty_max": "1000", "open_orders_max": 40}, "symbol:XYZ": {"position_max": "200"}},
        "orders": {
            "precommit_timeout_ms": 10_000,
            "report_deadline_ms": 2_000,
            "evidence_deadline_ms": 300,
            "query_interval_ms": 200,
        },
        "timing": {
            "heartbeat_ms": 50,
            "holder_lease_ms": 8_000,
            "gate_to_effect_ms": 50,
            "holder_wait_ms": 9_000,
            "leader_lease_ms": 600,
            "leader_wait_ms": 700,
            "tick_ms": 30,
            "probe_ms": 120,
        },
    }
    path.write_text(json.dumps(told))
    return load_settings(path, environ={})


@contextlib.asynccontextmanager
async def order_world(url: str) -> AsyncIterator[tuple[Path, Path]]:
    """Everything traded, on a broker without a journal; a configuration, and one of somebody who has no archive."""
    await forget(url)
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/dev/shm"))  # A short name: a socket's path holds 107 bytes.
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        port = await stack.enter_async_context(running_venue(RabbitBroker([url], name="venue"), ALWAYS_FILLED))
        settings = configured(folder, url, port)
        arbiter = ArbiterProcess(settings, RabbitBroker([url], name="arbiter-1"))
        for process in (
            with_archive(settings, arbiter),
            Reconciler(settings, RabbitBroker([url], name="reconciler-1")),
            Agent(settings, RabbitBroker([url], name="exec-a")),
        ):
            await stack.enter_async_context(_running(process))
        client = await stack.enter_async_context(SidecarClient(str(folder / "exec-a.sock"), timeout_s=PATIENCE_S))
        await _until(lambda: (folder / "exec-a.sock").is_socket())
        session = await stack.enter_async_context(client.session())
        await session.until_open(PATIENCE_S)
        venue = await stack.enter_async_context(venue_session(port))
        held = arbiter._core.state.holders[SLOT]
        trader = Trader(client, venue, held.token)
        listening = asyncio.create_task(trader.listen())
        stack.callback(listening.cancel)
        await _trade(trader)
        await _until(lambda: len(arbiter._core.state.opened) == 2 and _swept(arbiter))
        (folder / "bare").mkdir()
        configured(folder / "bare", url, port)
        yield folder / "sidecar.json", folder / "bare" / "sidecar.json"


async def forget(url: str) -> None:
    """Delete our queues, and the journal with them."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        for queue in QUEUES:
            channel = await connection.channel()
            await channel.queue_delete(queue.name, timeout=10)


def _swept(arbiter: ArbiterProcess) -> bool:
    book = arbiter._core.state.book
    return book.orders["resting-2"].ended and book.orders["filled"].ended


async def _trade(trader: Trader) -> None:
    """One of each: filled, replaced and mass cancelled, lost, overfilled, denied, and somebody else's."""
    for key in ("happened", "never"):
        await trader.lose(key)
    await asyncio.gather(
        trader.trade("filled", account="ACC", strategy="maker"),
        trader.trade("resting", "REST", account="MASS"),
        trader.trade("over", "OVERFILL", account="OVER"),
        trader.trade("lost", send=False, account="ACC", venue="DARK"),
    )
    await trader.trade("resting-2", account="MASS", kind="REPLACE", orig_cl_ord_id="resting", qty=Decimal(20))
    await trader.trade("sweep", account="MASS", kind="MASS_CANCEL", symbol="")
    await trader.trade("open", "REST", account="ACC")
    with contextlib.suppress(OrderRefused):
        await trader.trade("denied", account="ACC", qty=Decimal(1001))
    trader.send_unasked(
        OrderRequest(
            cl_ord_id="theirs", account="ACC", venue="SIM", symbol="ABC", side="SELL", qty=Decimal(3), price=Decimal(9)
        )
    )


@contextlib.asynccontextmanager
async def _running(process: Any) -> AsyncIterator[None]:
    running = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


async def _until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not met():  # noqa: ASYNC110  # There is no event to wait for.
            await asyncio.sleep(0.01)


async def main(url: str) -> None:
    """Run the system until stdin ends."""
    configure_logs("console", "error")
    async with order_world(url) as (config, bare):
        sys.stdout.write(json.dumps([str(config), str(bare)]) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
