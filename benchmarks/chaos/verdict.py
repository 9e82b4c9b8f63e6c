"""Whether every promise held: the ledgers against the journal, and the witnesses against each other.

Owns the judgement; pure functions of what was observed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.chaos.figures import FaultFigures
from benchmarks.chaos.ledger import Entry
from benchmarks.chaos.records import Records
from benchmarks.chaos.rounds import Struck
from benchmarks.failover.overlap import gates_overlapping, orders_overlapping
from benchmarks.failover.watch import Span
from sidecar.core.timing import MS
from sidecar.messages.orders import Phase
from sidecar.messages.venue import AuditEntry

Finding = tuple[int, str]
"""When (CLOCK_BOOTTIME), and a sentence with the evidence."""
SPOKEN_MAX: Final = 50
FOR_EVER_NS: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Who held what, by two witnesses: the gate pages, and the venue's own record of what arrived."""

    spans: Sequence[Span]
    arrivals: Sequence[AuditEntry]
    records: Records

    def overlaps(self, until_ns: int = FOR_EVER_NS) -> list[str]:
        """Each time that two held one slot, as far as it was seen before that moment."""
        spans = [each for each in self.spans if each.first_ns < until_ns]
        arrivals = [each for each in self.arrivals if each.received_ns < until_ns]
        return [*gates_overlapping(spans, self.records.slot), *orders_overlapping(arrivals, self.records.slot)]


def held(spans: Iterable[Span]) -> list[Entry]:
    """Each lease that a component's gate page told it of, as if it had noted that itself."""
    seen: dict[tuple[str, str], Entry] = {}
    for each in spans:
        mark = str(each.token)
        entry = Entry(at_ns=each.first_ns, by=each.component, told="held", key=each.incarnation, mark=mark)
        seen.setdefault((each.incarnation, mark), entry)
    return list(seen.values())


def times_found(entry: Entry, records: Records) -> int:
    """How often what was told stands in the journal; 1 is right.

    An order's report that changed nothing was recorded in another way before: a report of UNKNOWN by the deadline that
    had passed, or by the venue's evidence.
    """
    match entry.told:
        case "granted":
            found = records.facts["granted", entry.key]
            return found if found != 1 or records.places[entry.key] == entry.mark else 0
        case "unknown":
            return records.facts["unknown", entry.key] or min(1, records.facts["evidence", entry.key])
        case "held":
            return records.facts["held", f"{entry.key} {entry.mark}"]
        case _:
            return records.facts[entry.told, entry.key]


def counts(entry: Entry) -> bool:
    """Whether the answer acknowledged anything. A report that the arbiter knew no order for did not."""
    return not (entry.told in ("committed", "aborted", "unknown") and entry.mark == Phase.DENIED.value)


def lost_or_twice(entries: Iterable[Entry], records: Records) -> list[Finding]:
    """Each acknowledgement that does not stand in the journal exactly once."""
    return [
        (
            each.at_ns,
            f"{each.by} was told {each.told} {each.key} {each.mark}; it stands in the journal {found} times",
        )
        for each in entries
        if (found := times_found(each, records)) != 1
    ]


def fault_figures(
    struck: Sequence[Struck], entries: Sequence[Entry], records: Records, overlaps_until: Callable[[int], list[str]]
) -> list[FaultFigures]:
    """One for each fault; what happened between two strikes belongs to the earlier."""
    ends = [*(each.struck_ns for each in struck), FOR_EVER_NS][1:]
    figures: list[FaultFigures] = []
    overlaps = [len(overlaps_until(each.struck_ns)) for each in struck[:1]]
    for each, end_ns in zip(struck, ends, strict=True):
        overlaps.append(len(overlaps_until(end_ns)))
        told = [times_found(one, records) for one in entries if each.struck_ns <= one.at_ns < end_ns]
        figures.append(
            FaultFigures(
                name=each.fault.name,
                target=each.target,
                outage_ms=round(each.outage_ns / MS, 1),
                leases_lost=each.leases_lost,
                acknowledged=len(told),
                found=sum(1 for times in told if times),
                duplicates=sum(1 for times in told if times > 1),
                overlap=max(0, overlaps[-1] - overlaps[-2]),
                recovered_ms=round((each.recovered_ns - each.healed_ns) / MS, 1),
                broker_node_restarted=each.helped,
            )
        )
    return figures


def sentences(kind: str, findings: Sequence[Finding]) -> list[str]:
    """The first of these findings in words, and how many more there are."""
    spoken = [f"{kind}: {text}" for _, text in findings[:SPOKEN_MAX]]
    return [*spoken, f"{kind}: and {len(findings) - SPOKEN_MAX} more"] if len(findings) > SPOKEN_MAX else spoken
