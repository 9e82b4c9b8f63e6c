"""A StatusReport as tables for a person.

Owns words and layout only. It must not ask anybody anything.
"""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.halts_view import STYLES, columns_of, halts_view
from sidecar.messages.arbiters import ArbiterStatus
from sidecar.messages.events import GroupStatus, SidecarStatus, SlotStatus, StatusReport


def status_view(report: StatusReport) -> RenderableType:
    """The whole report."""
    parts: list[RenderableType] = [_headline(report), _slots(report.groups), _sidecars(report.sidecars)]
    if report.missing:
        parts.append(Text(f"never heard: {', '.join(report.missing)}", style="bold red"))
    if report.silence_unjudged:
        parts.append(Text(f"silent holders keep their slots for now: {report.silence_unjudged}", style="yellow"))
    parts.extend(_restrained(report.groups))
    parts.extend(_reconciliation(report))
    parts.extend(halts_view(report))
    if report.arbiters:
        parts.append(arbiters_view(report.arbiters))
        parts.extend(
            Text(f"{each.arbiter}: {each.warning}", style="bold red") for each in report.arbiters if each.warning
        )
    parts.append(_orders(report))
    return Group(*parts)


def _restrained(groups: Iterable[GroupStatus]) -> Iterable[Text]:
    """What keeps groups from acting or failing over as usual, one line each."""
    for each in groups:
        if each.contradiction:
            yield Text(each.contradiction, style="bold red")
        if each.degraded:
            yield Text(f"{each.group} is degraded to REDUCING: {each.degraded_reason}", style="bold red")
        if each.pause is not None:
            left_s = each.pause.left_ns / 1e9
            why = f"by {each.pause.actor} for another {left_s:.0f} s: {each.pause.reason}"
            yield Text(f"{each.group} has no automatic failovers, paused {why}", style="yellow")
        yield from (Text(wait, style="yellow") for wait in each.waits)


def _reconciliation(report: StatusReport) -> Iterable[Text]:
    """Why the venues' word is not heard, and where it differs from ours, one line each."""
    for reason in report.reconciliation:
        yield Text(reason, style="bold red")
    for each in report.differences:
        where = f"{each.holds} of {each.name} in {each.account} at {each.venue}"
        yield Text(f"{where}: our fills say {each.ours}, the venue says {each.theirs}", style="bold red")


def trouble_view(why: str) -> RenderableType:
    """In place of a report that did not come."""
    return Text(why, style="bold red")


def _headline(report: StatusReport) -> Text:
    return Text.assemble(
        (report.trading_state.name, STYLES[report.trading_state]),
        f"  {report.arbiter} leads, term {report.term}, journal offset {report.offset}, "
        f"control version {report.control_version}, {len(report.halts)} halts in force",
    )


def _slots(groups: Iterable[GroupStatus]) -> Table:
    table = columns_of("slot", "mode", "holder", "incarnation", "token", "lease left")
    for group in groups:
        for slot in group.slots:
            table.add_row(slot.slot, group.mode, *_holder(slot))
    return table


def _holder(slot: SlotStatus) -> tuple[RenderableType, ...]:
    if not slot.component:
        return (Text("nobody", style="bold red"), "", "", "")
    holder = f"{slot.component} (draining)" if slot.draining else slot.component
    return (holder, slot.incarnation, str(slot.token or ""), _ms(slot.lease_left_ns))


def _sidecars(sidecars: Iterable[SidecarStatus]) -> Table:
    table = columns_of("component", "group", "role", "ready", "last heard", "control version", "why not ready")
    for each in sidecars:
        ready = Text("yes", style="green") if each.ready else Text("no", style="yellow")
        heard = Text(f"{_ms(each.silent_ns)} ago")
        if each.suspected:
            heard = Text(f"{_ms(each.silent_ns)} ago, suspected", style="bold red")
        table.add_row(
            each.component, each.group, each.role, ready, heard, str(each.control_version), "; ".join(each.reasons)
        )
    return table


def arbiters_view(arbiters: Iterable[ArbiterStatus]) -> Table:
    """How far each has read, and what it folded."""
    table = columns_of("arbiter", "standing", "term", "offset", "lag", "last heard", "digest at offset")
    for each in arbiters:
        lag = f"{each.behind} records, {_ms(each.lag_ns)}" if each.behind else "none"
        digest = f"{each.digest} at {each.digest_offset}" if each.digest else ""
        heard = f"{_ms(each.silent_ns)} ago"
        table.add_row(each.arbiter, each.standing, str(each.term), str(each.offset), lag, heard, digest)
    return table


def _orders(report: StatusReport) -> Text:
    orders = report.orders
    open_now = f"{orders.precommitted} precommitted, {orders.committed} committed"
    return Text(
        f"orders: {orders.granted} granted, {orders.denied} denied; now {open_now}, {orders.verified} verified, "
        f"{orders.aborted} aborted, {orders.unknown} unknown, {orders.broken} broken"
    )


def _ms(value_ns: int) -> str:
    return f"{value_ns / 1e6:.0f} ms"
