"""`sidecar doctor`: everything that can be looked at from here, with the mend for what is wrong.

Owns the order of the checks and the findings on the running system. The broker's checks are those of
sidecar/broker/examination.py. It changes nothing.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sidecar.broker.examination import examine
from sidecar.broker.finding import Finding
from sidecar.broker.interface import BrokerError
from sidecar.broker.users import Role
from sidecar.cli.findings import show
from sidecar.cli.graph import broker_question, operator_at, read_settings
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption, actor_or_default
from sidecar.client.operator import NoAnswer
from sidecar.config.errors import ConfigError
from sidecar.config.models import Settings
from sidecar.messages.events import StatusReport


def doctor(
    config: ConfigOption = None,
    role: Annotated[
        Role | None,
        typer.Option(
            "--role", help="Compare the rights of the user in broker.urls with this role.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Configuration, broker, topology, dead letters with their reasons, leadership, slots, halts, orders.

    Each finding says what it means for trading and how to mend it. Exit codes: 0 nothing is critical; 1 something is.
    """
    show(asyncio.run(_examine(config, role, timeout_s)), as_json)


async def _examine(config: Path | None, role: Role | None, timeout_s: float) -> list[Finding]:
    try:
        settings = read_settings(config)
    except ConfigError as error:
        return [Finding(level="critical", subject="configuration", text=each) for each in error.problems]
    groups = Finding(level="ok", subject="configuration", text=f"valid; groups: {', '.join(settings.groups) or 'none'}")
    broker = await examine(broker_question(settings, role))
    return [groups, *broker, *await _system(settings, timeout_s)]


async def _system(settings: Settings, timeout_s: float) -> list[Finding]:
    try:
        async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
            report = await operator.status(timeout_s=timeout_s)
    except (BrokerError, NoAnswer) as error:
        return [
            Finding(
                level="critical",
                subject="arbiter",
                text=str(error),
                mend="start an arbiter; until one leads, gates close when their leases end",
            )
        ]
    return [*_leader(report), *_slots(report), *_sidecars(report), *_halts(report), *_orders(report)]


def _leader(report: StatusReport) -> Iterator[Finding]:
    text = f"{report.arbiter} leads, term {report.term}, journal offset {report.offset}"
    yield Finding(level="ok", subject="arbiter", text=text)


def _slots(report: StatusReport) -> Iterator[Finding]:
    for group in report.groups:
        if group.contradiction:
            yield Finding(level="critical", subject=f"group {group.group}", text=group.contradiction)
        for slot in group.slots:
            if not slot.component:
                mend = f"start a member of {group.group}, or see with `sidecar status` why none is ready"
                yield Finding(level="critical", subject=f"slot {slot.slot}", text="nobody holds it", mend=mend)
            else:
                text = f"held by {slot.component}, token {slot.token}"
                yield Finding(level="ok", subject=f"slot {slot.slot}", text=text)


def _sidecars(report: StatusReport) -> Iterator[Finding]:
    for each in report.sidecars:
        if not each.group:
            mend = "add it to groups.NAME.components of the arbiters, or register its group: `sidecar group register`"
            yield Finding(level="warning", subject=f"sidecar {each.component}", text="is in no group", mend=mend)
        elif not each.ready:
            reasons = "; ".join(each.reasons) or "it gives no reason"
            yield Finding(level="warning", subject=f"sidecar {each.component}", text=f"not ready: {reasons}")


def _halts(report: StatusReport) -> Iterator[Finding]:
    for each in report.halts:
        text = f"{each.level.name} on {' '.join(each.scopes)} by {each.actor}: {each.reason}"
        mend = f"when its cause is gone: sidecar resume {each.halt_id} --reason ..."
        yield Finding(level="warning", subject=f"halt {each.halt_id}", text=text, mend=mend)


def _orders(report: StatusReport) -> Iterator[Finding]:
    if report.orders.unknown:
        text = f"{report.orders.unknown} UNKNOWN: the venue is being asked"
        mend = "see that the reconciler runs and reaches the venue; never send them again"
        yield Finding(level="warning", subject="orders", text=text, mend=mend)
    if report.orders.broken:
        text = f"{report.orders.broken} differ from what the venue says"
        mend = "compare them with the venue's own records; the events break-found name both sides"
        yield Finding(level="warning", subject="orders", text=text, mend=mend)
