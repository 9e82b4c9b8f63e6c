"""A broker in a container: the compose file's `demo-broker` service, or the plain image where there is no such file.

Owns what we start through the Docker command line and its removal. It must not touch other containers: each search
has a project or container name of its own. The port is a free one on the loopback interface.
"""

import functools
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from sidecar.demo.brokers_command import CommandFailed, run_command
from sidecar.demo.brokers_found import FoundBroker, Say, WayClosed
from sidecar.demo.brokers_greeting import wait_for_version

IMAGE = "rabbitmq:4-management"
SERVICE = "demo-broker"
ANSWER_S = 10.0
PULL_S = 600.0
START_S = 90.0
STOP_S = 60.0


async def by_docker(say: Say, *, compose_file: Path | None) -> FoundBroker:
    """Start RabbitMQ 4 in a container. WayClosed when no engine answers or it cannot run the image."""
    await require_engine()
    if compose_file is not None and await _has_compose():
        return await _by_compose(say, compose_file)
    return await _by_run(say)


async def require_engine() -> None:
    """Return when a Docker engine answers; WayClosed otherwise."""
    try:
        await run_command("docker", "version", "--format", "{{.Server.Version}}", timeout_s=ANSWER_S)
    except CommandFailed as error:
        raise WayClosed(f"no Docker engine answers ({error})") from error


async def _has_compose() -> bool:
    try:
        await run_command("docker", "compose", "version", timeout_s=ANSWER_S)
    except CommandFailed:
        return False
    return True


async def _by_compose(say: Say, compose_file: Path) -> FoundBroker:
    project = f"sidecar-demo-{os.getpid()}-{secrets.token_hex(3)}"
    compose = ("docker", "compose", "-f", str(compose_file), "-p", project, "--profile", "demo")
    say(f"starting {IMAGE} with docker compose (the first time pulls the image)")
    return await _start(
        up=(*compose, "up", "--detach", "--no-deps", SERVICE),
        where=(*compose, "port", SERVICE, "5672"),
        stop=(*compose, "down", "--volumes", "--timeout", "0"),
    )


async def _by_run(say: Say) -> FoundBroker:
    name = f"sidecar-demo-{os.getpid()}-{secrets.token_hex(3)}"
    say(f"starting {IMAGE} with docker run (the first time pulls the image)")
    # Erlang sizes its port table by the number of files it may open; some engines allow a billion.
    limits = ("--env", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+Q 65536")
    return await _start(
        up=("docker", "run", "--detach", "--name", name, "--publish", "127.0.0.1::5672", *limits, IMAGE),
        where=("docker", "port", name, "5672/tcp"),
        stop=("docker", "rm", "--force", "--volumes", name),
    )


async def _start(*, up: tuple[str, ...], where: tuple[str, ...], stop: tuple[str, ...]) -> FoundBroker:
    remove: Callable[[], Awaitable[str]] = functools.partial(run_command, *stop, timeout_s=STOP_S)

    async def stop_container() -> None:
        await remove()

    try:
        await run_command(*up, timeout_s=PULL_S)
        address = (await run_command(*where, timeout_s=ANSWER_S)).split()[0]
        url = f"amqp://guest:guest@{address}/"
        version = await wait_for_version(url, timeout_s=START_S)
    except BaseException as error:
        # Also on cancellation: the name is ours, so whatever half of it exists goes.
        try:
            await remove()
        except CommandFailed as second:
            error.add_note(f"and removing it failed: {second}")
        if isinstance(error, (CommandFailed, TimeoutError, IndexError)):
            raise WayClosed(f"Docker answers but could not start {IMAGE}: {error}") from error
        raise
    return FoundBroker(url=url, started_by="docker", version=version, stop_what_we_started=stop_container)
