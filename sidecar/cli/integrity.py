"""`sidecar integrity`: what the leader found that cannot be, and an operator's word on it.

Owns the two commands and the list's layout. What is a finding, and what follows, is decided by the arbiter.
"""

from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from sidecar.cli.errors import ExitCode
from sidecar.cli.operator import ask_and_end, ask_one
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    require_reason,
)
from sidecar.cli.output import console, print_json
from sidecar.messages.integrity import IntegrityReport


def list_findings(config: ConfigOption = None, as_json: JsonOption = False, timeout_s: TimeoutOption = 5.0) -> None:
    """What was found wrong with the journal or with what follows from it, and the halts that came with it.

    Exit codes: 0 nothing that nobody has resolved; 1 something is; 4 no arbiter answered.
    """
    report = ask_one(lambda operator: operator.integrity(timeout_s=timeout_s), config, timeout_s)
    if as_json:
        print_json(report)
    else:
        console().print(findings_view(report))
    raise typer.Exit(ExitCode.NO if any(not each.resolved for each in report.findings) else ExitCode.OK)


def resolve(
    finding: Annotated[str, typer.Argument(metavar="FINDING", help="As `sidecar integrity list` names it.")],
    reason: ReasonOption,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Let one finding, as it stands, halt nothing any more, journaled with the reason. Lifts no halt.

    Exit codes: 0 resolved; 1 refused, with the reason; 4 no arbiter answered.
    """
    reason = require_reason(reason)

    ask_and_end(
        lambda operator: operator.resolve_integrity(finding, reason, timeout_s=timeout_s),
        actor=actor,
        config=config,
        as_json=as_json,
        timeout_s=timeout_s,
    )


def findings_view(report: IntegrityReport) -> Table | Text:
    """The report as a table for a person."""
    looked = "not looked at everything yet"
    if report.looked_ms_ago is not None:
        looked = f"looked at everything {report.looked_ms_ago / 1000:.0f} s ago"
    if not report.findings:
        return Text(f"{report.arbiter} has found nothing wrong: {looked}")
    title = f"{report.count} found by {report.arbiter}, which has {looked}"
    table = Table("finding", "scope", "what is wrong", "halts", "resolved", title=title, box=box.SIMPLE)
    for each in report.findings:
        resolved = f"by {each.actor}: {each.reason}" if each.resolved else "no"
        cells = (each.finding, each.scope, each.text, "\n".join(each.halts), resolved)
        table.add_row(*(Text(cell, style="" if each.resolved else "bold red") for cell in cells))
    return table


def build_integrity() -> typer.Typer:
    """The group `sidecar integrity`."""
    app = typer.Typer(help="What was found that cannot be, and halts its scope.", no_args_is_help=True)
    app.command("list")(list_findings)
    app.command()(resolve)
    return app
