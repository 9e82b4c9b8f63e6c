"""Arbiters over a real broker interface, and one peer that plays every sidecar and operator beside them.

The peer is a fake with a real connection: what it sends and sees has crossed the broker.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker, Delivery, Outgoing, Subscription
from sidecar.broker.topology import (
    COMMANDS,
    DEAD_LETTERS_QUEUE,
    HEALTH,
    JOURNAL_STREAM,
    ORDERS,
    QUEUES,
    events_queue,
    reply_queue,
)
from sidecar.config.groups import GroupSettings
from sidecar.config.models import ArbiterSettings, Settings, TimingSettings
from sidecar.config.security import SecuritySettings
from sidecar.core.ladder import ControlMemory
from sidecar.core.log import Verdict
from sidecar.core.sidecar import Publish, Sidecar
from sidecar.core.state import State
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import decode, decode_record, encode
from sidecar.messages.control import ControlState
from sidecar.messages.health import Heartbeat, Lease
from sidecar.messages.journal import Record
from sidecar.messages.orders import OrderIntent

WAIT_S = 20.0
FAST = TimingSettings(
    heartbeat_ms=50,
    holder_lease_ms=1_000,
    gate_to_effect_ms=50,
    holder_wait_ms=1_200,
    leader_lease_ms=600,
    leader_wait_ms=700,
    tick_ms=30,
    probe_ms=120,
)
M = TypeVar("M", bound=Message)


def settings(arbiter: str, *operators: str) -> Settings:
    """Two members that can stand in for each other, and short times."""
    return Settings(
        timing=FAST,
        groups={"execution": GroupSettings(components=("exec-a", "exec-b"))},
        arbiter=ArbiterSettings(id=arbiter),
        security=SecuritySettings(operators=operators),
    )


@dataclass
class Peer:
    """All sidecars and operators of a test, on one connection. `seen` is what came back, in order."""

    broker: Broker
    seen: list[Message] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    dead: list[Delivery] = field(default_factory=list)
    strange: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _requests: int = 0

    def subscribe(self) -> None:
        """Before the broker is started."""
        named = {each.name: each for each in QUEUES}
        self.broker.subscribe(Subscription(queue=reply_queue("peer", "1"), on_delivery=self._saw, no_ack=True))
        self.broker.subscribe(Subscription(queue=events_queue("peer", "1"), on_delivery=self._saw, no_ack=True))
        self.broker.subscribe(
            Subscription(queue=named[JOURNAL_STREAM], on_delivery=self._read, next_offset=lambda: 0, prefetch=100)
        )
        self.broker.subscribe(Subscription(queue=named[DEAD_LETTERS_QUEUE], on_delivery=self._bury, prefetch=10))

    async def until(self, found: Callable[[], Any]) -> Any:
        """The first true answer of `found`, asked again whenever something arrives."""
        async with asyncio.timeout(WAIT_S):
            while not (answer := found()):
                self._changed.clear()
                await self._changed.wait()
            return answer

    async def first(self, kind: type[M], where: Callable[[M], bool] = lambda _: True) -> M:
        """The first message of this kind for which `where` holds, seen already or yet to come."""
        found: M = await self.until(
            lambda: next((each for each in self.seen if isinstance(each, kind) and where(each)), None)
        )
        return found

    async def beat(self, sidecar: Sidecar, *, until: Callable[[], Any]) -> Any:
        """Send a sidecar's heartbeats, and let it hear its leases, until something holds."""
        async with asyncio.timeout(WAIT_S):
            while not (answer := until()):
                self._changed.clear()
                self.health(sidecar.heartbeat(boot_ns()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FAST.heartbeat_ms / 1000):
                        await self._changed.wait()
                self.hand_over(sidecar)
            return answer

    def hand_over(self, sidecar: Sidecar) -> None:
        """Give the sidecar everything that was sent to it."""
        for message in list(self.seen):
            if isinstance(message, Lease) and message.incarnation == sidecar.incarnation:
                self.seen.remove(message)
                outputs = sidecar.on_lease(message, boot_ns())
                for output in outputs:
                    if isinstance(output, Publish):
                        self.health(output.message)
            elif isinstance(message, ControlState):
                sidecar.on_control(message, boot_ns())

    def health(self, message: Any) -> None:
        """Post a heartbeat or a release."""
        key = "heartbeat" if isinstance(message, Heartbeat) else "released"
        self.broker.post(self._out(HEALTH, f"{key}.{message.component}", message, message.component))

    async def order(self, intent: Message, key: str = "intent") -> None:
        """Publish an intent or a report."""
        sender = str(getattr(intent, intent.SENDER))
        await self.broker.publish(self._out(ORDERS, f"{key}.{sender}", intent, sender))

    async def command(self, request: Message, key: str, reply_to: str = "") -> None:
        """Publish an operator's request."""
        out = self._out(COMMANDS, key, request, str(getattr(request, request.SENDER)))
        await self.broker.publish(replace(out, reply_to=reply_to or out.reply_to))

    async def raw(self, exchange: str, key: str, body: bytes, type_name: str, app_id: str) -> None:
        """Publish whatever bytes."""
        await self.broker.publish(
            Outgoing(exchange=exchange, routing_key=key, body=body, type=type_name, app_id=app_id)
        )

    def fold(self) -> State:
        """The journal as this peer has read it, folded."""
        state = State()
        for record in self.records:
            state.apply(record)
        return state

    def valid(self) -> list[Record]:
        """The journal's valid records, once each."""
        state = State()
        return [each for each in self.records if state.apply(each) is Verdict.VALID]

    def _out(self, exchange: str, key: str, message: Message, sender: str) -> Outgoing:
        return Outgoing(
            exchange=exchange,
            routing_key=key,
            body=encode(message),
            type=message_type(message),
            app_id=sender,
            reply_to=reply_queue("peer", "1").name,
        )

    def _saw(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if isinstance(message, Message):
            self.seen.append(message)
        self._changed.set()

    def _read(self, delivery: Delivery) -> None:
        record = decode_record(delivery.body)
        if isinstance(record, Record):
            self.records.append(record)
        else:
            self.strange += 1
        delivery.ack()
        self._changed.set()

    def _bury(self, delivery: Delivery) -> None:
        self.dead.append(delivery)
        delivery.ack()
        self._changed.set()


class Arbiters:
    """Arbiter processes of one test, each as a task that can be killed."""

    def __init__(self, connect: Callable[[str], Broker], *operators: str) -> None:
        self._connect = connect
        self._operators = operators
        self.running: dict[str, tuple[ArbiterProcess, asyncio.Task[int], Broker]] = {}

    def start(self, name: str) -> ArbiterProcess:
        """Start one."""
        broker = self._connect(name)
        process = ArbiterProcess(settings(name, *self._operators), broker)
        self.running[name] = (process, asyncio.create_task(process.run()), broker)
        return process

    async def kill(self, name: str) -> None:
        """End one without a goodbye."""
        _, task, _ = self.running.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop_all(self) -> None:
        """End all politely."""
        for process, _, _ in self.running.values():
            process.stop()
        await asyncio.gather(*(task for _, task, _ in self.running.values()))
        self.running.clear()


@contextlib.asynccontextmanager
async def world(connect: Callable[[str], Broker], *operators: str) -> AsyncIterator[tuple[Peer, Arbiters]]:
    """A started peer, and a place for arbiters; everything is stopped at the end."""
    peer = Peer(connect("peer"))
    peer.subscribe()
    arbiters = Arbiters(connect, *operators)
    await peer.broker.start()
    try:
        await peer.broker.wait_ready(WAIT_S)
        yield peer, arbiters
    finally:
        await arbiters.stop_all()
        await peer.broker.close()


def attached(name: str) -> Sidecar:
    """A sidecar whose component runs."""
    sidecar = Sidecar(name, "execution", FAST.to_core(), ControlMemory(), run=f"{name}-run")
    sidecar.attach(f"{name}-1", boot_ns())
    return sidecar


def intent(sidecar: Sidecar, cl_ord_id: str, **changes: Any) -> OrderIntent:
    """An order under the sidecar's token."""
    held = sidecar.slots[0]
    values: dict[str, Any] = {
        "cl_ord_id": cl_ord_id,
        "component": sidecar.component,
        "incarnation": sidecar.incarnation,
        "slot": held.slot,
        "token": held.token,
        "account": "ACC",
        "venue": "SIM",
        "symbol": "XYZ",
        "side": "BUY",
        "qty": Decimal(10),
        "price": Decimal("1.5"),
    }
    return OrderIntent(**(values | changes))


def boot_ns() -> int:
    """This host's CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
