"""One fault: all well, strike, hold, heal, all well again; and what was seen in between.

Owns the waiting. What does not come true in time is `RoundFailed`, with what was seen instead. It must not judge what
is in the journal: that is read at the end (`verdict.py`).

All well means: as many gates open as there are slots, every sidecar heard and ready, every arbiter healthy and of one
mind on the leader, and an order of each holder granted since the moment asked about.
"""

import asyncio
import random
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

import httpx

from benchmarks.chaos.faults import Fault, Scene
from benchmarks.chaos.ledger import Entry, LedgerReader
from benchmarks.chaos.witness import DeadlineGates
from benchmarks.failover.places import COMPONENTS, GROUPS, TIMING
from benchmarks.failover.rounds import RoundFailed
from benchmarks.failover.watch import boottime_ns
from sidecar.client.operator import NoAnswer, Operator
from sidecar.core.timing import MS

Result = TypeVar("Result")

START_S: Final = 90.0
"""From the start of twenty Python processes to orders granted, on a slow machine that others use."""
RECOVER_S: Final = 60.0
"""The bound on everything running again after the healing, nodes' booting included."""
STATUS_S: Final = 2.0
PARTED_NS: Final = 60_000 * MS
"""How long deploy/rabbitmq/rejoin.sh may take to end a partition before a node is restarted for it."""
LOOK_AGAIN_S: Final = 0.1
AFTERMATH_S: Final = 1.0
"""What was held back arrives after the healing; nothing of it may close or open anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What one fault did. Moments are CLOCK_BOOTTIME; `recovered_ns` is when all was well for the first time."""

    fault: Fault
    target: str
    struck_ns: int
    done_ns: int
    healing_ns: int
    healed_ns: int
    recovered_ns: int
    outage_ns: int
    """The longest time in which no order was granted to anybody."""
    leases_lost: int
    helped: str
    """The node that had to be restarted afterwards, because nothing else ended the partition."""

    @property
    def silenced(self) -> Mapping[str, int]:
        """Who could not be answered, and from when on."""
        match self.fault.silences:
            case "everybody":
                return dict.fromkeys(COMPONENTS, self.done_ns)
            case "target":
                return {self.target: self.done_ns}
            case _:
                return {}


class Told:
    """All ledgers together, as they grow."""

    def __init__(self, readers: Mapping[str, LedgerReader]) -> None:
        self._readers = readers
        self.entries: list[Entry] = []
        self._granted: dict[str, int] = {}

    def look(self) -> None:
        """Take in what is new."""
        for name, reader in self._readers.items():
            new = reader.new()
            self.entries += new
            for each in new:
                if each.told == "granted":
                    self._granted[name] = each.at_ns

    def granted_since(self, component: str, at_ns: int) -> bool:
        """Whether an order of this component was granted after that moment."""
        return self._granted.get(component, 0) > at_ns

    def longest_gap_ns(self, first_ns: int, last_ns: int) -> int:
        """The longest time between two grants, to anybody, in this interval."""
        granted = sorted(each.at_ns for each in self.entries if each.told == "granted")
        moments = [first_ns, *(each for each in granted if first_ns < each < last_ns), last_ns]
        return max(later - earlier for earlier, later in pairwise(moments))


class ChaosRounds:
    """Faults on one scene. `seed` decides the moment of each strike between two heartbeats."""

    def __init__(self, scene: Scene, gates: DeadlineGates, told: Told, operator: Operator, seed: int) -> None:
        self._scene = scene
        self._gates = gates
        self._told = told
        self._operator = operator
        self._random = random.Random(seed)
        self._problem = ""

    async def steady(self) -> None:
        """Return when all is well for the first time."""
        await self._expect("all is well after the start", START_S, self._well(boottime_ns()))

    async def strike(self, fault: Fault) -> Struck:
        """One fault from end to end."""
        await self._expect(f"all is well before {fault.name}", RECOVER_S, self._well(boottime_ns()))
        await self._scene.cluster.whole()
        target = await fault.aim(self._scene)
        await asyncio.sleep(self._random.uniform(0, TIMING.heartbeat_ns / 1e9))
        held, struck_ns = self._gates.open, boottime_ns()
        await fault.strike(self._scene, target)
        done_ns = boottime_ns()
        await asyncio.sleep(fault.hold_s)
        healing_ns = boottime_ns()
        await fault.heal(self._scene, target)
        healed_ns = boottime_ns()
        what = f"all is well after {fault.name} of {target}"
        recovered_ns = await self._expect(what, RECOVER_S, self._well(healed_ns))
        await asyncio.sleep(AFTERMATH_S)
        await self._expect(f"{what}, and stays so", RECOVER_S, self._well(boottime_ns()))
        return Struck(
            fault=fault,
            target=target,
            struck_ns=struck_ns,
            done_ns=done_ns,
            healing_ns=healing_ns,
            healed_ns=healed_ns,
            recovered_ns=recovered_ns,
            outage_ns=self._told.longest_gap_ns(struck_ns, recovered_ns),
            leases_lost=len(self._gates.closed_since(struck_ns) & held),
            helped=await self._end_partition(),
        )

    # --- inside ---

    async def _end_partition(self) -> str:
        """What an operator would do, once the broker had its time; the node, or nothing if there was nothing to do."""
        cluster = self._scene.cluster
        end_ns = boottime_ns() + PARTED_NS
        while node := await cluster.parted():
            if boottime_ns() > end_ns:
                await cluster.restart(node)
                return node
            await asyncio.sleep(1.0)
        return ""

    async def _well(self, since_ns: int) -> int:
        """The moment (CLOCK_BOOTTIME) at which all was well, first after `since_ns`."""
        while problem := await self._problem_since(since_ns):
            self._problem = problem
            await asyncio.sleep(LOOK_AGAIN_S)
        return boottime_ns()

    async def _problem_since(self, since_ns: int) -> str:
        """The first thing that is not well; empty when all is. A process that ended by itself never gets well."""
        self._told.look()
        if ended := self._scene.stage.system.unexpectedly_ended():
            raise RoundFailed(f"ended by itself: {'; '.join(ended)}")
        for group in GROUPS:
            held = self._gates.open & set(group.members)
            if len(held) != group.active:
                return f"open gates of {group.name}: {', '.join(sorted(held)) or 'none'}"
        if waiting := [each for each in sorted(self._gates.open) if not self._told.granted_since(each, since_ns)]:
            return f"no order was granted to {', '.join(waiting)}"
        return await self._arbiters_problem() or await self._sidecars_problem()

    async def _arbiters_problem(self) -> str:
        stage = self._scene.stage
        views = {each: await stage.arbiter_view(each) for each in stage.places.arbiter_ports}
        if lacking := [name for name, view in views.items() if view is None]:
            return "; ".join([await self._why_unhealthy(each) for each in lacking])
        return f"arbiters disagree: {views}" if len(set(views.values())) > 1 else ""

    async def _why_unhealthy(self, arbiter: str) -> str:
        stage = self._scene.stage
        try:
            answer = await stage.http.get(
                f"http://127.0.0.1:{stage.places.arbiter_ports[arbiter]}/health", timeout=STATUS_S
            )
        except httpx.HTTPError as error:
            return f"{arbiter} does not answer ({type(error).__name__})"
        return f"{arbiter} says {answer.text[:500]}"

    async def _sidecars_problem(self) -> str:
        try:
            report = await self._operator.status(timeout_s=STATUS_S)
        except NoAnswer as error:
            return str(error)
        well = {
            each.component
            for each in report.sidecars
            if each.ready and each.incarnation and each.silent_ns < 2 * TIMING.heartbeat_ns
        }
        lacking = sorted(set(COMPONENTS) - well)
        return f"not heard as ready: {', '.join(lacking)}" if lacking else ""

    async def _expect(self, what: str, timeout_s: float, happens: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(happens, timeout_s)
        except TimeoutError:
            raise RoundFailed(f"{what} within {timeout_s:g} s; last seen: {self._problem}") from None
