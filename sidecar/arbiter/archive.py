"""The archive process: health, metrics and an orderly end around the archiver; and an arbiter that carries one.

Owns the process's word on itself. It must not know how entries are written: `journal/archiving.py` does that.

Which way it fails: an arbiter never stops or turns unhealthy for the archive it carries; trading does not need one. The
log, the metrics and the alerts on them say what is wrong with it.
"""

import asyncio
from typing import Any

import structlog

from sidecar import __version__
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker
from sidecar.config.models import Settings
from sidecar.journal.archive_errors import ArchiveError
from sidecar.journal.archiving import Archiver
from sidecar.telemetry.endpoint import HealthEndpoint
from sidecar.telemetry.lag import sample_loop_lag
from sidecar.telemetry.metrics import ArchiveFigures, ArchiveMetrics

LAST_BATCH_S = 15.0
"""How long an arbiter that ends waits for its archive."""
CONTRADICTION = 1
"""The exit code when stream and archive contradict each other; a person must look."""

log = structlog.get_logger(__name__)


class ArchiveProcess:
    """One process that writes one archive, over two connections that are not started yet; see `Archiver`."""

    def __init__(self, settings: Settings, broker: Broker, watch: Broker, url: str) -> None:
        self._telemetry = settings.telemetry
        self.metrics = ArchiveMetrics(__version__)
        self.archiver = Archiver(broker, watch, settings.archive, url, self.metrics.archive)
        self.metrics.broker_connected.set_function(lambda: not broker.trouble)

    async def run(self) -> int:
        """Archive until `stop()`; returns the exit code."""
        endpoint = HealthEndpoint("archive", self._health, self.metrics.registry)
        if self._telemetry.port is not None:
            port = await endpoint.start(self._telemetry.host, self._telemetry.port)
            log.info("health and metrics", host=self._telemetry.host, port=port)
        lag = asyncio.create_task(sample_loop_lag(self.metrics.loop_lag_seconds.observe))
        try:
            await self.archiver.run()
        except ArchiveError:
            return CONTRADICTION  # The archiver has said why.
        finally:
            lag.cancel()
            await asyncio.gather(lag, return_exceptions=True)
            await endpoint.stop()
        return 0

    def stop(self) -> None:
        """End behind the batch that is being written."""
        self.archiver.stop()

    def _health(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        troubles = self.archiver.troubles()
        return not troubles, troubles, self.archiver.details()


class ArbiterWithArchive:
    """An arbiter that writes the archive beside its work, over two connections that only the archive uses."""

    def __init__(self, settings: Settings, arbiter: ArbiterProcess, broker: Broker, watch: Broker, url: str) -> None:
        self._arbiter = arbiter
        self._archiver = Archiver(broker, watch, settings.archive, url, ArchiveFigures(arbiter.metrics.registry))

    async def run(self) -> int:
        """Until the arbiter ends; its exit code."""
        archiving = asyncio.create_task(self._archive(), name="archive")
        try:
            return await self._arbiter.run()
        finally:
            self._archiver.stop()
            await asyncio.wait((archiving,), timeout=LAST_BATCH_S)
            archiving.cancel()
            await asyncio.gather(archiving, return_exceptions=True)

    def stop(self) -> None:
        """End the arbiter, and then the archive."""
        self._arbiter.stop()

    async def _archive(self) -> None:
        try:
            await self._archiver.run()
        except ArchiveError:
            return  # The archiver has said why.
        except Exception:
            log.exception("the archive that this arbiter carries ended by a defect; the arbiter goes on")
