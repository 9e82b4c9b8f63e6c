"""Options that several commands share, so that they read the same everywhere.

Owns their names and help. It must not read what they point to.
"""

import getpass
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from sidecar.core.ladder import scope_problem

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="TOML or JSON; without it only SIDECAR_* variables are read."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=600.0, metavar="SECONDS", help="How long to wait for answers.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is journaled and shown to everyone.")]
ActorOption = Annotated[
    str, typer.Option("--actor", metavar="NAME", help="Who is named in the journal. Default: user@host.")
]

ScopesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="'all' (the default) or KIND:NAME with KIND one of group, component, venue, account, symbol, strategy. "
        "Repeatable.",
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="Count until all is done, or end as soon as the arbiter has journaled it."),
]


def actor_or_default(given: str) -> str:
    """`given`, or the user of this process at this host."""
    if given:
        return given
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container may run under a number that has no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def require_scopes(given: list[str] | None) -> tuple[str, ...]:
    """The scopes, `all` where none is given. BadParameter for one that names nothing."""
    scopes = tuple(given or ("all",))
    if problem := next(filter(None, map(scope_problem, scopes)), ""):
        raise typer.BadParameter(problem, param_hint="--scope")
    return scopes


def require_reason(reason: str) -> str:
    """The reason without blanks around it. BadParameter when nothing is left."""
    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    return reason.strip()
