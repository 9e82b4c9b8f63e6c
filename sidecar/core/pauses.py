"""Pauses: an operator stops the automatic failovers of a group for a while.

Owns the requests, and the end of a pause when its time is over, at the leader's desk; journaled as GroupPaused and
PauseEnded. What a pause restrains is in `brakes.py`. A pause always has an end: one without a limit is forgotten.

| group  | input                                          | next   | fact        |
|--------|------------------------------------------------|--------|-------------|
| any    | operator's pause with a reason and a duration  | paused | GroupPaused |
| paused | its duration has passed on the leader's clock  | free   | PauseEnded  |
| paused | operator's unpause                             | free   | PauseEnded  |
"""

from sidecar.core.chronicle import Chronicle
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now
from sidecar.core.sanity import clip, reason_problem
from sidecar.core.timing import MS
from sidecar.messages.control import PauseRequest, UnpauseRequest
from sidecar.messages.events import PauseChanged, PauseStatus
from sidecar.messages.journal import GroupPaused, PauseEnded

PAUSE_MAX_NS = 24 * 3_600_000 * MS
PAUSE_MIN_NS = 1_000 * MS


class Pauses:
    """The pauses in force, at one leader's desk."""

    def __init__(self, name: str, desk: Desk, chronicle: Chronicle) -> None:
        self._name = name
        self._desk = desk
        self._chronicle = chronicle

    def pause(self, request: PauseRequest) -> str:
        """Begin a pause, or begin it anew; why not, as a sentence, or empty."""
        if not PAUSE_MIN_NS <= request.duration_ns <= PAUSE_MAX_NS:
            return "a pause lasts one second to one day: give a duration between, and pause again if it must be longer"
        if problem := reason_problem("pause", request.reason):
            return problem
        actor, duration_ns = clip(request.actor), request.duration_ns
        self._desk.emit(GroupPaused(group=request.group, actor=actor, reason=request.reason, duration_ns=duration_ns))
        began = PauseChanged(
            arbiter=self._name,
            group=request.group,
            change="BEGAN",
            actor=actor,
            reason=request.reason,
            duration_ns=duration_ns,
        )
        self._desk.send(Event(began, f"pause-changed.{request.group}"))
        self._chronicle.paused_ns.pop(request.group, None)  # Until it is read back, it began just now.
        return ""

    def unpause(self, request: UnpauseRequest) -> str:
        """End a pause; why not, as a sentence, or empty."""
        if request.group not in self._desk.state.paused:
            return f"group {clip(request.group)!r} is not paused"
        if problem := reason_problem("unpause", request.reason):
            return problem
        self._end(request.group, clip(request.actor), request.reason)
        return ""

    def tick(self, now: Now) -> None:
        """End the pauses whose time is over."""
        for group in sorted(self._desk.state.paused):
            if self._left_ns(group, now) <= 0:
                self._end(group, "", "its time is over")

    def status(self, group: str, now: Now) -> PauseStatus | None:
        """The group's pause, for people."""
        paused = self._desk.state.paused.get(group)
        if paused is None:
            return None
        return PauseStatus(actor=paused.actor, reason=paused.reason, left_ns=max(0, self._left_ns(group, now)))

    def _end(self, group: str, actor: str, reason: str) -> None:
        self._desk.emit(PauseEnded(group=group, actor=actor, reason=reason))
        ended = PauseChanged(arbiter=self._name, group=group, change="ENDED", actor=actor, reason=reason)
        self._desk.send(Event(ended, f"pause-changed.{group}"))

    def _left_ns(self, group: str, now: Now) -> int:
        clock_ns = self._chronicle.clock_ns(now)
        return self._chronicle.paused_ns.get(group, clock_ns) + self._desk.state.paused[group].duration_ns - clock_ns
