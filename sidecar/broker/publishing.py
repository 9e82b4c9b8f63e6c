"""Publishing on one link: bounded submits with confirms, and posts without, in call order, in batches.

Owns the order of what is sent, the bounds on what waits, and the properties every message carries. It must not know
what the messages mean.

It fills aiormq's public tables (`confirmations`, `delivery_tag`, `write_queue`) itself instead of calling
`basic_publish` for each message: that costs a task, a lock and a system call per message, a third of the throughput.
One pump writes both channels and waits after each batch until the socket took it, so a broker that stops reading
holds up one batch and the two bounded queues, and nothing more.
"""

import asyncio
import logging
import secrets
import time
from collections import deque

import aiormq
from aiormq.abc import ChannelFrame

from sidecar.broker.counters import Counters
from sidecar.broker.declaring import declare_everything
from sidecar.broker.interface import BrokerAway, Outgoing
from sidecar.broker.link import Session
from sidecar.broker.receipts import Receipt
from sidecar.broker.standing import Lost, Standing, describe
from sidecar.broker.wire import publish

BATCH_MAX = 64
"""Messages per write. More would make a halt wait behind a longer burst."""

BLOCKED_LOOK_S = 0.25
"""Between looks whether an alarm blocks us, for the counter only. Lower makes the figure finer."""

GIVE_UP_S = 30.0
"""When `pending_max` publishes wait and the oldest is this long past its timeout, its confirm will not come: the
channel is opened anew, instead of being full for ever."""


_log = logging.getLogger(__name__)


class Publisher:
    """The tenant of the publish link."""

    what = "publisher"

    def __init__(self, counters: Counters, *, pending_max: int, timeout_s: float, declare: bool) -> None:
        self._counters = counters
        self._pending_max = pending_max
        self._timeout_s = timeout_s
        self._declare = declare
        self._session: Session | None = None
        self._desk: _Desk | None = None
        self._open = False

    async def live(self, session: Session, standing: Standing) -> None:
        """Serve submits and posts until a channel goes."""
        if self._declare:
            await session.declare(lambda channel: declare_everything(channel, session.version, session.timeout_s))
        desk = _Desk(
            await session.channel(confirms=True),
            await session.channel(confirms=False),
            session.user,
            self._counters,
            self._pending_max,
        )
        self._session, self._desk, self._open = session, desk, True
        standing.up()
        watch = asyncio.create_task(self._count_blocked(session), name="publisher's watch on alarms")
        try:
            await desk.serve()
        finally:
            watch.cancel()
            standing.down("a channel went")
            self._session = self._desk = None
            desk.end()
            await asyncio.gather(session.drop(desk.confirmed), session.drop(desk.plain))

    async def _count_blocked(self, session: Session) -> None:
        """An alarm's begin and end are not announced to us by aiormq, so we look."""
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        while True:
            await asyncio.sleep(BLOCKED_LOOK_S)
            now_s = loop.time()
            if session.blocked:
                self._counters.blocked_s += now_s - before_s
            before_s = now_s

    async def leave(self) -> None:
        """Take nothing new, and wait for what is under way; TimeoutError when that takes too long."""
        self._open = False
        if self._session is not None and self._session.blocked:
            raise TimeoutError("an alarm: nothing will be confirmed")
        if self._desk is not None:
            async with asyncio.timeout(self._timeout_s):
                await self._desk.drained()

    def post(self, out: Outgoing) -> None:
        """Hand to the pump; a later failure is only counted."""
        desk = self._require_open()
        if out.problem:
            self._counters.publish_failures += 1
            _log.error("a message cannot be sent: %s", out.problem)
            return
        desk.post(out)

    def submit(self, out: Outgoing) -> Receipt:
        """Hand to the pump; the receipt tells."""
        desk = self._require_open()
        loop = asyncio.get_running_loop()
        receipt = Receipt(out, loop.time() + self._timeout_s, loop)
        if out.problem:
            self._counters.publish_failures += 1
            receipt.fail(out.problem)
            receipt.exception()  # Seen by us, whether or not the caller looks.
            return receipt
        desk.submit(receipt)
        return receipt

    def _require_open(self) -> "_Desk":
        if self._desk is None or self._session is None or not self._open:
            raise BrokerAway("there is no link to the broker; nothing was sent")
        if self._session.blocked:
            raise BrokerAway("the broker blocks publishers (a memory or disk alarm); nothing was sent")
        return self._desk


class _Desk:
    """Both channels of one session, and what waits for them."""

    def __init__(
        self, confirmed: aiormq.Channel, plain: aiormq.Channel, user: str, counters: Counters, pending_max: int
    ) -> None:
        self.confirmed = confirmed
        self.plain = plain
        self._user = user
        self._counters = counters
        self._pending_max = pending_max
        self._submits: deque[Receipt] = deque()
        self._posts: deque[Outgoing] = deque()
        self._unsettled: deque[Receipt] = deque()
        self._wake = asyncio.Event()
        self._still = asyncio.Event()
        self._run = secrets.token_hex(8)
        self._sent = 0
        self._given_up = False
        self._sweep: asyncio.TimerHandle | None = None
        self._gone = [confirmed.closing, plain.closing]
        for each in self._gone:
            each.add_done_callback(lambda _: self._wake.set())

    def post(self, out: Outgoing) -> None:
        """When it is full the oldest goes, because what is repeated is best fresh."""
        if len(self._posts) >= self._pending_max:
            self._posts.popleft()
            self._counters.posts_dropped += 1
        self._posts.append(out)
        self._wake.set()

    def submit(self, receipt: Receipt) -> None:
        """Refused when as many as `pending_max` wait for the socket or for the broker's confirm."""
        if len(self._submits) + len(self.confirmed.confirmations) >= self._pending_max:
            self._judge_oldest()
            raise BrokerAway(
                f"{self._pending_max} publishes (pending_max) await the broker's confirm; nothing was sent"
            )
        receipt.add_done_callback(self._count)
        self._submits.append(receipt)
        self._unsettled.append(receipt)
        self._wake.set()
        if self._sweep is None:
            self._sweep = receipt.get_loop().call_at(receipt.deadline_s, self._expire)

    async def serve(self) -> None:
        """Write what waits, batch by batch, until a channel goes."""
        while not self._given_up and not any(each.done() for each in self._gone):
            if not self._submits and not self._posts:
                self._still.set()
                await self._wake.wait()
                self._wake.clear()
                self._still.clear()
            await self._write(self.confirmed, self._take_submits())
            await self._write(self.plain, self._take_posts())
        raise Lost(self._why())

    def _judge_oldest(self) -> None:
        oldest = next(iter(self.confirmed.confirmations.values()), None)
        if isinstance(oldest, Receipt) and oldest.deadline_s + GIVE_UP_S < self._now_s():
            self._given_up = True
            self._wake.set()

    async def drained(self) -> None:
        """Return when all is written and confirmed."""
        await self._still.wait()
        if self._unsettled:
            await asyncio.wait(self._unsettled)

    def end(self) -> None:
        """The channels are gone: fail and forget what waits."""
        why = self._why()
        self._counters.posts_dropped += len(self._posts)
        self._posts.clear()
        for each in tuple(self._unsettled):
            each.fail(f"the link went before the confirm ({why}); it may have arrived")
        if self._sweep is not None:
            self._sweep.cancel()
        for gone in self._gone:
            gone.cancel()

    def _take_submits(self) -> list[bytes]:
        frames: list[bytes] = []
        for _ in range(min(BATCH_MAX, len(self._submits))):
            receipt = self._submits.popleft()
            if receipt.done():  # Timed out or given up by its caller before it was sent.
                continue
            message_id = self._message_id()
            self._enter(receipt, message_id)
            frames.append(self._frames(receipt.out, self.confirmed, message_id))
        return frames

    def _enter(self, receipt: Receipt, message_id: str) -> None:
        """Into aiormq's tables: by delivery tag for the confirm, by message_id for a return.

        A settled receipt must not be found by its message_id again.
        """
        channel = self.confirmed
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = receipt
        channel.message_id_delivery_tag[message_id] = channel.delivery_tag
        receipt.add_done_callback(lambda _: channel.message_id_delivery_tag.pop(message_id, None))

    def _take_posts(self) -> list[bytes]:
        waiting = min(BATCH_MAX, len(self._posts))
        self._counters.published += waiting
        return [self._frames(self._posts.popleft(), self.plain, self._message_id()) for _ in range(waiting)]

    async def _write(self, channel: aiormq.Channel, frames: list[bytes]) -> None:
        if frames:
            written = channel.create_future()
            await channel.write_queue.put(ChannelFrame(b"".join(frames), should_close=False, drain_future=written))
            await written

    def _frames(self, out: Outgoing, channel: aiormq.Channel, message_id: str) -> bytes:
        return publish(
            out,
            channel=channel.number,
            mandatory=channel is self.confirmed,
            message_id=message_id,
            at_s=int(time.time()),
            user=self._user,
            content_max=channel.max_content_size,
        )

    def _message_id(self) -> str:
        """A fresh one for each attempt: a repeated one in flight would earn a false confirm (docs/broker.md)."""
        self._sent += 1
        return f"{self._run}-{self._sent}"

    def _expire(self) -> None:
        """Fail the receipts whose time is up; all have the same timeout, so they stand in order of deadline."""
        self._sweep = None
        while self._unsettled and (self._unsettled[0].done() or self._unsettled[0].deadline_s <= self._now_s()):
            self._unsettled.popleft().fail("no confirm in time; it may still arrive")
        if self._unsettled:
            first = self._unsettled[0]
            self._sweep = first.get_loop().call_at(first.deadline_s, self._expire)

    def _count(self, receipt: "asyncio.Future[None]") -> None:
        if receipt.cancelled() or receipt.exception() is not None:
            self._counters.publish_failures += 1
            self._counters.returned += isinstance(receipt, Receipt) and receipt.returned
        else:
            self._counters.published += 1
        while self._unsettled and self._unsettled[0].done():
            self._unsettled.popleft()

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _why(self) -> str:
        for each in self._gone:
            if each.done() and not each.cancelled() and each.exception() is not None:
                return describe(each.exception())
        return "the broker confirms nothing any more" if self._given_up else "the channel closed"
