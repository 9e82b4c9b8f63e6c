"""What an arbiter publishes of its groups: gauges for Prometheus, and events for everyone."""

from collections.abc import Callable

from arbiter_worlds import attached, world

from sidecar.broker.interface import Broker
from sidecar.messages.control import PauseRequest
from sidecar.messages.events import PauseChanged, TermBegan

Connect = Callable[[str], Broker]


async def test_the_leaders_gauges_follow_its_groups(connect: Connect) -> None:
    """A group is unheld until a member holds its slot, and paused while it is paused, of which everyone is told."""
    async with world(connect, "guest", "embedded") as (peer, arbiters):
        process = arbiters.start("arbiter-1")

        def gauge(name: str) -> float | None:
            return process.metrics.registry.get_sample_value(f"sidecar_group_{name}", {"group": "execution"})

        assert gauge("unheld") == 0
        await peer.first(TermBegan)
        assert gauge("unheld") == 1
        sidecar = attached("exec-a")
        await peer.beat(sidecar, until=lambda: sidecar.slots)
        assert (gauge("unheld"), gauge("vacant"), gauge("paused")) == (0, 0, 0)
        request = PauseRequest(
            request_id="p", group="execution", actor="dana", reason="a drill", duration_ns=60_000_000_000
        )
        await peer.command(request, "pause")
        told = await peer.first(PauseChanged)
        assert (told.group, told.change, told.actor) == ("execution", "BEGAN", "dana")
        assert gauge("paused") == 1
