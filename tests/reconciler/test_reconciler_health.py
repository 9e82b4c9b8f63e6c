"""The reconciler's health: what comes round, and what was found about the broker."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from venue_peer import WAIT_S

from sidecar.broker import roundtrip
from sidecar.broker.examination import Examination
from sidecar.broker.finding import Finding
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.config.models import Settings
from sidecar.demo.brokers_node import free_port
from sidecar.reconciler.process import Reconciler


class DeafBroker(MemoryBroker):
    """Stands, and delivers nothing once it is deaf."""

    deaf = False

    def _deliver(self, subscription: object, delivery: object) -> None:
        if not self.deaf:
            super()._deliver(subscription, delivery)  # type: ignore[arg-type]  # As they came.


async def test_a_link_that_delivers_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes round, the reconciler is unhealthy and says so, and is well again when it does."""
    monkeypatch.setattr(roundtrip, "EVERY_S", 0.02)
    monkeypatch.setattr(roundtrip, "LATE_S", 1.0)
    port, broker = free_port(), DeafBroker(MemoryHub(), name="reconciler")
    reconciler = Reconciler(Settings.model_validate({"telemetry": {"port": port}}), broker)
    running = asyncio.create_task(reconciler.run())
    try:
        await until(port, lambda answer: answer.status_code == httpx.codes.OK)
        broker.deaf = True
        unwell = await until(port, lambda answer: answer.status_code != httpx.codes.OK)
        assert "nothing has come round the reconciler's link" in unwell.text
        broker.deaf = False
        await until(port, lambda answer: answer.status_code == httpx.codes.OK)
    finally:
        reconciler.stop()
        await running


async def test_a_critical_finding_is_said() -> None:
    """A critical finding on the broker is a reason of the reconciler's health, and counted in its metrics."""
    examination = Examination()
    examination.findings = (Finding(level="critical", subject="alarms", text="memory on rabbit@a"),)
    port = free_port()
    settings = Settings.model_validate({"telemetry": {"port": port}})
    reconciler = Reconciler(settings, MemoryBroker(MemoryHub(), name="reconciler"), examination=examination)
    running = asyncio.create_task(reconciler.run())
    try:
        unwell = await until(port, lambda answer: answer.status_code != httpx.codes.OK)
        assert "alarms: memory on rabbit@a" in unwell.text
        metrics = await until(port, lambda answer: answer.status_code == httpx.codes.OK, "/metrics")
        assert 'sidecar_broker_findings{level="critical"} 1.0' in metrics.text
        assert "sidecar_broker_reconnects_total 0.0" in metrics.text
    finally:
        reconciler.stop()
        await running


async def until(port: int, met: Callable[[httpx.Response], bool], path: str = "/health") -> httpx.Response:
    """Ask until the answer is as wanted."""
    async with asyncio.timeout(WAIT_S), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        while True:
            try:
                answer = await http.get(path)
            except httpx.TransportError:
                continue
            if met(answer):
                return answer
