"""The component's own figures: what it pushed, what follows from it, and what becomes of it while nothing more comes.

Owns the fixed names, the growing of ages, the count of errors over a minute and the bound on names. It must not know
rules (`health_rules.py`), files or processes. Time is CLOCK_BOOTTIME in nanoseconds.

Each push is the component's whole word: a figure that is missing from the newest one is no longer said. Ages are the
exception. An age (`..._age_s`) goes on growing from the moment at which it was pushed until a newer one comes or the
session ends, so that a feed's handler that has died looks as old as its data is.

Which way it fails: to older, and to more errors. Of two words on one figure the worse counts.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.core.timing import MS
from sidecar.messages.local import HealthPush, QueueState

AGE: Final = "_age_s"
"""Figures whose names end so are ages in seconds."""
OURS: Final = ("sidecar_", "host_", "process_")
"""Names that begin so are measured by the sidecar itself; no component may push one."""
ERRORS: Final = "errors_per_minute"
QUEUE_STATE: Final = "execution_queue_state"
QUEUE_STALLED: Final = "execution_queue_stalled"
TRADING_FIGURES: Final[Mapping[str, str]] = {
    "market_data_age_s": "Since the newest price.",
    "event_log_age_s": "Since the newest entry of the component's own log of events.",
    "snapshot_age_s": "Since the component last saved its state.",
    QUEUE_STATE: "0 idle, 1 processing, 2 stalled.",
    QUEUE_STALLED: "1 while it is stalled.",
    ERRORS: "Errors within the last minute.",
    "portfolio_value": "What the portfolio is worth, in its own currency.",
    "positions_open": "Positions that are not flat.",
    "connections_down": "Connections of the component (venue, feed, database) that do not stand.",
}
"""The names that dashboards and rules may rely on."""
QUEUE_STATES: Final[Mapping[QueueState, int]] = {"idle": 0, "processing": 1, "stalled": 2}
CUSTOM_MAX: Final = 128
"""Other names kept in one run of the sidecar, over all sessions: each is a series in Prometheus for ever."""
MINUTE_NS: Final = 60_000 * MS
BUCKET_NS: Final = 1_000 * MS
"""Errors are counted by the second, so that a flood of pushes costs no memory."""


class ComponentFigures:
    """Of one component. `known` are names that are always kept beside the fixed ones, because rules are on them."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._names = {*TRADING_FIGURES, *known}
        self._names_max = len(self._names) + CUSTOM_MAX
        self._said: dict[str, float] = {}
        self._ages: dict[str, tuple[float, int]] = {}
        self._errors: deque[tuple[int, int, int]] = deque()
        self.refused: tuple[str, ...] = ()
        """Names in the newest push that were not kept, because there have been too many."""

    def forget(self) -> None:
        """Another run of the component: nothing is known of it."""
        self._said, self._ages, self.refused = {}, {}, ()
        self._errors.clear()

    def push(self, push: HealthPush, now_ns: int) -> None:
        """What the component says now."""
        kept = {name: value for name, value in push.metrics.items() if self._admits(name)}
        self.refused = tuple(sorted(set(push.metrics) - set(kept)))
        self._said = {name: value for name, value in kept.items() if not name.endswith(AGE)}
        for name, value in kept.items():
            if name.endswith(AGE):
                self._ages[name] = (max(0.0, value), now_ns)  # A feed's clock may be a little before ours.
        if push.execution_queue is not None:
            state = max(QUEUE_STATES[push.execution_queue], self._said.get(QUEUE_STATE, 0))
            self._said[QUEUE_STATE] = state
            self._said[QUEUE_STALLED] = max(float(push.execution_queue == "stalled"), self._said.get(QUEUE_STALLED, 0))
        if push.errors:
            self._count(push.errors, now_ns)

    def at(self, now_ns: int) -> dict[str, float]:
        """All figures as they stand at `now_ns`."""
        found = dict(self._said)
        for name, (value, pushed_ns) in self._ages.items():
            found[name] = value + max(0, now_ns - pushed_ns) / 1e9
        while self._errors and self._errors[0][1] <= now_ns - MINUTE_NS:
            self._errors.popleft()
        if counted := sum(count for _, _, count in self._errors):
            found[ERRORS] = max(float(counted), found.get(ERRORS, 0.0))
        return found

    def _admits(self, name: str) -> bool:
        if name not in self._names and len(self._names) < self._names_max:
            self._names.add(name)
        return name in self._names

    def _count(self, errors: int, now_ns: int) -> None:
        """Into a bucket (first, last, count), which counts until a minute after its last one."""
        began_ns, count = now_ns, 0
        if self._errors and now_ns - self._errors[-1][0] < BUCKET_NS:
            began_ns, _, count = self._errors.pop()
        self._errors.append((began_ns, now_ns, count + errors))
