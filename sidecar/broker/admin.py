"""One-shot operations on a broker: declare everything, check everything, look at the dead letters.

Owns what an operator's command does over AMQP and what it says. It must not keep a connection.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from yarl import URL

from sidecar.broker import dead_letters
from sidecar.broker.declaring import bind_queue, declare_exchange, declare_queue
from sidecar.broker.interface import BrokerAway, BrokerError, BrokerInfo, TopologyConflict
from sidecar.broker.link import broker_info, version_of
from sidecar.broker.standing import describe
from sidecar.broker.topology import DEAD_LETTERS_QUEUE, EXCHANGES, QUEUES, ExchangeSpec, QueueSpec

TIMEOUT_S = 10.0
OLDEST_VERSION = (3, 10)
NEWEST_MAJOR = 4
SHOWN_MAX = 5

Spec = ExchangeSpec | QueueSpec
EVERYTHING: tuple[Spec, ...] = (*EXCHANGES, *QUEUES)
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `mend` is what to do about it; empty when it is ok."""

    level: Level
    subject: str
    text: str
    mend: str = ""


async def apply(url: str, timeout_s: float = TIMEOUT_S, *, specs: Sequence[Spec] = EVERYTHING) -> list[str]:
    """Declare these exchanges, queues and their bindings; one line each. TopologyConflict on the first that differs."""
    lines = []
    async with _connected(url, timeout_s) as (connection, info):
        version = version_of(info.version)
        for spec in specs:
            there = await _there(connection, spec, timeout_s)
            await _on_channel(connection, partial(_declare, spec, version, timeout_s), timeout_s)
            if isinstance(spec, QueueSpec):
                await _on_channel(connection, partial(_bind, spec, timeout_s), timeout_s)
            lines.append(_line(spec, there))
    return lines


async def check(url: str, timeout_s: float = TIMEOUT_S, *, specs: Sequence[Spec] = EVERYTHING) -> list[Finding]:
    """Look at everything that a start needs, change nothing, and say all of it, good or bad. Raises no BrokerError.

    Bindings are not looked at: AMQP cannot list them, and every start declares them again.
    """
    try:
        async with _connected(url, timeout_s) as (connection, info):
            findings = [_reachable(url, info), _version(info), *_credentials(url)]
            version = version_of(info.version)
            for spec in specs:
                findings.append(await _check_declared(connection, spec, version, timeout_s))
            findings += await _check_dead_letters(connection, timeout_s)
            return findings
    except BrokerError as error:
        return [
            Finding(level="error", subject=f"broker {_place(url)}", text=str(error), mend=_mend_unreachable(str(error)))
        ]


async def look_at_dead_letters(url: str, at_most: int, timeout_s: float = TIMEOUT_S) -> dead_letters.DeadLetters:
    """Count them and read the oldest, leaving them where they are."""
    async with _connected(url, timeout_s) as (connection, _):
        return await dead_letters.look(connection, at_most=at_most, timeout_s=timeout_s)


@asynccontextmanager
async def _connected(url: str, timeout_s: float) -> AsyncIterator[tuple[AbstractConnection, BrokerInfo]]:
    try:
        async with asyncio.timeout(timeout_s):
            connection = await aio_pika.connect(url, heartbeat=10, name="sidecar admin")
    except Exception as error:
        raise BrokerAway(f"cannot be reached: {describe(error)}") from error
    try:
        yield connection, broker_info(await _transport(connection))
    except (aiormq.AMQPError, TimeoutError, ConnectionError) as error:
        raise BrokerAway(f"stopped answering: {describe(error)}") from error
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await connection.close()


async def _declare(spec: Spec, version: tuple[int, int], timeout_s: float, channel: aiormq.Channel) -> None:
    if isinstance(spec, ExchangeSpec):
        await declare_exchange(channel, spec, timeout_s)
    else:
        await declare_queue(channel, spec, version, timeout_s)


async def _bind(spec: QueueSpec, timeout_s: float, channel: aiormq.Channel) -> None:
    await bind_queue(channel, spec, timeout_s)


async def _ask(spec: Spec, timeout_s: float, channel: aiormq.Channel) -> None:
    async with asyncio.timeout(timeout_s):
        if isinstance(spec, ExchangeSpec):
            await channel.exchange_declare(spec.name, passive=True)
        else:
            await channel.queue_declare(spec.name, passive=True)


async def _there(connection: AbstractConnection, spec: Spec, timeout_s: float) -> bool:
    """Whether something of that name exists. Asked passively; a no closes the channel it was asked on."""
    try:
        await _on_channel(connection, partial(_ask, spec, timeout_s), timeout_s)
    except aiormq.ChannelNotFoundEntity:
        return False
    return True


async def _check_declared(
    connection: AbstractConnection, spec: Spec, version: tuple[int, int], timeout_s: float
) -> Finding:
    """Present, and equal: declaring what exists with our arguments changes nothing and is refused when they differ."""
    subject = _subject(spec)
    if not await _there(connection, spec, timeout_s):
        return Finding(
            level="error",
            subject=subject,
            text="does not exist",
            mend="run `sidecar topology apply`, or import topology/",
        )

    try:
        await _on_channel(connection, partial(_declare, spec, version, timeout_s), timeout_s)
    except TopologyConflict as conflict:
        return Finding(
            level="error",
            subject=subject,
            text=str(conflict),
            mend="delete it when it is empty, then run `sidecar topology apply`",
        )
    except aiormq.ChannelAccessRefused as error:
        return Finding(
            level="warning",
            subject=subject,
            text=f"exists, but its arguments could not be compared: {describe(error)}",
            mend="check with a user that may configure it (role reconciler or administrator)",
        )
    return Finding(level="ok", subject=subject, text="exists as it should")


async def _check_dead_letters(connection: AbstractConnection, timeout_s: float) -> list[Finding]:
    subject = f"queue {DEAD_LETTERS_QUEUE}"
    try:
        found = await dead_letters.look(connection, at_most=SHOWN_MAX, timeout_s=timeout_s)
    except aiormq.AMQPChannelError:
        return []  # It does not exist or may not be read: already a finding of its own.
    if not found.count:
        return [Finding(level="ok", subject=subject, text="no dead letters")]
    reasons = "; ".join(
        f"{each.code or 'by the broker'}: {each.type or 'no type'} from {each.sender or 'nobody'}: {each.text}"[:200]
        for each in found.oldest
    )
    return [
        Finding(
            level="warning",
            subject=subject,
            text=f"{found.count} waiting; the oldest: {reasons}",
            mend="mend the senders named, then purge the queue",
        )
    ]


async def _on_channel(
    connection: AbstractConnection, work: Callable[[aiormq.Channel], Awaitable[object]], timeout_s: float
) -> None:
    """A throwaway channel, because a refusal closes it."""
    async with asyncio.timeout(timeout_s), connection.channel() as channel:
        under = await channel.get_underlay_channel()
        if not isinstance(under, aiormq.Channel):
            raise BrokerError("aio-pika no longer works on aiormq: install the versions of constraints.txt")
        await work(under)


async def _transport(connection: AbstractConnection) -> aiormq.Connection:
    under = connection.transport.connection if connection.transport is not None else None
    if not isinstance(under, aiormq.Connection):
        raise BrokerAway("went away while connecting")
    return under


def _reachable(url: str, info: BrokerInfo) -> Finding:
    return Finding(
        level="ok", subject=f"broker {_place(url)}", text=f"{info.product} {info.version}, cluster {info.node}"
    )


def _version(info: BrokerInfo) -> Finding:
    version = version_of(info.version)
    if info.product == "RabbitMQ" and version >= OLDEST_VERSION and version[0] <= NEWEST_MAJOR:
        return Finding(level="ok", subject="broker version", text=f"{info.version} is supported")
    return Finding(
        level="error" if version < OLDEST_VERSION else "warning",
        subject="broker version",
        text=f"{info.product} {info.version} was never tried",
        mend="use RabbitMQ 3.10 to 4.x",
    )


def _credentials(url: str) -> list[Finding]:
    parsed = URL(url)
    if (parsed.user or "guest", parsed.password or "guest") != ("guest", "guest"):
        return []
    return [
        Finding(
            level="warning",
            subject="credentials",
            text="the default user guest with its default password",
            mend="give each role a user of its own; topology/permissions.json lists their rights",
        )
    ]


def _mend_unreachable(text: str) -> str:
    if "ACCESS_REFUSED" in text:
        return "check the user and password in broker.urls, and the user's permissions on the virtual host"
    return "start it, or correct broker.urls"


def _place(url: str) -> str:
    parsed = URL(url)
    return f"{parsed.host}:{parsed.port or (5671 if parsed.scheme == 'amqps' else 5672)}"


def _subject(spec: Spec) -> str:
    return f"{'exchange' if isinstance(spec, ExchangeSpec) else 'queue'} {spec.name}"


def _line(spec: Spec, there: bool) -> str:
    kind = spec.type if isinstance(spec, ExchangeSpec) else spec.kind
    return f"{_subject(spec)} ({kind}): {'already there' if there else 'created'}"
