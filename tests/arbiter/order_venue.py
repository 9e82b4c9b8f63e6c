"""An arbiter, a reconciler, a component and a venue that is told to misbehave, over one broker.

The component does only what it must: it asks, sends what was granted, and reports the venue's first word. What becomes
of its orders is looked up in the journal.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

from arbiter_worlds import Arbiters, Peer, attached, intent, settings, world
from venue_peer import ALWAYS_FILLED, VenueSession, running_venue, venue_session

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker
from sidecar.config.models import Settings
from sidecar.core.order import Order
from sidecar.core.sidecar import Sidecar
from sidecar.core.state import State
from sidecar.messages.orders import OrderCommitted, OrderDenied, OrderGranted, OrderIntent, OrderUnknown
from sidecar.messages.venue import CancelOrder, Executed, Instruct, MassCancel, NewOrder, Quirk, ReplaceOrder
from sidecar.reconciler.process import Reconciler

WAIT_S = 15.0
HASTE = {"report_deadline_ms": 2_000, "evidence_deadline_ms": 200, "query_interval_ms": 100, "review_interval_ms": 200}


class Hasty(Arbiters):
    """Arbiters that wait for nothing long."""

    def start(self, name: str) -> ArbiterProcess:
        """Start one."""
        broker, plain = self._connect(name), settings(name, *self._operators)
        process = ArbiterProcess(plain.model_copy(update={"orders": plain.orders.model_copy(update=HASTE)}), broker)
        self.running[name] = (process, asyncio.create_task(process.run()), broker)
        return process


class Trading:
    """A component and its orders. `holder` is its sidecar, `state` the journal as far as it was read, folded."""

    def __init__(self, peer: Peer, arbiters: Hasty, session: VenueSession, connect: Callable[[str], Broker]) -> None:
        self.peer = peer
        self.arbiters = arbiters
        self.session = session
        self.holder: Sidecar = attached("exec-a")
        self.state = State()
        self.connect = connect
        self._read = 0
        self._heard: dict[str, asyncio.Future[Executed]] = {}

    # --- what the component does ---

    async def trade(
        self, cl_ord_id: str, quirk: Quirk | None = None, *, silent: bool = False, **fields: Any
    ) -> OrderIntent:
        """One order through the phases; with `silent` the venue's answer never comes."""
        if quirk is not None:
            self.session.send(Instruct(cl_ord_id=cl_ord_id, quirk=quirk))
        order = await self.granted(cl_ord_id, **fields)
        waiting = self._heard.setdefault(cl_ord_id, asyncio.Future())
        self.session.send(line(order))
        report: Any
        if silent:
            report = OrderUnknown(component=order.component, cl_ord_id=cl_ord_id, reason="timeout")
        else:
            async with asyncio.timeout(WAIT_S):
                told = (await waiting).report
            report = OrderCommitted(
                component=order.component, cl_ord_id=cl_ord_id, order_id=told.order_id, ord_status=told.ord_status
            )
        await self.peer.order(report, "report")
        return order

    async def granted(self, cl_ord_id: str, **fields: Any) -> OrderIntent:
        """Ask for an order that is granted."""
        order = self.intent(cl_ord_id, **fields)
        await self.peer.order(order)
        await self.peer.first(OrderGranted, lambda each: each.cl_ord_id == cl_ord_id)
        return order

    async def denied(self, cl_ord_id: str, **fields: Any) -> OrderDenied:
        """Ask for an order that is denied."""
        await self.peer.order(self.intent(cl_ord_id, **fields))
        return await self.peer.first(OrderDenied, lambda each: each.cl_ord_id == cl_ord_id)

    def intent(self, cl_ord_id: str, **fields: Any) -> OrderIntent:
        """An order of ten, in an account of its own unless told otherwise."""
        return intent(self.holder, cl_ord_id, **{"account": cl_ord_id, **fields})

    # --- what became of it ---

    async def stands(
        self, cl_ord_id: str, filled: str, *breaks: str, phase: str = "VERIFIED", status: str | None = None
    ) -> Order:
        """Wait until so much of an order is filled, and these are its breaks."""

        def reached() -> Order | None:
            order = self.order(cl_ord_id)
            same = order is not None and (order.cum_qty, order.breaks) == (Decimal(filled), breaks)
            same = same and order is not None and order.phase == ("BREAK" if breaks else phase)
            return order if same and (status is None or order.venue_status == status) else None

        try:
            found: Order = await self.peer.until(reached)
        except TimeoutError:
            raise AssertionError(f"{cl_ord_id} stands at {self.order(cl_ord_id)}") from None
        return found

    def order(self, cl_ord_id: str) -> Any:
        """What the journal says of an order."""
        self.fold()
        return self.state.book.orders.get(cl_ord_id)

    async def finished(self, cl_ord_id: str) -> Any:
        """Wait until nothing more is expected of an order."""
        await self.peer.until(lambda: self.order(cl_ord_id).finished)
        return self.order(cl_ord_id)

    def position(self, account: str) -> Any:
        """The net position of an account in the one symbol that is traded."""
        self.fold()
        return self.state.book.exposure.position("SIM", account, "XYZ")

    def fold(self) -> State:
        """All that was read of the journal."""
        for record in self.peer.records[self._read :]:
            self.state.apply(record)
        self._read = len(self.peer.records)
        return self.state

    # --- while it runs ---

    async def listen(self) -> None:
        """Hand out the venue's first word on each order, for ever."""
        while True:
            answer = await self.session.next(patience_s=None)
            if isinstance(answer, Executed):
                waiting = self._heard.setdefault(answer.report.cl_ord_id, asyncio.Future())
                if not waiting.done():
                    waiting.set_result(answer)

    async def live(self) -> None:
        """Send heartbeats for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await self.peer.beat(self.holder, until=lambda: False)


def line(order: OrderIntent) -> NewOrder | CancelOrder | ReplaceOrder | MassCancel:
    """The order as the venue reads it."""
    names: dict[str, Any] = {"cl_ord_id": order.cl_ord_id, "account": order.account, "token": order.token}
    if order.kind == "MASS_CANCEL":
        return MassCancel(**names, symbol=order.symbol)
    names |= {"symbol": order.symbol, "side": order.side, "qty": order.qty}
    if order.kind == "CANCEL":
        return CancelOrder(**names, orig_cl_ord_id=order.orig_cl_ord_id)
    if order.kind == "REPLACE":
        return ReplaceOrder(**names, orig_cl_ord_id=order.orig_cl_ord_id, price=order.price)
    return NewOrder(**names, price=order.price)


@contextlib.asynccontextmanager
async def reconciling(connect: Callable[[str], Broker], port: int) -> AsyncIterator[None]:
    """A reconciler of the venue at this port."""
    told = {"venues": {"SIM": {"address": f"127.0.0.1:{port}"}}, "reconciler": {"id": "reconciler-1"}}
    reconciler = Reconciler(Settings.model_validate(told), connect("reconciler"))
    running = asyncio.create_task(reconciler.run())
    try:
        yield
    finally:
        reconciler.stop()
        await running


@contextlib.asynccontextmanager
async def trading(connect: Callable[[str], Broker]) -> AsyncIterator[Trading]:
    """All of it, with one arbiter and exec-a as the holder."""
    async with contextlib.AsyncExitStack() as stack:
        peer, _ = await stack.enter_async_context(world(connect, "guest"))
        arbiters = Hasty(connect, "guest", "embedded")
        stack.push_async_callback(arbiters.stop_all)
        port = await stack.enter_async_context(running_venue(connect("venue"), ALWAYS_FILLED))
        arbiters.start("arbiter-1")
        await stack.enter_async_context(reconciling(connect, port))
        here = Trading(peer, arbiters, await stack.enter_async_context(venue_session(port)), connect)
        await peer.beat(here.holder, until=lambda: here.holder.slots)
        tasks = [asyncio.create_task(here.live()), asyncio.create_task(here.listen())]
        try:
            yield here
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
