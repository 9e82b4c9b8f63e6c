"""Arbiters whose configurations say different things about groups, over the in-process broker and over RabbitMQ."""

import asyncio
from collections.abc import Callable

from arbiter_worlds import settings, world

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker
from sidecar.config.groups import GroupSettings
from sidecar.messages.control import CommandResult, StatusRequest
from sidecar.messages.events import StatusReport
from sidecar.messages.groups import GroupContradicted, GroupDeclaration, RegisterGroup

Connect = Callable[[str], Broker]
OPERATORS = ("guest", "embedded")


def figure(process: ArbiterProcess, name: str) -> float | None:
    """One of the process's metrics."""
    return process.metrics.registry.get_sample_value(name)


async def test_a_standby_with_another_configuration(connect: Connect) -> None:
    """A standby that is configured otherwise shows it in its metrics, the leader's status names it, and it freezes."""
    async with world(connect, *OPERATORS) as (peer, arbiters):
        first = arbiters.start("arbiter-1")
        group = GroupDeclaration(name="quotes", components=("q-a", "q-b"))
        await peer.command(RegisterGroup(request_id="r", group=group, actor="dana", reason="a test"), "register")
        result = await peer.first(CommandResult)
        assert (result.ok, result.code) == (True, "REGISTERED")
        broker = connect("arbiter-2")
        differing = {**settings("x").groups, "quotes": GroupSettings(components=("q-b", "q-c"))}
        second = ArbiterProcess(settings("arbiter-2", *OPERATORS).model_copy(update={"groups": differing}), broker)
        arbiters.running["arbiter-2"] = second, asyncio.create_task(second.run()), broker
        await peer.until(lambda: figure(second, "sidecar_groups_contradicted") == 1)
        await peer.until(lambda: figure(second, "sidecar_arbiters_configured_otherwise") == 1)
        await peer.until(lambda: figure(first, "sidecar_arbiters_configured_otherwise") == 1)
        assert figure(first, "sidecar_groups_contradicted") == 0
        await peer.command(StatusRequest(request_id="s", actor="dana"), "status")
        report = await peer.first(StatusReport)
        assert ["other groups" in each.warning for each in report.arbiters] == [False, True]
        await arbiters.kill("arbiter-1")
        told = await peer.first(GroupContradicted)
        assert (told.arbiter, told.change, told.group) == ("arbiter-2", "BEGAN", "quotes")
