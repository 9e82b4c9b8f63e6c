"""One arbiter's snapshots: taken beside the loop, written by the leader, and the newest one found at the start.

Owns the one that is being packed and the one that waits. It must not decide when one is due (`core/checkpoints.py`).

Which way it fails: a snapshot that cannot be written is told, and the next one is due later; start-up then replays more
of the journal. A damaged one is passed by for the one before, or for the whole journal.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from sidecar.broker.interface import Broker, BrokerError
from sidecar.core.snapshot import Taken
from sidecar.journal.snapshots import Found, SnapshotFinder, pack, write
from sidecar.telemetry.endpoint import LastSnapshot
from sidecar.telemetry.metrics import ArbiterMetrics

RETRY_S = 2.0
"""Between two attempts to read the stream of snapshots at the start."""

log = structlog.get_logger(__name__)


class Snapshots:
    """One arbiter's end of the stream of snapshots. `on_digest` gets each digest, in the loop."""

    def __init__(
        self, broker: Broker, name: str, metrics: ArbiterMetrics, on_digest: Callable[[Taken, str], None]
    ) -> None:
        self.ignored = ""
        self._broker = broker
        self._name = name
        self._metrics = metrics
        self._on_digest = on_digest
        self._last: tuple[int, int | None] | None = None
        self._waiting: Taken | None = None
        self._task: asyncio.Task[None] | None = None

    def last(self) -> LastSnapshot:
        """The newest that we know of: the one that we stand on, or one that was due since and was taken."""
        if self._last is None:
            return LastSnapshot(of="journal", trouble=self.ignored)
        offset, taken_ns = self._last
        age_s = None if taken_ns is None else round((_boottime_ns() - taken_ns) / 1e9, 3)
        return LastSnapshot(of="journal", known=True, age_s=age_s, offset=offset, trouble=self.ignored)

    def take(self, taken: Taken) -> None:
        """Pack this one next. One that still waits is passed by: the newer says more."""
        self._waiting = taken
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work(), name="snapshots")

    async def find(self, stopped: asyncio.Event) -> Found | None:
        """The newest whole snapshot; None when there is none, or when `stopped` was set before that was known."""
        while not stopped.is_set():
            look = asyncio.create_task(SnapshotFinder(self._broker, self._name, self._ignored).find())
            stop = asyncio.create_task(stopped.wait())
            try:
                await asyncio.wait((look, stop), return_when=asyncio.FIRST_COMPLETED)
                if look.done():
                    if (found := look.result()) is not None:
                        self._last = found.taken.offset, None  # Its age is of another process's clock.
                    return found
            except BrokerError as error:
                log.warning("waits for the stream of snapshots before it reads the journal", why=str(error))
                await asyncio.wait((stop,), timeout=RETRY_S)
            finally:
                look.cancel()
                stop.cancel()
                await asyncio.gather(look, stop, return_exceptions=True)
        return None

    async def close(self) -> None:
        """Give up what is under way."""
        self._waiting = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting is not None:
            taken, self._waiting, taken_ns = self._waiting, None, _boottime_ns()
            try:
                packed = await asyncio.to_thread(pack, taken)
                self._on_digest(taken, packed.digest)
                if taken.write:
                    await write(self._broker, self._name, packed)
                self._last = taken.offset, taken_ns
                if not taken.write:
                    continue
            except BrokerError as error:
                self._metrics.snapshots_failed.inc()
                log.warning("a snapshot was not written; the next one comes later", offset=taken.offset, why=str(error))
                continue
            self.ignored = ""
            self._metrics.snapshots_written.inc()
            self._metrics.snapshot_offset.set(taken.offset)
            size = sum(map(len, packed.bodies))
            log.info("a snapshot was written", offset=taken.offset, size_bytes=size, parts=len(packed.bodies))

    def _ignored(self, why: str) -> None:
        self.ignored = why
        self._metrics.snapshots_ignored.inc()
        log.error("a snapshot cannot be used", why=why, mend="none is needed: the one before it or the journal is read")


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
