"""Findings of a check, for people and as JSON.

Owns the words around them and the exit code: 1 when any is of level error, else 0.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import typer
from rich.text import Text

from sidecar.broker.admin import Finding, Level
from sidecar.cli.errors import ExitCode
from sidecar.cli.output import console, print_json

STYLES: Final[dict[Level, str]] = {"ok": "green", "warning": "yellow", "error": "bold red"}


class Findings(msgspec.Struct, frozen=True):
    """The JSON of a check."""

    ok: bool
    findings: tuple[Finding, ...]


def show(findings: Sequence[Finding], as_json: bool) -> None:
    """Print them and end the command."""
    ok = all(each.level != "error" for each in findings)
    if as_json:
        print_json(Findings(ok, tuple(findings)))
    else:
        for each in findings:
            console().print(_line(each), soft_wrap=True)
    raise typer.Exit(ExitCode.OK if ok else ExitCode.NO)


def _line(finding: Finding) -> Text:
    mend = f" -> {finding.mend}" if finding.mend else ""
    return Text.assemble(
        (f"{finding.level:<8}", STYLES[finding.level]), f" {finding.subject}: {finding.text}", (mend, "italic")
    )
