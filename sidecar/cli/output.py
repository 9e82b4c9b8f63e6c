"""What is printed and where: data on stdout, everything else on stderr.

Owns the two consoles and the form of JSON. It must not know what is shown.
"""

from typing import Any, Final

import msgspec
import typer
from rich.console import Console

PLAIN_WIDTH: Final = 160
"""Columns when nobody's terminal says how many there are; tables of names and times fit."""


def console(*, stderr: bool = False) -> Console:
    """A console on the present stdout or stderr. Text is shown as it is: a reason may hold square brackets."""
    found = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, markup=False, width=PLAIN_WIDTH)


def print_json(value: Any) -> None:
    """A msgspec Struct, dataclass or plain value as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_json_line(value: Any) -> None:
    """The same on one line, for a stream of them."""
    typer.echo(msgspec.json.encode(value).decode())
