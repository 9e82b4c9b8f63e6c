"""How doubtful a silence is: the phi accrual detector, and the fixed one beside it.

Owns the arithmetic of failure detection; pure functions of intervals and ages in nanoseconds. It must not know what
suspicion is used for: it ranks candidates and raises alerts, and never ends a lease (DESIGN section 6.4).

Theory (Hayashibara, Defago, Yared and Katayama, "The phi accrual failure detector", SRDS 2004). Intervals between
heartbeats are taken as normal with the mean m and deviation s of a sliding window; then a heartbeat comes later than
age t with probability P(t) = erfc(x) / 2, x = (t - m) / (s sqrt 2), and phi(t) = -log10 P(t). At phi 8 one in a
hundred million of such silences is no failure.

The formula as printed fails at both ends: erfc underflows to 0 near x = 26.5, where the logarithm has no value, and
well before the mean P rounds to 1. So beyond `ASYMPTOTIC_FROM` the logarithm is taken of erfc's asymptotic expansion,
exp(-x^2) / (x sqrt pi) (1 - 1/2x^2 + 3/4x^4 - ...) (DLMF 7.12.1), and before the mean of 1 - erfc(-x) / 2, by log1p.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sidecar.core.timing import MS, Timing

AGE_NS_MAX: Final = 2**63
"""Older than any boot (292 years): ages and intervals are held within it, so that every square stays finite."""
ASYMPTOTIC_FROM: Final = 20.0
"""From this x on the expansion's error is below 1e-11 of a phi of 175, and erfc is far from its underflow."""
TRUSTED_STEPS: Final = 64
"""Deviations past the mean that are looked at, far more than any threshold of use asks for."""
_LN10: Final = math.log(10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How silence is judged. A time of 0 is the default that follows from the other times (see the properties)."""

    method: Literal["phi", "fixed"] = "phi"
    phi_threshold: float = 8.0
    missed_max: int = 3
    window: int = 100
    deviation_min_ns: int = 0
    first_heartbeat_ns: int = 10_000 * MS
    learning_ns: int = 0
    canary_late_ns: int = 0
    correlated_min: int = 4
    correlated_percent: int = 50
    correlated_max_ns: int = 10_000 * MS

    def detector(self, timing: Timing) -> "Detector":
        """A detector of one member's rhythm, which knows only the configured interval yet."""
        if self.method == "fixed":
            return FixedCount(timing.heartbeat_ns, self.missed_max)
        window = Window(self.window, timing.heartbeat_ns)
        return PhiAccrual(timing.heartbeat_ns, window, self._deviation_ns(timing), self.phi_threshold)

    def trusted_ns(self, timing: Timing) -> int:
        """An age, not before the interval, at which no detector suspects anybody, whatever its rhythm was."""
        if self.method == "fixed":
            return max(1, self.missed_max) * timing.heartbeat_ns
        return trusted_ns(timing.heartbeat_ns, max(1, self._deviation_ns(timing)), self.phi_threshold)

    def _deviation_ns(self, timing: Timing) -> int:
        return self.deviation_min_ns or timing.heartbeat_ns * 2 // 5


class Detector(Protocol):
    """One member's rhythm."""

    def learn(self, interval_ns: int) -> None:
        """Two heartbeats came this far apart."""

    def level(self, age_ns: int) -> float:
        """How doubtful a silence of this age is: never negative, finite, never less for an older one."""

    def suspects(self, age_ns: int) -> bool:
        """Whether that is more than configured."""


class Window:
    """The last intervals, at most `size` of them; sums are exact integers, so nothing drifts.

    They are taken when somebody asks: silences are rarer than heartbeats.
    """

    def __init__(self, size: int, first_ns: int) -> None:
        self._intervals: deque[int] = deque(maxlen=size)
        self._figures: tuple[int, int] | None = None
        self.add(first_ns)

    def __len__(self) -> int:
        return len(self._intervals)

    def add(self, interval_ns: int) -> None:
        """The newest interval; the oldest goes when the window is full."""
        kept = interval_ns if 0 <= interval_ns <= AGE_NS_MAX else max(0, min(interval_ns, AGE_NS_MAX))
        self._intervals.append(kept)
        self._figures = None

    @property
    def mean_ns(self) -> int:
        """The mean, rounded down."""
        return self.figures_ns[0]

    @property
    def deviation_ns(self) -> int:
        """The standard deviation of the window as a population, rounded down."""
        return self.figures_ns[1]

    @property
    def figures_ns(self) -> tuple[int, int]:
        """Mean and deviation."""
        if self._figures is None:
            n, total = len(self._intervals), sum(self._intervals)
            squares = sum([each * each for each in self._intervals])
            self._figures = total // n, math.isqrt(n * squares - total * total) // n
        return self._figures


class PhiAccrual:
    """Suspects by phi. The mean is held at the configured interval at least: a burst after a stall is no rhythm.

    `deviation_min_ns` is the floor of s: without it a perfectly regular member is suspected for a scheduler's hiccup.
    """

    def __init__(self, interval_ns: int, window: Window, deviation_min_ns: int, threshold: float) -> None:
        self._interval_ns = interval_ns
        self._window = window
        self._deviation_min_ns = max(1, deviation_min_ns)
        self._threshold = threshold
        self._least_ns = self._trusted_ns = trusted_ns(interval_ns, self._deviation_min_ns, threshold)

    def learn(self, interval_ns: int) -> None:
        """Two heartbeats came this far apart."""
        self._window.add(interval_ns)
        self._trusted_ns = self._least_ns

    def level(self, age_ns: int) -> float:
        """Phi."""
        mean_ns, deviation_ns = self._window.figures_ns
        return phi(age_ns, max(mean_ns, self._interval_ns), max(deviation_ns, self._deviation_min_ns))

    def suspects(self, age_ns: int) -> bool:
        """Whether phi has reached the threshold."""
        if age_ns <= self._trusted_ns:
            return False
        if self.level(age_ns) >= self._threshold:
            return True
        self._trusted_ns = age_ns  # No younger silence says more.
        return False


class FixedCount:
    """Suspects after a fixed number of missed heartbeats, whatever the rhythm was."""

    def __init__(self, interval_ns: int, missed_max: int) -> None:
        self._interval_ns = interval_ns
        self._missed_max = missed_max

    def learn(self, interval_ns: int) -> None:
        """It learns nothing."""

    def level(self, age_ns: int) -> float:
        """Heartbeat intervals of silence."""
        return max(0, min(age_ns, AGE_NS_MAX)) / self._interval_ns

    def suspects(self, age_ns: int) -> bool:
        """Whether more than the allowed number of heartbeats is missing."""
        return age_ns > self._missed_max * self._interval_ns


def trusted_ns(interval_ns: int, deviation_min_ns: int, threshold: float) -> int:
    """An age, not before `interval_ns`, that no rhythm calls suspicious.

    Past the mean a greater mean and a greater deviation both lower phi, so the least of each says how early at most.
    """
    low_ns, high_ns = interval_ns, interval_ns + deviation_min_ns
    for _ in range(TRUSTED_STEPS):
        if phi(high_ns, interval_ns, deviation_min_ns) >= threshold:
            break
        low_ns, high_ns = high_ns, high_ns + deviation_min_ns
    return low_ns


def phi(age_ns: int, mean_ns: int, deviation_ns: int) -> float:
    """-log10 of the chance that a heartbeat comes later than `age_ns`; `deviation_ns` is at least 1.

    Finite and not negative for every age; about `age^2` far out.
    """
    late_ns = max(-AGE_NS_MAX, min(age_ns - mean_ns, AGE_NS_MAX))
    x = late_ns / (deviation_ns * math.sqrt(2.0))
    if x < 0.0:
        return abs(math.log1p(-0.5 * math.erfc(-x))) / _LN10
    if x < ASYMPTOTIC_FROM:
        return -math.log10(0.5 * math.erfc(x))
    y = 0.5 / (x * x)
    series = -y * (1.0 - 3.0 * y * (1.0 - 5.0 * y * (1.0 - 7.0 * y)))
    return (x * x + math.log(2.0 * x * math.sqrt(math.pi)) - math.log1p(series)) / _LN10
