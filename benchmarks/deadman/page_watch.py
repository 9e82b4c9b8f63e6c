"""What a component sees of its gate: each look at the page, and when it closed, beside its last deadline.

Owns the looks. It asks `GateReader`, as a component does, and judges by its own clock beside it. It must not cause or
await anything, and takes a clock, so that a test can say what time it is.

Everything is proven from both sides: a look that saw the gate open *began* at `last_open_ns`, so the gate was certainly
open then; the first that saw it closed was *over* at `closed_by_ns`. The truth lies between the two; how far they are
apart is the pause between two looks.
"""

from collections.abc import Callable

import msgspec

from sidecar.gate.reader import GateReader
from sidecar.messages.base import Token


class Opening(msgspec.Struct, frozen=True, kw_only=True, tag="opening"):
    """The first look that saw a gate open."""

    component: str
    looked_ns: int


class Closing(msgspec.Struct, frozen=True, kw_only=True, tag="closing"):
    """One gate that closed. Times are CLOCK_BOOTTIME; `deadline_ns` is the last that was read while it was open."""

    component: str
    incarnation: str
    token: Token
    deadline_ns: int
    last_open_ns: int
    closed_by_ns: int


class OpenTooLong(msgspec.Struct, frozen=True, kw_only=True, tag="open-too-long"):
    """The first look that began after this deadline and saw the gate open: what must never be."""

    component: str
    deadline_ns: int
    looked_ns: int


Seen = Opening | Closing | OpenTooLong


class PageWatch:
    """One component's page. `look` is called again and again, and returns what is new."""

    def __init__(self, component: str, reader: GateReader, now_ns: Callable[[], int]) -> None:
        self._component = component
        self._reader = reader
        self._now_ns = now_ns
        self._open: Closing | None = None
        self._late_ns = 0

    def look(self) -> list[Seen]:
        """One look: the page before, the question, the page after."""
        first = self._reader.read()
        before_ns = self._now_ns()
        is_open = self._reader.check()
        after_ns = self._now_ns()
        if not is_open:
            ended, self._open = self._open, None
            return [] if ended is None else [msgspec.structs.replace(ended, closed_by_ns=after_ns)]
        last = self._reader.read()
        if first.token is None or last.token is None:
            return []  # It is being written: open by the one word that a component reads, and nothing else to be read.
        found: list[Seen] = []
        if self._open is None:
            found.append(Opening(component=self._component, looked_ns=before_ns))
        # Between the two readings a renewal may have come, and the look may have seen either deadline.
        deadline_ns = max(first.deadline_ns, last.deadline_ns)
        if before_ns >= deadline_ns and self._late_ns != deadline_ns:
            self._late_ns = deadline_ns
            found.append(OpenTooLong(component=self._component, deadline_ns=deadline_ns, looked_ns=before_ns))
        self._open = Closing(
            component=self._component,
            incarnation=last.incarnation,
            token=last.token,
            deadline_ns=deadline_ns,
            last_open_ns=before_ns,
            closed_by_ns=0,
        )
        return found
