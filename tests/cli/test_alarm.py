"""An alarm of the broker, as its operator sees it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli_world import PATIENCE_S, arbiter, sidecar_command, write_config
from managed_brokers import Managed, managed_broker

from sidecar.cli.errors import ExitCode
from sidecar.demo.brokers_node import free_port

pytestmark = pytest.mark.broker


@pytest.fixture
def managed(broker_in_container: bool) -> Iterator[Managed]:
    """A broker to be harmed."""
    with managed_broker(broker_in_container) as broker:
        yield broker


async def test_an_alarm_is_shown(managed: Managed, tmp_path: Path) -> None:
    """During a memory alarm the arbiter's health and `sidecar status` name it; afterwards both are well again."""
    port = free_port()
    config = write_config(tmp_path, managed.amqp_url, telemetry={"port": port})
    async with arbiter(config), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http:
        await until(config, ExitCode.OK)
        await asyncio.to_thread(managed.control, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            async with asyncio.timeout(PATIENCE_S):
                while "blocks publishers" not in (await http.get("/health")).text:
                    continue
            said = await until(config, ExitCode.UNKNOWN)
        finally:
            await asyncio.to_thread(managed.control, "set_vm_memory_high_watermark", "0.6")
        assert "blocks publishers (a memory or disk alarm)" in said
        await until(config, ExitCode.OK)
        async with asyncio.timeout(PATIENCE_S):
            while (await http.get("/health")).status_code != httpx.codes.OK:
                continue


async def until(config: Path, code: ExitCode) -> str:
    """Ask for the status until it ends with this code; what it said on stderr then."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while (ended := await sidecar_command("status", "--timeout", "5", "--config", config)).code != code:
            continue
    return ended.err
