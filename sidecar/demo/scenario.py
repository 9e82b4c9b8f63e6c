"""The demo's story: six steps, each of which either really happened or fails with what was seen instead.

Owns the order of the steps and their measurements. It must not tell what it did not observe: every sentence here comes
after the observation it speaks of (`witness.py`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.client.halt_progress import HaltProgress
from sidecar.client.operator import NoAnswer, Operator
from sidecar.config.models import TimingSettings
from sidecar.core.timing import MS
from sidecar.demo.audit import holders, overlaps, read_audit
from sidecar.demo.figures import OrderFigures, order_figures
from sidecar.demo.gates import GateWatch
from sidecar.demo.happenings import Happenings
from sidecar.demo.layout import COMPONENTS, EXECUTION, DemoLayout
from sidecar.demo.system import System
from sidecar.demo.witness import STEP_S, StepFailed, Witness
from sidecar.messages.control import TradingState
from sidecar.messages.events import OrderCounts, StatusReport

ACTOR: Final = "demo"
START_S: Final = 25.0
"""Ten Python processes start at once; on two slow cores that takes most of the demo's time."""
DRAIN_S: Final = 12.0
VERIFIED_FIRST: Final = 30
VERIFIED_NEXT: Final = 15
DENIED: Final = 3


@dataclass(slots=True, kw_only=True)
class Measured:
    """What the steps measured so far."""

    failover_ms: float = 0.0
    halt_ms: float = 0.0
    gates: int = 0
    arbiter_takeover_ms: float = 0.0
    leases_lost: int = 0


class Scenario:
    """One run of the story. `step` is the one under way, for whoever reports a failure."""

    def __init__(
        self,
        layout: DemoLayout,
        system: System,
        operator: Operator,
        happenings: Happenings,
        gates: GateWatch,
        say: Callable[[str], None],
    ) -> None:
        self.step = ""
        self.measured = Measured()
        self._layout = layout
        self._system = system
        self._operator = operator
        self._happenings = happenings
        self._gates = gates
        self._say = say
        self._witness = Witness(layout, operator, happenings, gates)
        self._baseline = OrderCounts()
        self._halt_id = ""

    async def start(self) -> None:
        """Everything comes up; orders pass all three phases, with fills in parts."""
        self._begin("start")
        servers = self._layout.servers()
        await self._system.start(*servers)
        self._say(f"{len(servers)} processes start: venue, arbiters, reconciler and sidecars")
        report = await self._witness.status(START_S)
        await self._lift_own_halts(report)
        self._baseline = report.orders
        await self._system.start(*(self._layout.component(each) for each in COMPONENTS))
        await self._witness.groups_open(START_S)
        self._say(f"open gates: {self._witness.open_gates()}")
        await self._witness.orders_begin(VERIFIED_FIRST)
        self._say(f"{self._happenings.verified(*EXECUTION)} orders verified by the venue's evidence")

    async def fail_over(self) -> None:
        """The active execution component dies; the standby's gate opens and orders go on."""
        self._begin("failover")
        active = self._witness.holder()
        standby = next(each for each in EXECUTION if each != active)
        with self._gates.staring():
            killed_ns = boottime_ns()
            await self._system.kill("component", active)
            opened_ns = await self._witness.gate_opens(standby)
        self.measured.failover_ms = (opened_ns - killed_ns) / MS
        self._say(f"{active} was killed; the gate of {standby} opened {self.measured.failover_ms:.1f} ms later")
        self._witness.require(
            f"the gate of {active} is closed", active not in self._gates.open, self._witness.open_gates()
        )
        await self._orders_go_on(standby)
        await self._system.start(self._layout.component(active))
        await self._witness.stands_by(active)
        self._say(f"{active} runs again and stands by; open gates: {self._witness.open_gates()}")

    async def halt(self) -> None:
        """An operator halts everything: every gate closes, orders are denied with the reason."""
        self._begin("halt")
        holder = self._witness.holder()
        before = await self._witness.denials()
        progress = await self._operator.halt(
            ("all",), TradingState.HALTED, "drill of the demo", timeout_s=STEP_S, on_progress=self._count_halt
        )
        self._halt_id = progress.halt.halt_id
        still_open = self._gates.look()
        self._witness.require(
            "the halt is journaled and every sidecar accepts it", progress.complete, _halt_words(progress)
        )
        self._witness.require("every gate page is closed", not still_open, f"open: {', '.join(sorted(still_open))}")
        self.measured.gates = len(progress.closed)
        self.measured.halt_ms = (progress.last_closed_ns or 0) / MS
        self._say(f"all {self.measured.gates} gates closed {self.measured.halt_ms:.1f} ms after the halt was issued")
        denied = await self._witness.denied_since(before, TradingState.HALTED.name, DENIED)
        self._say(f"{denied} orders denied; the sidecar of {holder} says: {await self._witness.why_closed(holder)}")

    async def resume(self) -> None:
        """Only an operator's resume, naming the halt, opens the gates again."""
        self._begin("resume")
        try:
            result = await self._operator.resume(self._halt_id, "the drill is over", timeout_s=STEP_S)
        except NoAnswer as error:
            raise StepFailed("an arbiter answers the resume", str(error)) from error
        self._witness.require("the arbiter lifts the halt", result.ok, result.text)
        await self._witness.groups_open(STEP_S)
        self._say(f"open gates: {self._witness.open_gates()}")
        await self._orders_go_on(self._witness.holder())

    async def take_over(self) -> None:
        """The leading arbiter dies; the other leads, every holder keeps its lease, orders go on."""
        self._begin("arbiter takeover")
        old = await self._witness.status()
        self._witness.require(
            "the leader is one of ours",
            self._system.alive("arbiter", old.arbiter),
            f"{old.arbiter} leads, which this demo did not start: give the demo a broker of its own",
        )
        seen, held = self._happenings, self._gates.look()
        with self._gates.staring():
            killed_ns = boottime_ns()
            await self._system.kill("arbiter", old.arbiter)
            await self._witness.expect(
                "the other arbiter begins a term",
                STEP_S,
                seen.until(lambda: seen.leader is not None and seen.leader.term > old.term),
                lambda: f"term {old.term} of {old.arbiter} is still the last one heard of",
            )
            # No lease of the old leader runs longer than this: a later deadline was granted by the new one.
            await self._witness.leases_outlast(held, killed_ns + TimingSettings().to_core().holder_lease_ns)
        lost = self._gates.closed_since(killed_ns) & held
        self.measured.arbiter_takeover_ms = (seen.leader_heard_ns - killed_ns) / MS
        self.measured.leases_lost = len(lost)
        self._say(
            f"{old.arbiter} was killed; {seen.leader.arbiter if seen.leader else ''} leads "
            f"{self.measured.arbiter_takeover_ms:.0f} ms later; of {len(held)} leases {len(lost)} lost"
        )
        self._witness.require("no lease is lost", not lost, f"gates that closed: {', '.join(sorted(lost))}")
        await self._orders_go_on(self._witness.holder())

    async def finish(self) -> tuple[OrderFigures, str]:
        """Trading ends in order, every order gets its evidence, and the venue says whether holders ever overlapped."""
        self._begin("end")
        await self._system.stop("component")
        report = await self._witness.drained(self._baseline, DRAIN_S)
        orders = order_figures(self._baseline, report.orders, denied=(await self._witness.denials()).total())
        breaks = "; ".join(f"{each.cl_ord_id} {each.kind}" for each in self._happenings.breaks)
        self._witness.require("no order broke", orders.broken == 0, f"{orders.broken}: {breaks}")
        try:
            arrivals = await read_audit(self._layout.venue_port)
        except (OSError, TimeoutError, ValueError) as error:
            raise StepFailed("the venue answers the audit", str(error) or type(error).__name__) from error
        found = overlaps(arrivals)
        self._witness.require("holders never overlap at the venue", not found, "; ".join(found[:3]))
        return orders, f"{len(arrivals)} arrivals at the venue, {len(found)} out of token order: {holders(arrivals)}"

    # --- what several steps do ---

    def _begin(self, step: str) -> None:
        self.step = step
        self._say(f"--- {step} ---")

    async def _orders_go_on(self, component: str) -> None:
        await self._witness.orders_go_on(component, VERIFIED_NEXT)
        self._say(f"orders go on: {VERIFIED_NEXT} more of {component} verified")

    async def _lift_own_halts(self, report: StatusReport) -> None:
        """A demo that was cut short leaves its halt latched, as it must; somebody else's halt is not ours to lift."""
        for halt in report.halts:
            self._witness.require(
                "nothing is halted",
                halt.actor == ACTOR,
                f"halt {halt.halt_id} by {halt.actor} ({halt.reason}): lift it, or give the demo a broker of its own",
            )
            try:
                result = await self._operator.resume(halt.halt_id, "left over from a demo that was cut short")
            except NoAnswer as error:
                raise StepFailed("an arbiter answers the resume", str(error)) from error
            self._say(f"a demo before this one was cut short: {result.text}")

    def _count_halt(self, progress: HaltProgress) -> None:
        if progress.closed and not progress.answered:
            known = "?" if progress.roster is None else len(progress.roster)
            last_ms = (progress.last_closed_ns or 0) / MS
            self._say(f"{len(progress.closed)} of {known} gates closed so far, the last after {last_ms:.1f} ms")


def boottime_ns() -> int:
    """CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _halt_words(progress: HaltProgress) -> str:
    missing = ", ".join(each.component for each in progress.missing) or "nobody"
    journaled = progress.journaled.text if progress.journaled else "the journal is silent"
    return f"{len(progress.accepted)} accepted, {missing} missing; {journaled}; {progress.trouble}"
