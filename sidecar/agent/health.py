"""The sidecar's slow health: what its component says of itself, and our own figures.

Owns the health report and the answer of GET /health. It must not decide who may act.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, NoReturn

import msgspec
import psutil

from sidecar.agent.clock import boottime_ns
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.inbox import Inbox
from sidecar.agent.postbox import Postbox
from sidecar.broker.interface import BrokerAway
from sidecar.broker.topology import HEALTH
from sidecar.core.health_rules import HealthRule, broken, worst
from sidecar.core.timing import Timing
from sidecar.messages.health import HealthReport
from sidecar.messages.local import HealthPush

OWN_PREFIX: Final = "sidecar_"


class Health:
    """What we know of the component's health and our own."""

    def __init__(
        self, gatekeeper: Gatekeeper, inbox: Inbox, postbox: Postbox, timing: Timing, rules: tuple[HealthRule, ...]
    ) -> None:
        self._gatekeeper = gatekeeper
        self._inbox = inbox
        self._postbox = postbox
        self._lease_ns = timing.holder_lease_ns
        self._rules = rules
        self._process = psutil.Process()
        self._pushed = HealthPush()
        self._pushed_by = ""
        self._probed: tuple[str, ...] = ()
        self._lag_s = 0.0
        self.found: Callable[[], tuple[str, ...]] = tuple
        """What else is wrong: the critical findings on the broker."""

    def push(self, push: HealthPush) -> None:
        """The component's own word; it counts for the session of the moment only."""
        self._pushed, self._pushed_by = push, self._gatekeeper.core.incarnation
        self._say()

    def probed(self, reasons: tuple[str, ...]) -> None:
        """What the probes say against the component's readiness; empty when they find nothing."""
        self._probed = reasons
        self._say()

    def observe_lag(self, lag_s: float) -> None:
        """One sample of how late our event loop ran."""
        self._lag_s = max(self._lag_s, lag_s)

    def view(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        """For GET /health: well while the broker and an arbiter answer us, and our disk takes halts."""
        reasons = self._troubles()
        return not reasons, reasons, {"gate": msgspec.to_builtins(self._gatekeeper.status())}

    def report(self) -> HealthReport:
        """The report of this interval; the figure of the loop's lag begins anew."""
        core, pushed = self._gatekeeper.core, self._said()
        findings = broken(self._rules, pushed.metrics)
        troubles = (*(each.text for each in findings), *self._probed, *self._troubles())
        status = worst(pushed.status, findings)
        if not core.incarnation:
            status, troubles = "CRITICAL", (*troubles, core.standby_reason)
        elif troubles and status == "HEALTHY":
            status = "DEGRADED"
        metrics = {**pushed.metrics, **self._figures()}
        self._lag_s = 0.0
        return HealthReport(
            component=core.component,
            incarnation=core.incarnation,
            status=status,
            reasons=(*pushed.reasons, *troubles),
            metrics=metrics,
        )

    async def run(self, interval_s: float) -> NoReturn:
        """Publish a report each interval, for ever; one that cannot be sent is skipped, as the next says more."""
        self._figures()  # psutil measures processor time from one call to the next.
        while True:
            await asyncio.sleep(interval_s)
            report = self.report()
            with contextlib.suppress(BrokerAway):
                self._postbox.submit(HEALTH, f"report.{report.component}", report, answered=False)

    def _said(self) -> HealthPush:
        """What this run of the component said of itself last."""
        incarnation = self._gatekeeper.core.incarnation
        return self._pushed if incarnation and self._pushed_by == incarnation else HealthPush()

    def _say(self) -> None:
        """Ready is who says so, breaks no rule that forbids it, and passes its probes."""
        pushed = self._said()
        unready = tuple(each.text for each in broken(self._rules, pushed.metrics) if each.rule.unready)
        against = (*unready, *self._probed)
        self._gatekeeper.core.set_health(pushed.ready and not against, (*pushed.reasons, *against))

    def _troubles(self) -> tuple[str, ...]:
        found = []
        if trouble := self._postbox.trouble:
            found.append(f"broker: {trouble}")
        elif boottime_ns() - self._inbox.answered_ns > self._lease_ns:
            found.append("no arbiter has answered a heartbeat for longer than a lease")
        if self._gatekeeper.unsaved:
            found.append("latched halts could not be written to disk")
        return (*found, *self.found())

    def _figures(self) -> dict[str, float]:
        with self._process.oneshot():
            return {
                f"{OWN_PREFIX}cpu_ratio": self._process.cpu_percent(None) / 100,
                f"{OWN_PREFIX}rss_bytes": float(self._process.memory_info().rss),
                f"{OWN_PREFIX}open_files": float(self._process.num_fds()),
                f"{OWN_PREFIX}loop_lag_s": self._lag_s,
            }
