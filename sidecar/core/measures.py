"""The sidecar's side of measures: what a halt makes its component do, in order, until it is done.

Owns the runs: one for each halt with measures that concerns us, and who is asked what, when. It must not know how a
component is asked or a program is run; what must happen comes back as outputs. The gate was closed before any of it.
One run's table is in `measure_run.py`.

A lifted halt ends `persist` and `stop`; `cancel` and `flatten` are asked on until nothing remains: a cancel that stops
retrying when the latch clears leaves orders resting. The same halt twice is one run. What is done is kept on disk
(`kept`); all else begins again with the sidecar, so a measure must bear being asked twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.core.measure_run import CONTESTED_NS, KeptRun, MeasureRules, Run, Step
from sidecar.core.sanity import TEXT_MAX
from sidecar.core.timing import MS
from sidecar.messages.control import Halt
from sidecar.messages.local import MeasureAnswer, MeasureAsked
from sidecar.messages.measures import Measure, MeasureOutcome, MeasuresRecorded, MeasuresReport

RUNS_MAX: Final = 256
"""Runs at once; more than halts that a sidecar can have latched (128 journaled, 64 not yet)."""
OVERFLOW: Final = "overflow-"
"""Halts that stand for others begin with this; while one is in force nobody knows which others are lifted."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the attached component."""

    asked: MeasureAsked


@dataclass(frozen=True, slots=True)
class RunProgram:
    """Run the measure's configured program, unless it still runs for this halt."""

    asked: MeasureAsked


@dataclass(frozen=True, slots=True)
class StopComponent:
    """End the component, unless that is under way, and answer `stop`."""

    asked: MeasureAsked


@dataclass(frozen=True, slots=True)
class SendReport:
    """Send this to the arbiters and to the halt's issuer."""

    report: MeasuresReport


@dataclass(frozen=True, slots=True)
class SaveRuns:
    """Keep these on disk."""

    runs: tuple[KeptRun, ...]


Output = Ask | RunProgram | StopComponent | SendReport | SaveRuns


class Measures:
    """All runs of one sidecar. `kept` are those of an earlier run of it; every method takes the time."""

    def __init__(self, component: str, rules: MeasureRules, kept: Iterable[KeptRun] = ()) -> None:
        self._component = component
        self._rules = rules
        self._incarnation = ""
        self._runs: dict[str, Run] = {}
        for each in kept:
            self._restore(each)
        self._saved = self.kept()

    def begin(self, halt: Halt) -> None:
        """A halt that concerns us was latched. One without measures, or known already, changes nothing."""
        if not halt.measures or halt.halt_id in self._runs:
            return
        if len(self._runs) >= RUNS_MAX:
            self._make_room()
        if len(self._runs) < RUNS_MAX:
            self._runs[halt.halt_id] = Run(halt, self._rules)

    def sync(self, in_force: Iterable[Halt], concerns_us: Callable[[Halt], bool]) -> None:
        """These halts are latched now: begin what is new, and know what was lifted."""
        latched = {each.halt_id: each for each in in_force}
        unknown = any(each.startswith(OVERFLOW) for each in latched)
        for halt_id, run in self._runs.items():
            run.in_force = halt_id in latched or unknown
        for each in latched.values():
            if each.measures and concerns_us(each):
                self.begin(each)

    def attached(self, incarnation: str, now_ns: int) -> None:
        """Which run of the component is attached; empty is none."""
        if incarnation and incarnation != self._incarnation:
            for run in self._runs.values():
                for step in run.steps:
                    step.soon(now_ns, self._rules.retry_ns)
        self._incarnation = incarnation

    def answer(self, halt_id: str, measure: Measure, answer: MeasureAnswer, now_ns: int) -> MeasureOutcome | None:
        """The component's word, or the program's, or our own on `stop`; None when no such measure was asked for."""
        run = self._runs.get(halt_id)
        step = next((each for each in run.todo if each.measure == measure), None) if run else None
        if run is None or step is None or not (step.attempts or step.done):
            return None
        step.answer(answer, now_ns, contested=run.contested)
        return step.outcome(now_ns)

    def recorded(self, message: MeasuresRecorded) -> None:
        """An arbiter's answer to a report."""
        run = self._runs.get(message.halt_id)
        if run is not None and message.component == self._component:
            run.recorded(message.n, complete=message.complete)

    def tick(self, now_ns: int) -> list[Output]:
        """Time passes: ask, give the next its turn, report."""
        asking: list[Output] = []
        for run in self._runs.values():
            asking.extend(self._work(run, now_ns))
        reports = [each.say(self._component, self._incarnation, now_ns) for each in self._runs.values()]
        for halt_id in [each for each, run in self._runs.items() if run.over]:
            del self._runs[halt_id]
        return [*self._save(), *asking, *(SendReport(each) for each in reports if each is not None)]

    @property
    def busy(self) -> bool:
        """Whether `tick` has anything to do soon."""
        return any(not run.completed or not run.settled for run in self._runs.values())

    def kept(self) -> tuple[KeptRun, ...]:
        """All runs, for the disk."""
        return tuple(each.kept() for each in self._runs.values())

    def reports(self, now_ns: int) -> tuple[MeasuresReport, ...]:
        """How every run stands, whether it was sent so or not."""
        return tuple(
            MeasuresReport(
                component=self._component,
                incarnation=self._incarnation,
                halt_id=run.halt.halt_id,
                n=run.n,
                completed=run.completed,
                outcomes=tuple(each.outcome(now_ns) for each in run.todo),
            )
            for run in self._runs.values()
        )

    # --- inside ---

    def _save(self) -> list[Output]:
        before, self._saved = self._saved, self.kept()
        return [SaveRuns(self._saved)] if self._saved != before else []

    def _work(self, run: Run, now_ns: int) -> list[Output]:
        asking: list[Output] = []
        for step in run.todo:
            if step.done is None:
                asking.extend(self._ask(run, step, now_ns, self._rules.retry_ns))
            elif run.contested and step.measure == "cancel":
                asking.extend(self._ask(run, step, now_ns, CONTESTED_NS))
            if not step.over(now_ns):
                break
        return asking

    def _ask(self, run: Run, step: Step, now_ns: int, retry_ns: int) -> list[Output]:
        program = step.measure in self._rules.programs
        step.begin(bool(self._incarnation) or program or step.measure == "stop", now_ns)
        if not (self._incarnation or program or step.measure == "stop"):
            return []
        if not step.ask(now_ns, retry_ns):
            return []
        asked = self._asked(run, step, now_ns)
        if step.measure == "stop":
            return [StopComponent(asked)]
        by_program = program and (not self._incarnation or step.left_ns(now_ns) == 0)
        return [*([Ask(asked)] if self._incarnation else []), *([RunProgram(asked)] if by_program else [])]

    def _asked(self, run: Run, step: Step, now_ns: int) -> MeasureAsked:
        return MeasureAsked(
            component=self._component,
            halt_id=run.halt.halt_id,
            measure=step.measure,
            scopes=run.halt.scopes,
            attempt=step.attempts,
            limit_ms=step.left_ns(now_ns) // MS,
            reason=run.halt.reason[:TEXT_MAX],
        )

    def _restore(self, kept: KeptRun) -> None:
        run = Run(kept.halt, self._rules)
        run.n = kept.n
        done = {each.measure: each for each in kept.done}
        for step in run.steps:
            step.done = done.get(step.measure)
        self._runs[kept.halt.halt_id] = run

    def _make_room(self) -> None:
        """Lifted halts go first, finished ones before others; one in force never does."""
        lifted = [(not run.completed, halt_id) for halt_id, run in self._runs.items() if not run.in_force]
        if lifted:
            del self._runs[min(lifted)[1]]
