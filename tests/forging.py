"""Somebody with a component's credentials who speaks in others' names, and an operator who watches what comes of it."""

import asyncio
from collections.abc import Callable
from typing import Any

from secured import PATIENCE_S

from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import DEAD_LETTERS_QUEUE, QUEUES, control_queue, events_queue
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import decode, encode
from sidecar.messages.control import Halt
from sidecar.messages.security import SenderRefused


class Watch:
    """What an operator sees: dead letters and alerts, as they come."""

    def __init__(self, broker: RabbitBroker) -> None:
        self.dead: list[Delivery] = []
        self.alerts: list[SenderRefused] = []
        self._news = asyncio.Event()
        letters = next(each for each in QUEUES if each.name == DEAD_LETTERS_QUEUE)
        broker.subscribe(Subscription(queue=letters, on_delivery=self._bury))
        alerts = events_queue("alice", "0a", "sender-refused")
        broker.subscribe(Subscription(queue=alerts, on_delivery=self._alert, no_ack=True))

    async def buried(self, kind: type[Message], by: str) -> Delivery:
        """The dead letter of that type whose verified sender was this user."""

        def found() -> Delivery | None:
            wanted = (message_type(kind), by, "wrong-sender")
            return next((each for each in self.dead if _origin(each) == wanted), None)

        letter: Delivery = await self._until(found)
        return letter

    async def alerted(self, kind: type[Message], by: str) -> SenderRefused:
        """The alert about a message of that type of this user."""
        wanted = (message_type(kind), by)
        alert: SenderRefused = await self._until(
            lambda: next((each for each in self.alerts if (each.refused_type, each.user) == wanted), None)
        )
        return alert

    async def _until(self, found: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while (answer := found()) is None:
                self._news.clear()
                await self._news.wait()
            return answer

    def _bury(self, delivery: Delivery) -> None:
        delivery.ack()
        self.dead.append(delivery)
        self._news.set()

    def _alert(self, delivery: Delivery) -> None:
        alert = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        assert isinstance(alert, SenderRefused)
        self.alerts.append(alert)
        self._news.set()


class Forger:
    """Somebody with the credentials of exec-a, who hears every halt and says what he likes."""

    def __init__(self, broker: RabbitBroker) -> None:
        self.broker = broker
        self.on_halt: Callable[[Delivery], None] = lambda delivery: None
        queue = control_queue("exec-a", "bad")
        broker.subscribe(Subscription(queue=queue, on_delivery=self._hear, no_ack=True), control=True)

    async def say(self, exchange: str, key: str, message: Message) -> None:
        """In the name that the message claims."""
        await self.broker.publish(self.forged(exchange, key, message))

    def forged(self, exchange: str, key: str, message: Message) -> Outgoing:
        """The message, as its claimed sender would send it."""
        return Outgoing(
            exchange=exchange,
            routing_key=key,
            body=encode(message),
            type=message_type(message),
            app_id=str(getattr(message, message.SENDER)),
        )

    def _hear(self, delivery: Delivery) -> None:
        if delivery.type == message_type(Halt):
            self.on_halt(delivery)


def _origin(letter: Delivery) -> tuple[object, ...]:
    return tuple(letter.headers.get(each) for each in ("original-type", "original-user-id", "reason-code"))
