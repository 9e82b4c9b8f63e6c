"""What the demo's own processes share: addresses, how they end on a signal, their broker connection.

Owns the signals of a process. It must not know what runs in it.
"""

import asyncio
import signal
from typing import Protocol

from sidecar.broker.rabbit import RabbitBroker
from sidecar.config.models import BrokerSettings


class Stoppable(Protocol):
    """Something that runs until it is asked to stop."""

    async def run(self) -> None:
        """Until `stop`."""

    def stop(self) -> None:
        """End `run`, soon and in order."""


def address(text: str) -> tuple[str, int]:
    """HOST:PORT; raises ValueError on anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


async def run_until_signalled(process: Stoppable) -> None:
    """Run it; SIGTERM and SIGINT stop it in order."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, process.stop)
    await process.run()


def rabbit_broker(settings: BrokerSettings, name: str) -> RabbitBroker:
    """The connection of one process, as configured."""
    return RabbitBroker(
        [url.get_secret_value() for url in settings.urls],
        name=name,
        connect_timeout_ms=settings.connect_timeout_ms,
        publish_timeout_ms=settings.publish_timeout_ms,
        amqp_heartbeat_s=settings.amqp_heartbeat_s,
        backoff_max_ms=settings.backoff_max_ms,
        pending_max=settings.pending_max,
    )
