"""Findings of a check, for people and as JSON.

Owns the words around them and the exit code: 1 when any is critical, else 0.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import typer
from rich.text import Text

from sidecar.broker.finding import Finding, Level, counts
from sidecar.cli.errors import ExitCode
from sidecar.cli.output import console, print_json

STYLES: Final[dict[Level, str]] = {"ok": "green", "info": "cyan", "warning": "yellow", "critical": "bold red"}


class Findings(msgspec.Struct, frozen=True):
    """The JSON of a check."""

    ok: bool
    findings: tuple[Finding, ...]


def show(findings: Sequence[Finding], as_json: bool) -> None:
    """Print them and end the command."""
    ok = all(each.level != "critical" for each in findings)
    if as_json:
        print_json(Findings(ok, tuple(findings)))
    else:
        for each in findings:
            console().print(_line(each), soft_wrap=True)
        summary = ", ".join(f"{count} {level}" for level, count in counts(findings).items() if count)
        console().print(summary, markup=False)
    raise typer.Exit(ExitCode.OK if ok else ExitCode.NO)


def _line(finding: Finding) -> Text:
    """One finding; what it means and how to mend it stand below, where there is something to say."""
    text = Text.assemble((f"{finding.level.upper():<9}", STYLES[finding.level]), f"{finding.subject}: {finding.text}")
    for name, said in (("means", finding.means), ("mend", finding.mend)):
        if said:
            text.append(f"\n          {name}: {said}", style="italic")
    return text
