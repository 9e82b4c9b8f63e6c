"""The sidecar's heartbeats.

Owns when one is sent, and how long unanswered ones are borne. A heartbeat that cannot be sent is not repeated: the
next one says more.
"""

import asyncio
from typing import Final, NoReturn

from sidecar.agent.clock import boottime_ns
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.postbox import Postbox
from sidecar.broker.patience import Patience
from sidecar.broker.topology import HEALTH
from sidecar.core.timing import MS, Timing
from sidecar.telemetry.metrics import SidecarMetrics

UNANSWERED_NS: Final = 12_000 * MS
"""Without an answer for so long, it asks at another node. Sooner than AMQP heartbeats give a link up, and longer than
the cluster needs to give up a frozen node (net_ticktime 8 s and a quarter): until then no node declares a queue, and
whoever left a good one would only lose what it had there."""


class Heartbeats:
    """Sends one each interval, and at once when asked."""

    def __init__(self, gatekeeper: Gatekeeper, postbox: Postbox, timing: Timing, metrics: SidecarMetrics) -> None:
        self._gatekeeper = gatekeeper
        self._postbox = postbox
        self._interval_s = timing.heartbeat_ns / 1e9
        self._expiration_ms = timing.holder_lease_ns // MS
        self._metrics = metrics
        self._patience = Patience(UNANSWERED_NS)

    def send(self) -> None:
        """Send one now. The core takes the time before the sending, so a lease is never longer than it may be."""
        core = self._gatekeeper.core
        heartbeat = core.heartbeat(boottime_ns())
        key = f"heartbeat.{core.component}"
        if self._postbox.post(HEALTH, key, heartbeat, expiration_ms=self._expiration_ms):
            self._metrics.heartbeats_sent.inc()

    async def run(self) -> NoReturn:
        """Send for ever. A loop that was late sends once, not once for each it missed."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._postbox.watch()
            self._gatekeeper.retry_save()
            self.send()
            self._look_elsewhere()
            due_s = max(due_s + self._interval_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def _look_elsewhere(self) -> None:
        """Heartbeats of no component are not answered, so only an attached one can miss anything."""
        core = self._gatekeeper.core
        if core.incarnation and self._patience.over(core.answered_ns, boottime_ns()):
            self._postbox.move_on()
