"""The cases that broke others, across processes: an arbiter, a reconciler and a venue that is told to misbehave.

Each order is asked for, sent and reported by a component that only does what it must; what becomes of it is looked up
in the journal. The same cases over the core alone are in tests/core.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
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
from sidecar.messages.orders import OrderCommitted, OrderGranted, OrderIntent, OrderUnknown
from sidecar.messages.venue import (
    CancelOrder,
    Executed,
    Instruct,
    MassCancel,
    NewOrder,
    Quirk,
    ReplaceOrder,
)
from sidecar.reconciler.process import Reconciler

WAIT_S = 15.0
HASTE = {"report_deadline_ms": 2_000, "evidence_deadline_ms": 200, "query_interval_ms": 100, "review_interval_ms": 200}
ENDS: dict[Quirk, tuple[int, tuple[str, ...]]] = {
    "FILL_BEFORE_ACK": (10, ()),
    "LATE_STATUS": (10, ()),
    "DUPLICATE_EXEC_ID": (5, ("EXECUTION_CHANGED",)),
    "CORRECT": (5, ()),
    "BUST": (0, ()),
    "OVERFILL": (15, ("OVERFILL",)),
    "RESEND": (10, ()),
    "HIDE_FILLS": (10, ()),
    "NO_ANSWER": (10, ()),
    "FORGET": (5, ("MISSING_AT_VENUE",)),
    "KEEP": (0, ("STILL_OPEN",)),
    "FILL_AFTER_CANCEL": (5, ()),
    "TWO_ORDERS": (0, ("STILL_OPEN",)),
}
"""What is filled of an order of ten at the end, and the breaks that were opened."""


class Hasty(Arbiters):
    """Arbiters that wait for nothing long."""

    def start(self, name: str) -> ArbiterProcess:
        """Start one."""
        broker, plain = self._connect(name), settings(name, *self._operators)
        process = ArbiterProcess(plain.model_copy(update={"orders": plain.orders.model_copy(update=HASTE)}), broker)
        self.running[name] = (process, asyncio.create_task(process.run()), broker)
        return process


class Trader:
    """A component: it asks, sends what was granted, and reports the venue's first word."""

    def __init__(self, peer: Peer, sidecar: Sidecar, session: VenueSession) -> None:
        self._peer = peer
        self._sidecar = sidecar
        self._session = session
        self._heard: dict[str, asyncio.Future[Executed]] = {}

    async def listen(self) -> None:
        """Hand out the venue's first word on each order, for ever."""
        while True:
            answer = await self._session.next(patience_s=None)
            if isinstance(answer, Executed):
                waiting = self._heard.setdefault(answer.report.cl_ord_id, asyncio.Future())
                if not waiting.done():
                    waiting.set_result(answer)

    async def trade(self, cl_ord_id: str, *, silent: bool = False, **fields: Any) -> None:
        """One order through the phases; with `silent` the venue's answer never comes."""
        order = intent(self._sidecar, cl_ord_id, account=fields.pop("account", cl_ord_id), **fields)
        await self._peer.order(order)
        await self._peer.first(OrderGranted, lambda each: each.cl_ord_id == cl_ord_id)
        waiting = self._heard.setdefault(cl_ord_id, asyncio.Future())
        self._session.send(_line(order))
        if silent:
            report: Any = OrderUnknown(component=order.component, cl_ord_id=cl_ord_id, reason="timeout")
        else:
            async with asyncio.timeout(WAIT_S):
                told = (await waiting).report
            report = OrderCommitted(
                component=order.component, cl_ord_id=cl_ord_id, order_id=told.order_id, ord_status=told.ord_status
            )
        await self._peer.order(report, "report")


def _line(order: OrderIntent) -> NewOrder | CancelOrder | ReplaceOrder | MassCancel:
    names: dict[str, Any] = {"cl_ord_id": order.cl_ord_id, "account": order.account, "token": order.token}
    if order.kind == "MASS_CANCEL":
        return MassCancel(**names, symbol=order.symbol)
    names |= {"symbol": order.symbol, "side": order.side, "qty": order.qty}
    if order.kind == "CANCEL":
        return CancelOrder(**names, orig_cl_ord_id=order.orig_cl_ord_id)
    if order.kind == "REPLACE":
        return ReplaceOrder(**names, orig_cl_ord_id=order.orig_cl_ord_id, price=order.price)
    return NewOrder(**names, price=order.price)


async def test_every_case(connect: Callable[[str], Broker]) -> None:
    """Whatever the venue does, each order ends with what was really filled of it, and with the breaks that it is."""
    async with AsyncExitStack() as stack:
        peer, _ = await stack.enter_async_context(world(connect, "guest"))
        arbiters = Hasty(connect, "guest")
        stack.push_async_callback(arbiters.stop_all)
        port = await stack.enter_async_context(running_venue(connect("venue"), ALWAYS_FILLED))
        holder = attached("exec-a")
        arbiters.start("arbiter-1")
        await _reconciling(stack, connect, port)
        await peer.beat(holder, until=lambda: holder.slots)
        beating = asyncio.create_task(peer.beat(holder, until=lambda: False))
        session = await stack.enter_async_context(venue_session(port))
        trader, journal = Trader(peer, holder, session), Journal(peer)
        listening = asyncio.create_task(trader.listen())
        try:
            await _trade(trader, session)
            await peer.until(lambda: journal.wrong() == [])
        except TimeoutError:
            raise AssertionError(journal.wrong()) from None
        finally:
            for task in (beating, listening):
                task.cancel()
            await asyncio.gather(beating, listening, return_exceptions=True)
    state = journal.state
    assert [each.scopes for each in state.halts.values()] == [("account:OVERFILL",)]
    assert state.book.exposure.position("SIM", "OVERFILL", "XYZ") == 15
    assert state.book.exposure.position("SIM", "TWO_ORDERS", "XYZ") == 0


async def _trade(trader: Trader, session: VenueSession) -> None:
    for quirk in ENDS:
        session.send(Instruct(cl_ord_id=quirk, quirk=quirk))
    for name in ("m0", "m1", "m2", "chain"):
        session.send(Instruct(cl_ord_id=name, quirk="REST"))
    await asyncio.gather(
        *(trader.trade(quirk, silent=quirk == "NO_ANSWER") for quirk in ENDS),
        *(trader.trade(f"m{number}", account="MASS") for number in range(3)),
        trader.trade("chain"),
    )
    await asyncio.gather(
        trader.trade("c1", kind="CANCEL", orig_cl_ord_id="KEEP", account="KEEP"),
        trader.trade("c2", kind="CANCEL", orig_cl_ord_id="FILL_AFTER_CANCEL", account="FILL_AFTER_CANCEL"),
        trader.trade("r1", kind="REPLACE", orig_cl_ord_id="TWO_ORDERS", account="TWO_ORDERS", qty=Decimal(7)),
        trader.trade("m", kind="MASS_CANCEL", account="MASS", symbol=""),
        trader.trade("chain-2", kind="REPLACE", orig_cl_ord_id="chain", account="chain", qty=Decimal(20)),
    )
    theirs = intent(trader._sidecar, "theirs", account="THEIRS")
    session.send(_line(theirs))


class Journal:
    """The journal as the peer reads it, folded as it goes."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._read = 0
        self.state = State()

    def wrong(self) -> list[str]:
        """What is not as it should be in the end, in words."""
        for record in self._peer.records[self._read :]:
            self.state.apply(record)
        self._read = len(self._peer.records)
        return _wrong(self.state.book.orders)


def _wrong(orders: dict[str, Order]) -> list[str]:
    found = [_unlike(orders.get(name), Decimal(filled), breaks, name) for name, (filled, breaks) in ENDS.items()]
    found += [_unlike(orders.get(f"m{number}"), Decimal(0), (), f"m{number}") for number in range(3)]
    found.append(_unlike(orders.get("theirs"), Decimal(10), ("EXTERNAL_ORDER",), "theirs"))
    ended = {"FILL_AFTER_CANCEL": "CANCELED", "m0": "CANCELED", "m1": "CANCELED", "m2": "CANCELED", "chain": "REPLACED"}
    for name, status in ended.items():
        order = orders.get(name)
        found.append("" if order is not None and order.venue_status == status else f"{name} is not {status}")
    chain = orders.get("chain-2")
    found.append("" if chain is not None and chain.venue_status == "NEW" else "chain-2 is not open")
    return [each for each in found if each]


def _unlike(order: Order | None, filled: Decimal, breaks: tuple[str, ...], name: str) -> str:
    if order is None:
        return f"{name} is not known"
    same = (order.cum_qty, order.breaks) == (filled, breaks) and order.phase in ("VERIFIED", "BREAK")
    return "" if same else f"{name}: {order.phase} {order.cum_qty} {order.breaks}"


async def _reconciling(stack: AsyncExitStack, connect: Callable[[str], Broker], port: int) -> None:
    told = {"venues": {"SIM": {"address": f"127.0.0.1:{port}"}}, "reconciler": {"id": "reconciler-1"}}
    reconciler = Reconciler(Settings.model_validate(told), connect("reconciler"))
    running = asyncio.create_task(reconciler.run())

    async def stop() -> None:
        reconciler.stop()
        await running

    stack.push_async_callback(stop)
