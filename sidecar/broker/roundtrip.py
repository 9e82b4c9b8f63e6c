"""Whether what we publish really comes round to our own consumer: the end-to-end test behind a process's health.

Owns its small message, which is for nobody else, and the judgement "too long". A connection that stands and consumers
that were started prove little (docs/broker.md). It must not close or reconnect anything.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import NoReturn

from sidecar.broker.interface import Broker, BrokerAway, Delivery, Outgoing

TYPE = "roundtrip.v1"
EVERY_S = 5.0
"""Between two of them. Lower finds a silent consumer sooner; a thousand sidecars send two hundred a second."""
LATE_S = 15.0
"""One that has not come round for so long is trouble."""


class Roundtrip:
    """Sends through `exchange` and `routing_key` to a queue of our own, whose deliveries pass `listen`."""

    def __init__(self, broker: Broker, app_id: str, *, exchange: str, routing_key: str, what: str) -> None:
        self._broker = broker
        self._app_id = app_id
        self._exchange = exchange
        self._routing_key = routing_key
        self._what = what
        self._mark = secrets.token_hex(8).encode()
        self._waiting_since_s: float | None = None

    def listen(self, onward: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
        """A callback that keeps what is ours and hands on the rest."""

        def on_delivery(delivery: Delivery) -> None:
            if delivery.type == TYPE and delivery.body == self._mark:
                self._waiting_since_s = None
                delivery.ack()
            else:
                onward(delivery)

        return on_delivery

    @property
    def waiting(self) -> bool:
        """Whether one is on its way."""
        return self._waiting_since_s is not None

    @property
    def trouble(self) -> str:
        """Empty, or for how long nothing has come round. That there is no link at all is the broker's own trouble."""
        if self._waiting_since_s is None:
            return ""
        waited_s = asyncio.get_running_loop().time() - self._waiting_since_s
        return f"nothing has come round {self._what} for {waited_s:.0f} s" if waited_s > LATE_S else ""

    async def run(self) -> NoReturn:
        """Send for ever."""
        while True:
            self.send()
            await asyncio.sleep(EVERY_S)

    def send(self) -> None:
        """Send one; the wait runs from the first that has not come round."""
        out = Outgoing(
            exchange=self._exchange,
            routing_key=self._routing_key,
            body=self._mark,
            type=TYPE,
            app_id=self._app_id,
            expiration_ms=int(LATE_S * 1_000),
            persistent=False,
        )
        try:
            self._broker.post(out)
        except BrokerAway:
            return
        if self._waiting_since_s is None:
            self._waiting_since_s = asyncio.get_running_loop().time()
