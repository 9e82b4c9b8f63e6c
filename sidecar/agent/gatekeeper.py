"""Does what the core decided, in the order it was decided: page, disk, answers.

Owns the gate page's writing, the timer at which the gate closes by itself, and the news of each change. It must not
decide anything: `core/sidecar.py` does.
"""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.control_store import ControlStore
from sidecar.agent.postbox import Postbox
from sidecar.broker.interface import Delivery
from sidecar.broker.topology import HEALTH
from sidecar.core.ladder import ControlMemory
from sidecar.core.sidecar import Accept, Output, Publish, SaveControl, Sidecar, WritePage
from sidecar.gate.writer import GateWriter
from sidecar.messages.control import Halt
from sidecar.messages.local import GateStatus


class Gatekeeper:
    """The one caller of the core that may change it.

    `on_change` hears each change of the gate but a mere renewal, `on_halts` each change of the latched halts,
    `on_accepted` each halt that was acknowledged to its issuer.
    """

    def __init__(self, core: Sidecar, writer: GateWriter, store: ControlStore, postbox: Postbox) -> None:
        self.core = core
        self.on_change: Callable[[GateStatus], None] = lambda status: None
        self.on_halts: Callable[[ControlMemory], None] = lambda memory: None
        self.on_accepted: Callable[[Halt, Delivery], None] = lambda halt, delivery: None
        self._writer = writer
        self._store = store
        self._postbox = postbox
        self._timer: asyncio.TimerHandle | None = None
        self._watched_ns = 0
        self._told: GateStatus | None = None
        self._log = structlog.get_logger(__name__)

    def do(self, outputs: Iterable[Output], delivery: Delivery | None = None) -> None:
        """Each output in turn; `delivery` is the message that caused them, for whose sender an answer may be."""
        written_ns = boottime_ns()
        for output in outputs:
            match output:
                case WritePage(page):
                    self._writer.write(page)
                    written_ns = boottime_ns()
                case SaveControl(memory):
                    self._store.save(memory)
                    self.on_halts(memory)
                case Publish(message):
                    self._postbox.post(HEALTH, f"released.{self.core.component}", message)
                case Accept(halt):
                    # Not latched on disk is not accepted: our end would forget it. Its issuer repeats it.
                    self.retry_save()
                    if delivery is not None and not self.unsaved:
                        self._postbox.answer(delivery, self.core.accepted(halt, written_ns))
                        self.on_accepted(halt, delivery)
        self._watch_deadline()
        self._announce()

    def retry_save(self) -> None:
        """Try again to write latched halts that the disk refused."""
        if self._store.unsaved is not None:
            self._store.save(self._store.unsaved)

    @property
    def unsaved(self) -> bool:
        """Whether latched halts are only in memory."""
        return self._store.unsaved is not None

    def status(self) -> GateStatus:
        """The gate in words, now."""
        return self.core.status(boottime_ns())

    def close(self) -> None:
        """Close the page for good."""
        if self._timer is not None:
            self._timer.cancel()
        self._writer.close()

    def _watch_deadline(self) -> None:
        """Nothing to do while the deadline is the one that is watched: a halt shortens no lease."""
        if self._timer is not None and self._watched_ns == self.core.deadline_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_ns = boottime_ns()
        if self.core.holding(now_ns):
            left_s = (self.core.deadline_ns - now_ns) / 1e9
            self._watched_ns = self.core.deadline_ns
            self._timer = asyncio.get_running_loop().call_later(left_s, self._deadline_passed)

    def _deadline_passed(self) -> None:
        """The page closed by itself; write what it now says and tell the component."""
        self._timer = None
        now_ns = boottime_ns()
        if not self.core.holding(now_ns):
            self._writer.write(self.core.page(now_ns))
        self._watch_deadline()
        self._announce()

    def _announce(self) -> None:
        status = self.status()
        if self._told is not None and _but_renewal(self._told) == _but_renewal(status):
            return
        self._told = status
        self._log.info(
            "the gate is open" if status.open else "the gate is closed",
            reason=status.reason,
            incarnation=status.incarnation,
            trading_state=status.trading_state.name,
            slots=[f"{each.slot}@{each.token}" for each in status.slots],
        )
        self.on_change(status)


def _but_renewal(status: GateStatus) -> GateStatus:
    """The status without what each heartbeat changes."""
    return msgspec.structs.replace(status, deadline_ns=0)
