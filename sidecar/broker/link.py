"""One supervised AMQP connection, and who lives on it.

Owns connecting (host rotation, bounded handshake), noticing the loss, and an end that cannot hang. It must not know
what its tenants do with their channels. It speaks raw aiormq: never aio-pika's RobustConnection (see docs/broker.md),
and not `aio_pika.connect`, because only aiormq lets us keep the transport, which a bounded close has to abort when the
broker does not read any more.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import aiormq
from aiormq.connection import TCPTransportFactory, TLSTransportFactory
from yarl import URL

from sidecar.broker.interface import BrokerInfo
from sidecar.broker.standing import Lost, Standing, describe, heed_cancellation
from sidecar.broker.straight import StraightChannel

CLOSE_S = 2.0
"""An orderly goodbye gets this long; then the socket is aborted."""

FRAMES_MAX = 1_000
"""Frames read ahead per channel (aiormq's own 10 makes the reader switch tasks for every third message)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How to reach the broker. `urls` are tried in turn; they hold the password and are never printed."""

    urls: Sequence[str]
    name: str
    connect_timeout_s: float
    heartbeat_s: int
    backoff_max_s: float
    ssl_context: ssl.SSLContext | None = None


class HeldTransport(aiormq.TransportFactory):
    """aiormq's own transport, with a handle to abort it."""

    def __init__(self, tls: bool) -> None:
        self._inner: aiormq.TransportFactory = TLSTransportFactory() if tls else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the socket and remember it."""
        reader, self._writer = await self._inner.create(url, **kwargs)
        return reader, self._writer

    def abort(self) -> None:
        """Drop the socket now, without flushing."""
        if self._writer is not None:
            self._writer.transport.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection that stands, and the bound on each question asked over it.

    The bound is always `asyncio.timeout` around the call, never aiormq's own `timeout` argument: that one can lose a
    cancellation (see `heed_cancellation`).
    """

    connection: aiormq.Connection
    transport: HeldTransport
    version: tuple[int, int]
    user: str
    timeout_s: float
    errands: set[asyncio.Task[None]] = field(default_factory=set)

    async def channel(self, *, confirms: bool) -> aiormq.Channel:
        """A new channel; without aiormq's own bound on Confirm.Select, hence ours around it all."""
        async with asyncio.timeout(self.timeout_s):
            channel = await self.connection.channel(publisher_confirms=confirms, frame_buffer_size=FRAMES_MAX)
        return cast(aiormq.Channel, channel)

    async def straight_channel(self) -> StraightChannel:
        """A new channel to consume on."""
        async with asyncio.timeout(self.timeout_s):
            return await StraightChannel.open_on(self.connection, FRAMES_MAX)

    async def declare(self, work: Callable[[aiormq.Channel], Awaitable[None]], *, needed: bool = False) -> None:
        """Declare something on a channel of its own, because a refusal closes it.

        A user without the right to configure takes what is there as given (topology/permissions.json has such roles),
        unless it is `needed`, like a process's own queue.
        """
        channel = await self.channel(confirms=False)
        try:
            await work(channel)
        except aiormq.ChannelAccessRefused:
            if needed:
                raise
        finally:
            await self.drop(channel)

    async def drop(self, channel: aiormq.Channel) -> None:
        """Give a channel back, in bounded time; its connection may be gone already."""
        errand = asyncio.create_task(_close_channel(channel))
        self.errands.add(errand)
        errand.add_done_callback(self.errands.discard)
        # Not cancelled with us: aiormq answers a cancelled close with a second one, which kills the connection (504).
        await asyncio.wait((errand,), timeout=CLOSE_S)
        heed_cancellation()

    @property
    def blocked(self) -> bool:
        """Whether the broker told us to stop publishing (an alarm).

        aiormq keeps the flag to itself, but its `ready()` returns without suspending unless the connection is blocked.
        """
        probe = self.connection.ready()
        try:
            probe.send(None)
        except StopIteration:
            return False
        probe.close()
        return True


class Tenant(Protocol):
    """What lives on a link: it opens its own channels, and raises when it is out of service."""

    @property
    def what(self) -> str:
        """Its name in `trouble`."""

    async def live(self, session: Session, standing: Standing) -> None:
        """Serve until the channel is lost; call `standing.up()` once in service. Cancelled when the link goes."""

    async def leave(self) -> None:
        """Finish what is under way, for a clean close."""


class Link:
    """A connection that comes back, with its tenants. `changed` is called when anything stands or falls."""

    def __init__(self, reach: Reach, role: str, changed: Callable[[], None]) -> None:
        self.role = role
        self.info: BrokerInfo | None = None
        self.session: Session | None = None
        self.standing = Standing(f"{role} link", changed)
        self._tenants: list[tuple[Tenant, Standing]] = []
        self._reach = reach
        self._changed = changed
        self._turn = 0
        self._task: asyncio.Task[None] | None = None
        self._houses: list[tuple[Tenant, asyncio.Task[None]]] = []

    def house(self, tenant: Tenant) -> None:
        """Take a tenant in: it lives from now on, or from the time when the link stands."""
        standing = Standing(tenant.what, self._changed)
        self._tenants.append((tenant, standing))
        if self.session is not None:
            self._move_in(self.session, tenant, standing)

    def evict(self, tenant: Tenant) -> None:
        """The tenant goes for good. Returns at once; its channel is closed behind it."""
        self._tenants = [each for each in self._tenants if each[0] is not tenant]
        for each, task in self._houses:
            if each is tenant:
                task.cancel()
        self._changed()

    @property
    def standings(self) -> list[Standing]:
        """The link's own and its tenants'."""
        return [self.standing, *(each for _, each in self._tenants)]

    @property
    def trouble(self) -> str:
        """Empty, or what is wrong, in a sentence."""
        if not self.standing.stands:
            return self.standing.trouble
        if self.blocked:
            return (
                f"{self.standing.what}: the broker blocks publishers (a memory or disk alarm); free its memory or disk"
            )
        return next((each.trouble for _, each in self._tenants if not each.stands), "")

    @property
    def blocked(self) -> bool:
        """Whether the broker told us to stop publishing (an alarm)."""
        return self.session is not None and self.session.blocked

    def start(self) -> None:
        """Begin connecting."""
        keep = self.standing.keep(self._live, self._reach.backoff_max_s)
        self._task = asyncio.create_task(keep, name=f"{self._reach.name} {self.role} link")

    def abort(self) -> None:
        """Drop the socket as a failing network would; the supervisor then connects again."""
        if self.session is not None:
            self.session.transport.abort()

    async def close(self) -> None:
        """Let the tenants finish, then close, all in bounded time."""
        if self.session is not None:
            left = await asyncio.gather(*(tenant.leave() for tenant, _ in self._tenants), return_exceptions=True)
            if any(isinstance(each, TimeoutError) for each in left):
                self.abort()  # The broker does not answer: an orderly goodbye would only wait for the same again.
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _live(self) -> None:
        session = await self._connect()
        lost = session.connection.closing
        for tenant, standing in self._tenants:
            self._move_in(session, tenant, standing)
        self.session = session
        self.standing.up()
        try:
            await asyncio.wait((lost,))
            raise Lost(describe(None if lost.cancelled() else lost.exception()))
        finally:
            self.standing.down("the connection went")
            self.session = None
            lost.cancel()
            houses, self._houses = [task for _, task in self._houses], []
            for each in houses:
                each.cancel()
            try:
                await asyncio.gather(*houses, return_exceptions=True)
            finally:
                await self._shut(session)

    def _move_in(self, session: Session, tenant: Tenant, standing: Standing) -> None:
        self._houses = [each for each in self._houses if not each[1].done()]
        self._houses.append((tenant, asyncio.create_task(self._house(session, tenant, standing), name=tenant.what)))

    async def _house(self, session: Session, tenant: Tenant, standing: Standing) -> None:
        await standing.keep(lambda: tenant.live(session, standing), self._reach.backoff_max_s)

    async def _connect(self) -> Session:
        """One attempt at one host. The next attempt, after a failure or a loss, takes the next host."""
        url = URL(self._reach.urls[self._turn % len(self._reach.urls)])
        self._turn += 1
        transport = HeldTransport(tls=url.scheme == "amqps")
        wanted = url.update_query(heartbeat=str(self._reach.heartbeat_s), name=f"{self._reach.name} {self.role}")
        try:
            async with asyncio.timeout(self._reach.connect_timeout_s):
                connection = await aiormq.connect(wanted, context=self._reach.ssl_context, transport_factory=transport)
                await connection.ready()
        except (aiormq.ProbableAuthenticationError, aiormq.AuthenticationError) as error:
            transport.abort()
            raise Lost(
                f"{url.host}:{url.port or ''} refuses user {url.user or 'guest'!r}: {describe(error)}; see that the "
                "user exists, and its password or certificate"
            ) from error
        except Exception as error:
            transport.abort()
            raise Lost(f"{url.host}:{url.port or ''} cannot be reached: {describe(error)}") from error
        self.info = broker_info(connection)
        return Session(
            connection=connection,
            transport=transport,
            version=version_of(self.info.version),
            user=url.user or "guest",
            timeout_s=self._reach.connect_timeout_s,
        )

    async def _shut(self, session: Session) -> None:
        try:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await session.connection.close()
        finally:
            session.transport.abort()
            for each in session.errands:
                each.cancel()
            if session.errands:
                await asyncio.wait(session.errands, timeout=CLOSE_S)


async def _close_channel(channel: aiormq.Channel) -> None:
    with suppress(Exception):
        await channel.close()


def broker_info(connection: aiormq.Connection) -> BrokerInfo:
    """What the server said of itself in Connection.Start; it names its cluster, not its node."""
    properties: dict[str, Any] = dict(connection.server_properties or {})
    return BrokerInfo(
        product=str(properties.get("product", "?")),
        version=str(properties.get("version", "0.0")),
        node=str(properties.get("cluster_name", "?")),
        embedded=False,
    )


def version_of(text: str) -> tuple[int, int]:
    """(major, minor) of "4.0.5"; (0, 0) for what cannot be read."""
    parts = text.split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return 0, 0
