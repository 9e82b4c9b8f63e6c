"""What the demo asks of the running system, and how it insists.

Owns the questions: gates are read from their pages, facts from events and status reports, denials from the sidecars'
counters. It must not start, stop or change anything. What does not come true in time is `StepFailed`, with what was
seen instead.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx

from sidecar.client import SidecarClient, SidecarError
from sidecar.client.operator import NoAnswer, Operator
from sidecar.demo.denials import read_denials
from sidecar.demo.gates import GateWatch
from sidecar.demo.happenings import Happenings
from sidecar.demo.layout import COMPONENTS, EXECUTION, MARKET_DATA, DemoLayout
from sidecar.messages.events import OrderCounts, StatusReport

Result = TypeVar("Result")

STEP_S: Final = 10.0
"""How long anything may take after it was asked for; most of it takes milliseconds."""
LOOK_AGAIN_S: Final = 0.1


class StepFailed(Exception):
    """Something that should have happened did not."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected that {expected}; seen instead: {seen}")


class Witness:
    """Looks at one running system."""

    def __init__(self, layout: DemoLayout, operator: Operator, happenings: Happenings, gates: GateWatch) -> None:
        self._layout = layout
        self._operator = operator
        self._happenings = happenings
        self._gates = gates

    # --- gates ---

    def holder(self) -> str:
        """The execution component whose gate is open; empty while there is none."""
        return next(iter(sorted(self._gates.open & set(EXECUTION))), "")

    def open_gates(self) -> str:
        """In words."""
        names = sorted(self._gates.open)
        return ", ".join(f"{each} (token {self._gates.page(each).token})" for each in names) or "no gate is open"

    async def groups_open(self, timeout_s: float) -> None:
        """One gate of each group is open."""
        await self.expect(
            "one gate of each group opens",
            timeout_s,
            self._gates.until(lambda: self.holder() != "" and set(MARKET_DATA) <= self._gates.open),
            self.open_gates,
        )

    async def gate_opens(self, component: str) -> int:
        """When the gate of this component was last seen to open, CLOCK_BOOTTIME; waits for it."""
        await self.expect(
            f"the gate of {component} opens",
            STEP_S,
            self._gates.until(lambda: component in self._gates.open),
            self.open_gates,
        )
        return max(each.at_ns for each in self._gates.turns if each.component == component and each.open)

    async def leases_outlast(self, components: frozenset[str], at_ns: int) -> None:
        """The lease of each of these components runs until after `at_ns`."""
        await self.expect(
            f"the new leader renews the leases of {', '.join(sorted(components))}",
            STEP_S,
            self._gates.until(lambda: all(self._gates.page(each).deadline_ns > at_ns for each in components)),
            self.open_gates,
        )

    # --- orders ---

    def order_flow(self) -> str:
        """In words."""
        phases: Counter[str] = Counter()
        for (_, phase), count in self._happenings.phases.items():
            phases[phase] += count
        return ", ".join(f"{count} times {phase}" for phase, count in sorted(phases.items())) or "no order at all"

    async def orders_begin(self, count: int) -> None:
        """So many orders are verified, and the venue's drop copy shows fills in parts and whole ones."""
        seen = self._happenings
        await self.expect(
            f"{count} orders are verified, some filled in parts and some whole",
            STEP_S,
            seen.until(
                lambda: (
                    seen.verified(*EXECUTION) >= count
                    and seen.executions["PARTIALLY_FILLED"] > 0
                    and seen.executions["FILLED"] > 0
                )
            ),
            self.order_flow,
        )

    async def orders_go_on(self, component: str, count: int) -> None:
        """So many more orders of this component are verified from now on."""
        seen, wanted = self._happenings, self._happenings.verified(component) + count
        await self.expect(
            f"{count} more orders of {component or 'a holder'} are verified",
            STEP_S,
            seen.until(lambda: seen.verified(component) >= wanted),
            self.order_flow,
        )

    async def drained(self, before: OrderCounts, timeout_s: float) -> StatusReport:
        """No more orders wait for anything than waited `before`; the report that says so."""
        return await self.expect(
            "every order ends VERIFIED, ABORTED or as a BREAK", timeout_s, self._drained(before), self.order_flow
        )

    async def denials(self) -> Counter[str]:
        """All denials so far, by code."""
        try:
            return await read_denials(self._layout.socket(each) for each in COMPONENTS)
        except httpx.HTTPError as error:
            raise StepFailed("every sidecar shows its counters", repr(error)) from error

    async def denied_since(self, before: Counter[str], code: str, count: int) -> int:
        """How many orders were denied with this code since; waits until there are `count`."""
        return await self.expect(
            f"{count} orders are denied as {code}", STEP_S, self._denied_since(before, code, count), self.open_gates
        )

    # --- processes ---

    async def status(self, timeout_s: float = STEP_S) -> StatusReport:
        """The leader's word."""
        try:
            return await self._operator.status(timeout_s=timeout_s)
        except NoAnswer as error:
            raise StepFailed("an arbiter leads and answers", str(error)) from error

    async def stands_by(self, component: str) -> None:
        """The leader hears this component as a ready STANDBY."""
        await self.expect(f"{component} comes back as STANDBY", STEP_S, self._stands_by(component), self.open_gates)

    async def why_closed(self, component: str) -> str:
        """Why this component's gate is closed, in its sidecar's words."""
        try:
            async with SidecarClient(str(self._layout.socket(component))) as client:
                return (await client.gate()).reason
        except SidecarError as error:
            raise StepFailed(f"the sidecar of {component} says why its gate is closed", str(error)) from error

    # --- insisting ---

    async def expect(
        self, expected: str, timeout_s: float, happens: Awaitable[Result], seen: Callable[[], str]
    ) -> Result:
        """Wait for it; StepFailed with `seen()` when it does not happen in time."""
        try:
            return await asyncio.wait_for(happens, timeout_s)
        except TimeoutError:
            raise StepFailed(f"{expected} within {timeout_s:g} s", seen()) from None

    def require(self, expected: str, happened: bool, seen: str) -> None:
        """StepFailed unless it has happened."""
        if not happened:
            raise StepFailed(expected, seen)

    # --- asking again and again; the callers bound it ---

    async def _stands_by(self, component: str) -> None:
        while True:
            for each in (await self.status()).sidecars:
                if each.component == component and each.ready and each.role == "STANDBY" and each.incarnation:
                    return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _drained(self, before: OrderCounts) -> StatusReport:
        while True:
            report = await self.status()
            if _waiting(report.orders) <= _waiting(before):
                return report
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _denied_since(self, before: Counter[str], code: str, count: int) -> int:
        while True:
            denied = (await self.denials())[code] - before[code]
            if denied >= count:
                return denied
            await asyncio.sleep(LOOK_AGAIN_S)


def _waiting(orders: OrderCounts) -> int:
    return orders.precommitted + orders.committed + orders.unknown
