"""One sidecar's measures in virtual time, for the tests of core/measures.py."""

from sidecar.core.measure_run import MeasureRules
from sidecar.core.measures import Ask, Measures, Output, RunProgram, SendReport
from sidecar.core.timing import MS
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.local import MeasureAnswer
from sidecar.messages.measures import Measure, MeasureOutcome, MeasuresRecorded, MeasuresReport

START_NS = 10**15
DONE = MeasureAnswer(outcome="done")


def halt(halt_id: str = "h1", *measures: Measure) -> Halt:
    """A halt of everything with these measures; a kill unless given."""
    return Halt(
        halt_id=halt_id,
        scopes=("all",),
        level=TradingState.HALTED,
        reason="a test",
        actor="dana",
        measures=measures or ("cancel",),
    )


def left(*names: str) -> MeasureAnswer:
    """An answer that names what remains."""
    return MeasureAnswer(outcome="failed", remaining=names)


class World:
    """One sidecar's measures in virtual time, with everything that they put out."""

    def __init__(self, *halts: Halt, attached: bool = True, programs: frozenset[Measure] = frozenset()) -> None:
        self.rules = MeasureRules(programs=programs)
        self.now_ns = START_NS
        self.outputs: list[Output] = []
        self.core = Measures("exec-a", self.rules)
        if attached:
            self.core.attached("a~1", self.now_ns)
        self.latch(*halts)

    def latch(self, *halts: Halt) -> None:
        """These halts are in force now, and no others."""
        self.core.sync(halts, lambda each: True)
        self.tick()

    def tick(self, after_ms: int = 0) -> None:
        """Let this much time pass, looking every 50 ms."""
        end_ns = self.now_ns + after_ms * MS
        while True:
            self.outputs.extend(self.core.tick(self.now_ns))
            if self.now_ns >= end_ns:
                return
            self.now_ns = min(end_ns, self.now_ns + 50 * MS)

    def answer(self, measure: Measure, answer: MeasureAnswer = DONE, halt_id: str = "h1") -> MeasureOutcome | None:
        """The component answers."""
        outcome = self.core.answer(halt_id, measure, answer, self.now_ns)
        self.tick()
        return outcome

    def record(self, n: int | None = None, halt_id: str = "h1", *, complete: bool = True) -> None:
        """An arbiter recorded a report, the last one unless given, and found it complete unless told otherwise."""
        last = self.said[-1].n if n is None else n
        self.core.recorded(
            MeasuresRecorded(arbiter="arbiter-1", component="exec-a", halt_id=halt_id, n=last, complete=complete)
        )
        self.tick()

    def restart(self, *halts: Halt) -> None:
        """The sidecar starts again with what is on its disk, and hears of these halts; its component is attached."""
        self.core = Measures("exec-a", self.rules, self.core.kept())
        self.outputs.clear()
        self.core.attached("a~2", self.now_ns)
        self.latch(*halts)

    @property
    def asked(self) -> list[str]:
        """What was asked of the component, in order."""
        return [each.asked.measure for each in self.outputs if isinstance(each, Ask)]

    @property
    def ran(self) -> list[str]:
        """Which programs were to be run, in order."""
        return [each.asked.measure for each in self.outputs if isinstance(each, RunProgram)]

    @property
    def said(self) -> list[MeasuresReport]:
        """The reports."""
        return [each.report for each in self.outputs if isinstance(each, SendReport)]

    @property
    def states(self) -> list[str]:
        """How each measure of the first halt stands now."""
        return [each.state for each in self.core.reports(self.now_ns)[0].outcomes]
