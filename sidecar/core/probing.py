"""Probes of one component: whether it lives, and whether it may take a slot.

Owns the thresholds and what a probe's results amount to. It must not know how a probe is run (`agent/probe_runs.py`)
or what a dead component means. Terms and thresholds are those of Kubernetes' container probes. Each probe, in one run
of the component:

| state   | input                          | next    |
|---------|--------------------------------|---------|
| unknown | `successes` good ones in a row | passing |
| unknown | `failures` bad ones in a row   | failing |
| passing | `failures` bad ones in a row   | failing |
| failing | `successes` good ones in a row | passing |

| purpose   | not passing yet                                | failing                       |
|-----------|------------------------------------------------|-------------------------------|
| startup   | not ready, and the other probes are not run    | dead: it never came up        |
| liveness  | alive until proven otherwise                   | dead                          |
| readiness | not ready                                      | not ready                     |

Once a startup probe has passed it is not run again. A `pushed` probe is run by nobody: it is bad when the component
has not pushed its health since the probe's period began, and so finds one that hangs with its session open.

Which way it fails: to not ready. A probe that was not run yet is no good word.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sidecar.core.sanity import clip


class Purpose(StrEnum):
    """What a probe is asked for."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRule:
    """One configured probe; times in nanoseconds. `delay_ns` is the time before its first run."""

    name: str
    purpose: Purpose
    period_ns: int
    delay_ns: int = 0
    failures: int = 3
    successes: int = 1
    pushed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all probes amount to. `dead` is why the component counts as dead, empty while it lives."""

    dead: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.dead and not self.reasons


@dataclass(slots=True)
class _Probe:
    """One probe in this run. `state` is None while unknown; `row` counts results in a row against the present state."""

    rule: ProbeRule
    due_ns: int
    state: bool | None = None
    row: int = 0
    last_good: bool | None = None
    problem: str = ""
    running: bool = False

    def note(self, problem: str) -> None:
        good = not problem
        self.row = self.row + 1 if good is self.last_good else 1
        self.last_good, self.problem = good, clip(problem)
        if self.row >= (self.rule.successes if good else self.rule.failures):
            self.state = good


class Probing:
    """All probes of one component; `begin` starts them anew for each of its runs."""

    def __init__(self, rules: Iterable[ProbeRule]) -> None:
        self._rules = tuple(rules)
        self._probes: dict[str, _Probe] = {}
        self._pushed_ns = 0
        self._generation = 0

    @property
    def generation(self) -> int:
        """Which run of the component it is: a result of an earlier one says nothing."""
        return self._generation

    def begin(self, now_ns: int) -> None:
        """A new run of the component: nothing is known of it."""
        self._generation += 1
        self._pushed_ns = now_ns
        self._probes = {each.name: _Probe(each, now_ns + each.delay_ns) for each in self._rules}

    def end(self) -> None:
        """No component is attached: nothing is probed."""
        self._generation += 1
        self._probes = {}

    def pushed(self, now_ns: int) -> None:
        """The component pushed its health."""
        self._pushed_ns = now_ns

    def due(self, now_ns: int) -> tuple[str, ...]:
        """The probes to be run now, each until its `result`. A probe that still runs is not started again."""
        found = []
        for each in self._active():
            if each.running or now_ns < each.due_ns:
                continue
            begun_ns, each.due_ns = each.due_ns, now_ns + each.rule.period_ns
            if each.rule.pushed:
                silent = self._pushed_ns < begun_ns - each.rule.period_ns
                each.note("the component has not pushed its health in time" if silent else "")
            else:
                each.running = True
                found.append(each.rule.name)
        return tuple(found)

    def next_ns(self) -> int | None:
        """When something is due next; None while nothing is probed or everything runs."""
        return min((each.due_ns for each in self._active() if not each.running), default=None)

    def result(self, name: str, generation: int, problem: str) -> None:
        """A probe ended: well with an empty `problem`, else for that reason."""
        probe = self._probes.get(name)
        if probe is not None and generation == self._generation and probe.running:
            probe.running = False
            probe.note(problem)

    def verdict(self) -> Verdict:
        """What everything known amounts to."""
        dead, reasons = "", []
        for each in self._active():
            said = f"{each.rule.purpose} probe {each.rule.name}"
            why = f": {each.problem}" if each.problem else ""
            if each.state is False and each.rule.purpose is not Purpose.READINESS:
                dead = dead or f"{said} failed{why}"
            elif each.rule.purpose is not Purpose.LIVENESS and each.state is not True:
                reasons.append(f"{said} {'has not passed yet' if each.state is None else 'fails'}{why}")
        return Verdict(dead, tuple(reasons))

    def _active(self) -> list[_Probe]:
        """Startup probes until all have passed, then the others."""
        starting = [each for each in self._probes.values() if each.rule.purpose is Purpose.STARTUP]
        if any(not each.state for each in starting):
            return starting
        return [each for each in self._probes.values() if each.rule.purpose is not Purpose.STARTUP]
