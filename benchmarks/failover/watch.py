"""What is observed: each gate page, looked at about every millisecond, and each slot's moves as the arbiters told them.

Owns the spans in which a gate was seen open, and who held which slot. It must not cause anything. A span is proven from
both sides: it begins when a look that saw the gate open was over, and ends when the last such look began. So an overlap
found here is one, and one shorter than the pause between two looks can be missed.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.topology import events_queue
from sidecar.core.timing import MS
from sidecar.gate.reader import GateReader
from sidecar.messages.base import Token
from sidecar.messages.codec import decode
from sidecar.messages.events import SlotMoved, TermBegan

LOOK_S: Final = 0.001
NEWS_LATE_NS: Final = 200 * MS
"""The event of a move may be heard later than its gate opens; a slot moves no second time so soon."""


def boottime_ns() -> int:
    """CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Span:
    """One gate, open under one token, without an interruption that was seen."""

    component: str
    incarnation: str
    token: Token
    first_ns: int
    last_ns: int
    closed_ns: int = 0
    """When it was seen closed; 0 while it is open."""


class Gates:
    """The gate pages at these paths. Run `run` as a task."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._readers = {name: GateReader(path) for name, path in paths.items()}
        self._now: dict[str, Span] = {}
        self._looked = asyncio.Event()
        self.spans: list[Span] = []

    @property
    def open(self) -> frozenset[str]:
        """Components whose gate was open at the last look."""
        return frozenset(self._now)

    def span(self, component: str) -> Span | None:
        """The span that is open now."""
        return self._now.get(component)

    def deadline_ns(self, component: str) -> int:
        """Until when the page allows anything, CLOCK_BOOTTIME."""
        return self._readers[component].read().deadline_ns

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            for name, reader in self._readers.items():
                self._look(name, reader)
            self._looked.set()
            await asyncio.sleep(LOOK_S)

    async def until(self, seen: Callable[[], bool]) -> None:
        """Return after the first look at which `seen()` holds; bound it with a timeout."""
        while not seen():
            self._looked.clear()
            await self._looked.wait()

    def _look(self, name: str, reader: GateReader) -> None:
        before_ns = boottime_ns()
        is_open = reader.check()
        after_ns = boottime_ns()
        page, span = reader.read() if is_open else None, self._now.get(name)
        if page is not None and page.token is None:
            return  # Open by the one word that a component reads, and being written: who holds it cannot be read now.
        if span is not None and page is not None and (page.incarnation, page.token) == (span.incarnation, span.token):
            span.last_ns = before_ns
            return
        if span is not None:
            span.closed_ns = after_ns
            del self._now[name]
        if page is not None and page.token is not None:
            self._now[name] = Span(name, page.incarnation, page.token, after_ns, before_ns)
            self.spans.append(self._now[name])


class Moves:
    """Slots and leaders, from the arbiters' events. Construct it before `broker.start()`."""

    def __init__(self, broker: Broker) -> None:
        self._moves: dict[tuple[str, Token], list[tuple[int, str]]] = {}
        self._news = asyncio.Event()
        self.leader: TermBegan | None = None
        self.leader_heard_ns = 0
        queue = events_queue("benchmark", uuid.uuid4().hex[:12])
        broker.subscribe(Subscription(queue=queue, on_delivery=self._on_delivery, no_ack=True))

    def slot(self, incarnation: str, token: Token, at_ns: int) -> str:
        """The slot that this incarnation held under this token then; empty if nobody said so."""
        told = [
            slot for heard_ns, slot in self._moves.get((incarnation, token), ()) if heard_ns <= at_ns + NEWS_LATE_NS
        ]
        return told[-1] if told else ""

    async def until(self, seen: Callable[[], bool]) -> None:
        """Return once `seen()` holds; bound it with a timeout."""
        while not seen():
            self._news.clear()
            await self._news.wait()

    def _on_delivery(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        now_ns = boottime_ns()
        match message:
            case SlotMoved(slot=slot, incarnation=incarnation, token=token):
                self._moves.setdefault((incarnation, token), []).append((now_ns, slot))
            case TermBegan(term=term) if self.leader is None or term > self.leader.term:
                self.leader, self.leader_heard_ns = message, now_ns
            case _:
                return
        self._news.set()
