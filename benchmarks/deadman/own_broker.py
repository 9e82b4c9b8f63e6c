"""A broker of our own, to be frozen and killed, harming nobody else's.

Owns its start, its two ends and its return: a private rabbitmq-server where there is one, else a container. It must not
know who is connected to it.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from signal import SIGCONT, SIGSTOP
from typing import Protocol

from sidecar.demo.brokers_command import run_command
from sidecar.demo.brokers_docker import IMAGE, START_S, STOP_S, require_engine
from sidecar.demo.brokers_found import WayClosed
from sidecar.demo.brokers_greeting import wait_for_version
from sidecar.demo.brokers_node import PrivateNode, free_port, server_program


class OwnBroker(Protocol):
    """A broker that keeps its address and its data through all of this."""

    @property
    def url(self) -> str:
        """Where it answers."""

    async def freeze(self) -> None:
        """Stop it, with its sockets open: nothing in it runs any more."""

    async def thaw(self) -> None:
        """Let it go on."""

    async def kill(self) -> None:
        """kill -9."""

    async def start_again(self) -> None:
        """After a kill; returns when it answers."""


class _Node:
    def __init__(self, node: PrivateNode) -> None:
        self._node = node
        self.url = node.url

    async def freeze(self) -> None:
        self._node.signal_node(SIGSTOP)

    async def thaw(self) -> None:
        self._node.signal_node(SIGCONT)

    async def kill(self) -> None:
        await self._node.kill_node()

    async def start_again(self) -> None:
        await self._node.start_again()


class _Container:
    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self.url = url

    async def freeze(self) -> None:
        await run_command("docker", "pause", self._name, timeout_s=STOP_S)

    async def thaw(self) -> None:
        await run_command("docker", "unpause", self._name, timeout_s=STOP_S)

    async def kill(self) -> None:
        await run_command("docker", "kill", self._name, timeout_s=STOP_S)

    async def start_again(self) -> None:
        await run_command("docker", "start", self._name, timeout_s=STOP_S)
        await wait_for_version(self.url, timeout_s=START_S)


@contextlib.asynccontextmanager
async def own_broker() -> AsyncIterator[tuple[OwnBroker, str]]:
    """The broker and its version; gone afterwards. WayClosed when there is neither a program nor an engine."""
    program, epmd = server_program(), shutil.which("epmd")
    if program is not None and epmd is not None:
        node = PrivateNode(program=program, epmd=epmd)
        try:
            version = await node.start()
            yield _Node(node), version
        finally:
            node.stop()
        return
    try:
        await require_engine()
    except WayClosed as error:
        raise WayClosed(f"there is no rabbitmq-server on PATH, and {error}") from error
    name, port = f"sidecar-deadman-{os.getpid()}-{secrets.token_hex(3)}", free_port()
    limits = ("--env", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+Q 65536")
    # A fixed port, since a container that is started again would otherwise get another one.
    run = ("docker", "run", "--detach", "--name", name, "--hostname", name, "--publish", f"127.0.0.1:{port}:5672")
    try:
        await run_command(*run, *limits, IMAGE, timeout_s=STOP_S)
        container = _Container(name, f"amqp://guest:guest@127.0.0.1:{port}/")
        yield container, await wait_for_version(container.url, timeout_s=START_S)
    finally:
        await run_command("docker", "rm", "--force", "--volumes", name, timeout_s=STOP_S)
