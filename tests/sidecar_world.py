"""A sidecar in a small world: the in-process broker, a peer that answers as an arbiter, a real Unix socket."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from sidecar.agent import Agent
from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import (
    ARBITER_QUEUE,
    CONTROL,
    DEAD_LETTERS_QUEUE,
    HEALTH_HISTORY_STREAM,
    QUEUES,
    control_queue,
    heartbeat_queue,
    issuer_queue,
)
from sidecar.client import SidecarClient
from sidecar.config.models import Settings
from sidecar.messages.base import Message, SlotToken, Token, message_type
from sidecar.messages.codec import Malformed, decode, encode
from sidecar.messages.control import ControlState, Halt, TradingState
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.measures import Measure, MeasuresRecorded, MeasuresReport
from sidecar.messages.orders import (
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderIntent,
    OrderUnknown,
    Phase,
    ReportRecorded,
)
from sidecar.telemetry.connections import ConnectionLimits

PATIENCE_S = 10.0
"""Longer than anything below ever takes on a busy machine; only a failing test waits for it."""
ARBITER = "arbiter-1"
ISSUER = issuer_queue(ARBITER, "t")
SLOT = "execution/0"
PHASES = {OrderCommitted: Phase.COMMITTED, OrderAborted: Phase.ABORTED, OrderUnknown: Phase.UNKNOWN}

Wanted = TypeVar("Wanted", bound=Message)


def queue(name: str) -> Any:
    """The shared queue of that name."""
    return next(each for each in QUEUES if each.name == name)


class PeerArbiter:
    """Answers heartbeats with leases, intents with grants and reports with records, as long as it is told to."""

    def __init__(self, hub: MemoryHub) -> None:
        self.granting = True
        self.deciding = True
        self.denying = False
        self.recording = True
        self.control_version = 0
        self.epochs: dict[str, int] = {}
        self.heard: list[Message] = []
        self.routed: list[tuple[str, str]] = []
        self.dead: list[Delivery] = []
        self.held_back: deque[tuple[Delivery, Message]] = deque()
        self.broker = MemoryBroker(hub, name=ARBITER, user=ARBITER)
        self._news = asyncio.Condition()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        for spec in (heartbeat_queue(ARBITER, "t"), queue(ARBITER_QUEUE), ISSUER):
            self.broker.subscribe(Subscription(queue=spec, on_delivery=self._hear))
        self.broker.subscribe(Subscription(queue=queue(DEAD_LETTERS_QUEUE), on_delivery=self._bury))
        history = Subscription(queue=queue(HEALTH_HISTORY_STREAM), on_delivery=self._hear, next_offset=lambda: 0)
        self.broker.subscribe(history)
        self.broker.subscribe(
            Subscription(queue=control_queue(ARBITER, "t"), on_delivery=self._hear, no_ack=True), control=True
        )

    async def saw(self, kind: type[Wanted], test: Callable[[Wanted], object] = lambda message: True) -> Wanted:
        """The first message of that kind that passes `test`, from the beginning or yet to come."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            while True:
                for each in self.heard:
                    if isinstance(each, kind) and test(each):
                        return each
                await self._news.wait()

    async def buried(self, count: int = 1) -> Delivery:
        """The newest dead letter, once there are so many."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(self.dead) >= count)
        return self.dead[-1]

    def count(self, kind: type[Message]) -> int:
        """How many of that kind were heard."""
        return sum(isinstance(each, kind) for each in self.heard)

    def forget(self) -> None:
        """Forget what was heard."""
        self.heard.clear()

    async def quiet(self) -> None:
        """Return once what was sent before has been handled: an unknown message comes back as a dead letter."""
        before = len(self.dead)
        self.send_raw(CONTROL, "", b"{}", "marker.v1")
        await self.buried(before + 1)

    def send(self, exchange: str, key: str, message: Message, *, correlation_id: str = "", app_id: str = "") -> None:
        """Publish as this arbiter, or under another name."""
        sender = app_id or str(getattr(message, message.SENDER))
        self.send_raw(exchange, key, encode(message), message_type(message), sender, correlation_id)

    def send_raw(
        self, exchange: str, key: str, body: bytes, kind: str, app_id: str = ARBITER, correlation_id: str = ""
    ) -> None:
        """Publish any bytes."""
        self.broker.post(
            Outgoing(
                exchange=exchange,
                routing_key=key,
                body=body,
                type=kind,
                app_id=app_id,
                correlation_id=correlation_id,
                reply_to=ISSUER.name,
            )
        )

    def halt(
        self, *scopes: str, halt_id: str = "halt-1", reason: str = "test", measures: tuple[Measure, ...] = ()
    ) -> Halt:
        """Raise a halt on the fast path."""
        halt = Halt(
            halt_id=halt_id,
            scopes=scopes or ("all",),
            level=TradingState.HALTED,
            reason=reason,
            actor=ARBITER,
            measures=measures,
        )
        self.send(CONTROL, "", halt)
        return halt

    def control(self, version: int, *halts: Halt, lifted: Sequence[str] = ()) -> None:
        """Tell the journaled halts."""
        self.control_version = version
        state = ControlState(arbiter=ARBITER, term=1, version=version, halts=halts, lifted=tuple(lifted))
        self.send(CONTROL, "", state)

    def answer(self, delivery: Delivery, message: Message) -> None:
        """Answer now; the asker may be gone."""
        self.send("", delivery.reply_to, message, correlation_id=delivery.correlation_id)

    def release(self) -> None:
        """Answer all that was held back."""
        while self.held_back:
            self.answer(*self.held_back.popleft())

    def _hear(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        delivery.ack()
        if isinstance(message, Malformed):
            return
        self.heard.append(message)
        self.routed.append((delivery.exchange, delivery.routing_key))
        self._decide(message, delivery)
        self._tell()

    def _bury(self, delivery: Delivery) -> None:
        delivery.ack()
        self.dead.append(delivery)
        self._tell()

    def _decide(self, message: Message, delivery: Delivery) -> None:
        match message:
            case Heartbeat() if self.granting:
                self.answer(delivery, self.lease(message))
            case OrderIntent():
                self._answer_or_hold(self.deciding, delivery, self._verdict(message))
            case MeasuresReport() if self.recording and delivery.reply_to:
                taken = MeasuresRecorded(
                    arbiter=ARBITER,
                    component=message.component,
                    halt_id=message.halt_id,
                    n=message.n,
                    complete=message.completed,
                )
                self.answer(delivery, taken)
            case OrderCommitted() | OrderAborted() | OrderUnknown():
                phase = PHASES[type(message)]
                recorded = ReportRecorded(arbiter=ARBITER, cl_ord_id=message.cl_ord_id, phase=phase)
                self._answer_or_hold(self.recording, delivery, recorded)

    def lease(self, heartbeat: Heartbeat) -> Lease:
        """The answer to a heartbeat: the slot for a component that is ready, under a new epoch for each incarnation."""
        epoch = self.epochs.setdefault(heartbeat.incarnation, len(self.epochs) + 1) if heartbeat.incarnation else 0
        slots = (SlotToken(SLOT, Token(1, epoch)),) if epoch and heartbeat.ready else ()
        return Lease(
            arbiter=ARBITER,
            term=1,
            incarnation=heartbeat.incarnation,
            seq=heartbeat.seq,
            ttl_ns=60_000_000_000,
            control_version=self.control_version,
            slots=slots,
        )

    def _verdict(self, intent: OrderIntent) -> Message:
        if self.denying:
            return OrderDenied(
                arbiter=ARBITER, cl_ord_id=intent.cl_ord_id, code="LIMIT", text="too much", limit=Decimal(1)
            )
        return OrderGranted(arbiter=ARBITER, cl_ord_id=intent.cl_ord_id, term=1, n=next(self._numbers))

    def _answer_or_hold(self, now: bool, delivery: Delivery, message: Message) -> None:
        if now:
            self.answer(delivery, message)
        else:
            self.held_back.append((delivery, message))

    def _tell(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()


class World:
    """One hub, one arbiter, one component name; sidecars are started one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hub = MemoryHub()
        self.arbiter = PeerArbiter(self.hub)
        self.agent: Agent | None = None
        self.broker: MemoryBroker | None = None
        self.running: asyncio.Task[int] | None = None
        self.limits = ConnectionLimits()

    @property
    def socket(self) -> str:
        """The local interface."""
        return str(self.directory / "a.sock")

    @property
    def gate(self) -> Path:
        """The gate page."""
        return self.directory / "a.gate"

    def settings(self, **changes: dict[str, Any]) -> Settings:
        """Fast heartbeats; a lease long enough for a busy machine unless a test shortens it."""
        document: dict[str, Any] = {
            "run_dir": str(self.directory),
            "component": {"name": "exec-a", "socket": self.socket, "gate": str(self.gate), "stop_grace_ms": 2000},
            "groups": {"execution": {"components": ["exec-a", "exec-b"]}},
            "timing": {
                "heartbeat_ms": 20,
                "holder_lease_ms": 5000,
                "gate_to_effect_ms": 10,
                "holder_wait_ms": 6000,
            },
            "security": {"arbiters": [ARBITER]},
        }
        for section, fields in changes.items():
            document[section] = {**document.get(section, {}), **fields}
        return Settings.model_validate(document)

    @property
    def exit_code(self) -> int:
        """Of the last sidecar, which must have ended."""
        assert self.running is not None
        return self.running.result()

    async def stop(self) -> None:
        """Stop the sidecar, without waiting for its end."""
        assert self.agent is not None
        self.agent.stop()

    async def ended(self) -> int:
        """The exit code of the sidecar, once it has ended."""
        assert self.running is not None
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(self.running)

    def released(self) -> list[Released]:
        """What was given back so far."""
        return [each for each in self.arbiter.heard if isinstance(each, Released)]

    @contextlib.asynccontextmanager
    async def sidecar(
        self, *, child: Sequence[str] = (), broker: MemoryBroker | None = None, **changes: dict[str, Any]
    ) -> AsyncIterator[SidecarClient]:
        """A running sidecar and a client of it; stopped at the end. `running` is its task, `broker` its connection."""
        self.broker = broker or MemoryBroker(self.hub, name="exec-a", user="exec-a")
        self.agent = agent = Agent(self.settings(**changes), self.broker, child=child, limits=self.limits)
        async with asyncio.timeout(3 * PATIENCE_S):
            self.running = running = asyncio.create_task(agent.run())
            try:
                listening = asyncio.create_task(agent.listening.wait())
                await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
                listening.cancel()
                async with SidecarClient(self.socket, timeout_s=PATIENCE_S) as client:
                    yield client
            finally:
                agent.stop()
                await running


@contextlib.asynccontextmanager
async def world(*, peer: bool = True) -> AsyncIterator[World]:
    """A world, in a directory with a short name (a socket's path holds 107 bytes); its peer arbiter is up if wanted."""
    directory = Path(tempfile.mkdtemp(prefix="sc-", dir="/dev/shm"))  # In memory: syncing a file costs nothing there.
    try:
        made = World(directory)
        if peer:
            await made.arbiter.broker.start()
        yield made
        await made.arbiter.broker.close()
    finally:
        shutil.rmtree(directory)
