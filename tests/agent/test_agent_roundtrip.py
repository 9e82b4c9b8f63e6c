"""A queue of halts that delivers nothing any more makes the sidecar unwell, though every link stands."""

import asyncio

import pytest
from sidecar_world import PATIENCE_S, world

from sidecar.broker import roundtrip
from sidecar.broker.topology import control_queue


async def test_a_silent_queue_of_halts_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes round the queue of halts, the sidecar says so in its status and is not healthy."""
    monkeypatch.setattr(roundtrip, "EVERY_S", 0.02)
    monkeypatch.setattr(roundtrip, "LATE_S", 1.0)
    async with world() as here, here.sidecar() as client, client.session():
        async with asyncio.timeout(PATIENCE_S):
            while not (status := await client.status()).healthy:
                continue
        here.hub.delete(control_queue("exec-a", status.run).name)
        async with asyncio.timeout(PATIENCE_S):
            while (status := await client.status()).healthy:
                continue
    assert status.trouble == ""
    assert [each for each in status.reasons if each.startswith("nothing has come round the queue of halts")]
