"""The broker of the whole test run: found or started once, before the first test that wants it, stopped at the end.

The order is the demo's (sidecar/demo/brokers.py), with testcontainers for the Docker way. With no broker the run fails.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence

import aio_pika
import pytest
import structlog
from archive_places import archive_url, postgres, postgres_url  # noqa: F401  # Fixtures, found here by name.
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from sidecar.broker.interface import Broker
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import QUEUES
from sidecar.demo.brokers import BrokerNotFound, FoundBroker, Say, Way, WayClosed, find_broker, standard_ways
from sidecar.demo.brokers_docker import IMAGE, require_engine
from sidecar.demo.brokers_greeting import wait_for_version

START_S = 90.0
FOUND = pytest.StashKey[FoundBroker]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for the broker's URL, so that `-m broker` selects it."""
    for item in items:
        if "amqp_url" in getattr(item, "fixturenames", ()):
            item.add_marker("broker")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the broker, visibly, when a collected test wants it; end the run when there is none to be had."""
    if session.config.option.collectonly:
        return
    if any(item.get_closest_marker("broker") for item in session.items):
        try:
            broker_of(session.config)
        except BrokerNotFound as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.TESTS_FAILED)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started, however the run ended."""
    if FOUND in config.stash:
        asyncio.run(config.stash[FOUND].stop())


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Every test leaves logging as it found it."""
    root, aiormq = logging.getLogger(), logging.getLogger("aiormq")
    handlers, level, raising, quiet = list(root.handlers), root.level, logging.raiseExceptions, aiormq.level
    yield
    aiormq.setLevel(quiet)
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def amqp_url(pytestconfig: pytest.Config) -> str:
    """URL of a real RabbitMQ with an administrator's rights. Shared: use names of your own or clean up."""
    return broker_of(pytestconfig).url


@pytest.fixture
async def clean_amqp_url(amqp_url: str) -> str:
    """The same broker, with none of our queues on it: whoever starts now starts with an empty journal."""
    await remove_our_queues(amqp_url)
    return amqp_url


async def remove_our_queues(amqp_url: str) -> None:
    """Begin anew."""
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        for queue in QUEUES:
            channel = await connection.channel()
            await channel.queue_delete(queue.name, timeout=10)


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)])
def connect(request: pytest.FixtureRequest) -> Callable[[str], Broker]:
    """A way to connect one more process to one broker without a journal."""
    if request.param == "memory":
        hub = MemoryHub()
        return lambda name: MemoryBroker(hub, name=name)
    url = request.getfixturevalue("clean_amqp_url")
    return lambda name: RabbitBroker([url], name=name)


@pytest.fixture(scope="session")
def broker_version(pytestconfig: pytest.Config) -> tuple[int, int]:
    """(major, minor) of that RabbitMQ."""
    major, minor = broker_of(pytestconfig).version.split(".")[:2]
    return int(major), int(minor)


@pytest.fixture(scope="session")
def broker_in_container(pytestconfig: pytest.Config) -> bool:
    """Whether this run's broker is a container, so that another one can be had too."""
    return broker_of(pytestconfig).started_by == "docker"


def broker_of(config: pytest.Config) -> FoundBroker:
    """The run's broker, started now if it is not there yet. BrokerNotFound names every way."""
    if FOUND not in config.stash:
        reporter = config.pluginmanager.get_plugin("terminalreporter")

        def say(line: str) -> None:
            if reporter is not None:
                reporter.write_line(f"broker: {line}")

        config.stash[FOUND] = asyncio.run(find_broker(say=say, ways=ways_of_tests()))
    return config.stash[FOUND]


def ways_of_tests() -> Sequence[Way]:
    """The demo's ways, but with testcontainers for Docker."""
    return [
        Way("docker", by_testcontainers) if way.name == "docker" else way
        for way in standard_ways(os.environ, compose_file=None)
    ]


async def by_testcontainers(say: Say) -> FoundBroker:
    """Start RabbitMQ 4 in a container. WayClosed when no engine answers or it cannot run the image."""
    await require_engine()
    # The container is removed below; the image of the reaper that testcontainers adds need not be pulled for that.
    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(IMAGE).with_exposed_ports(5672)
    say(f"starting {IMAGE} with testcontainers (the first time pulls the image)")
    try:
        await asyncio.to_thread(container.start)
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(5672)}"
        url = f"amqp://guest:guest@{address}/"
        version = await wait_for_version(url, timeout_s=START_S)
    except BaseException as error:
        container.stop()
        if isinstance(error, (DockerException, TimeoutError, ConnectionError)):
            raise WayClosed(f"Docker answers but could not start {IMAGE}: {error}") from error
        raise

    async def stop() -> None:
        container.stop()
        container.get_docker_client().client.close()

    return FoundBroker(url=url, started_by="docker", version=version, stop_what_we_started=stop)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --rewrite-scenarios."""
    parser.addoption(
        "--rewrite-scenarios",
        action="store_true",
        help="write what the scenarios say now into their files, to be read before it is committed",
    )
