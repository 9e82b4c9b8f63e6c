"""`sidecar topology`: the exchanges and queues on the broker, as files, as they are, as they should be.

Owns the three commands. What the topology is stands in sidecar/broker/topology.py.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from sidecar.broker.admin import apply, check_each
from sidecar.broker.export import files, users_file
from sidecar.broker.finding import Finding
from sidecar.broker.interface import BrokerAway
from sidecar.broker.management import vhost_of
from sidecar.cli.findings import show
from sidecar.cli.generated import DirectoryArgument, write_files
from sidecar.cli.graph import read_settings
from sidecar.cli.options import ConfigOption, JsonOption
from sidecar.cli.output import console, print_json
from sidecar.cli.users import passwords_in, users_of


def export(
    directory: DirectoryArgument = Path("topology"),
    config: ConfigOption = None,
    passwords: Annotated[
        Path | None,
        typer.Option("--passwords", metavar="DIR", help="Files named after users, a password in each.", exists=True),
    ] = None,
    component: Annotated[
        list[str] | None, typer.Option("--component", help="Also NAME[:GROUP], registered at run time. Repeatable.")
    ] = None,
) -> None:
    """Write definitions.json for RabbitMQ 4 and for 3.10, and the rights of each role.

    With a configuration also users.json: a user for each component, arbiter, operator, auditor, reconciler and venue.
    """
    if config is None:
        if passwords or component:
            raise typer.BadParameter("say for which installation", param_hint="--config")
        write_files(directory, files())
        return
    settings = read_settings(config)
    users = users_of(settings, component or ())
    known = {} if passwords is None else passwords_in(passwords, users)
    vhost = vhost_of(settings.broker.urls[0].get_secret_value())
    write_files(directory, {**files(), "users.json": users_file(users, vhost=vhost, passwords=known)})


def check_broker(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Compare what the broker has with what this version wants; changes nothing. Exit code 1 if they differ."""
    show(asyncio.run(findings_at(read_settings(config).broker.urls)), as_json)


def apply_to_broker(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Declare every exchange, queue and binding that is missing; an existing one that differs is left, exit code 1."""
    lines = asyncio.run(_apply(read_settings(config).broker.urls))
    if as_json:
        print_json(lines)
    else:
        console().print("\n".join(lines), markup=False)


def build_topology() -> typer.Typer:
    """The group `sidecar topology`."""
    app = typer.Typer(help="Exchanges, queues and permissions on the broker.", no_args_is_help=True)
    app.command()(export)
    app.command("check")(check_broker)
    app.command("apply")(apply_to_broker)
    return app


async def findings_at(urls: Sequence[SecretStr]) -> list[Finding]:
    """Whether each node answers, and whether exchanges and queues are as they should be."""
    return await check_each([each.get_secret_value() for each in urls], way=False)


async def _apply(urls: Sequence[SecretStr]) -> list[str]:
    *others, last = urls
    for url in others:
        try:
            return await apply(url.get_secret_value())
        except BrokerAway:
            continue
    return await apply(last.get_secret_value())
