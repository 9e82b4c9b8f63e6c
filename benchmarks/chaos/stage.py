"""The whole system on a cluster: brought up, watched, and taken down in any case.

Owns the object graph of a run. Every process is on a leash (`sidecar/demo/leash.py`); the containers are the cluster's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from benchmarks.chaos.cluster import NODES, Cluster
from benchmarks.chaos.faults import Scene
from benchmarks.chaos.halting import Halting
from benchmarks.chaos.ledger import Ledger, LedgerReader
from benchmarks.chaos.places import ARBITERS, PROGRAMS, USERS, ClusterPlaces
from benchmarks.chaos.rounds import ChaosRounds, Told
from benchmarks.chaos.witness import DeadlineGates
from benchmarks.failover.causes import Stage
from benchmarks.failover.places import COMPONENTS, GROUPS
from benchmarks.failover.rounds import Rounds
from benchmarks.failover.watch import Moves
from sidecar.broker.rabbit import RabbitBroker
from sidecar.client.operator import Operator
from sidecar.demo.launcher import ProcessLauncher
from sidecar.demo.layout import free_port
from sidecar.demo.proxy import Proxy
from sidecar.demo.system import System

OPERATOR: Final = "operator"
PROXIED: Final = GROUPS[0].members
"""Components on hosts of which all links can be cut. More would load the one process that measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosStage:
    """What runs, and who watches it."""

    places: ClusterPlaces
    system: System
    gates: DeadlineGates
    told: Told
    halting: Halting
    rounds: ChaosRounds
    takeovers: Rounds


@contextlib.asynccontextmanager
async def chaos_stage(cluster: Cluster, directory: Path, seed: int) -> AsyncIterator[ChaosStage]:
    """The running system, steady; nothing of it is left behind."""
    broker = RabbitBroker(cluster.urls(OPERATOR), name="chaos")
    operator, halter, moves = Operator(broker, "chaos"), Operator(broker, "chaos-halts"), Moves(broker)
    async with contextlib.AsyncExitStack() as stack:
        proxies: dict[str, tuple[Proxy, ...]] = {}
        for each in PROXIED:
            before = [Proxy.before(cluster.url(USERS["sidecar"], node)) for node in NODES]
            proxies[each] = tuple([await stack.enter_async_context(proxy) for proxy in before])
        places = _places(cluster, directory, proxies)
        system = System(ProcessLauncher(directory, PROGRAMS))
        gates = DeadlineGates({each: places.gate(each) for each in COMPONENTS})
        ledger = Ledger(places.ledger(OPERATOR))
        stack.callback(ledger.close)
        http = await stack.enter_async_context(httpx.AsyncClient())
        await broker.start()
        stack.push_async_callback(broker.close)
        stack.push_async_callback(system.stop)
        await broker.wait_ready(60.0)
        stack.callback(asyncio.create_task(gates.run(), name="gates").cancel)
        await system.start(*places.processes())
        stage = Stage(places, system, {}, http)
        told = Told({each: LedgerReader(places.ledger(each)) for each in (*COMPONENTS, OPERATOR)})
        scene = Scene(cluster=cluster, stage=stage, gates=gates, proxies=proxies)
        rounds = ChaosRounds(scene, gates, told, operator, seed)
        await rounds.steady()
        halting = Halting(halter, ledger)
        halts = asyncio.create_task(halting.run(), name="halts")
        stack.callback(halts.cancel)
        yield ChaosStage(
            places=places,
            system=system,
            gates=gates,
            told=told,
            halting=halting,
            rounds=rounds,
            takeovers=Rounds(stage, gates, moves, operator, seed),
        )
        if halts.done():
            halts.result()


def _places(cluster: Cluster, directory: Path, proxies: dict[str, tuple[Proxy, ...]]) -> ClusterPlaces:
    users = {each: ",".join(cluster.urls(each)) for each in USERS.values()}
    sidecars = dict.fromkeys(COMPONENTS, users[USERS["sidecar"]])
    for component, before in proxies.items():
        reached = (proxy.url(cluster.url(USERS["sidecar"], node)) for proxy, node in zip(before, NODES, strict=True))
        sidecars[component] = ",".join(reached)
    return ClusterPlaces(
        directory=directory,
        venue_port=free_port(),
        url=users[USERS["arbiter"]],
        operator=OPERATOR,
        links=sidecars,
        arbiter_ports={each: free_port() for each in ARBITERS},
        users=users,
    )
