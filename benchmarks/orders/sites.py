"""The brokers that orders are measured on: one node, and a cluster of three.

Owns finding or starting them, and their end. It must not know what is measured. Every client is connected to one node,
which then has the leaders of all queues and streams: it declares them. That is the best place for ours and for the raw
floor alike, and the same for both.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.chaos.cluster import NODES, Cluster
from sidecar.broker.link import version_of
from sidecar.demo.brokers import find_broker

USER: Final = "arbiter"
"""benchmarks/chaos/definitions.json has it; it may do all that is done here."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A broker to measure on. `suffix` ends the names of its figures."""

    url: str
    version: tuple[int, int]
    named: str
    suffix: str


@contextlib.asynccontextmanager
async def one_node(say: Say) -> AsyncIterator[Site]:
    """One node, found as for the demo."""
    found = await find_broker(say=say)
    try:
        yield Site(
            url=found.url,
            version=version_of(found.version),
            named=f"one node of RabbitMQ {found.version} by {found.started_by}",
            suffix="",
        )
    finally:
        await found.stop()


@contextlib.asynccontextmanager
async def three_nodes(say: Say) -> AsyncIterator[Site]:
    """Three nodes in containers, with deploy/'s configuration. Raises ClusterFailed where Docker does not answer."""
    say("starting three nodes in containers")
    async with Cluster() as cluster:
        yield Site(
            url=cluster.url(USER, NODES[0]),
            version=version_of(cluster.version),
            named=f"three nodes of RabbitMQ {cluster.version} in containers",
            suffix="_three",
        )
