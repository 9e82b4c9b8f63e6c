"""Everything the sidecar sends, on its way to the broker.

Owns the properties that every message carries and the one state "the broker is away", said once when it begins and
once when it ends. It must not know what a message is for.
"""

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Final

import structlog

from sidecar.broker.dead_letters import dead_letter
from sidecar.broker.interface import Broker, BrokerAway, Delivery, Outgoing
from sidecar.broker.topology import ANSWERS, takes_replies
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import WRONG_SENDER, Malformed, encode
from sidecar.telemetry.metrics import SidecarMetrics

REFUSALS_SAID_EVERY_S: Final = 1.0


class Postbox:
    """Sends on behalf of one component. `reply_to` is the queue where answers are awaited."""

    def __init__(self, broker: Broker, component: str, reply_to: str, metrics: SidecarMetrics) -> None:
        self._broker = broker
        self._component = component
        self._reply_to = reply_to
        self._metrics = metrics
        self._log = structlog.get_logger(__name__)
        self._trouble = ""
        self._refused_s = float("-inf")

    @property
    def user(self) -> str:
        """The broker's user that we are."""
        return self._broker.user

    @property
    def trouble(self) -> str:
        """Empty while the broker can be reached; else one sentence."""
        return self._broker.trouble

    def watch(self) -> None:
        """Say once that the broker went away, and once that it is back; called at each heartbeat."""
        trouble = self._broker.trouble
        self._metrics.broker_connected.set(0 if trouble else 1)
        if trouble and not self._trouble:
            self._log.warning("the broker is away", trouble=trouble)
        if self._trouble and not trouble:
            self._log.info("the broker is back", broker=self.broker_name())
        self._trouble = trouble

    def move_on(self) -> None:
        """Leave the broker's node, which holds our connections and is of no use, for the next one."""
        self._log.warning("no arbiter answers; asking at another node of the broker", trouble=self._broker.trouble)
        self._broker.move_on()

    def broker_name(self) -> str:
        """Product and version of what answered last; empty before the first connection."""
        info = self._broker.info
        return f"{info.product} {info.version}" if info else ""

    def post(self, exchange: str, key: str, message: Message, *, expiration_ms: int | None = None) -> bool:
        """Send what is repeated or expires anyway; False when there is no link."""
        out = self._outgoing(exchange, key, message, expiration_ms=expiration_ms, persistent=False)
        try:
            self._broker.post(out)
        except BrokerAway:
            return False
        return True

    def answer(self, delivery: Delivery, message: Message) -> None:
        """Send an answer to whoever asked for one; an issuer that is gone hears nothing.

        Not through the default exchange: whoever may write to that reaches every queue, the journal's above all.
        """
        if not takes_replies(delivery.reply_to):
            return
        out = Outgoing(
            exchange=ANSWERS,
            routing_key=delivery.reply_to,
            body=encode(message),
            type=message_type(message),
            app_id=self._component,
            correlation_id=delivery.correlation_id,
            persistent=False,
        )
        try:
            self._broker.post(out)
        except BrokerAway:
            self._log.warning("an answer could not be sent", type=out.type, to=delivery.reply_to)

    def ask(self, exchange: str, key: str, message: Message, *, correlation_id: str) -> bool:
        """Send what its answer will confirm, and what is asked again without one; False when there is no link."""
        try:
            self._broker.post(self._outgoing(exchange, key, message, correlation_id=correlation_id))
        except BrokerAway:
            return False
        return True

    def submit(
        self, exchange: str, key: str, message: Message, *, correlation_id: str = "", answered: bool = True
    ) -> asyncio.Future[None]:
        """Send what must not be lost; the future tells of the broker's confirm. Raises BrokerAway: nothing was sent.

        `answered` False names no queue for answers: nobody here would read them.
        """
        out = self._outgoing(exchange, key, message, correlation_id=correlation_id)
        return self._submit(out if answered else replace(out, reply_to=""))

    def refuse(self, delivery: Delivery, problem: Malformed) -> None:
        """Put a delivery away as a dead letter with its reason, and count it."""
        self._metrics.dead_letters.inc(problem.code)
        if problem.code == WRONG_SENDER:
            self._metrics.senders_refused.inc()
        self._say_refused(delivery, problem)
        with contextlib.suppress(BrokerAway):  # Counted all the same; that the broker is away is said elsewhere.
            self._submit(dead_letter(delivery, problem.code, problem.text, app_id=self._component))

    def _say_refused(self, delivery: Delivery, problem: Malformed) -> None:
        """Each refusal is counted and kept as a dead letter; the log has room for one a second."""
        now_s = time.monotonic()
        if now_s - self._refused_s >= REFUSALS_SAID_EVERY_S:
            self._refused_s = now_s
            self._log.warning(
                "a message was refused", code=problem.code, reason=problem.text, app_id=delivery.app_id[:80]
            )

    def _submit(self, out: Outgoing) -> asyncio.Future[None]:
        confirmed = self._broker.submit(out)
        confirmed.add_done_callback(lambda future: self._settled(future, out.type))
        return confirmed

    def _settled(self, future: asyncio.Future[None], type_name: str) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._log.warning("a message was not confirmed", type=type_name, error=str(error))

    def _outgoing(
        self,
        exchange: str,
        key: str,
        message: Message,
        *,
        expiration_ms: int | None = None,
        persistent: bool = True,
        correlation_id: str = "",
    ) -> Outgoing:
        return Outgoing(
            exchange=exchange,
            routing_key=key,
            body=encode(message),
            type=message_type(message),
            app_id=self._component,
            reply_to=self._reply_to,
            correlation_id=correlation_id,
            expiration_ms=expiration_ms,
            persistent=persistent,
        )
