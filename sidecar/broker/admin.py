"""One-shot operations on a broker: declare everything, check everything, look at the dead letters.

Owns what an operator's command does over AMQP and what it says. It must not keep a connection.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import aiormq
from aio_pika.abc import AbstractConnection
from yarl import URL

from sidecar.broker.declaring import bind_queue, declare_exchange, declare_queue
from sidecar.broker.finding import Finding, Level
from sidecar.broker.interface import BrokerError, BrokerInfo, TopologyConflict
from sidecar.broker.letters import letter_box
from sidecar.broker.link import version_of
from sidecar.broker.standing import describe
from sidecar.broker.topology import DEAD_LETTERS_QUEUE, EXCHANGES, QUEUES, ExchangeSpec, QueueSpec
from sidecar.broker.visiting import on_channel, visiting

TIMEOUT_S = 10.0
OLDEST_VERSION = (3, 10)
NEWEST_MAJOR = 4
SHOWN_MAX = 5

Spec = ExchangeSpec | QueueSpec
EVERYTHING: tuple[Spec, ...] = (*EXCHANGES, *QUEUES)


async def apply(url: str, timeout_s: float = TIMEOUT_S, *, specs: Sequence[Spec] = EVERYTHING) -> list[str]:
    """Declare these exchanges, queues and their bindings; one line each. TopologyConflict on the first that differs."""
    lines = []
    async with visiting(url, timeout_s) as (connection, info):
        version = version_of(info.version)
        for spec in specs:
            there = await _there(connection, spec, timeout_s)
            await on_channel(connection, partial(_declare, spec, version, timeout_s), timeout_s)
            if isinstance(spec, QueueSpec):
                await on_channel(connection, partial(_bind, spec, timeout_s), timeout_s)
            lines.append(_line(spec, there))
    return lines


async def check(
    url: str,
    timeout_s: float = TIMEOUT_S,
    *,
    specs: Sequence[Spec] = EVERYTHING,
    missing: Level = "critical",
    letters: bool = True,
    way: bool = True,
    strict: bool = False,
) -> list[Finding]:
    """Look over AMQP at everything that a start needs, change nothing, and say all of it. Raises no BrokerError.

    `missing` is the level of what does not exist (a start declares it); `letters` looks at the dead letters too, which
    marks them redelivered; `way` looks at the encryption of our connection and at its user,
    whom `strict` refuses with the default password beyond this host. Bindings are not looked at: AMQP cannot list them,
    and every start declares them again.
    """
    try:
        async with visiting(url, timeout_s) as (connection, info):
            findings = [_reachable(url, info), _version(info)]
            if way:
                findings += [_encryption(url), *_credentials(url, strict)]
            version = version_of(info.version)
            for spec in specs:
                findings.append(await _check_declared(connection, spec, version, timeout_s, missing))
            if letters:
                findings += await _check_dead_letters(url, timeout_s)
            return findings
    except BrokerError as error:
        return [
            Finding(
                level="critical",
                subject=f"broker {_place(url)}",
                text=str(error),
                means="without a broker nothing is granted, and gates close when their leases end",
                mend=_mend_unreachable(str(error)),
            )
        ]


async def check_each(
    urls: Sequence[str],
    *,
    missing: Level = "critical",
    letters: bool = True,
    way: bool = True,
    strict: bool = False,
) -> list[Finding]:
    """Whether each node answers, and everything else from the first that does: the nodes share it."""
    findings: list[Finding] = []
    looked = False
    for url in urls:
        specs = () if looked else EVERYTHING
        found = await check(url, specs=specs, missing=missing, letters=letters and not looked, way=way, strict=strict)
        findings += found[:1] if looked else found
        looked = looked or len(found) > 1
    return findings


async def answering_version(urls: Sequence[str], timeout_s: float = TIMEOUT_S) -> tuple[int, int] | None:
    """(major, minor) of the first node that answers; None when none does."""
    for url in urls:
        with suppress(BrokerError):
            async with visiting(url, timeout_s) as (_, info):
                return version_of(info.version)
    return None


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
        await on_channel(connection, partial(_ask, spec, timeout_s), timeout_s)
    except aiormq.ChannelNotFoundEntity:
        return False
    return True


async def _check_declared(
    connection: AbstractConnection, spec: Spec, version: tuple[int, int], timeout_s: float, missing: Level
) -> Finding:
    """Present, and equal: declaring what exists with our arguments changes nothing and is refused when they differ."""
    subject = _subject(spec)
    if not await _there(connection, spec, timeout_s):
        return Finding(
            level=missing,
            subject=subject,
            text="does not exist",
            means="what travels through it is lost or refused until it does",
            mend="run `sidecar topology apply`, or import topology/",
        )

    try:
        await on_channel(connection, partial(_declare, spec, version, timeout_s), timeout_s)
    except TopologyConflict as conflict:
        return Finding(
            level="critical",
            subject=subject,
            text=str(conflict),
            means="processes cannot declare it and do not start, or what it must keep may be lost",
            mend="delete it when it is empty, then run `sidecar topology apply`",
        )
    except aiormq.ChannelAccessRefused as error:
        return Finding(
            level="info",
            subject=subject,
            text=f"exists, but its arguments could not be compared: {describe(error)}",
            mend="check with a user that may configure it (role arbiter), or with broker.management_url",
            unseen=True,
        )
    return Finding(level="ok", subject=subject, text="exists as it should")


async def _check_dead_letters(url: str, timeout_s: float) -> list[Finding]:
    subject = f"queue {DEAD_LETTERS_QUEUE}"
    try:
        async with letter_box(url, timeout_s) as box:
            count, oldest = box.count, box.letters[:SHOWN_MAX]
    except BrokerError:
        return []  # It does not exist or may not be read: already a finding of its own.
    if not count:
        return [Finding(level="ok", subject=subject, text="no dead letters")]
    reasons = "; ".join(
        f"{each.code}: {each.type or 'no type'} from {each.app_id or 'nobody'}: {each.text}"[:200] for each in oldest
    )
    return [
        Finding(
            level="warning",
            subject=subject,
            text=f"{count} waiting; the oldest: {reasons}",
            means="somebody's messages are not understood: what they said did not happen",
            mend="mend the senders named, then see `sidecar dead-letters list`",
        )
    ]


def _reachable(url: str, info: BrokerInfo) -> Finding:
    return Finding(
        level="ok", subject=f"broker {_place(url)}", text=f"{info.product} {info.version}, cluster {info.node}"
    )


def _version(info: BrokerInfo) -> Finding:
    version = version_of(info.version)
    if info.product == "RabbitMQ" and version >= OLDEST_VERSION and version[0] <= NEWEST_MAJOR:
        return Finding(level="ok", subject="broker version", text=f"{info.version} is supported")
    return Finding(
        level="critical" if version < OLDEST_VERSION else "warning",
        subject="broker version",
        text=f"{info.product} {info.version} was never tried",
        means="streams and quorum queues may behave otherwise than the promises need",
        mend="use RabbitMQ 3.10 to 4.x",
    )


def _credentials(url: str, strict: bool) -> list[Finding]:
    parsed = URL(url)
    if (parsed.user or "guest", parsed.password or "guest") != ("guest", "guest"):
        return []
    return [
        Finding(
            level="critical" if strict and not _is_local(url) else "warning",
            subject="credentials",
            text="the default user guest with its default password",
            means="whoever reaches the broker can halt everything, write into the journal, and delete it",
            mend="give each role a user of its own; topology/permissions.json lists their rights",
        )
    ]


def _encryption(url: str) -> Finding:
    if URL(url).scheme == "amqps":
        return Finding(level="ok", subject="encryption", text="TLS")
    return Finding(
        level="info" if _is_local(url) else "warning",
        subject="encryption",
        text=f"none on the way to {_place(url)}",
        means="passwords and orders can be read and changed on the way",
        mend="enable TLS on the broker and write amqps:// in broker.urls",
    )


def _is_local(url: str) -> bool:
    host = URL(url).host or "localhost"
    return host in ("localhost", "::1") or host.startswith("127.")


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
