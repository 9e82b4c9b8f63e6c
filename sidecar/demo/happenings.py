"""What the system reports of itself while the demo runs: decided events, and the venue's drop copies.

Owns one queue on the broker and what was counted from it. It must not conclude anything: the scenario does.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.topology import ORDERS, events_queue
from sidecar.messages.base import Message
from sidecar.messages.codec import Malformed, decode
from sidecar.messages.events import BreakFound, OrderChanged, TermBegan
from sidecar.messages.orders import DropCopy, OrdStatus, Phase


class Happenings:
    """Hears everything and passes it on to `hear`. Construct it before `broker.start()`."""

    def __init__(self, broker: Broker, hear: Callable[[Message], None]) -> None:
        self._hear = hear
        self._news = asyncio.Event()
        self.phases: Counter[tuple[str, Phase]] = Counter()
        """Orders of each component that entered each phase."""
        self.executions: Counter[OrdStatus] = Counter()
        """Execution reports in the venue's drop copy, by OrdStatus."""
        self.breaks: list[BreakFound] = []
        self.leader: TermBegan | None = None
        self.leader_heard_ns = 0
        """When the present leader's `TermBegan` reached us, CLOCK_BOOTTIME."""
        events = events_queue("demo", uuid.uuid4().hex[:12])
        queue = replace(events, bindings=(*events.bindings, (ORDERS, "drop-copy.#")))
        broker.subscribe(Subscription(queue=queue, on_delivery=self._on_delivery, no_ack=True))

    def verified(self, *components: str) -> int:
        """Orders of these components that were VERIFIED so far."""
        return sum(self.phases[each, Phase.VERIFIED] for each in components)

    async def until(self, seen: Callable[[], bool]) -> None:
        """Return once `seen()` holds; looks after each event. Bound it with a timeout."""
        while not seen():
            self._news.clear()
            await self._news.wait()

    def _on_delivery(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        match message:
            case Malformed():
                return
            case OrderChanged(component=component, phase=phase):
                self.phases[component, phase] += 1
            case DropCopy(report=report):
                self.executions[report.ord_status] += 1
            case BreakFound():
                self.breaks.append(message)
            case TermBegan(term=term) if self.leader is None or term > self.leader.term:
                self.leader, self.leader_heard_ns = message, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            case _:
                pass
        self._hear(message)
        self._news.set()
