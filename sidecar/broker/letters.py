"""The dead letters that wait: reading them, sending one back, putting one away for good.

Owns the visit to the queue and the order of send and acknowledgement. It must not know which letters may go back:
`sidecar/core/redriving.py` does.

A visit takes all letters with basic.get and holds them unacknowledged on one channel, so nobody else sees them then.
The channel's end puts back those that were not removed, marked redelivered. It takes all of them, because a quorum
queue without a delivery limit requeues at its tail (3.10.8): taking a part would change their order. RabbitMQ counts
a look as one more delivery; our queue has no delivery limit (topology.py), so it loses nothing.
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from yarl import URL

from sidecar.broker.dead_letters import (
    BODY_BYTES,
    NAME_MAX,
    REASON_CODE,
    REASON_TEXT,
    REDRIVEN_BY,
    REDRIVEN_REASON,
    REDRIVEN_TIMES,
    TEXT_MAX,
    TRUNCATED,
)
from sidecar.broker.interface import BrokerError, Outgoing, PublishFailed
from sidecar.broker.standing import describe
from sidecar.broker.topology import DEAD_LETTERS_QUEUE
from sidecar.broker.visiting import visiting

LETTERS_MAX = 5_000
"""Letters held at once by one command. Higher costs memory (up to 16 KiB each) and hides them from others longer."""

ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. `letter_id` is the same at every look; `put_away_s` is seconds since 1970 by its sender's clock.

    `exchange` to `user_id` are the original message's. `code` is `broker-...` for what the broker itself dead-lettered.
    """

    letter_id: str
    code: str
    text: str
    put_away_s: int | None
    exchange: str
    routing_key: str
    type: str
    app_id: str
    user_id: str
    body: bytes
    body_bytes: int
    truncated: bool
    redriven_times: int
    headers: dict[str, object]
    message: AbstractIncomingMessage = field(repr=False, compare=False)

    @classmethod
    def of(cls, message: AbstractIncomingMessage) -> Self:
        """Read one, whoever made it."""
        headers: dict[str, object] = dict(message.headers)
        origin = _ours(headers) if REASON_CODE in headers else _brokers(headers, message)
        times, stated = headers.get(REDRIVEN_TIMES), headers.get(BODY_BYTES)
        identity = "\n".join((message.message_id or "", *(str(each) for each in origin.values()))).encode()
        return cls(
            letter_id=hashlib.sha256(identity + b"\n" + message.body).hexdigest()[:ID_DIGITS],
            body=message.body,
            body_bytes=stated if isinstance(stated, int) else len(message.body),
            truncated=bool(headers.get(TRUNCATED)),
            redriven_times=times if isinstance(times, int) and times > 0 else 0,
            put_away_s=_put_away_s(headers, message),
            headers=headers,
            message=message,
            **origin,
        )

    @property
    def body_sha256(self) -> str:
        """The hash of the body as it is kept here, in hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


class LetterBox:
    """The dead letters during one visit: `letters` oldest first, `count` how many waited, also beyond LETTERS_MAX."""

    def __init__(
        self, letters: Sequence[Letter], count: int, outgoing: AbstractChannel, user: str, timeout_s: float
    ) -> None:
        self.letters = letters
        self.count = count
        self._outgoing = outgoing
        self._user = user
        self._timeout_s = timeout_s

    async def redrive(self, letter: Letter, *, actor: str, reason: str) -> None:
        """Send it to where it came from, wait until a queue has it, then remove it here. PublishFailed: it stays.

        At least once: if we die between the two, it is sent and still here.
        """
        headers: dict[str, str | int] = {
            REDRIVEN_TIMES: letter.redriven_times + 1,
            REDRIVEN_BY: actor[:NAME_MAX],
            REDRIVEN_REASON: reason[:TEXT_MAX],
        }
        out = Outgoing(
            exchange=letter.exchange,
            routing_key=letter.routing_key,
            body=letter.body,
            type=letter.type,
            app_id=letter.app_id,
            headers=headers,
        )
        await self.send(out, mandatory=True)
        await self.remove(letter)

    async def remove(self, letter: Letter) -> None:
        """Acknowledge it: it is gone."""
        async with asyncio.timeout(self._timeout_s):
            await letter.message.ack()

    async def send(self, out: Outgoing, *, mandatory: bool) -> None:
        """Publish and wait for the confirm; with `mandatory` it must have reached a queue. Raises PublishFailed."""
        message = aio_pika.Message(
            out.body,
            content_type="application/json",
            headers=dict(out.headers),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=uuid.uuid4().hex,
            timestamp=datetime.now(UTC),
            type=out.type,
            user_id=self._user,
            app_id=out.app_id,
        )
        where = f"{out.type} to exchange {out.exchange!r} with key {out.routing_key!r}"
        try:
            async with asyncio.timeout(self._timeout_s):
                exchange = await self._outgoing.get_exchange(out.exchange, ensure=False)
                await exchange.publish(message, out.routing_key, mandatory=mandatory)
        except TimeoutError:
            raise PublishFailed(f"{where}: no confirm in time; it may still arrive") from None
        except aiormq.PublishError:
            raise PublishFailed(f"{where} reaches no queue") from None
        except aiormq.AMQPError as error:
            raise PublishFailed(f"{where}: {describe(error)}") from error


@asynccontextmanager
async def letter_box(url: str, timeout_s: float, *, queue: str = DEAD_LETTERS_QUEUE) -> AsyncIterator[LetterBox]:
    """The letters at this broker; what is not removed is there again afterwards. Raises BrokerAway."""
    async with (
        visiting(url, timeout_s) as (connection, _),
        connection.channel() as reading,
        connection.channel(publisher_confirms=True, on_return_raises=True) as outgoing,
    ):
        try:
            async with asyncio.timeout(timeout_s):
                taken = await reading.get_queue(queue)
        except aiormq.ChannelNotFoundEntity:
            raise BrokerError(
                f"there is no queue {queue!r}: run `sidecar topology apply`, or start an arbiter"
            ) from None
        except aiormq.ChannelAccessRefused as error:
            raise BrokerError(f"queue {queue!r} may not be read: {describe(error)}; use the operator's user") from error
        user = URL(url).user or "guest"
        count = taken.declaration_result.message_count or 0
        letters = await _take_all(taken, min(count, LETTERS_MAX), timeout_s)
        yield LetterBox(letters, count, outgoing, user, timeout_s)


async def _take_all(queue: AbstractQueue, at_most: int, timeout_s: float) -> list[Letter]:
    letters: list[Letter] = []
    while len(letters) < at_most:
        async with asyncio.timeout(timeout_s):
            message = await queue.get(no_ack=False, fail=False)
        if message is None:
            break
        letters.append(Letter.of(message))
    return sorted(letters, key=lambda each: each.put_away_s or 0)


def _ours(headers: Mapping[str, object]) -> dict[str, str]:
    def said(name: str) -> str:
        return str(headers.get(name, ""))

    return {
        "code": said(REASON_CODE),
        "text": said(REASON_TEXT),
        "exchange": said("original-exchange"),
        "routing_key": said("original-routing-key"),
        "type": said("original-type"),
        "app_id": said("original-app-id"),
        "user_id": said("original-user-id"),
    }


def _brokers(headers: Mapping[str, object], message: AbstractIncomingMessage) -> dict[str, str]:
    """What the broker dead-lettered by itself keeps its properties and says the rest in x-death (RabbitMQ, DLX)."""
    death = _death(headers)
    keys = death.get("routing-keys")
    return {
        "code": f"broker-{_text(death.get('reason', 'unknown'))}",
        "text": f"the broker put it away from queue {_text(death.get('queue', '?'))}",
        "exchange": _text(death.get("exchange", "")),
        "routing_key": _text(keys[0]) if isinstance(keys, list) and keys else message.routing_key or "",
        "type": message.type or "",
        "app_id": message.app_id or "",
        "user_id": message.user_id or "",
    }


def _put_away_s(headers: Mapping[str, object], message: AbstractIncomingMessage) -> int | None:
    at: object = message.timestamp if REASON_CODE in headers else _death(headers).get("time")
    return int(at.timestamp()) if isinstance(at, datetime) else None


def _death(headers: Mapping[str, object]) -> Mapping[str, Any]:
    deaths = headers.get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
