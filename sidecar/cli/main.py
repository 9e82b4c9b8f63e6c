"""The command `sidecar`: puts the commands together, or as many of them as are called.

Owns the list of commands and the options of the root. It must not do what a command does.
"""

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from sidecar import __version__
from sidecar.cli.errors import MEANINGS, PlainErrors
from sidecar.telemetry.logs import configure_logs

EPILOG = "Exit codes: " + "; ".join(f"{code.value} {text}" for code, text in MEANINGS.items()) + ". See docs/cli.md."
COMMANDS: Final[Mapping[str, str]] = {
    "run": "processes.run",
    "arbiter": "processes.arbiter",
    "reconcile": "processes.reconcile",
    "archive": "archive.archive",
    "status": "status.status",
    "compare": "compare.compare",
    "halt": "halt.halt",
    "kill": "emergency.kill",
    "flatten": "emergency.flatten",
    "shutdown": "emergency.shutdown",
    "resume": "operator.resume",
    "explain": "explain.explain",
    "history": "history.history",
    "orders": "orders.orders",
    "order": "order.order",
    "breaks": "breaks.list_breaks",
    "failover": "operator.failover",
    "switchover": "switchover.switchover",
    "drain": "switchover.drain",
    "pause": "pause.pause",
    "unpause": "pause.unpause",
    "resolve-difference": "differences.resolve_difference",
    "doctor": "doctor.doctor",
    "simulate": "simulate.simulate_command",
    "demo": "demo.demo",
    "version": "main.version",
}
"""Each command's module and function. Only the one that is called is imported: a halt must not wait for the others."""
GROUPS: Final[Mapping[str, str]] = {
    "audit": "audit.build_audit",
    "dead-letters": "dead_letters.build_dead_letters",
    "group": "group.build_group",
    "break": "breaks.build_breaks",
    "limits": "limits.build_limits",
    "once": "once.build_once",
    "integrity": "integrity.build_integrity",
    "topology": "topology.build_topology",
    "schemas": "schemas.build_schemas",
    "config": "configuration.build_config",
}
"""The same for groups of commands; the function makes the group."""


def build_app(only: str = "") -> typer.Typer:
    """All commands, or the one of this name, ready to be called."""
    app = typer.Typer(
        name="sidecar",
        cls=PlainErrors,
        epilog=EPILOG,
        help="The control plane beside automated trading processes: leases, failover, halts, three-phase orders.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name, place in COMMANDS.items():
        if only in ("", name):
            app.command(name)(_at(place))
    for name, place in GROUPS.items():
        if only in ("", name):
            app.add_typer(_at(place)(), name=name)
    return app


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point of the console script and of `python -m sidecar.cli.main`."""
    called = next((each for each in sys.argv[1:] if not each.startswith("-")), "")
    completing = any(each.endswith("_COMPLETE") for each in os.environ)
    build_app(called if called in {*COMMANDS, *GROUPS} and not completing else "")()


def _at(place: str) -> Any:
    module, _, function = place.partition(".")
    return getattr(importlib.import_module(f"sidecar.cli.{module}"), function)


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Logs of a command go to stderr and are few; the long-running processes set up their own."""
    configure_logs("console", "debug" if debug else "error")
    if not debug:  # Logs each failed attempt to connect as an error; the command says it once, in a sentence.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
