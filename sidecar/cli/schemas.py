"""`sidecar schemas export`: the messages and the gate page for other languages.

Owns the choice of what is published under schemas/. The texts come from sidecar/messages/, sidecar/gate/ and, for the
local interface, from its routes.
"""

import json
from pathlib import Path

import typer

from sidecar.agent.local_api import describe_api
from sidecar.cli.generated import DirectoryArgument, write_files
from sidecar.gate.description import describe
from sidecar.messages.export import schemas

GATE_PAGE = "gate-page.md"
LOCAL_INTERFACE = "openapi.json"


def schema_files() -> dict[str, str]:
    """Everything below schemas/, by path."""
    document = json.dumps(describe_api(), indent=2, ensure_ascii=False) + "\n"
    return {**schemas(), GATE_PAGE: describe(), LOCAL_INTERFACE: document}


def export(directory: DirectoryArgument = Path("schemas")) -> None:
    """Write JSON Schemas, examples, the AsyncAPI and OpenAPI documents and the description of the gate page."""
    write_files(directory, schema_files())


def build_schemas() -> typer.Typer:
    """The group `sidecar schemas`."""
    app = typer.Typer(help="Descriptions of the messages, for other languages.", no_args_is_help=True)
    app.callback()(lambda: None)
    app.command()(export)
    return app
