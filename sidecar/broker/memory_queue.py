"""The queues of the in-process broker: what waits, who consumes, and what is unacknowledged.

Owns order, credit, single active consumer, expiry and requeueing, as RabbitMQ documents them. It must not know
exchanges or connections. All is bounded: queues by `length_max`, streams by `STREAM_LENGTH_MAX`.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from sidecar.broker.interface import Delivery, Subscription
from sidecar.broker.topology import QueueSpec

STREAM_LENGTH_MAX = 1_000_000
"""Entries a stream keeps; older ones go, as with RabbitMQ's retention."""

QUEUE_LENGTH_MAX = 1_000_000
"""Messages a queue without a bound of its own keeps; the oldest goes first."""


@dataclass(slots=True)
class Stored:
    """A message in a queue, in its original place `seq`."""

    seq: int
    message: Delivery
    expires_s: float | None = None


@dataclass(slots=True, eq=False)
class Seat:
    """One consumer of one queue. `offset` is where it stands in a stream."""

    subscription: Subscription
    deliver: Callable[[Delivery], None]
    offset: int = 0
    unsettled: OrderedDict[int, Stored] = field(default_factory=OrderedDict)
    live: bool = True

    @property
    def has_credit(self) -> bool:
        """Whether it may be given one more."""
        return self.subscription.no_ack or len(self.unsettled) < self.subscription.prefetch


class MemoryQueue:
    """A classic or quorum queue."""

    def __init__(self, spec: QueueSpec, owner: object | None) -> None:
        self.spec = spec
        self.owner = owner
        self._waiting: deque[Stored] = deque()
        self._seats: deque[Seat] = deque()
        self._seq = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Delivery, expires_s: float | None) -> None:
        """Append; drop the head when it is full."""
        if len(self._waiting) >= (self.spec.length_max or QUEUE_LENGTH_MAX):
            self._waiting.popleft()
        self._seq += 1
        self._waiting.append(Stored(self._seq, message, expires_s))
        if self.spec.bytes_max is not None:
            self._drop_beyond(self.spec.bytes_max)
        self.dispatch()

    def seat(self, subscription: Subscription, deliver: Callable[[Delivery], None]) -> Seat:
        """A new consumer, behind the others."""
        seat = Seat(subscription, deliver)
        self._seats.append(seat)
        self.dispatch()
        return seat

    def leave(self, seat: Seat) -> None:
        """The consumer is gone: what it did not settle goes back to its place, marked redelivered."""
        seat.live = False
        if seat in self._seats:
            self._seats.remove(seat)
        self._take_back(seat.unsettled.values())
        seat.unsettled.clear()
        self.dispatch()

    def _settle(self, seat: Seat, seq: int, verdict: str) -> None:
        """Ack or requeue one; a second or late verdict does nothing."""
        stored = seat.unsettled.pop(seq, None)
        if stored is None:
            return
        if verdict != "ack":
            self._take_back([stored])
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what can be, each delivery from the loop, so that nobody is called from within his own call."""
        loop = asyncio.get_running_loop()
        while self._waiting and (seat := self._next_seat()) is not None:
            stored = self._waiting.popleft()
            if stored.expires_s is not None and stored.expires_s <= loop.time():
                continue
            if not seat.subscription.no_ack:
                seat.unsettled[stored.seq] = stored
            loop.call_soon(self._deliver, seat, stored)

    def _deliver(self, seat: Seat, stored: Stored) -> None:
        """To a consumer that is gone by now: it went back to its place, or, with no_ack, it is lost as in RabbitMQ."""
        if seat.live:
            seat.deliver(replace(stored.message, settle=partial(self._settle, seat, stored.seq)))

    def _drop_beyond(self, bytes_max: int) -> None:
        waiting = sum(len(each.message.body) for each in self._waiting)
        while self._waiting and waiting > bytes_max:
            waiting -= len(self._waiting.popleft().message.body)

    def _next_seat(self) -> Seat | None:
        """Round robin among those with credit; with a single active consumer, the longest there or nobody."""
        if self.spec.single_active_consumer:
            return self._seats[0] if self._seats and self._seats[0].has_credit else None
        for _ in range(len(self._seats)):
            self._seats.rotate(-1)
            if self._seats[-1].has_credit:
                return self._seats[-1]
        return None

    def _take_back(self, returned: Iterable[Stored]) -> None:
        """Back to their original places: requeued messages keep their order."""
        back = [Stored(each.seq, replace(each.message, redelivered=True), each.expires_s) for each in returned]
        merged = sorted([*back, *self._waiting], key=lambda each: each.seq)
        self._waiting = deque(merged)


class MemoryStream:
    """An append-only log: everybody reads it from where he likes."""

    owner = None

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self._log: deque[Delivery] = deque()
        self._first = 0
        self._seats: list[Seat] = []

    def __len__(self) -> int:
        return len(self._log)

    def put(self, message: Delivery, expires_s: float | None) -> None:
        """Append; streams know no expiry."""
        if len(self._log) >= STREAM_LENGTH_MAX:
            self._log.popleft()
            self._first += 1
        self._log.append(message)
        for seat in self._seats:
            self._feed(seat)

    def seat(self, subscription: Subscription, deliver: Callable[[Delivery], None]) -> Seat:
        """A new reader, from its next offset, or from the end when it names none."""
        end = self._first + len(self._log)
        wanted = end if subscription.next_offset is None else subscription.next_offset()
        seat = Seat(subscription, deliver, offset=max(wanted, self._first))
        self._seats.append(seat)
        self._feed(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """The reader is gone."""
        seat.live = False
        if seat in self._seats:
            self._seats.remove(seat)
        seat.unsettled.clear()

    def _settle(self, seat: Seat, offset: int, verdict: str) -> None:
        """On a stream every verdict is only credit."""
        if seat.unsettled.pop(offset, None) is not None:
            self._feed(seat)

    def _feed(self, seat: Seat) -> None:
        loop = asyncio.get_running_loop()
        while seat.offset < self._first + len(self._log) and seat.has_credit:
            message = self._log[max(seat.offset, self._first) - self._first]
            offset = max(seat.offset, self._first)
            seat.offset = offset + 1
            seat.unsettled[offset] = Stored(offset, message)
            loop.call_soon(self._deliver, seat, offset, message)

    def _deliver(self, seat: Seat, offset: int, message: Delivery) -> None:
        if seat.live:
            seat.deliver(replace(message, offset=offset, settle=partial(self._settle, seat, offset)))
