"""The command `sidecar`: puts the commands together.

Owns the list of commands and the options of the root. It must not do what a command does.
"""

import logging
from typing import Annotated

import typer

from sidecar import __version__
from sidecar.cli import (
    archive,
    demo,
    doctor,
    explain,
    halt,
    history,
    operator,
    pause,
    processes,
    simulate,
    status,
    switchover,
)
from sidecar.cli.audit import build_audit
from sidecar.cli.configuration import build_config
from sidecar.cli.dead_letters import build_dead_letters
from sidecar.cli.errors import MEANINGS, PlainErrors
from sidecar.cli.group import build_group
from sidecar.cli.schemas import build_schemas
from sidecar.cli.topology import build_topology
from sidecar.telemetry.logs import configure_logs

EPILOG = "Exit codes: " + "; ".join(f"{code.value} {text}" for code, text in MEANINGS.items()) + ". See docs/cli.md."


def build_app() -> typer.Typer:
    """All commands, ready to be called."""
    app = typer.Typer(
        name="sidecar",
        cls=PlainErrors,
        epilog=EPILOG,
        help="The control plane beside automated trading processes: leases, failover, halts, three-phase orders.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    app.command()(processes.run)
    app.command()(processes.arbiter)
    app.command()(processes.reconcile)
    app.command()(archive.archive)
    app.command()(status.status)
    app.command()(halt.halt)
    app.command()(operator.resume)
    app.command()(explain.explain)
    app.command()(history.history)
    app.command()(operator.failover)
    app.command()(switchover.switchover)
    app.command()(switchover.drain)
    app.command()(pause.pause)
    app.command()(pause.unpause)
    app.command()(doctor.doctor)
    app.add_typer(build_audit(), name="audit")
    app.add_typer(build_dead_letters(), name="dead-letters")
    app.add_typer(build_group(), name="group")
    app.add_typer(build_topology(), name="topology")
    app.add_typer(build_schemas(), name="schemas")
    app.add_typer(build_config(), name="config")
    app.command("simulate")(simulate.simulate_command)
    app.command()(demo.demo)
    app.command()(version)
    return app


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point of the console script and of `python -m sidecar.cli.main`."""
    build_app()()


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Logs of a command go to stderr and are few; the long-running processes set up their own."""
    configure_logs("console", "debug" if debug else "error")
    if not debug:  # Logs each failed attempt to connect as an error; the command says it once, in a sentence.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
