"""Gates seen from the component's side, and what the venue received: was anything open, or done, after its deadline?

Owns the deadlines that were seen in the pages and the judgements on them. It must not cause anything. Everything here
is proven from both sides, like the spans of `benchmarks/failover/watch.py`: what it names did happen.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.failover.places import TIMING
from benchmarks.failover.watch import Gates, Span, boottime_ns
from sidecar.core.timing import MS
from sidecar.gate.reader import GateReader
from sidecar.messages.base import Token
from sidecar.messages.venue import AuditEntry

SPOKEN_MAX: Final = 100
"""Findings kept in words; more of a kind say nothing new."""


class DeadlineGates(Gates):
    """The gates, and until when each holder's page allowed anything."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        super().__init__(paths)
        self.deadlines: dict[tuple[str, Token], int] = {}
        self.open_too_long: list[tuple[int, str]] = []
        """When (CLOCK_BOOTTIME) a gate was open after its deadline, and whose."""

    def closed_since(self, at_ns: int) -> frozenset[str]:
        """Components whose gate was seen to close since then."""
        return frozenset(each.component for each in self.spans if each.closed_ns >= at_ns)

    def _look(self, name: str, reader: GateReader) -> None:
        first_ns = self._deadline(reader)
        before_ns = boottime_ns()
        is_open = reader.check()
        last_ns = self._deadline(reader)
        # A page that is being written cannot be read, but the reader's one word of it may well say open.
        late_ns = before_ns - max(first_ns, last_ns) if first_ns and last_ns else 0
        if is_open and late_ns > 0 and len(self.open_too_long) < SPOKEN_MAX:
            self.open_too_long.append((before_ns, f"the gate of {name} was open {late_ns / MS:.3f} ms too long"))
        super()._look(name, reader)

    def _deadline(self, reader: GateReader) -> int:
        """What the page says; 0 while it says nothing."""
        page = reader.read()
        if page.token is None:
            return 0
        key = (page.incarnation, page.token)
        self.deadlines[key] = max(self.deadlines.get(key, 0), page.deadline_ns)
        return page.deadline_ns


def open_in_silence(spans: Sequence[Span], silenced: Mapping[str, int], ended_ns: int) -> list[tuple[int, str]]:
    """Gates seen open longer than a lease after nothing could answer their heartbeats any more.

    `silenced` maps a component to the moment from which no answer was possible, until `ended_ns`. A lease runs from its
    heartbeat's sending, so the last one ends by then plus the holder's lease.
    """
    found = []
    for each in spans:
        if (since_ns := silenced.get(each.component)) is None or each.first_ns > ended_ns:
            continue
        late_ns = min(each.last_ns, ended_ns) - since_ns - TIMING.holder_lease_ns
        if late_ns > 0:
            found.append(
                (each.last_ns, f"the gate of {each.component} was open {late_ns / MS:.3f} ms after its last lease")
            )
    return found


def orders_too_late(entries: Sequence[AuditEntry], deadlines: Mapping[tuple[str, Token], int]) -> list[tuple[int, str]]:
    """Orders that arrived when their holder's last deadline and the gate-to-effect time were over."""
    found = []
    for each in entries:
        until_ns = deadlines.get((each.cl_ord_id.rpartition("-")[0], each.token))
        if until_ns is not None and each.received_ns > until_ns + TIMING.effect_ns:
            late_ms = (each.received_ns - until_ns) / MS
            found.append((each.received_ns, f"{each.cl_ord_id} arrived {late_ms:.3f} ms after its holder's deadline"))
    return found
