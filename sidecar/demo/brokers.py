"""Find a broker for the demo and the tests, or start one: which ways there are and in which order they are tried.

Owns the order and the error that names every way. Each way has a module of its own. A way that cannot be taken, or
that fails, says why and gives way to the next; only SIDECAR_AMQP_URL, being somebody's explicit wish, does not.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.demo.brokers_apt import by_apt
from sidecar.demo.brokers_docker import by_docker
from sidecar.demo.brokers_found import FoundBroker, Say, Way, WayClosed
from sidecar.demo.brokers_greeting import wait_for_version
from sidecar.demo.brokers_node import by_private_node

__all__ = ["BrokerNotFound", "FoundBroker", "Say", "Way", "WayClosed", "checkout_compose_file", "find_broker"]

URL_VARIABLE = "SIDECAR_AMQP_URL"
WAYS_VARIABLE = "SIDECAR_BROKER_WAYS"
ENVIRONMENT_S = 15.0

MEND = (
    f"Set {URL_VARIABLE} to a running broker, or start a Docker engine, or put rabbitmq-server (3.10 or newer) on "
    "PATH, or run as root on a Debian-like system so that apt-get can install it."
)


class BrokerNotFound(Exception):
    """No way led to a broker; the text names each, why it failed, and what to do."""


def checkout_compose_file() -> Path | None:
    """docker-compose.yml of the source tree that we run from; None when installed without one."""
    path = Path(__file__).parents[2] / "docker-compose.yml"
    return path if path.is_file() else None


def standard_ways(environment: Mapping[str, str], compose_file: Path | None) -> tuple[Way, ...]:
    """Every way, in the order of preference."""
    return (
        Way("environment", functools.partial(by_environment, urls=environment.get(URL_VARIABLE, ""))),
        Way("docker", functools.partial(by_docker, compose_file=compose_file)),
        Way("private-node", by_private_node),
        Way("apt", by_apt),
    )


def wanted(ways: Sequence[Way], names: str) -> tuple[Way, ...]:
    """The ways named in a comma-separated list, in its order; all of them when it is empty."""
    by_name = {way.name: way for way in ways}
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in by_name:
            raise BrokerNotFound(f"{WAYS_VARIABLE} names {name!r}: use one or more of {', '.join(by_name)}")
    return tuple(by_name[name] for name in chosen) or tuple(ways)


async def by_environment(say: Say, *, urls: str, timeout_s: float = ENVIRONMENT_S) -> FoundBroker:
    """The first to answer of the brokers that SIDECAR_AMQP_URL names; BrokerNotFound when none does."""
    listed = [each.strip() for each in urls.split(",") if each.strip()]
    if not listed:
        raise WayClosed(f"{URL_VARIABLE} is not set")
    failures: list[str] = []
    for url in listed:
        try:
            version = await wait_for_version(url, timeout_s=timeout_s)
        except (TimeoutError, ValueError) as error:
            failures.append(f"at {urlsplit(url).hostname} {error}")
        else:
            return FoundBroker(url=url, started_by="environment", version=version)
    raise BrokerNotFound(f"{URL_VARIABLE} is set, but {'; '.join(failures)}: start that broker or unset the variable")


async def find_broker(*, say: Say, compose_file: Path | None = None, ways: Sequence[Way] | None = None) -> FoundBroker:
    """A broker that answers, by the first way that leads to one; BrokerNotFound otherwise.

    `say` gets a line of progress at a time. SIDECAR_BROKER_WAYS, such as "private-node,apt", restricts and reorders
    the ways. The caller stops what is returned.
    """
    everything = standard_ways(os.environ, compose_file) if ways is None else ways
    failures: list[str] = []
    for way in wanted(everything, os.environ.get(WAYS_VARIABLE, "")):
        try:
            found = await way.attempt(say)
        except WayClosed as reason:
            failures.append(f"{way.name}: {reason}")
            say(f"not by {failures[-1]}")
        else:
            say(f"RabbitMQ {found.version} answers, by {way.name}")
            return found
    raise BrokerNotFound(f"No broker was found. {'; '.join(failures)}. {MEND}")
