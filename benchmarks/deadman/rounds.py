"""One round: wait until all is well, strike, wait until the gates are seen closed, heal.

Owns the order of these and the victims. It must not judge (`figures.py` does).
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from benchmarks.deadman.causes import End, Scene
from benchmarks.deadman.figures import Measured, orders_late
from benchmarks.deadman.witness import Witness
from benchmarks.failover.places import GROUPS, TIMING
from benchmarks.failover.rounds import RoundFailed, Rounds
from benchmarks.failover.watch import Gates, boottime_ns
from sidecar.core.timing import MS
from sidecar.messages.venue import AuditEntry

CLOSE_S: Final = 10.0
"""No gate may be open for so long after its end; the round then fails instead of waiting for ever."""
QUIET_S: Final = TIMING.effect_ns / 1e9 + 0.1
"""After the closing, before the healing: an order that was sent too late would arrive within."""


class DeadmanRounds:
    """Rounds on one scene. `seed` decides the moment of each strike between two heartbeats."""

    def __init__(self, scene: Scene, gates: Gates, steady: Rounds, witness: Witness, seed: int) -> None:
        self._scene = scene
        self._gates = gates
        self._steady = steady
        self._witness = witness
        self._random = random.Random(seed)
        self._turn = 0
        self._quiet: list[tuple[Measured, int]] = []

    async def one(self, end: End) -> list[Measured]:
        """The gates that lost their keeper, each with its closing."""
        await self._steady.steady(*GROUPS)
        async with asyncio.timeout(CLOSE_S):
            for each in self._gates.open:
                await self._witness.opened(each)
        await asyncio.sleep(self._random.uniform(0, TIMING.heartbeat_ns / 1e9))
        victims = self._victims(end)
        struck: dict[str, int] = {}
        try:
            for each in victims[:1] if end.everybody else victims:
                struck[each] = boottime_ns()
                await end.strike(self._scene, each)
            first_ns = min(struck.values())
            try:
                closings = await asyncio.wait_for(self._witness.closed(victims, first_ns), CLOSE_S)
            except TimeoutError:
                raise RoundFailed(f"after {end.name} the gates of {', '.join(victims)} did not all close") from None
            measured = [Measured(struck.get(each, first_ns), closings[each]) for each in victims]
            await asyncio.sleep(QUIET_S)
        finally:
            healed_ns = boottime_ns()
            for each in struck:
                await end.heal(self._scene, each)
        self._quiet += [(each, healed_ns) for each in measured]
        return measured

    def orders_late(self, entries: Sequence[AuditEntry]) -> int:
        """Orders of the rounds since the last call that arrived when nobody could have kept their gate open."""
        rounds, self._quiet = self._quiet, []
        return orders_late(entries, rounds)

    def _victims(self, end: End) -> list[str]:
        """Every holder, or one of each group, another one each time."""
        held = self._gates.open & self._witness.open
        if end.everybody:
            return sorted(held)
        self._turn += 1
        chosen = (sorted(held & set(group.members)) for group in GROUPS)
        return [holders[self._turn % len(holders)] for holders in chosen if holders]


def milliseconds(measured: Sequence[Measured]) -> str:
    """From fault to closed, for the line of progress."""
    return ", ".join(f"{(each.closing.closed_by_ns - each.struck_ns) / MS:.0f}" for each in measured)
