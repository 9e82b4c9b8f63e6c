"""States on their way to and from the broker, on a connection of their own, piece by piece.

Owns the queue of this sidecar, the pieces under way and what is to be sent next. It must not decide whose state counts:
`core/handover.py` does.

Many MiB of state must not stand before a halt, a lease or an order. So they have a connection of their own (the bulk
link), pieces of PIECE_BYTES of which WINDOW at most await their confirm, and no backlog: what waits to be sent is
the name of a slot, not its bytes, and what is read then is the newest. A state that is being sent is sent to its end,
so that large ones arrive at all under frequent changes. The queue at the broker is bounded in bytes and drops its
oldest pieces; who misses some asks again.

Which way it fails: to an older state on the other side, which says so itself (lag), and asks.
"""

import asyncio
import contextlib
import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NoReturn

import structlog

from sidecar.agent.postbox import Postbox
from sidecar.agent.state_keep import HandedOver
from sidecar.broker.interface import Broker, BrokerAway, Delivery, Outgoing, PublishFailed, Subscription, Unroutable
from sidecar.broker.topology import STATE, state_key, state_queue, state_to_key
from sidecar.core.senders import Senders
from sidecar.messages.base import Message, Token, message_type
from sidecar.messages.codec import Malformed, decode, encode
from sidecar.messages.state import PIECE_BYTES, StatePiece, StateSaved, StateWanted
from sidecar.telemetry.state_figures import StateFigures

WINDOW: Final = 4
"""Pieces that await their confirm. Higher fills a slow link with what a newer state may make void."""
PREFETCH: Final = 8
"""Pieces that wait here unread, each of a quarter of a MiB at most."""
QUEUE_STATES: Final = 4
"""Of the largest states, as many as the queue holds; a queue that holds less than one would never deliver it."""
QUEUE_BYTES_MIN: Final = 16 * 1024 * 1024
AGAIN_S: Final = 0.5
"""After a failed sending. What was not heard is asked for as well."""
DUE_MAX: Final = 10_000
"""Sendings that wait: a slot to a member each. More than any group has."""


class StateWire:
    """One sidecar's way for states. `on_message` is told each verified message and the delivery it came in.

    `on_begun` is called when the queue is consumed, also anew; `read` gives a slot's state and the token under which it
    is held here, None when there is nothing to send.
    """

    def __init__(
        self, broker: Broker, component: str, run: str, postbox: Postbox, senders: Senders, figures: StateFigures
    ) -> None:
        self.on_message: Callable[[Message, Delivery], None] = lambda message, delivery: None
        self.on_begun: Callable[[], None] = lambda: None
        self.read: Callable[[str], Awaitable[tuple[HandedOver, Token] | None]] = _nothing
        self._broker = broker
        self._component = component
        self._run = run
        self._postbox = postbox
        self._senders = senders
        self._figures = figures
        self._group = ""
        self._queue = ""
        self._turns = 0
        self._arrived: deque[Delivery] = deque()
        self._heard = asyncio.Event()
        self._due: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = structlog.get_logger(__name__)

    @property
    def trouble(self) -> str:
        """Empty while states can come and go; else one sentence."""
        return self._broker.bulk_trouble if self._queue else ""

    def follow(self, group: str, others: tuple[str, ...], bytes_max: int) -> None:
        """Hear the states of this group from now on, of these other members or of all."""
        if self._queue:
            self._broker.unsubscribe(self._queue)
        self._group = group
        queue_bytes = max(QUEUE_BYTES_MIN, 2 * QUEUE_STATES * bytes_max)  # Base64 adds a third.
        spec = state_queue(self._component, f"{self._run}{self._turns:x}", group, others, queue_bytes)
        self._turns += 1
        self._queue = spec.name
        self._broker.subscribe(
            Subscription(queue=spec, on_delivery=self._on_delivery, prefetch=PREFETCH, on_begun=self._begun), bulk=True
        )

    def send(self, slot: str, to: str = "") -> None:
        """Send a slot's newest state to the group, or to one member of it, as soon as possible."""
        if self._group and len(self._due) < DUE_MAX:
            self._due[slot, to] = None
            self._idle.clear()
            self._wanted.set()

    def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Put it away as a dead letter, and count it."""
        self._figures.refuse(code)
        self._postbox.refuse(delivery, Malformed(code, text))

    async def receive(self) -> NoReturn:
        """Hand on what arrives, for ever, one at a time: each may take as long as a whole batch of something else."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            while self._arrived:
                delivery = self._arrived.popleft()
                self._take(delivery)
                delivery.ack()
                await asyncio.sleep(0)

    async def send_out(self) -> NoReturn:
        """Send what is due, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._due:
                (slot, to), _ = self._due.popitem(last=False)
                try:
                    await self._send(slot, to)
                except Unroutable:
                    continue  # Nobody listens. Who comes later asks.
                except (BrokerAway, PublishFailed) as error:
                    self._log.info("a state was not sent and is sent again", slot=slot, to=to, error=str(error))
                    self._due[slot, to] = None
                    await asyncio.sleep(AGAIN_S)
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Return when nothing is to be sent, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()

    # --- inside ---

    def _begun(self) -> None:
        self.on_begun()

    def _on_delivery(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._heard.set()

    def _take(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if isinstance(message, Malformed):
            self.refuse(delivery, message.code, message.text)
        elif not isinstance(message, StatePiece | StateWanted | StateSaved):
            self.refuse(delivery, "unknown-type", f"{delivery.type!r} is no word on states")
        elif problem := self._senders.problem(message, user=delivery.user_id or "", own=self._postbox.user):
            self.refuse(delivery, "wrong-sender", problem)
        else:
            self.on_message(message, delivery)

    async def _send(self, slot: str, to: str) -> None:
        """All pieces, in order; raises BrokerAway or PublishFailed as soon as one is not confirmed."""
        found = await self.read(slot)
        if found is None:
            return
        state, held = found
        digest = await asyncio.to_thread(lambda: hashlib.sha256(state.body).hexdigest())
        key = state_to_key(self._group, to) if to else state_key(self._group, self._component)
        under_way: deque[asyncio.Future[None]] = deque()
        for piece in _pieces(self._component, state, held, digest):
            if len(under_way) >= WINDOW:
                await under_way.popleft()
            out = Outgoing(
                exchange=STATE,
                routing_key=key,
                body=encode(piece),
                type=message_type(piece),
                app_id=self._component,
                persistent=False,
            )
            under_way.append(self._broker.submit_bulk(out))
            self._figures.sent_bytes.inc(len(piece.data))
        while under_way:
            await under_way.popleft()


def _pieces(component: str, state: HandedOver, held: Token, digest: str) -> Iterator[StatePiece]:
    kept, body = state.kept, state.body
    count = max(1, -(-len(body) // PIECE_BYTES))
    for n in range(count):
        yield StatePiece(
            component=component,
            slot=kept.slot,
            held=held,
            author=kept.component,
            incarnation=kept.incarnation,
            token=kept.token,
            version=kept.version,
            size=len(body),
            sha256=digest,
            n=n,
            count=count,
            data=body[n * PIECE_BYTES : (n + 1) * PIECE_BYTES],
            at_ns=kept.at_ns,
        )


async def _nothing(slot: str) -> None:
    return None
