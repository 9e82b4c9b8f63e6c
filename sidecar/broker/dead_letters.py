"""Dead letters: making one from what could not be understood, and looking at those that wait.

Owns what a dead letter carries. It must not know why something was refused; the shells say so.
"""

import asyncio
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from sidecar.broker.interface import Delivery, Outgoing
from sidecar.broker.topology import DEAD_LETTER, DEAD_LETTERS_QUEUE

BODY_BYTES_MAX = 16 * 1024
"""More of a refused body is cut off. Raising it lets one bad sender fill the broker's disk faster."""

TEXT_MAX = 500
NAME_MAX = 255

REASON_CODE = "reason-code"
REASON_TEXT = "reason-text"
BODY_BYTES = "original-body-bytes"
TRUNCATED = "body-truncated"


def dead_letter(delivery: Delivery, code: str, text: str, *, app_id: str = "") -> Outgoing:
    """The message for `sidecar.dead-letter` that says what came, from whom, and why it was refused.

    Its own `user_id` is ours, set by the broker connection; the sender's, as the broker verified it, is in the header
    `original-user-id`, empty when the sender set none.
    """
    body = delivery.body[:BODY_BYTES_MAX]
    headers: dict[str, str | int] = {
        REASON_CODE: code[:NAME_MAX],
        REASON_TEXT: text[:TEXT_MAX],
        "original-exchange": delivery.exchange[:NAME_MAX],
        "original-routing-key": delivery.routing_key[:NAME_MAX],
        "original-type": delivery.type[:NAME_MAX],
        "original-app-id": delivery.app_id[:NAME_MAX],
        "original-user-id": (delivery.user_id or "")[:NAME_MAX],
        "original-message-id": delivery.message_id[:NAME_MAX],
        BODY_BYTES: len(delivery.body),
    }
    if len(body) < len(delivery.body):
        headers[TRUNCATED] = 1
    return Outgoing(
        exchange=DEAD_LETTER, routing_key="", body=body, type="dead-letter.v1", app_id=app_id, headers=headers
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One waiting dead letter. `code` is empty for what the broker itself dead-lettered; `headers` says why."""

    code: str
    text: str
    sender: str
    type: str
    body: bytes
    headers: dict[str, object]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """How many wait, and the oldest of them."""

    count: int
    oldest: tuple[DeadLetter, ...]


async def look(
    connection: AbstractConnection, *, at_most: int, timeout_s: float, queue_name: str = DEAD_LETTERS_QUEUE
) -> DeadLetters:
    """Count the dead letters and read the oldest, leaving all of them where they are.

    They are taken unacknowledged on a channel of their own; its end puts them back, at their place, marked redelivered.
    """
    oldest: list[DeadLetter] = []
    async with asyncio.timeout(timeout_s), connection.channel() as channel:
        queue = await channel.get_queue(queue_name)
        count = queue.declaration_result.message_count or 0
        while len(oldest) < min(at_most, count):
            message = await queue.get(no_ack=False, fail=False)
            if message is None:
                break
            oldest.append(_dead_letter(message))
    return DeadLetters(count, tuple(oldest))


def _dead_letter(message: AbstractIncomingMessage) -> DeadLetter:
    headers: dict[str, object] = dict(message.headers)
    return DeadLetter(
        code=str(headers.get(REASON_CODE, "")),
        text=str(headers.get(REASON_TEXT, "")),
        sender=str(headers.get("original-app-id", message.app_id or "")),
        type=str(headers.get("original-type", message.type or "")),
        body=message.body,
        headers=headers,
    )
