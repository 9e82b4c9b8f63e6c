"""The object graph: which broker the processes and the operator's commands get, made from the settings.

Owns construction. It must not run anything for longer than a command needs, and keeps nothing between calls.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sidecar.broker.examination import Question
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.users import Role
from sidecar.client.operator import Operator
from sidecar.config.errors import ConfigError
from sidecar.config.load import load_settings
from sidecar.config.models import Settings


def read_settings(path: Path | None) -> Settings:
    """The file at `path` (None for no file) and this process's environment over it. Raises ConfigError."""
    return load_settings(path, environ=os.environ)


def build_broker(settings: Settings, name: str) -> RabbitBroker:
    """RabbitMQ as configured, not started; `name` is shown for its connections in RabbitMQ's own tools.

    Raises ConfigError for `broker.embedded`: an in-process broker reaches no other process.
    """
    broker = settings.broker
    if broker.embedded:
        raise ConfigError(
            "broker.embedded: the in-process broker reaches nobody outside its own process; "
            "remove it and set broker.urls, or try the system in one process with `sidecar demo --embedded`"
        )
    return RabbitBroker(
        [each.get_secret_value() for each in broker.urls],
        name=name,
        connect_timeout_ms=broker.connect_timeout_ms,
        publish_timeout_ms=broker.publish_timeout_ms,
        amqp_heartbeat_s=broker.amqp_heartbeat_s,
        backoff_max_ms=broker.backoff_max_ms,
        pending_max=broker.pending_max,
    )


def archive_url(settings: Settings) -> str:
    """Where the archive is. Raises ConfigError when `archive.url_file` cannot be read."""
    archive = settings.archive
    if archive.url is not None:
        return archive.url.get_secret_value()
    if not archive.url_file:
        return f"sqlite:///{Path(settings.run_dir).absolute() / 'archive.db'}"
    try:
        return Path(archive.url_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"archive.url_file: the file {archive.url_file} cannot be read ({why}); correct the path"
        ) from None


def broker_question(settings: Settings, role: Role | None, *, starting: bool = False) -> Question:
    """What `sidecar doctor` and every start ask of the broker."""
    broker = settings.broker
    return Question(
        urls=[each.get_secret_value() for each in broker.urls],
        management_url=broker.management_url.get_secret_value() if broker.management_url else None,
        strict=broker.strict,
        role=role,
        name=settings.component.name if role == "component" and settings.component else "",
        group=settings.group_of(settings.component.name) if role == "component" and settings.component else "",
        starting=starting,
    )


@asynccontextmanager
async def operator_at(settings: Settings, actor: str, timeout_s: float) -> AsyncIterator[Operator]:
    """An operator with a connection that stands. Raises BrokerAway when there is none within `timeout_s`."""
    broker = build_broker(settings, f"operator {actor}")
    operator = Operator(broker, actor, settings.security.senders())
    await broker.start()
    try:
        await broker.wait_ready(timeout_s)
        yield operator
    finally:
        await broker.close()
