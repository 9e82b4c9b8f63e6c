"""Commit reports on their way into the journal.

Owns the reports that no arbiter has confirmed yet, and their repetition. A report is never dropped for being late;
when there is no more room the component is told so, and the arbiter's own deadline makes the order UNKNOWN.
"""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from sidecar.agent.postbox import Postbox
from sidecar.broker.interface import BrokerAway
from sidecar.broker.topology import ORDERS
from sidecar.messages.local import CommitReport
from sidecar.messages.orders import OrderAborted, OrderCommitted, OrderUnknown, ReportRecorded
from sidecar.telemetry.metrics import SidecarMetrics

REPEAT_INTERVAL_S: Final = 1.0
REPEATED_AT_ONCE_MAX: Final = 500
"""Reports repeated in one round, the longest waiting first. Higher floods an arbiter that has just come back."""

Report = OrderCommitted | OrderAborted | OrderUnknown


def report_of(component: str, cl_ord_id: str, report: CommitReport) -> Report:
    """What a component's word on its order is to the arbiters."""
    match report.outcome:
        case "committed":
            return OrderCommitted(
                component=component, cl_ord_id=cl_ord_id, order_id=report.order_id, ord_status=report.ord_status
            )
        case "aborted":
            return OrderAborted(component=component, cl_ord_id=cl_ord_id, reason=report.reason)
        case "unknown":
            return OrderUnknown(component=component, cl_ord_id=cl_ord_id, reason=report.reason)


class OutboxFull(Exception):
    """Too many reports wait to be journaled; this one was not taken."""


@dataclass(slots=True)
class _Kept:
    report: Report
    recorded: asyncio.Future[ReportRecorded]


class ReportOutbox:
    """Keeps at most `limit` reports and repeats them until they are recorded."""

    def __init__(self, component: str, postbox: Postbox, metrics: SidecarMetrics, limit: int) -> None:
        self._key = f"report.{component}"
        self._postbox = postbox
        self._metrics = metrics
        self._limit = limit
        self._kept: dict[str, _Kept] = {}
        self._log = structlog.get_logger(__name__)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, report: Report) -> asyncio.Future[ReportRecorded]:
        """Send a report and keep it until it is recorded; the future tells. Raises OutboxFull."""
        if len(self._kept) >= self._limit:
            raise OutboxFull(f"{self._limit} reports wait to be journaled already (orders.unrecorded_max)")
        report_id = uuid.uuid4().hex
        kept = _Kept(report, asyncio.get_running_loop().create_future())
        self._kept[report_id] = kept
        self._send(report_id, kept)
        return kept.recorded

    def on_recorded(self, report_id: str, recorded: ReportRecorded) -> None:
        """The arbiter's confirmation; `report_id` is the correlation id that it copied. Repetitions are ignored."""
        kept = self._kept.get(report_id)
        if kept is None or kept.report.cl_ord_id != recorded.cl_ord_id:
            return
        del self._kept[report_id]
        self._metrics.orders.inc(recorded.phase)
        if not kept.recorded.done():
            kept.recorded.set_result(recorded)

    async def run(self) -> NoReturn:
        """Repeat what is not recorded, for ever."""
        while True:
            await asyncio.sleep(REPEAT_INTERVAL_S)
            self.repeat()

    def repeat(self) -> None:
        """One round: the reports that waited longest go to the end of the line, so each has its turn."""
        for report_id in list(self._kept)[:REPEATED_AT_ONCE_MAX]:
            kept = self._kept.pop(report_id)
            self._kept[report_id] = kept
            if not self._send(report_id, kept):
                return

    async def drain(self, timeout_s: float) -> None:
        """Wait a little for what is under way, then name what is left: those orders become UNKNOWN."""
        waiting = [each.recorded for each in self._kept.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)
        for kept in self._kept.values():
            self._log.error("a report was not recorded before we stopped", cl_ord_id=kept.report.cl_ord_id)

    def _send(self, report_id: str, kept: _Kept) -> bool:
        try:
            self._postbox.submit(ORDERS, self._key, kept.report, correlation_id=report_id)
        except BrokerAway:
            return False
        return True
