"""What halts make our component do, carried out: asking, programs, stopping, reporting.

Owns the loop around `core/measures.py`: its time, its outputs, and who issued a halt, for the answer. It must not
decide anything. The gate was closed before any of it (`gatekeeper.py`), and nothing here opens one.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.measure_programs import MeasurePrograms
from sidecar.agent.measure_store import MeasureStore
from sidecar.agent.postbox import Postbox
from sidecar.agent.sessions import Sessions
from sidecar.agent.starting import Starting
from sidecar.broker.interface import Delivery
from sidecar.broker.topology import ORDERS
from sidecar.core.bounded import drop_oldest
from sidecar.core.ladder import ControlMemory
from sidecar.core.measures import Ask, Measures, Output, RunProgram, SaveRuns, SendReport, StopComponent
from sidecar.core.sidecar import Sidecar
from sidecar.messages.control import Halt
from sidecar.messages.local import MeasureAnswer, MeasureAsked
from sidecar.messages.measures import Measure, MeasureOutcome, MeasuresRecorded, MeasuresReport

TICK_S: Final = 0.05
"""Between looks at time limits while anything is under way."""
ISSUERS_MAX: Final = 256
"""Halts whose issuer is told how their measures stand."""

StopIt = Callable[[str], Awaitable[str]]


class MeasureDesk:
    """One sidecar's measures. `stop_component` ends the component, for a reason, and says what it did."""

    def __init__(
        self,
        core: Measures,
        sidecar: Sidecar,
        sessions: Sessions,
        postbox: Postbox,
        store: MeasureStore,
        programs: MeasurePrograms,
        starting: Starting,
        stop_limit_s: float,
    ) -> None:
        self.stop_component: StopIt = self._end_started
        self._starting = starting
        self._stop_limit_s = stop_limit_s
        self._core = core
        self._sidecar = sidecar
        self._sessions = sessions
        self._postbox = postbox
        self._store = store
        self._programs = programs
        self._programs.answered = self._program_answered
        self._issuers: dict[str, Delivery] = {}
        self._stopping: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._log = structlog.get_logger(__name__)
        self.halts_changed(sidecar.memory)

    # --- what happened ---

    def halts_changed(self, memory: ControlMemory) -> None:
        """These halts are latched now; the gate page says so already."""
        self._core.sync(memory.in_force, self._sidecar.in_scope)
        self._changed.set()

    def accepted(self, halt: Halt, delivery: Delivery) -> None:
        """Its issuer was told that the gate is closed, and is to be told of the measures too."""
        if halt.measures and self._sidecar.in_scope(halt):
            self._issuers[halt.halt_id] = delivery
            drop_oldest(self._issuers, ISSUERS_MAX)
            self._core.begin(halt)  # The memory may have had no room for it.
            self._changed.set()

    def notice(self, incarnation: str) -> None:
        """Which run of the component is attached; told at each change of the gate."""
        self._core.attached(incarnation, boottime_ns())
        if incarnation:
            self._gone.clear()
        else:
            self._gone.set()
        self._changed.set()

    def answer(self, halt_id: str, measure: Measure, answer: MeasureAnswer) -> MeasureOutcome | None:
        """The component's word; None when it was not asked for."""
        return self._answered(halt_id, measure, answer)

    def on_recorded(self, message: MeasuresRecorded) -> None:
        """An arbiter journaled a report."""
        self._core.recorded(message)
        self._changed.set()

    def reports(self) -> tuple[MeasuresReport, ...]:
        """How everything stands."""
        return self._core.reports(boottime_ns())

    # --- the loop ---

    async def run(self) -> NoReturn:
        """Carry out, for ever."""
        while True:
            for output in self._core.tick(boottime_ns()):
                self._do(output)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S if self._core.busy else None):
                    await self._changed.wait()
            self._changed.clear()

    async def stop(self) -> None:
        """End what is under way here; it begins again with the next run of the sidecar."""
        await self._programs.stop()
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.gather(self._stopping, return_exceptions=True)

    # --- inside ---

    def _do(self, output: Output) -> None:
        match output:
            case Ask(asked):
                self._sessions.tell(asked)
                self._say(asked)
            case RunProgram(asked):
                self._programs.run(asked)
            case StopComponent(asked):
                self._stop(asked)
            case SendReport(report):
                self._postbox.post(ORDERS, f"measures.{report.component}", report)
                if (issuer := self._issuers.get(report.halt_id)) is not None:
                    self._postbox.answer(issuer, report)
            case SaveRuns(runs):
                self._store.save(runs)

    def _say(self, asked: MeasureAsked) -> None:
        if asked.attempt == 1:
            self._log.warning("the component is asked", measure=asked.measure, halt_id=asked.halt_id)

    def _stop(self, asked: MeasureAsked) -> None:
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.create_task(self._stop_component(asked), name="measure-stop")

    async def _stop_component(self, asked: MeasureAsked) -> None:
        self._sessions.tell(asked)
        reason = f"it was stopped by halt {asked.halt_id}: {asked.reason or 'no reason given'}"
        self._log.warning("the component is stopped", halt_id=asked.halt_id)
        try:
            answer = MeasureAnswer(outcome="done", text=await self.stop_component(reason))
        except Exception as error:  # Whatever it was, the component may still run: it is tried again.
            self._log.exception("the component could not be stopped")
            answer = MeasureAnswer(outcome="failed", text=f"{type(error).__name__}: {error}"[:200])
        self._answered(asked.halt_id, "stop", answer)

    async def _end_started(self, reason: str) -> str:
        """A component that is not our child: it may end by itself within the limit, since we can end no process of it
        but that of its start action."""
        attached = bool(self._sidecar.incarnation)
        if await self._starting.end_component(self._stop_limit_s):
            self._sessions.detach(reason)
            return "the process of its start action was ended"
        if not attached:
            return "no component was attached"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._stop_limit_s):
                await self._gone.wait()
                return "it ended its session by itself"
        self._sessions.detach(reason)
        return "its session was ended; its process is not ours to stop"

    def _program_answered(self, asked: MeasureAsked, answer: MeasureAnswer) -> None:
        self._answered(asked.halt_id, asked.measure, answer)

    def _answered(self, halt_id: str, measure: Measure, answer: MeasureAnswer) -> MeasureOutcome | None:
        outcome = self._core.answer(halt_id, measure, answer, boottime_ns())
        self._changed.set()
        return outcome
