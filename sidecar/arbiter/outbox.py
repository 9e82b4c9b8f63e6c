"""Executes what the arbiter's core asks for, in order. Owns addresses and message properties, decides nothing."""

import contextlib
from collections.abc import Callable

from sidecar.arbiter.snapshots import Snapshots
from sidecar.broker.interface import SHORT_BYTES_MAX, Broker, BrokerError, Delivery, Outgoing
from sidecar.broker.topology import ARBITER_QUEUE, CONTROL, EVENTS, HEALTH, takes_replies
from sidecar.core.outputs import (
    Append,
    AskNominee,
    Broadcast,
    Event,
    Origin,
    Output,
    Reply,
    Resubscribe,
    Settle,
    TakeSnapshot,
)
from sidecar.journal.stream import Journal
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import encode
from sidecar.messages.control import Probe
from sidecar.messages.detection import Canary, CorrelatedSilence
from sidecar.messages.events import OrderChanged, SlotMoved
from sidecar.messages.health import Lease, StartComponent
from sidecar.telemetry.metrics import ArbiterMetrics


class Outbox:
    """One arbiter's way out. `lease_ms` is how long a lease answer is worth delivering."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        journal: Journal,
        snapshots: Snapshots,
        metrics: ArbiterMetrics,
        lease_ms: int,
        on_event: Callable[[Message], None],
    ) -> None:
        self._name = name
        self._broker = broker
        self._journal = journal
        self._snapshots = snapshots
        self._metrics = metrics
        self._lease_ms = lease_ms
        self._on_event = on_event
        self._deliveries: dict[int, Delivery] = {}
        self._handle = 0

    def track(self, delivery: Delivery) -> int:
        """A handle by which the core can settle this delivery later."""
        self._handle += 1
        self._deliveries[self._handle] = delivery
        return self._handle

    def forget_all(self) -> None:
        """The deliveries' link is gone: they come again by themselves."""
        self._deliveries.clear()

    def execute(self, outputs: list[Output]) -> None:
        """Do all of it in order."""
        for output in outputs:
            match output:
                case Append(_, body):
                    self._journal.append(body)
                    self._metrics.journal_appended.inc()
                case Reply(message, origin):
                    self._reply(message, origin)
                case Broadcast(message):
                    self._send(CONTROL, "", message)
                case Event(message, key):
                    self._event(message, key)
                case Settle(handle, verdict):
                    self._settle(handle, verdict)
                case AskNominee():
                    self._send("", ARBITER_QUEUE, Probe(arbiter=self._name))
                case TakeSnapshot(taken):
                    self._snapshots.take(taken)
                case Resubscribe():
                    self._journal.subscribe_again()

    def canary(self, canary: Canary) -> None:
        """Send it by the way that the sidecars' heartbeats take."""
        self._send(HEALTH, f"heartbeat.{self._name}", canary, expiration_ms=self._lease_ms, persistent=False)

    def _reply(self, message: Message, origin: Origin) -> None:
        if not takes_replies(origin.reply_to):
            return
        expiration = None
        if isinstance(message, Lease | StartComponent):
            expiration = self._lease_ms
            if isinstance(message, Lease) and message.slots:
                self._metrics.leases_granted.inc()
        self._send("", origin.reply_to, message, origin.correlation_id, expiration_ms=expiration, persistent=False)

    def _event(self, message: Message, key: str) -> None:
        match message:
            case OrderChanged(phase=phase):
                self._metrics.orders.inc(phase)
            case SlotMoved(slot=slot, previous=previous) if previous:
                self._metrics.failovers.inc(slot.partition("/")[0])
            case CorrelatedSilence(change=change, silent=silent):
                self._metrics.correlated_silence.set(0 if change == "ENDED" else silent)
        self._on_event(message)
        # Keys may end in a name from the wire, and what is bound to them ends in `#`.
        self._send(EVENTS, key.encode()[:SHORT_BYTES_MAX].decode(errors="ignore"), message)

    def _settle(self, handle: int, verdict: str) -> None:
        delivery = self._deliveries.pop(handle, None)
        if delivery is None:
            return
        if verdict == "ack":
            delivery.ack()
        else:
            delivery.requeue()

    def _send(
        self,
        exchange: str,
        routing_key: str,
        message: Message,
        correlation_id: str = "",
        *,
        expiration_ms: int | None = None,
        persistent: bool = True,
    ) -> None:
        """Whoever misses what is sent here asks for it again, so a lost link is no error here: health says it."""
        out = Outgoing(
            exchange=exchange,
            routing_key=routing_key,
            body=encode(message),
            type=message_type(message),
            app_id=self._name,
            correlation_id=correlation_id,
            expiration_ms=expiration_ms,
            persistent=persistent,
        )
        with contextlib.suppress(BrokerError):
            self._broker.post(out)
