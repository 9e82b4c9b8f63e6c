"""A StatusReport as tables for a person.

Owns words and layout only. It must not ask anybody anything.
"""

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.messages.arbiters import ArbiterStatus
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.events import GroupStatus, SidecarStatus, SlotStatus, StatusReport

STYLES = {
    TradingState.ACTIVE: "green",
    TradingState.REDUCING: "yellow",
    TradingState.CANCEL_ONLY: "yellow",
    TradingState.HALTED: "bold red",
}


def status_view(report: StatusReport) -> RenderableType:
    """The whole report."""
    parts: list[RenderableType] = [_headline(report), _slots(report.groups), _sidecars(report.sidecars)]
    if report.missing:
        parts.append(Text(f"never heard: {', '.join(report.missing)}", style="bold red"))
    if report.silence_unjudged:
        parts.append(Text(f"silent holders keep their slots for now: {report.silence_unjudged}", style="yellow"))
    parts.extend(_restrained(report.groups))
    if report.halts:
        parts.append(halts_table(report.halts))
    if report.arbiters:
        parts.append(_arbiters(report.arbiters))
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


def trouble_view(why: str) -> RenderableType:
    """In place of a report that did not come."""
    return Text(why, style="bold red")


def halts_table(halts: Iterable[Halt]) -> Table:
    """Halts in force; the first column is what `sidecar resume` wants."""
    table = _table("halt", "level", "scopes", "by", "reason")
    for each in halts:
        level = Text(each.level.name, style=STYLES[each.level])
        table.add_row(each.halt_id, level, " ".join(each.scopes), each.actor, each.reason)
    return table


def _headline(report: StatusReport) -> Text:
    return Text.assemble(
        (report.trading_state.name, STYLES[report.trading_state]),
        f"  {report.arbiter} leads, term {report.term}, journal offset {report.offset}, "
        f"control version {report.control_version}, {len(report.halts)} halts in force",
    )


def _slots(groups: Iterable[GroupStatus]) -> Table:
    table = _table("slot", "mode", "holder", "incarnation", "token", "lease left")
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
    table = _table("component", "group", "role", "ready", "last heard", "control version", "why not ready")
    for each in sidecars:
        ready = Text("yes", style="green") if each.ready else Text("no", style="yellow")
        heard = Text(f"{_ms(each.silent_ns)} ago")
        if each.suspected:
            heard = Text(f"{_ms(each.silent_ns)} ago, suspected", style="bold red")
        table.add_row(
            each.component, each.group, each.role, ready, heard, str(each.control_version), "; ".join(each.reasons)
        )
    return table


def _arbiters(arbiters: Iterable[ArbiterStatus]) -> Table:
    table = _table("arbiter", "standing", "term", "offset", "lag", "last heard", "digest at offset")
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


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for each in columns:
        table.add_column(each, overflow="fold")
    return table


def _ms(value_ns: int) -> str:
    return f"{value_ns / 1e6:.0f} ms"
