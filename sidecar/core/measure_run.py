"""One halt's measures at a sidecar: how each stands, and what is said of them.

Owns a run's steps and its reports. It must not know who is asked: `measures.py` decides that. A run does its halt's
measures in the order of `MEASURES`; the next begins when the one before is done, or over its time limit, or nobody is
there to do it. "Asked" is a line to the component, and where a program is configured and no component is attached, or
the limit has passed, a run of that program.

| state  | input                                   | next   | what happens                                     |
|--------|-----------------------------------------|--------|--------------------------------------------------|
| (none) | its turn; component or program there    | asked  | asked                                            |
| (none) | its turn; neither                       | nobody | nothing (`stop`: there is nothing to stop, done) |
| nobody | a component attaches                    | asked  | asked; its limit begins anew                     |
| asked  | its limit passes                        | late   | the next one begins; it is asked on              |
| any    | answer: failed, or something remains    | failed | asked again after the retry interval             |
| any    | answer: done, and nothing remains       | done   | never asked again                                |
| any    | the retry interval passes without done  | same   | asked again                                      |
| done   | an arbiter finds it contradicted        | done   | asked again, more slowly, until it finds none    |
| done   | the same, and then: something remains   | failed | asked again after the retry interval             |
| done   | anything else                           | done   | nothing                                          |

An arbiter contradicts a cancel while its order table shows orders of the component open: an order that was on its way
when the component said that nothing remains is found so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec

from sidecar.core.sanity import INT_MAX, clip
from sidecar.core.timing import MS
from sidecar.messages.control import Halt
from sidecar.messages.local import MeasureAnswer
from sidecar.messages.measures import (
    MEASURES,
    REMAINING_BYTES_MAX,
    REMAINING_MAX,
    Measure,
    MeasureOutcome,
    MeasuresReport,
    MeasureState,
)

REPEAT_NS: Final = 1_000 * MS
"""Between repetitions of a report that is not recorded, and how long a run that goes well is reported by nothing."""
REPEATS_MAX: Final = 600
"""A finished run of a lifted halt that no arbiter records is given up after so many reports."""
CONTESTED_NS: Final = 2_000 * MS
"""Between askings of a cancel that is done by the component's word and not by the arbiter's: evidence takes a while."""
AFTER_LIFTING: Final = frozenset({"cancel", "flatten"})
"""Measures that go on when their halt is lifted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRules:
    """Time limits, the retry interval, and which measures have a program."""

    limits_ns: Mapping[Measure, int] = field(
        default_factory=lambda: MappingProxyType(
            {"cancel": 1_000 * MS, "flatten": 1_500 * MS, "persist": 1_000 * MS, "stop": 1_000 * MS}
        )
    )
    retry_ns: int = 500 * MS
    programs: frozenset[Measure] = frozenset()


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is kept on disk: what is done is not asked for again, and reports are counted on."""

    halt: Halt
    n: int
    done: tuple[MeasureOutcome, ...] = ()


class Step:
    """One measure of one run; the table above."""

    def __init__(self, measure: Measure, limit_ns: int) -> None:
        self.measure: Measure = measure
        self.began_ns: int | None = None
        self.done: MeasureOutcome | None = None
        self.attempts = 0
        self._limit_ns = limit_ns
        self._asked_ns = 0
        self._nobody = False
        self._failed: MeasureAnswer | None = None

    def over(self, now_ns: int) -> bool:
        """Whether the next measure may begin."""
        return self.done is not None or self._nobody or self.left_ns(now_ns) == 0

    def left_ns(self, now_ns: int) -> int:
        """What is left of its time limit."""
        return max(0, (self.began_ns or now_ns) + self._limit_ns - now_ns)

    def begin(self, hands: bool, now_ns: int) -> None:
        """Its turn, or still its turn; `hands` says whether anybody is there to do it."""
        if self.began_ns is None or (self._nobody and hands):
            self.began_ns = now_ns
        self._nobody = not hands

    def ask(self, now_ns: int, retry_ns: int) -> bool:
        """Whether it is to be asked now; if so, it is counted."""
        if self.attempts and now_ns - self._asked_ns < retry_ns:
            return False
        self.attempts, self._asked_ns = self.attempts + 1, now_ns
        return True

    def soon(self, now_ns: int, retry_ns: int) -> None:
        """Somebody new is there: ask without waiting for the retry interval."""
        self._asked_ns = now_ns - retry_ns

    def answer(self, answer: MeasureAnswer, now_ns: int, *, contested: bool) -> None:
        """Take in an answer. One on what is done already counts only if that is contested."""
        if self.done is not None and not contested:
            return
        if answer.outcome == "failed" or answer.remaining:
            self.done, self._failed = None, answer
            return
        if self.done is not None:
            return
        self.done = MeasureOutcome(
            measure=self.measure,
            state="done",
            took_ns=min(max(0, now_ns - (self.began_ns or now_ns)), INT_MAX),
            text=clip(answer.text),
            attempts=self.attempts,
        )

    def outcome(self, now_ns: int) -> MeasureOutcome:
        """How it stands."""
        if self.done is not None:
            return self.done
        answer = self._failed or MeasureAnswer(outcome="failed")
        return MeasureOutcome(
            measure=self.measure,
            state=self._state(now_ns),
            took_ns=0 if self.began_ns is None else max(0, now_ns - self.began_ns),
            text=clip(answer.text),
            remaining=names_that_fit(answer.remaining),
            remaining_count=len(answer.remaining),
            attempts=self.attempts,
        )

    def _state(self, now_ns: int) -> MeasureState:
        if self._nobody:
            return "nobody"
        if self._failed is not None:
            return "failed"
        return "late" if self.began_ns is not None and self.left_ns(now_ns) == 0 else "asked"


class Run:
    """The measures of one halt."""

    def __init__(self, halt: Halt, rules: MeasureRules) -> None:
        self.halt = halt
        self.in_force = True
        self.steps = [Step(each, rules.limits_ns[each]) for each in MEASURES if each in halt.measures]
        self.n = 0
        self.recorded_n = 0
        self.contested = False
        self.report: MeasuresReport | None = None
        self.repeats = 0
        self._sent_ns = 0
        self._began_ns: int | None = None
        self._told: tuple[MeasureOutcome, ...] = ()

    @property
    def todo(self) -> list[Step]:
        """What is to be done, in order: after the halt is lifted not everything."""
        return [each for each in self.steps if self.in_force or each.done or each.measure in AFTER_LIFTING]

    @property
    def completed(self) -> bool:
        """Everything is done."""
        return all(each.done for each in self.todo)

    @property
    def over(self) -> bool:
        """Nothing more will come of it."""
        return not self.in_force and self.completed and (self.settled or self.repeats >= REPEATS_MAX)

    @property
    def settled(self) -> bool:
        """An arbiter has journaled the last report, and does not contradict it."""
        return self.n > 0 and self.recorded_n == self.n and not self.contested

    def kept(self) -> KeptRun:
        """For the disk."""
        return KeptRun(halt=self.halt, n=self.n, done=tuple(each.done for each in self.steps if each.done))

    def say(self, component: str, incarnation: str, now_ns: int) -> MeasuresReport | None:
        """The report that is to be sent now: a new one when something changed, else the last one until recorded."""
        if self._began_ns is None:
            self._began_ns = now_ns
        outcomes = tuple(each.outcome(now_ns) for each in self.todo)
        if self._worth_saying(outcomes, now_ns):
            self._told = tuple(map(_lasting, outcomes))
            self.n, self.repeats, self.contested = self.n + 1, 0, False
            self.report = MeasuresReport(
                component=component,
                incarnation=incarnation,
                halt_id=self.halt.halt_id,
                n=self.n,
                completed=self.completed,
                outcomes=outcomes,
            )
        elif self.report is None or self.settled or now_ns - self._sent_ns < REPEAT_NS:
            return None
        self._sent_ns = now_ns
        self.repeats += 1
        return self.report

    def recorded(self, n: int, *, complete: bool) -> None:
        """An arbiter journaled report `n`. A higher count than ours is from before a lost disk: go on from there.

        While it does not find complete what we reported so, the report is repeated, to hear when it does.
        """
        if n == self.n:
            self.recorded_n, self.contested = n, self.completed and not complete
        elif n > self.n:
            self.n, self.recorded_n, self._told = n, 0, ()

    def _worth_saying(self, outcomes: tuple[MeasureOutcome, ...], now_ns: int) -> bool:
        if tuple(map(_lasting, outcomes)) == self._told:
            return False
        well = not self.completed and all(each.state in ("asked", "done") for each in outcomes)
        return not well or now_ns - (self._began_ns or now_ns) >= REPEAT_NS


def names_that_fit(names: Iterable[str]) -> tuple[str, ...]:
    """The first of these names that one outcome has room for, each cut to what a record carries."""
    found: list[str] = []
    size = 0
    for each in names:
        name = clip(each)
        size += len(name.encode())
        if len(found) >= REMAINING_MAX or size > REMAINING_BYTES_MAX:
            break
        found.append(name)
    return tuple(found)


def _lasting(outcome: MeasureOutcome) -> MeasureOutcome:
    """An outcome without what every moment changes."""
    return msgspec.structs.replace(outcome, took_ns=0, attempts=0)
