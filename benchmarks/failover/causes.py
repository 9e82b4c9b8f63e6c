"""The faults: how each is done to a holder or to the leading arbiter, and how it is healed.

Owns the table of causes. It must not measure. A fault of a holder is done to one component and its sidecar.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import Final

import httpx

from benchmarks.failover.figures import ARBITER_GOAL_MS, CRASH_GOAL_MS, DEAF_GOAL_MS, SILENCE_GOAL_MS
from benchmarks.failover.places import Places
from sidecar.demo.proxy import Proxy
from sidecar.demo.system import System


@dataclass(frozen=True, slots=True)
class Stage:
    """The running system, and the proxy before each sidecar where there is one."""

    places: Places
    system: System
    proxies: Mapping[str, Proxy]
    http: httpx.AsyncClient

    async def arbiter_view(self, name: str) -> tuple[str, int] | None:
        """Who leads which term, as this arbiter sees it; None while it does not answer well."""
        try:
            answer = await self.http.get(f"http://127.0.0.1:{self.places.arbiter_ports[name]}/health", timeout=1.0)
        except httpx.HTTPError:
            return None
        details = answer.json()["details"] if answer.is_success else {}
        return (details["leader"], details["term"]) if details.get("leader") else None


Deed = Callable[[Stage, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause. `strike` and `heal` are told the component, or the arbiter where `arbiter` is set.

    `apart` measures the groups one after the other, where their faults would disturb each other's milliseconds.
    `proxied` needs a proxy before each sidecar.
    """

    name: str
    strike: Deed
    heal: Deed
    goal_p99_ms: float | None
    apart: bool = False
    proxied: bool = False
    arbiter: bool = False


async def _kill_component(stage: Stage, name: str) -> None:
    await stage.system.kill("component", name)


async def _start_component(stage: Stage, name: str) -> None:
    await stage.system.start(stage.places.component(name))


async def _kill_sidecar(stage: Stage, name: str) -> None:
    await stage.system.kill("sidecar", name)


async def _start_sidecar(stage: Stage, name: str) -> None:
    await stage.system.start(stage.places.sidecar(name))


async def _stop_sidecar(stage: Stage, name: str) -> None:
    stage.system.signal("sidecar", name, SIGSTOP)


async def _wake_sidecar(stage: Stage, name: str) -> None:
    stage.system.signal("sidecar", name, SIGCONT)


async def _stop_both(stage: Stage, name: str) -> None:
    stage.system.signal("component", name, SIGSTOP)
    stage.system.signal("sidecar", name, SIGSTOP)


async def _wake_both(stage: Stage, name: str) -> None:
    """The component first: for a moment it acts beside a sidecar that cannot tell it anything."""
    stage.system.signal("component", name, SIGCONT)
    stage.system.signal("sidecar", name, SIGCONT)


async def _kill_arbiter(stage: Stage, name: str) -> None:
    await stage.system.kill("arbiter", name)


async def _start_arbiter(stage: Stage, name: str) -> None:
    await stage.system.start(stage.places.arbiter(name))


async def _stop_arbiter(stage: Stage, name: str) -> None:
    stage.system.signal("arbiter", name, SIGSTOP)


async def _wake_arbiter(stage: Stage, name: str) -> None:
    stage.system.signal("arbiter", name, SIGCONT)


async def _cut(stage: Stage, name: str) -> None:
    stage.proxies[name].cut()


async def _mend(stage: Stage, name: str) -> None:
    stage.proxies[name].mend()


async def _mute(stage: Stage, name: str) -> None:
    stage.proxies[name].stall("to_server")


async def _deafen(stage: Stage, name: str) -> None:
    stage.proxies[name].stall("to_client")


async def _unmute(stage: Stage, name: str) -> None:
    """What was held back arrives now, late: heartbeats whose answers must grant nothing, or those answers."""
    stage.proxies[name].resume()


_CAUSES: Final = (
    # First, because each restarted arbiter replays the whole journal, which all later rounds make longer.
    Cause(name="arbiter_kill", strike=_kill_arbiter, heal=_start_arbiter, goal_p99_ms=ARBITER_GOAL_MS, arbiter=True),
    Cause(name="component_kill", strike=_kill_component, heal=_start_component, goal_p99_ms=CRASH_GOAL_MS, apart=True),
    Cause(name="sidecar_kill", strike=_kill_sidecar, heal=_start_sidecar, goal_p99_ms=SILENCE_GOAL_MS),
    Cause(name="sidecar_stop", strike=_stop_sidecar, heal=_wake_sidecar, goal_p99_ms=SILENCE_GOAL_MS),
    Cause(name="host_stop", strike=_stop_both, heal=_wake_both, goal_p99_ms=SILENCE_GOAL_MS),
    Cause(name="arbiter_stop", strike=_stop_arbiter, heal=_wake_arbiter, goal_p99_ms=ARBITER_GOAL_MS, arbiter=True),
    Cause(name="link_cut", strike=_cut, heal=_mend, goal_p99_ms=SILENCE_GOAL_MS, proxied=True),
    Cause(name="link_cut_one_way", strike=_mute, heal=_unmute, goal_p99_ms=SILENCE_GOAL_MS, proxied=True),
    Cause(name="link_deaf", strike=_deafen, heal=_unmute, goal_p99_ms=DEAF_GOAL_MS, proxied=True),
)
CAUSES: Final[Mapping[str, Cause]] = {each.name: each for each in _CAUSES}
