"""`sidecar schemas export`: the messages and the gate page for other languages.

Owns the choice of what is published under schemas/. The texts come from sidecar/messages/ and sidecar/gate/.
"""

from pathlib import Path

import typer

from sidecar.cli.generated import DirectoryArgument, write_files
from sidecar.gate.description import describe
from sidecar.messages.export import schemas

GATE_PAGE = "gate-page.md"


def schema_files() -> dict[str, str]:
    """Everything below schemas/, by path."""
    return {**schemas(), GATE_PAGE: describe()}


def export(directory: DirectoryArgument = Path("schemas")) -> None:
    """Write JSON Schemas, examples, the AsyncAPI document and the description of the gate page."""
    write_files(directory, schema_files())


def build_schemas() -> typer.Typer:
    """The group `sidecar schemas`."""
    app = typer.Typer(help="Descriptions of the messages, for other languages.", no_args_is_help=True)
    app.callback()(lambda: None)
    app.command()(export)
    return app
