"""A RabbitMQ of our own, of the run's kind, with management API and rabbitmqctl: to be harmed, harming nobody else."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from sidecar.demo.brokers_node import WRAPPED, PrivateNode, free_port, server_program

CONTROL_S = 60


@dataclass(frozen=True)
class Managed:
    """Where it answers; `control` runs rabbitmqctl with these arguments."""

    amqp_url: str
    management_url: str
    control: Callable[..., None]


@contextlib.contextmanager
def managed_broker(in_container: bool) -> Iterator[Managed]:
    """Started here, gone afterwards. We are `ops`, an administrator; guest is there too."""
    with _container() if in_container else _node() as broker:
        broker.control("add_user", "ops", "secret")
        broker.control("set_user_tags", "ops", "administrator")
        broker.control("set_permissions", "ops", ".*", ".*", ".*")
        yield broker


@contextlib.contextmanager
def _node() -> Iterator[Managed]:
    program, epmd = server_program(), shutil.which("epmd")
    assert program is not None
    assert epmd is not None
    port = free_port()
    node = PrivateNode(
        program=program,
        epmd=epmd,
        plugins="rabbitmq_management",
        statistics_ms=1_000,
        settings=f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n",
    )

    def control(*arguments: str) -> None:
        tool = WRAPPED.with_name("rabbitmqctl") if program == WRAPPED else program.with_name("rabbitmqctl")
        environment = node.environment()
        command = [str(tool), "-n", environment["RABBITMQ_NODENAME"], *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=CONTROL_S)

    try:
        asyncio.run(node.start())
        yield Managed(f"amqp://ops:secret@127.0.0.1:{node.amqp_port}/", f"http://ops:secret@127.0.0.1:{port}", control)
    finally:
        node.stop()


@contextlib.contextmanager
def _container() -> Iterator[Managed]:
    testcontainers_config.ryuk_disabled = True  # Removed below; the reaper's image need not be pulled for that.
    container = DockerContainer("rabbitmq:4-management").with_exposed_ports(5672, 15672)
    container.with_env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+Q 65536")
    container.waiting_for(LogMessageWaitStrategy("Server startup complete").with_startup_timeout(90))

    def control(*arguments: str) -> None:
        ended = container.exec(["rabbitmqctl", *arguments])
        if ended.exit_code:
            raise RuntimeError(ended.output.decode(errors="replace"))

    with container:
        host = container.get_container_host_ip()
        yield Managed(
            f"amqp://ops:secret@{host}:{container.get_exposed_port(5672)}/",
            f"http://ops:secret@{host}:{container.get_exposed_port(15672)}",
            control,
        )
