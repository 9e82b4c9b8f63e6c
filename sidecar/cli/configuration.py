"""`sidecar config`: check a configuration file, and print what every field means.

Owns the two commands. The rules are in sidecar/config/.
"""

import typer

from sidecar.cli.graph import read_settings
from sidecar.cli.options import ConfigOption
from sidecar.cli.output import console
from sidecar.config.describe import describe


def check(config: ConfigOption = None) -> None:
    """Read the file and the environment as every process does. Exit code 2 and a sentence for each problem."""
    settings = read_settings(config)
    groups = ", ".join(f"{name} ({len(each.components)})" for name, each in sorted(settings.groups.items()))
    console().print(f"the configuration is valid; groups: {groups or 'none'}", markup=False)


def describe_fields() -> None:
    """Print docs/configuration.md: every field, its type, default, variable and effect."""
    typer.echo(describe(), nl=False)


def build_config() -> typer.Typer:
    """The group `sidecar config`."""
    app = typer.Typer(help="The configuration file and the SIDECAR_* variables.", no_args_is_help=True)
    app.command()(check)
    app.command("describe")(describe_fields)
    return app
