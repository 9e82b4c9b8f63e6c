"""A cluster of three RabbitMQ nodes in containers, with deploy/'s configuration, and what can be done to its nodes.

Owns the containers and their end: a project of its own, removed in any case. It must not know what runs on the broker.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.broker.topology import QUEUES
from sidecar.demo.brokers_command import CommandFailed, run_command
from sidecar.demo.brokers_greeting import wait_for_version
from sidecar.demo.brokers_node import free_port

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = "sidecar-chaos"
NODES: Final = ("broker-1", "broker-2", "broker-3")
UP_S: Final = 240.0
"""Three nodes boot at once; the first time the image is fetched."""
WHOLE_S: Final = 120.0
DOWN_S: Final = 60.0
COMMAND_S: Final = 45.0
LOOK_AGAIN_S: Final = 0.5
QUORUM_QUEUES: Final = tuple(each.name for each in QUEUES if each.kind == "quorum")
STREAMS: Final = tuple(each.name for each in QUEUES if each.kind == "stream")

_REPLICA: Final = re.compile(r"{role,(writer|replica)},\s*{node,'rabbit@([^']+)'}")


class ClusterFailed(Exception):
    """The cluster itself did not come up, or not together again; this says nothing of our processes."""


class Cluster:
    """The three nodes, by the names of `NODES`. Use it as an asynchronous context. `conf` stands for deploy/'s own."""

    def __init__(self, conf: Path | None = None) -> None:
        self._conf = {"CHAOS_CONF": str(conf.resolve())} if conf else {}
        self.ports = {each: free_port() for each in NODES}
        self.version = ""
        files = ("-f", str(ROOT / "docker-compose.yml"), "-f", str(Path(__file__).with_name("compose.yml")))
        self._compose = ("docker", "compose", "-p", PROJECT, *files)

    async def __aenter__(self) -> "Cluster":
        try:
            await self._down()  # A run that was killed may have left its own behind.
            await run_command(
                *(*self._compose, "up", "--detach", "--wait", "--no-deps", *NODES),
                timeout_s=UP_S,
                environment=self._environment(),
            )
            await self.ctl(NODES[0], "await_online_nodes", str(len(NODES)), "--timeout", "120", timeout_s=UP_S)
            await run_command(
                *(*self._compose, "up", "--detach", "--no-deps", "rejoin"),
                timeout_s=UP_S,
                environment=self._environment(),
            )
            self.version = await wait_for_version(self.url("operator", NODES[0]), timeout_s=COMMAND_S)
        except (CommandFailed, TimeoutError) as error:
            await self._down()
            raise ClusterFailed(f"three nodes did not become a cluster: {error}") from error
        except BaseException:
            await self._down()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._down()

    # --- reaching it ---

    def url(self, user: str, node: str) -> str:
        """One node as this user reaches it; the passwords of definitions.json beside this file are the names."""
        return f"amqp://{user}:{user}@127.0.0.1:{self.ports[node]}/"

    def urls(self, user: str) -> tuple[str, ...]:
        """All nodes."""
        return tuple(self.url(user, each) for each in NODES)

    async def ctl(self, node: str, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """`rabbitmqctl` inside the node's container."""
        return await run_command(
            "docker", "exec", _name(node), "rabbitmqctl", "--quiet", *arguments, timeout_s=timeout_s
        )

    async def leader(self, queue: str) -> str:
        """The node with the leader of a quorum queue or the writer of a stream. Ask while all nodes run."""
        for row in (await self.ctl(NODES[0], "list_queues", "name", "leader")).splitlines():
            name, _, node = row.partition("\t")
            if name == queue and node:
                return node.removeprefix("rabbit@")
        raise ClusterFailed(f"no node leads {queue}")

    async def whole(self) -> None:
        """Return when all three nodes are one cluster and every durable queue and stream has three replicas on line."""
        problem = "nothing was heard"
        try:
            async with asyncio.timeout(WHOLE_S):
                while True:
                    problem = await self._problem()
                    if not problem:
                        return
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            raise ClusterFailed(f"the cluster is not whole again after {WHOLE_S:.0f} s: {problem}") from None

    async def autopsy(self, directory: Path) -> None:
        """What each node believes, and its log, as files: evidence after a failure. What cannot be had is left out."""
        questions = {
            "bindings": ("list_bindings", "source_name", "destination_name", "routing_key"),
            "queues": ("list_queues", "name", "type", "pid", "state", "consumers", "messages"),
            "connections": ("list_connections", "client_properties", "pid", "state", "peer_port", "port"),
            "status": ("cluster_status",),
        }
        for node in NODES:
            for what, question in questions.items():
                with contextlib.suppress(CommandFailed):
                    (directory / f"{node}.{what}").write_text(await self.ctl(node, *question))
            with contextlib.suppress(CommandFailed):
                (directory / f"{node}.log").write_text(
                    await run_command("docker", "logs", "--tail", "2000", _name(node), timeout_s=COMMAND_S)
                )

    async def parted(self) -> str:
        """The node that believes itself parted from the others although it reaches them; empty when there is none.

        A frozen node that wakes can come to that. `pause_minority` acts when nodes go, and none goes any more.
        deploy/rabbitmq/rejoin.sh ends it.
        """
        found: dict[str, int] = {}
        for node in NODES:
            with contextlib.suppress(CommandFailed):
                found[node] = (await self.ctl(node, "eval", "rabbit_node_monitor:partitions().")).count("rabbit@")
        worst = max(found, key=lambda each: found[each], default="")
        return worst if found.get(worst) else ""

    # --- what can be done to a node ---

    async def kill(self, *nodes: str) -> None:
        """SIGKILL, all of these at once."""
        await run_command("docker", "kill", *map(_name, nodes), timeout_s=COMMAND_S)

    async def start(self, *nodes: str) -> None:
        """Start what was killed; returns before it has booted."""
        await run_command("docker", "start", *map(_name, nodes), timeout_s=COMMAND_S)

    async def restart(self, node: str) -> None:
        """An orderly restart, as for an upgrade; returns before it has booted."""
        await run_command("docker", "restart", "--time", "20", _name(node), timeout_s=COMMAND_S)

    async def pause(self, node: str) -> None:
        """Freeze every process of the node; its sockets stay open and say nothing."""
        await run_command("docker", "pause", _name(node), timeout_s=COMMAND_S)

    async def unpause(self, node: str) -> None:
        """Let it go on, unaware."""
        await run_command("docker", "unpause", _name(node), timeout_s=COMMAND_S)

    async def unplug(self, node: str) -> None:
        """Unplug the node: neither peers nor clients reach it, and nobody is told. `pause_minority` then stops it."""
        await run_command("docker", "network", "disconnect", _network(), _name(node), timeout_s=COMMAND_S)

    async def plug_in(self, node: str) -> None:
        """Give its link back."""
        await run_command("docker", "network", "connect", "--alias", node, _network(), _name(node), timeout_s=COMMAND_S)

    # --- inside ---

    async def _problem(self) -> str:
        """What is missing to a whole cluster; empty when nothing is."""
        try:
            rows = (await self.ctl(NODES[0], "list_queues", "name", "online")).splitlines()
            status = f'[rabbit_stream_queue:status(<<"/">>, Q) || Q <- [{", ".join(map(_binary, STREAMS))}]].'
            replicas = Counter(node for _, node in _REPLICA.findall(await self.ctl(NODES[0], "eval", status)))
        except CommandFailed as error:
            return str(error)
        online = {name: nodes for name, _, nodes in (row.partition("\t") for row in rows)}
        for queue in QUORUM_QUEUES:
            if lacking := [each for each in NODES if f"rabbit@{each}" not in online.get(queue, "")]:
                return f"{queue} is not on {', '.join(lacking)}"
        if node := await self.parted():
            return f"{node} believes itself parted from the others"
        lacking = [each for each in NODES if replicas[each] < len(STREAMS)]
        return f"not every stream is on {', '.join(lacking)}" if lacking else ""

    async def _down(self) -> None:
        await run_command(
            *(*self._compose, "down", "--volumes", "--timeout", "1"),
            timeout_s=DOWN_S,
            environment=self._environment(),
        )

    def _environment(self) -> Mapping[str, str]:
        ports = {f"CHAOS_AMQP_{node.rpartition('-')[2]}": str(port) for node, port in self.ports.items()}
        return {**ports, **self._conf, "MANAGEMENT_PORT": "0"}


def _name(node: str) -> str:
    return f"{PROJECT}-{node}-1"


def _binary(name: str) -> str:
    return f'<<"{name}">>'


def _network() -> str:
    return f"{PROJECT}_default"
