"""The faults: what each is aimed at, how it is done and how it is healed.

Owns the table. It must not measure or judge. `hold_s` is the time between strike and healing; where a fault heals by
itself, nothing is healed. Times are chosen so that what must happen without help can happen before the healing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import Final, Literal

from benchmarks.chaos.cluster import NODES, Cluster
from benchmarks.failover.causes import Stage
from benchmarks.failover.watch import Gates
from sidecar.broker.topology import ARBITER_QUEUE, JOURNAL_STREAM
from sidecar.demo.proxy import Proxy

BOOT_S: Final = 1.0
"""Between the death of all nodes and their start."""


class NoTarget(Exception):
    """There is nothing to strike right now; the text says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What can be struck. `proxies` stand before the sidecars of one group, one for each node."""

    cluster: Cluster
    stage: Stage
    gates: Gates
    proxies: Mapping[str, tuple[Proxy, ...]]

    async def arbiter(self, *, leading: bool) -> str:
        """The arbiter that leads, or one that does not, as they say themselves."""
        for name in self.stage.places.arbiter_ports:
            view = await self.stage.arbiter_view(name)
            if view is not None and (view[0] == name) is leading:
                return name
        raise NoTarget(f"no arbiter {'leads' if leading else 'stands by'}")

    def proxied_holder(self) -> str:
        """A component whose gate is open and whose host's links run through proxies."""
        for name in sorted(self.gates.open & set(self.proxies)):
            return name
        raise NoTarget("no holder has proxied links")


Aim = Callable[[Scene], Awaitable[str]]
Deed = Callable[[Scene, str], Awaitable[None]]


async def _nothing(scene: Scene, target: str) -> None:
    """It heals by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `silences` says whose heartbeats nobody can answer from the strike to the healing."""

    name: str
    aim: Aim
    strike: Deed
    hold_s: float
    heal: Deed = _nothing
    silences: Literal["nobody", "target", "everybody"] = "nobody"
    short: bool = False


# --- aims ---


async def _journal_writer(scene: Scene) -> str:
    return await scene.cluster.leader(JOURNAL_STREAM)


async def _queue_leader(scene: Scene) -> str:
    return await scene.cluster.leader(ARBITER_QUEUE)


async def _not_writer(scene: Scene) -> str:
    writer = await _journal_writer(scene)
    return next(each for each in NODES if each != writer)


async def _leading_arbiter(scene: Scene) -> str:
    return await scene.arbiter(leading=True)


async def _standby_arbiter(scene: Scene) -> str:
    return await scene.arbiter(leading=False)


async def _holder(scene: Scene) -> str:
    return scene.proxied_holder()


async def _all(scene: Scene) -> str:
    return "all nodes"


def _node(name: str) -> Aim:
    async def aim(scene: Scene) -> str:
        return name

    return aim


# --- deeds ---


async def _kill(scene: Scene, node: str) -> None:
    await scene.cluster.kill(node)


async def _start(scene: Scene, node: str) -> None:
    await scene.cluster.start(node)


async def _pause(scene: Scene, node: str) -> None:
    await scene.cluster.pause(node)


async def _unpause(scene: Scene, node: str) -> None:
    await scene.cluster.unpause(node)


async def _restart_in_turn(scene: Scene, _: str) -> None:
    for node in NODES:
        await scene.cluster.restart(node)
        await scene.cluster.whole()


async def _kill_all(scene: Scene, _: str) -> None:
    await scene.cluster.kill(*NODES)


async def _start_all(scene: Scene, _: str) -> None:
    await scene.cluster.start(*NODES)


async def _memory_alarm(scene: Scene, node: str) -> None:
    await scene.cluster.ctl(node, "set_vm_memory_high_watermark", "absolute", "1MB")


async def _memory_free(scene: Scene, node: str) -> None:
    await scene.cluster.ctl(node, "set_vm_memory_high_watermark", "0.6")


async def _disk_alarm(scene: Scene, node: str) -> None:
    await scene.cluster.ctl(node, "set_disk_free_limit", "999999GB")


async def _disk_free(scene: Scene, node: str) -> None:
    await scene.cluster.ctl(node, "set_disk_free_limit", "50MB")


async def _close_connections(scene: Scene, _: str) -> None:
    """Each node knows its own."""
    close = ("close_all_connections", "--global", "chaos")
    await asyncio.gather(*(scene.cluster.ctl(node, *close) for node in NODES))


async def _stop_app(scene: Scene, node: str) -> None:
    await scene.cluster.ctl(node, "stop_app")


async def _start_app(scene: Scene, node: str) -> None:
    await scene.cluster.ctl(node, "start_app", timeout_s=120)


async def _unplug(scene: Scene, node: str) -> None:
    await scene.cluster.unplug(node)


async def _plug_in(scene: Scene, node: str) -> None:
    await scene.cluster.plug_in(node)


async def _kill_arbiter(scene: Scene, name: str) -> None:
    await scene.stage.system.kill("arbiter", name)


async def _start_arbiter(scene: Scene, name: str) -> None:
    await scene.stage.system.start(scene.stage.places.arbiter(name))


async def _stop_arbiter(scene: Scene, name: str) -> None:
    scene.stage.system.signal("arbiter", name, SIGSTOP)


async def _wake_arbiter(scene: Scene, name: str) -> None:
    scene.stage.system.signal("arbiter", name, SIGCONT)


async def _cut(scene: Scene, component: str) -> None:
    for each in scene.proxies[component]:
        each.cut()


async def _mend(scene: Scene, component: str) -> None:
    for each in scene.proxies[component]:
        each.mend()


KILL_S: Final = 8.0
PAUSE_S: Final = 30.0
"""The others give up a frozen or unplugged node after net_ticktime, 8 s, and a quarter more; its clients give up their
links to it after three AMQP heartbeats of 5 s."""

_FAULTS: Final = (
    Fault(name="kill_journal_writer", aim=_journal_writer, strike=_kill, hold_s=KILL_S, heal=_start, short=True),
    Fault(name="kill_queue_leader", aim=_queue_leader, strike=_kill, hold_s=KILL_S, heal=_start),
    *(Fault(name=f"kill_{each}", aim=_node(each), strike=_kill, hold_s=KILL_S, heal=_start) for each in NODES),
    Fault(name="pause_journal_writer", aim=_journal_writer, strike=_pause, hold_s=PAUSE_S, heal=_unpause, short=True),
    Fault(name="pause_queue_leader", aim=_queue_leader, strike=_pause, hold_s=PAUSE_S, heal=_unpause),
    *(Fault(name=f"pause_{each}", aim=_node(each), strike=_pause, hold_s=PAUSE_S, heal=_unpause) for each in NODES),
    Fault(name="restart_in_turn", aim=_all, strike=_restart_in_turn, hold_s=0.0),
    Fault(
        name="restart_at_once",
        aim=_all,
        strike=_kill_all,
        hold_s=BOOT_S + 2.0,
        heal=_start_all,
        silences="everybody",
    ),
    Fault(name="memory_alarm", aim=_not_writer, strike=_memory_alarm, hold_s=6.0, heal=_memory_free),
    Fault(name="disk_alarm", aim=_journal_writer, strike=_disk_alarm, hold_s=6.0, heal=_disk_free),
    Fault(name="close_connections", aim=_all, strike=_close_connections, hold_s=3.0, short=True),
    Fault(
        name="kill_leading_arbiter",
        aim=_leading_arbiter,
        strike=_kill_arbiter,
        hold_s=3.0,
        heal=_start_arbiter,
        short=True,
    ),
    Fault(name="stop_leading_arbiter", aim=_leading_arbiter, strike=_stop_arbiter, hold_s=20.0, heal=_wake_arbiter),
    Fault(name="kill_standby_arbiter", aim=_standby_arbiter, strike=_kill_arbiter, hold_s=3.0, heal=_start_arbiter),
    Fault(name="unplug_journal_writer", aim=_journal_writer, strike=_unplug, hold_s=PAUSE_S, heal=_plug_in),
    Fault(name="unplug_other_node", aim=_not_writer, strike=_unplug, hold_s=PAUSE_S, heal=_plug_in),
    Fault(name="cut_host", aim=_holder, strike=_cut, hold_s=6.0, heal=_mend, silences="target"),
    Fault(name="stop_app_journal_writer", aim=_journal_writer, strike=_stop_app, hold_s=6.0, heal=_start_app),
)
FAULTS: Final[Mapping[str, Fault]] = {each.name: each for each in _FAULTS}
