"""A thousand real sidecars in one process, and their gates.

Owns their making, the opening and lifting between two rounds, and what waits until all gates are closed. Each has its
own core, inbox, gatekeeper, gate page, file of latched halts and queue; they share one connection to the broker.
No arbiter is there: leases are handed to the cores as an arbiter's would be, so that every gate is really open.

A thousand sidecars are a thousand processes on as many cores and disks; here they share one. What a sidecar does
*after* its gate is closed (writing the halt to disk, acknowledging it, telling its component and its log) would here
stand in the way of the next one's closing. `Crowd.deferred` therefore keeps it back until every gate is closed; without
it everything is done in line.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sidecar.agent.clock import boottime_ns
from sidecar.agent.parts import Parts, Places
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import reply_queue
from sidecar.config.groups import GroupSettings
from sidecar.config.models import ComponentSettings, Settings, TimingSettings
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import ControlState
from sidecar.messages.health import Lease
from sidecar.telemetry.metrics import SidecarMetrics

GROUP: Final = "bench"
LONG: Final = TimingSettings(holder_lease_ms=300_000, holder_wait_ms=400_000)
"""Leases that outlast a round: nobody here renews them."""
CONNECT_MS: Final = 300_000
"""Declaring thousands of queues takes a while."""
Deed = Callable[..., None]


class Crowd:
    """`count` sidecars named exec-0 to exec-N; their pages and files lie in `directory`.

    Without `replies` nothing is consumed but the queues of halts: nobody answers them anything.
    """

    def __init__(self, url: str, directory: Path, count: int, *, replies: bool) -> None:
        self.deferred = False
        self.replies: list[str] = []
        self._broker = RabbitBroker(
            [url], name="crowd", connect_timeout_ms=CONNECT_MS, amqp_heartbeat_s=60, pending_max=10 * count + 1_000
        )
        self._kept: list[tuple[Deed, tuple[Any, ...]]] = []
        self._closed = 0
        self._all_closed = asyncio.Event()
        self._version = 0
        self._sidecars = [self._made(directory, f"exec-{each}", replies) for each in range(count)]
        self._pages = [GateReader(directory / f"exec-{each}.gate") for each in range(count)]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect, consume, attach a component to each."""
        await self._broker.start()
        await self._broker.wait_ready(CONNECT_MS / 1_000)
        for each in self._sidecars:
            self._tasks.append(asyncio.create_task(each.inbox.run()))
            each.gatekeeper.do(each.core.attach(f"{each.core.component}-1", boottime_ns()))

    async def close(self) -> None:
        """Close every page and the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self._sidecars:
            each.gatekeeper.close()
        await self._broker.close()

    def open(self) -> None:
        """Give every sidecar a lease, as an arbiter's answer to a heartbeat does."""
        for number, each in enumerate(self._sidecars):
            beat = each.core.heartbeat(boottime_ns())
            lease = Lease(
                arbiter="bench",
                term=1,
                incarnation=beat.incarnation,
                seq=beat.seq,
                ttl_ns=LONG.to_core().holder_lease_ns,
                control_version=each.core.memory.version,
                slots=(SlotToken(f"{GROUP}/{number}", Token(1, 1)),),
                group=GROUP,
            )
            each.gatekeeper.do(each.core.on_lease(lease, boottime_ns()))

    def lift(self, halt_id: str) -> None:
        """No halt is in force any more, as an arbiter says it after an operator's resume."""
        self._version += 1
        state = ControlState(arbiter="bench", term=1, version=self._version, halts=(), lifted=(halt_id,))
        for each in self._sidecars:
            each.gatekeeper.do(each.core.on_control(state, boottime_ns()))

    def acknowledge(self) -> None:
        """Do what was kept back, in its order, and keep nothing back from now on."""
        self.deferred = False
        kept, self._kept, self._closed = self._kept, [], 0
        self._all_closed.clear()
        for deed, arguments in kept:
            deed(*arguments)

    async def all_closed(self) -> None:
        """Every sidecar has latched a halt and waits to write it down and to acknowledge it."""
        await self._all_closed.wait()

    @property
    def gates_open(self) -> int:
        """How many pages let an order pass now, as a component reads them."""
        return sum(each.check() for each in self._pages)

    def _made(self, directory: Path, name: str, replies: bool) -> Parts:
        component = ComponentSettings(
            name=name,
            gate=str(directory / f"{name}.gate"),
            socket=str(directory / f"{name}.sock"),
            state_dir=str(directory / f"{name}.state"),
        )
        settings = Settings(groups={GROUP: GroupSettings(components=(name,))}, component=component, timing=LONG)
        places = Places.of(settings)
        places.make()
        parts = Parts(settings, places, self._broker, GateWriter(places.gate), SidecarMetrics("bench"), "run1")
        if replies:
            self.replies.append(reply_queue(name, "run1").name)
        else:
            self._broker.unsubscribe(reply_queue(name, "run1").name)
        self._keep_back(parts)
        return parts

    def _keep_back(self, parts: Parts) -> None:
        """Put ourselves between the gatekeeper and what it does after the page."""
        gatekeeper, postbox = parts.gatekeeper, parts.postbox
        store = gatekeeper._store
        store.save = self._later(store.save)  # type: ignore[method-assign]  # The seam is only here.
        postbox.answer = self._later(postbox.answer)  # type: ignore[method-assign]
        gatekeeper.on_halts = self._later(gatekeeper.on_halts)
        gatekeeper.on_accepted = self._later(gatekeeper.on_accepted)
        announce = gatekeeper._announce

        def announce_later() -> None:
            if not self.deferred:
                announce()
                return
            self._kept.append((announce, ()))
            self._closed += 1
            if self._closed == len(self._sidecars):
                self._all_closed.set()

        gatekeeper._announce = announce_later  # type: ignore[method-assign]

    def _later(self, deed: Deed) -> Deed:
        def kept(*arguments: Any) -> None:
            if self.deferred:
                self._kept.append((deed, arguments))
            else:
                deed(*arguments)

        return kept
