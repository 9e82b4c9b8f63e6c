"""What is measured: an arbiter as a process of its own, and sidecars with their components inside this process.

Owns their start, the wait until every component holds its slot, and their end. It must not measure. The sidecars are
whole ones (heartbeats, leases, gate pages, local interface), each with its own connections to the broker. Settings are
the defaults but for the times after which an order that nobody reports would be asked about, and for how long an answer
is waited for: a question that is repeated would be counted twice.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiormq

from benchmarks.orders.shapes import COMPONENT
from benchmarks.orders.sites import Site
from sidecar.agent.inside import Inside
from sidecar.agent.process import Agent
from sidecar.broker.declaring import declare_everything
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import QUEUES
from sidecar.client.aio import SidecarClient
from sidecar.config.models import Settings
from sidecar.demo.launcher import ProcessLauncher, ProcessSpec
from sidecar.messages.local import CommitReport

ARBITER: Final = "arbiter-1"
PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.05
REPORTED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component with its sidecar: `inside` asks it directly, `client` over its socket."""

    name: str
    inside: Inside
    client: SidecarClient


@contextlib.asynccontextmanager
async def stage(site: Site, directory: Path, components: int) -> AsyncIterator[tuple[Component, ...]]:
    """Everything runs, on empty queues, and each component holds its slot."""
    await empty(site)
    names = [f"{COMPONENT}-{each}" for each in range(components)]
    shared = _shared(site, directory, names)
    config = directory / "arbiter.json"
    config.write_text(json.dumps(shared))
    config.chmod(0o600)
    arbiter = await ProcessLauncher(directory).start(ProcessSpec(role="arbiter", name=ARBITER, config=config))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(arbiter.stop)
        found = [await _component(stack, shared, site, each) for each in names]
        async with asyncio.timeout(PATIENCE_S):
            while not all(each.inside.gate().open for each in found):  # noqa: ASYNC110  # Only a lease's coming says it.
                await asyncio.sleep(LOOK_S)
        yield tuple(found)
        if not arbiter.alive:
            raise RuntimeError(f"the arbiter ended while it was measured: {arbiter.ended}")


async def empty(site: Site) -> None:
    """All queues and streams anew."""
    connection = await aiormq.connect(site.url)
    for each in QUEUES:
        await (await connection.channel()).queue_delete(each.name)
    channel: Any = await connection.channel()
    await declare_everything(channel, site.version, PATIENCE_S)
    await connection.close()


async def never_sent(component: Component, names: list[str]) -> None:
    """Report these orders aborted, so that none of them waits for anything any more."""
    report = CommitReport(outcome="aborted", reason="a benchmark sends nothing")
    for at in range(0, len(names), REPORTED_AT_ONCE):
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(component.inside.report(each, report) for each in names[at : at + REPORTED_AT_ONCE]))


async def _component(stack: contextlib.AsyncExitStack, shared: dict[str, Any], site: Site, name: str) -> Component:
    directory = Path(shared["run_dir"])
    own = {"name": name, "gate": str(directory / f"{name}.gate"), "socket": str(directory / f"{name}.sock")}
    settings = Settings.model_validate({**shared, "component": own})
    agent = Agent(settings, RabbitBroker([site.url], name=name))
    task = asyncio.create_task(agent.run(), name=name)

    async def end() -> None:
        agent.stop()
        await task

    stack.push_async_callback(end)
    listening = asyncio.create_task(agent.listening.wait())
    await asyncio.wait({task, listening}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    if agent.inside is None or not agent.listening.is_set():
        raise RuntimeError(f"the sidecar of {name} does not listen")
    await stack.enter_async_context(agent.inside.session())
    client = await stack.enter_async_context(SidecarClient(own["socket"], timeout_s=PATIENCE_S))
    return Component(name=name, inside=agent.inside, client=client)


def _shared(site: Site, directory: Path, names: list[str]) -> dict[str, Any]:
    return {
        "broker": {"urls": [site.url]},
        "groups": {f"bench-{at}": {"components": [each]} for at, each in enumerate(names)},
        "orders": {"report_deadline_ms": 600_000, "precommit_timeout_ms": 60_000},
        "arbiter": {"id": ARBITER},
        "telemetry": {"log_level": "warning"},
        "run_dir": str(directory),
    }
