"""How far a slot's state has got, and when each step of it was first heard of: the measure of lag.

Owns the order of states and the bounded memory of what was told when. It must not know who told it, nor any state.

A state is beyond another if its token is higher, or, under one token, its version. Lag is the time since something
beyond what one has was first told, on one clock. The memory holds MARKS_MAX steps; what is told within `spacing_ns` of
the last step raises that step instead, whose time stays: lag errs to longer, by `spacing_ns` at most.
"""

from collections import deque
from typing import Final, NamedTuple

from sidecar.messages.base import Token
from sidecar.messages.state import NO_TOKEN

MARKS_MAX: Final = 64
"""Steps remembered. With the spacing of `Marks.within` they reach back for twice the lag that matters."""
SPACING_MIN_NS: Final = 10_000_000


class Mark(NamedTuple):
    """One version of a slot's state, made under this token. The order of states is that of the tuple."""

    token: Token
    version: int


NOTHING: Final = Mark(NO_TOKEN, 0)
"""Before every state."""


class Marks:
    """What was told of one slot's state."""

    def __init__(self, spacing_ns: int = SPACING_MIN_NS) -> None:
        self._spacing_ns = spacing_ns
        self._told: deque[tuple[Mark, int]] = deque(maxlen=MARKS_MAX)

    @classmethod
    def within(cls, lag_ns: int) -> "Marks":
        """A memory that knows lags of up to `lag_ns` well."""
        return cls(max(SPACING_MIN_NS, 2 * lag_ns // MARKS_MAX))

    @property
    def newest(self) -> Mark:
        """The furthest that was told; NOTHING before anything was."""
        return self._told[-1][0] if self._told else NOTHING

    def note(self, mark: Mark, now_ns: int) -> None:
        """This was told now."""
        if mark <= self.newest:
            return
        if self._told and now_ns - self._told[-1][1] < self._spacing_ns:
            self._told[-1] = mark, self._told[-1][1]
        else:
            self._told.append((mark, now_ns))

    def lag_ns(self, mark: Mark, at_ns: int) -> int:
        """For how long, at `at_ns`, something beyond `mark` had been known; 0 when nothing was."""
        for each, told_ns in self._told:
            if each > mark:
                return max(0, at_ns - told_ns)
        return 0
