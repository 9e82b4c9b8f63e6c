"""`sidecar explain GROUP`: who holds each slot, and why each other member is or is not a candidate.

Owns the command and its layout. What it says is the leader's ExplainReport.
"""

from typing import Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.operator import ask_one
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption
from sidecar.cli.output import console, print_json
from sidecar.messages.explain import ExplainReport, MemberExplained, SlotExplained


def explain(
    group: Annotated[str, typer.Argument(help="The failover group, as in the configuration.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Who holds each slot, under which token and until when; and what stands between the others and a slot.

    Exit codes: 0 answered; 1 there is no such group; 4 no arbiter answered.
    """
    report = ask_one(lambda operator: operator.explain(group, timeout_s=timeout_s), config, timeout_s)
    if as_json:
        print_json(report)
    else:
        console().print(explain_view(report))


def explain_view(report: ExplainReport) -> RenderableType:
    """The whole report, for a person."""
    headline = Text(f"{report.group} ({report.mode}), as {report.arbiter} sees it in term {report.term}")
    parts: list[RenderableType] = [headline, _slots(report), _members(report)]
    parts.extend(Text(f"vacant slots wait: {each}", style="yellow") for each in report.waits)
    return Group(*parts)


def _slots(report: ExplainReport) -> Table:
    table = _table("slot", "holder", "incarnation", "token", "lease left", "next in line")
    for each in report.slots:
        line = ", ".join(each.line) or Text("nobody", style="bold red")
        table.add_row(each.slot, *_holder(each), line)
    return table


def _holder(slot: SlotExplained) -> tuple[RenderableType, ...]:
    if not slot.component:
        return (Text("nobody", style="bold red"), "", "", "")
    holder = f"{slot.component} ({slot.stepping_down})" if slot.stepping_down else slot.component
    return (holder, slot.incarnation, str(slot.token or ""), f"{slot.lease_left_ns / 1e6:.0f} ms")


def _members(report: ExplainReport) -> Table:
    table = _table("member", "candidate", "last heard", "why")
    for each in report.members:
        candidate = Text("yes", style="green") if each.candidate else Text("no", style="yellow")
        table.add_row(each.component, candidate, _heard(each), "; ".join((*each.obstacles, *each.notes)))
    return table


def _heard(member: MemberExplained) -> str:
    return "never" if member.silent_ns is None else f"{member.silent_ns / 1e6:.0f} ms ago"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for each in columns:
        table.add_column(each, overflow="fold")
    return table
