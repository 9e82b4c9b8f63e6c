"""A RabbitMQ of our own, of the run's kind, with management API and rabbitmqctl: to be harmed, harming nobody else."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from sidecar.demo.brokers_node import WRAPPED, PrivateNode, free_port, server_program

CONTROL_S = 60


@dataclass(frozen=True)
class Managed:
    """Where it answers; `control` runs rabbitmqctl with these arguments. `amqps` is HOST:PORT of its TLS port."""

    amqp_url: str
    management_url: str
    control: Callable[..., None]
    amqps: str = ""


TLS = """
listeners.ssl.default = %s
ssl_options.cacertfile = %s/ca.pem
ssl_options.certfile = %s/127.0.0.1.pem
ssl_options.keyfile = %s/127.0.0.1.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
ssl_cert_login_from = common_name
"""


@contextlib.contextmanager
def managed_broker(in_container: bool, certificates: Path | None = None) -> Iterator[Managed]:
    """Started here, gone afterwards. We are `ops`, an administrator; guest is there too.

    With `certificates` (made by deploy/tls/make-certificates for 127.0.0.1) it answers with TLS on a second port too.
    """
    with _container(certificates) if in_container else _node(certificates) as broker:
        broker.control("add_user", "ops", "secret")
        broker.control("set_user_tags", "ops", "administrator")
        broker.control("set_permissions", "ops", ".*", ".*", ".*")
        yield broker


def host_of_containers() -> str:
    """The address under which testcontainers reaches published ports when it is in a container itself."""
    client = docker.from_env()
    try:
        return str(client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"])
    finally:
        client.close()


@contextlib.contextmanager
def _node(certificates: Path | None) -> Iterator[Managed]:
    program, epmd = server_program(), shutil.which("epmd")
    assert program is not None
    assert epmd is not None
    port, tls_port = free_port(), free_port()
    folder = (str(certificates),) * 3
    node = PrivateNode(
        program=program,
        epmd=epmd,
        plugins="rabbitmq_management" + (",rabbitmq_auth_mechanism_ssl" if certificates else ""),
        statistics_ms=1_000,
        settings=f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n"
        + (TLS % (f"127.0.0.1:{tls_port}", *folder) if certificates else ""),
    )

    def control(*arguments: str) -> None:
        tool = WRAPPED.with_name("rabbitmqctl") if program == WRAPPED else program.with_name("rabbitmqctl")
        environment = node.environment()
        command = [str(tool), "-n", environment["RABBITMQ_NODENAME"], *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=CONTROL_S)

    try:
        asyncio.run(node.start())
        yield Managed(
            f"amqp://ops:secret@127.0.0.1:{node.amqp_port}/",
            f"http://ops:secret@127.0.0.1:{port}",
            control,
            f"127.0.0.1:{tls_port}",
        )
    finally:
        node.stop()


@contextlib.contextmanager
def _container(certificates: Path | None) -> Iterator[Managed]:
    testcontainers_config.ryuk_disabled = True  # Removed below; the reaper's image need not be pulled for that.
    container = DockerContainer("rabbitmq:4-management").with_exposed_ports(5671, 5672, 15672)
    if certificates is not None:
        (certificates / "20-tls.conf").write_text(TLS % ("5671", *("/certificates",) * 3))
        (certificates / "enabled_plugins").write_text("[rabbitmq_management, rabbitmq_auth_mechanism_ssl].\n")
        container.with_volume_mapping(str(certificates), "/certificates")
        container.with_volume_mapping(str(certificates / "20-tls.conf"), "/etc/rabbitmq/conf.d/20-tls.conf")
        container.with_volume_mapping(str(certificates / "enabled_plugins"), "/etc/rabbitmq/enabled_plugins")
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
            f"{host}:{container.get_exposed_port(5671)}",
        )
