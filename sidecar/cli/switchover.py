"""`sidecar switchover GROUP --to X` and `sidecar drain COMPONENT`: planned moves, followed to their end and measured.

Owns asking, following the moves in the leader's history, and the verdict. The old holder stops and reports before the
new one starts; the times are the arbiter's, as journaled, so the polling here adds nothing to them.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from sidecar.cli.errors import CliError, ExitCode
from sidecar.cli.graph import operator_at, read_settings
from sidecar.cli.history_view import durations_ms, failovers_json
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    actor_or_default,
    require_reason,
)
from sidecar.cli.output import console, print_json
from sidecar.client.operator import Operator
from sidecar.config.models import Settings
from sidecar.core.sanity import clip
from sidecar.messages.explain import Failover

POLL_S: Final = 0.1
"""Between questions while the moves are under way. Lower loads the leader, a little."""
HISTORY_LAST: Final = 1_000
"""Failovers that are looked at; more than the leader keeps."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How far the moves that were asked for have come. `to` is the wanted holder, or empty.

    `starting` says that a cold standby was to be started first; until it is, nothing has moved.
    """

    failovers: tuple[Failover, ...]
    to: str = ""
    starting: bool = False

    @property
    def done(self) -> bool:
        """Every new holder was heard to act."""
        return all(each.taken_ns for each in self.failovers) and bool(self.failovers or not self.starting)

    @property
    def as_asked(self) -> bool:
        """Done, and by whom it was asked for."""
        return self.done and all(not self.to or each.component == self.to for each in self.failovers)


def switchover(
    group: Annotated[str, typer.Argument(help="The failover group, as in the configuration.")],
    reason: ReasonOption,
    to: Annotated[str, typer.Option("--to", metavar="COMPONENT", help="Who takes over; else the preferred one.")] = "",
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 10.0,
) -> None:
    """Move a group's slots as planned, wait until the new holders' gates are open, and say how long it took.

    Exit codes: 0 moved; 1 refused, or not complete within --timeout, with what stands; 4 no arbiter answered.
    """
    reason, settings = require_reason(reason), read_settings(config)
    name = actor_or_default(actor)
    _end(asyncio.run(_switch(settings, name, group, reason, to, timeout_s)), as_json, timeout_s)


def drain(
    component: Annotated[str, typer.Argument(help="The component that is to hold nothing.")],
    reason: ReasonOption,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 10.0,
) -> None:
    """Move everything a component holds to others, and wait until their gates are open. It stays a candidate.

    Exit codes: 0 it holds nothing; 1 refused, or not complete within --timeout; 4 no arbiter answered.
    """
    reason, settings = require_reason(reason), read_settings(config)
    name = actor_or_default(actor)
    _end(asyncio.run(_drain(settings, name, component, reason, timeout_s)), as_json, timeout_s)


async def _switch(settings: Settings, actor: str, group: str, reason: str, to: str, timeout_s: float) -> Moved:
    async with operator_at(settings, actor, timeout_s) as operator:
        return await _move(operator, actor, group, reason, to=to, timeout_s=timeout_s)


async def _drain(settings: Settings, actor: str, component: str, reason: str, timeout_s: float) -> Moved:
    async with operator_at(settings, actor, timeout_s) as operator:
        report = await operator.status(timeout_s=timeout_s)
        groups = [each.group for each in report.groups if any(slot.component == component for slot in each.slots)]
        if not groups and component not in {each.component for each in report.sidecars}:
            raise CliError(f"no sidecar of {component!r} was heard: see `sidecar status`", ExitCode.NO)
        moved: list[Failover] = []
        for group in groups:
            found = await _move(operator, actor, group, reason, holder=component, timeout_s=timeout_s)
            moved.extend(found.failovers)
        return Moved(tuple(moved))


async def _move(
    operator: Operator, actor: str, group: str, reason: str, *, to: str = "", holder: str = "", timeout_s: float
) -> Moved:
    """Ask, and follow what was asked until it is done or the time is over. Raises CliError when it is refused."""
    deadline_s = time.monotonic() + timeout_s
    before = {_key(each) for each in (await _history(operator, group, timeout_s)) if each.asked_ns}
    result = await operator.failover(group, reason, to=to, holder=holder, timeout_s=timeout_s)
    if not result.ok:
        raise CliError(result.text, ExitCode.NO)
    while True:
        found = await _history(operator, group, timeout_s)
        asked = (each for each in found if each.asked_ns and each.asked_by == clip(actor))
        moved = Moved(tuple(each for each in asked if _key(each) not in before), to, result.code == "STARTING")
        if moved.done or time.monotonic() >= deadline_s:
            return moved
        await asyncio.sleep(POLL_S)


async def _history(operator: Operator, group: str, timeout_s: float) -> tuple[Failover, ...]:
    return (await operator.history(group, last=HISTORY_LAST, timeout_s=timeout_s)).failovers


def _key(failover: Failover) -> tuple[str, int]:
    return failover.slot, failover.asked_ns


def _end(moved: Moved, as_json: bool, timeout_s: float) -> None:
    """Show the moves and end with their exit code."""
    if as_json:
        print_json({"ok": moved.as_asked, "moved": failovers_json(moved.failovers)})
    else:
        for each in moved.failovers:
            console(stderr=not each.taken_ns).print(_sentence(each, timeout_s), markup=False)
        if not moved.failovers:
            said = "the standby that was to be started is not up; see `sidecar explain`"
            console(stderr=moved.starting).print(said if moved.starting else "nothing had to move", markup=False)
    raise typer.Exit(ExitCode.OK if moved.as_asked else ExitCode.NO)


def _sentence(failover: Failover, timeout_s: float) -> str:
    if failover.taken_ns:
        took = durations_ms(failover)
        vacant = "" if took["vacant"] is None else f", nobody had it for {took['vacant']:.0f} ms"
        moved = f"from {failover.previous or 'nobody'} to {failover.component} under token {failover.token}"
        return f"{failover.slot}: {moved} in {took['total']:.0f} ms{vacant}"
    if not failover.vacated_ns:
        stands = f"{failover.previous} has not given it back; its lease ends by itself"
    elif not failover.granted_ns:
        stands = f"{failover.previous} gave it back and nobody could take it"
    else:
        stands = f"granted to {failover.component}, whose gate was not heard to be open"
    return f"{failover.slot}: not complete within {timeout_s:g} s: {stands}; see `sidecar explain`"
