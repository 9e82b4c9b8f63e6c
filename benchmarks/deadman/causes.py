"""The ends of whoever keeps a gate open: how each is done, and how it is healed.

Owns the table of causes. It must not measure. The deeds to one component's sidecar are those of the failover benchmark.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import Final

from benchmarks.deadman.own_broker import OwnBroker
from benchmarks.failover.causes import CAUSES as ONE_HOLDERS
from benchmarks.failover.causes import Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """What can be struck."""

    stage: Stage
    broker: OwnBroker


Deed = Callable[[Scene, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One cause. Its deeds are told the component, which they do not need where `everybody` loses its gate by it."""

    name: str
    strike: Deed
    heal: Deed
    everybody: bool = False


def _to_holder(name: str, cause: str) -> End:
    one = ONE_HOLDERS[cause]

    async def strike(scene: Scene, victim: str) -> None:
        await one.strike(scene.stage, victim)

    async def heal(scene: Scene, victim: str) -> None:
        await one.heal(scene.stage, victim)

    return End(name=name, strike=strike, heal=heal)


async def _freeze_broker(scene: Scene, victim: str) -> None:
    await scene.broker.freeze()


async def _thaw_broker(scene: Scene, victim: str) -> None:
    await scene.broker.thaw()


async def _kill_broker(scene: Scene, victim: str) -> None:
    await scene.broker.kill()


async def _start_broker(scene: Scene, victim: str) -> None:
    await scene.broker.start_again()


async def _stop_arbiters(scene: Scene, victim: str) -> None:
    for each in scene.stage.places.arbiter_ports:
        scene.stage.system.signal("arbiter", each, SIGSTOP)


async def _wake_arbiters(scene: Scene, victim: str) -> None:
    for each in scene.stage.places.arbiter_ports:
        scene.stage.system.signal("arbiter", each, SIGCONT)


_ENDS: Final = (
    _to_holder("sidecar_stopped", "sidecar_stop"),
    _to_holder("sidecar_killed", "sidecar_kill"),
    _to_holder("link_cut", "link_cut"),
    End(name="arbiters_stopped", strike=_stop_arbiters, heal=_wake_arbiters, everybody=True),
    End(name="broker_stopped", strike=_freeze_broker, heal=_thaw_broker, everybody=True),
    End(name="broker_killed", strike=_kill_broker, heal=_start_broker, everybody=True),
)
ENDS: Final[Mapping[str, End]] = {each.name: each for each in _ENDS}
