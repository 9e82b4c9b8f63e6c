"""The alert about forged messages: one a second at most, whatever is thrown at the arbiter.

Owns the count between two alerts. It must not judge messages: `core/senders.py` does.
"""

from typing import Final

from sidecar.broker.interface import Delivery
from sidecar.core.outputs import Event
from sidecar.core.sanity import clip
from sidecar.core.timing import MS
from sidecar.messages.security import SenderRefused

ALERT_EVERY_NS: Final = 1_000 * MS
"""Lower lets a flood of forged messages become a flood of events."""
KEY: Final = "sender-refused"


class SenderAlarm:
    """One arbiter's alerts. `name` is the arbiter's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._last: SenderRefused | None = None
        self._told_ns: int | None = None

    def note(self, delivery: Delivery, text: str, now_ns: int) -> list[Event]:
        """One more was refused; the alert, if it is time for one."""
        self._count += 1
        self._last = SenderRefused(
            arbiter=self._name,
            user=clip(delivery.user_id or ""),
            app_id=clip(delivery.app_id),
            refused_type=clip(delivery.type),
            exchange=clip(delivery.exchange),
            routing_key=clip(delivery.routing_key),
            text=clip(text),
            count=self._count,
        )
        return self.due(now_ns)

    def due(self, now_ns: int) -> list[Event]:
        """The alert that had to wait, once its time has come; to be asked at each tick."""
        if self._last is None or (self._told_ns is not None and now_ns - self._told_ns < ALERT_EVERY_NS):
            return []
        alert, self._last, self._count, self._told_ns = self._last, None, 0, now_ns
        return [Event(alert, KEY)]
