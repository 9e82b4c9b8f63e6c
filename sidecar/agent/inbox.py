"""What arrives from the broker: halts and control states on one link, answers on another.

Owns the two inboxes and the judgement of who may say what. It must not decide what a message changes.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

from sidecar.agent.clock import boottime_ns
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.orders import OrderDesk
from sidecar.agent.postbox import Postbox
from sidecar.agent.reports import ReportOutbox
from sidecar.broker.interface import Delivery
from sidecar.core.ladder import halt_problem
from sidecar.core.senders import Senders, attributed
from sidecar.messages.base import Message
from sidecar.messages.codec import Malformed, decode
from sidecar.messages.control import ControlState, Halt
from sidecar.messages.health import Lease, StartComponent
from sidecar.messages.measures import MeasuresRecorded
from sidecar.messages.once import OnceAnswer, OnceRecorded
from sidecar.messages.orders import OrderDenied, OrderGranted, ReportRecorded
from sidecar.telemetry.metrics import SidecarMetrics

CONTROL_MAX: Final = 10_000
"""Control messages that wait. The oldest go first, as in the queue itself: a halt that is lost so is noticed by the
control version in the next lease, and its issuer repeats it."""
REPLIES_MAX: Final = 100_000
BATCH: Final = 50
"""Messages between two looks at everything else; higher delays heartbeats under a flood."""


class Inbox:
    """Reads both queues, control first. `senders` says who may speak for whom."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        desk: OrderDesk,
        reports: ReportOutbox,
        postbox: Postbox,
        metrics: SidecarMetrics,
        senders: Senders,
    ) -> None:
        self.answered_ns = 0
        self.on_lease: Callable[[Lease], None] = lambda message: None
        self.on_start: Callable[[StartComponent], None] = lambda message: None
        self.on_measures_recorded: Callable[[MeasuresRecorded], None] = lambda message: None
        self.on_once: Callable[[OnceAnswer], None] = lambda message: None
        self.on_once_recorded: Callable[[OnceRecorded], None] = lambda message: None
        self._gatekeeper = gatekeeper
        self._desk = desk
        self._reports = reports
        self._postbox = postbox
        self._metrics = metrics
        self._senders = senders
        self._control: deque[Delivery] = deque(maxlen=CONTROL_MAX)
        self._replies: deque[Delivery] = deque(maxlen=REPLIES_MAX)
        self._arrived = asyncio.Event()

    def on_control(self, delivery: Delivery) -> None:
        """Take a delivery of the control queue."""
        self._control.append(delivery)
        self._arrived.set()

    def on_reply(self, delivery: Delivery) -> None:
        """Take a delivery of the reply queue."""
        self._replies.append(delivery)
        self._arrived.set()

    async def run(self) -> NoReturn:
        """Handle what arrives, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._control or self._replies:
                for _ in range(BATCH):
                    if not self._control and not self._replies:
                        break
                    delivery = self._control.popleft() if self._control else self._replies.popleft()
                    self._handle(delivery)
                    delivery.ack()
                if self._control or self._replies:
                    await asyncio.sleep(0)

    def _handle(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if not isinstance(message, Malformed):
            message = self._refusal(message, delivery) or message
        if isinstance(message, Malformed):
            self._postbox.refuse(delivery, message)
            return
        self._take(attributed(message, user=delivery.user_id or "", own=self._postbox.user), delivery)

    def _take(self, message: Message, delivery: Delivery) -> None:
        core, now_ns = self._gatekeeper.core, boottime_ns()
        match message:
            case Halt():
                self._gatekeeper.do(core.on_halt(message, now_ns), delivery)
            case ControlState():
                self._gatekeeper.do(core.on_control(message, now_ns))
            case Lease():
                self.answered_ns = now_ns
                self._metrics.leases_received.inc()
                self._gatekeeper.do(core.on_lease(message, now_ns))
                self.on_lease(message)
            case StartComponent():
                self.on_start(message)
            case OrderGranted() | OrderDenied():
                self._desk.on_answer(message)
            case ReportRecorded():
                self._reports.on_recorded(delivery.correlation_id, message)
            case MeasuresRecorded():
                self.on_measures_recorded(message)
            case OnceAnswer():
                self.on_once(message)
            case OnceRecorded():
                self.on_once_recorded(message)

    def _refusal(self, message: Message, delivery: Delivery) -> Malformed | None:
        match message:
            case Halt():
                problem = halt_problem(message)
                return Malformed("wrong-field", problem) if problem else None
            case (
                Lease()
                | StartComponent()
                | ControlState()
                | OrderGranted()
                | OrderDenied()
                | ReportRecorded()
                | MeasuresRecorded()
                | OnceAnswer()
                | OnceRecorded()
            ):
                problem = self._senders.problem(message, user=delivery.user_id or "", own=self._postbox.user)
                return Malformed("wrong-sender", problem) if problem else None
            case _:
                return Malformed("unknown-type", f"{delivery.type!r} is not for a sidecar")
