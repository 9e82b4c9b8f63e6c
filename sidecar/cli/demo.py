"""`sidecar demo`: the whole system on this machine, from its first process to its last.

Owns the command line, the search for a broker and the choice of the launcher. The story is in sidecar/demo/.
"""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.embedded import EmbeddedLauncher
from sidecar.cli.options import JsonOption
from sidecar.cli.output import console
from sidecar.cli.process import run_to_end
from sidecar.demo.brokers import checkout_compose_file, find_broker
from sidecar.demo.figures import EMBEDDED
from sidecar.demo.launcher import ProcessLauncher
from sidecar.demo.runner import OK, DemoOptions, run_demo

SIGNALLED: Final = 128
"""Added to a signal's number, as a shell does."""


def demo(
    embedded: Annotated[
        bool, typer.Option("--embedded", help="One process and an in-process broker, which survives nothing.")
    ] = False,
    as_json: JsonOption = False,
    keep_logs: Annotated[bool, typer.Option("--keep", help="Keep the logs of all processes.")] = False,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where the figures go.")] = Path("build/demo.json"),
    seed: Annotated[int, typer.Option(min=0, help="Decides how the simulated venue treats each order.")] = 1,
) -> None:
    """Orders flow; then failover, halt, resume and an arbiter's takeover really happen, or the exit code is 1.

    The broker: SIDECAR_AMQP_URL, or a Docker engine, or rabbitmq-server on PATH, or apt-get when root.
    """
    screen = console(stderr=as_json)
    work = _embedded if embedded else _with_broker
    try:
        code = run_to_end(work(output, keep_logs, seed, screen))
    except asyncio.CancelledError:
        code = SIGNALLED + signal.SIGTERM
    if as_json and code == OK:
        typer.echo(output.read_text(), nl=False)
    raise typer.Exit(code)


async def _with_broker(output: Path, keep_logs: bool, seed: int, screen: Console) -> int:
    """The real thing: operating-system processes over RabbitMQ."""
    found = await find_broker(
        say=lambda line: screen.print(line, markup=False, soft_wrap=True), compose_file=checkout_compose_file()
    )
    try:
        options = DemoOptions(
            broker_settings={"urls": [found.url]},
            started_by=found.started_by,
            output=output,
            keep_logs=keep_logs,
            seed=seed,
        )
        return await run_demo(options, RabbitBroker([found.url], name="demo"), ProcessLauncher, screen)
    finally:
        await found.stop()


async def _embedded(output: Path, keep_logs: bool, seed: int, screen: Console) -> int:
    """The same parts as tasks of this process."""
    screen.print("embedded: one process, an in-process broker; nothing here survives anything")
    launcher = EmbeddedLauncher()
    options = DemoOptions(
        broker_settings={"embedded": True}, started_by=EMBEDDED, output=output, keep_logs=keep_logs, seed=seed
    )
    try:
        return await run_demo(options, launcher.broker("demo"), launcher.logging_to, screen)
    finally:
        launcher.close()
