"""One round: wait until all is well, strike, measure until the standby acts, heal.

Owns the measurement. What does not come true in time is `RoundFailed`, with what was seen instead.
"""

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar

from benchmarks.failover.causes import Cause, Stage
from benchmarks.failover.places import GROUPS, TIMING, BenchGroup
from benchmarks.failover.watch import Gates, Moves, boottime_ns
from sidecar.client.operator import NoAnswer, Operator
from sidecar.messages.events import StatusReport

Result = TypeVar("Result")

STEADY_S: Final = 45.0
"""From the start of fourteen Python processes to all gates open, on a slow machine that others use."""
FAILOVER_S: Final = 40.0
"""A peer whose connection stays open but carries nothing is found after up to three AMQP heartbeats of 5 s."""
REPLAY_S: Final = 180.0
"""A restarted arbiter replays the journal of the whole run before it can lead again."""
LOOK_AGAIN_S: Final = 0.1
AFTERMATH_S: Final = 0.3
"""How long a healed holder is watched at least: its late heartbeats are answered well within."""


class RoundFailed(Exception):
    """Something that should have happened did not."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """From one arbiter's end to the next term, and to the last slot under a new lease; `lost` gates closed."""

    term_ns: int
    leased_ns: int
    lost: int


class Rounds:
    """Rounds on one stage. `seed` decides the moment of each strike between two heartbeats."""

    def __init__(self, stage: Stage, gates: Gates, moves: Moves, operator: Operator, seed: int) -> None:
        self._stage = stage
        self._gates = gates
        self._moves = moves
        self._operator = operator
        self._random = random.Random(seed)
        self._turn = 0

    async def steady(self, *groups: BenchGroup) -> None:
        """As many gates open as these groups have slots, and every member heard, ready and attached."""
        for group in groups:
            await self._expect(f"group {group.name} is steady", STEADY_S, self._steady(group))

    async def failover(self, cause: Cause, group: BenchGroup) -> int:
        """From the fault of a holder to the open gate of a member that was standing by, in nanoseconds."""
        # Where milliseconds are measured, no process of the other group may be starting on the same processors.
        await self.steady(*(GROUPS if cause.apart else (group,)))
        await self._any_moment()
        held = sorted(self._gates.open & set(group.members))
        self._turn += 1
        victim, standbys = held[self._turn % len(held)], set(group.members) - set(held)
        struck_ns = boottime_ns()
        await cause.strike(self._stage, victim)
        await self._expect(
            f"a standby of {victim} opens its gate after {cause.name}",
            FAILOVER_S,
            self._gates.until(lambda: bool(standbys & self._gates.open)),
        )
        opened_ns = min(span.first_ns for each in standbys if (span := self._gates.span(each)) is not None)
        await cause.heal(self._stage, victim)
        await asyncio.sleep(AFTERMATH_S)
        return opened_ns - struck_ns

    async def takeover(self, cause: Cause) -> Takeover:
        """The leading arbiter's end, until every slot has a holder under a lease of the next leader."""
        await self.steady(*GROUPS)
        leader = await self._expect("an arbiter leads", STEADY_S, self._status())
        await self._any_moment()
        held = self._gates.open
        struck_ns = boottime_ns()
        await cause.strike(self._stage, leader.arbiter)
        term = self._moves.until(lambda: self._moves.leader is not None and self._moves.leader.term > leader.term)
        await self._expect(f"the next arbiter leads after {cause.name}", FAILOVER_S, term)
        await self._expect(
            f"every slot is leased again after {cause.name}",
            FAILOVER_S,
            self._gates.until(lambda: self._leased(struck_ns)),
        )
        leased_ns = boottime_ns()
        lost = {each.component for each in self._gates.spans if each.closed_ns >= struck_ns} & held
        await cause.heal(self._stage, leader.arbiter)
        await asyncio.sleep(AFTERMATH_S)
        await self._expect("the other arbiter follows again", REPLAY_S, self._arbiters_well())
        return Takeover(self._moves.leader_heard_ns - struck_ns, leased_ns - struck_ns, len(lost))

    # --- inside ---

    async def _any_moment(self) -> None:
        """Strikes fall anywhere between two heartbeats, not always right after one."""
        await asyncio.sleep(self._random.uniform(0, TIMING.heartbeat_ns / 1e9))

    def _leased(self, struck_ns: int) -> bool:
        """Every slot's holder answers to a heartbeat that was sent after the strike: only a new leader heard it."""
        until_ns = struck_ns + TIMING.holder_lease_ns
        renewed = {each for each in self._gates.open if self._gates.deadline_ns(each) > until_ns}
        return all(len(renewed & set(group.members)) == group.active for group in GROUPS)

    async def _steady(self, group: BenchGroup) -> None:
        while True:
            report = await self._status()
            well = {
                each.component
                for each in report.sidecars
                if each.ready and each.incarnation and each.silent_ns < 2 * TIMING.heartbeat_ns
            }
            if set(group.members) <= well and len(self._gates.open & set(group.members)) == group.active:
                return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _status(self) -> StatusReport:
        while True:
            try:
                return await self._operator.status(timeout_s=2.0)
            except NoAnswer:
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _arbiters_well(self) -> None:
        """All answer, and agree on the leader."""
        while True:
            views = [await self._stage.arbiter_view(each) for each in self._stage.places.arbiter_ports]
            if None not in views and len(set(views)) == 1:
                return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _expect(self, what: str, timeout_s: float, happens: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(happens, timeout_s)
        except TimeoutError:
            ended = "; ".join(self._stage.system.unexpectedly_ended())
            opened = ", ".join(sorted(self._gates.open)) or "none"
            raise RoundFailed(
                f"{what} within {timeout_s:g} s; open gates: {opened}; ended by itself: {ended}"
            ) from None
