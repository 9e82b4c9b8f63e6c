"""Whether two ever held one slot, by two witnesses: the gate pages, and the venue's own record of what arrived.

Owns the judgement; pure functions of what was observed. `Slot of` is a function of incarnation, token and time.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import msgspec

from benchmarks.failover.watch import Span
from sidecar.demo.audit import overlaps
from sidecar.messages.base import Token
from sidecar.messages.venue import AuditEntry

SlotOf = Callable[[str, Token, int], str]
UNKNOWN = "a slot that no arbiter named"


def gates_overlapping(spans: Sequence[Span], slot_of: SlotOf) -> list[str]:
    """Each pair of gates of one slot that were open at one instant, as a sentence."""
    by_slot: dict[str, list[Span]] = {}
    for each in spans:
        by_slot.setdefault(slot_of(each.incarnation, each.token, each.first_ns) or UNKNOWN, []).append(each)
    return [
        f"{slot}: the gates of {one.component} ({one.token}) and {other.component} ({other.token}) were open together "
        f"for {(min(one.last_ns, other.last_ns) - max(one.first_ns, other.first_ns)) / 1e6:.3f} ms"
        for slot, held in sorted(by_slot.items())
        for one, other in combinations(held, 2)
        if one.incarnation != other.incarnation and max(one.first_ns, other.first_ns) < min(one.last_ns, other.last_ns)
    ]


def orders_overlapping(entries: Sequence[AuditEntry], slot_of: SlotOf) -> list[str]:
    """Each order that the venue received under an older token of a slot after one under a newer, as a sentence."""
    return overlaps([msgspec.structs.replace(each, account=_slot(each, slot_of)) for each in entries])


def _slot(entry: AuditEntry, slot_of: SlotOf) -> str:
    """A toy component's ClOrdID is its incarnation and a number."""
    return slot_of(entry.cl_ord_id.rpartition("-")[0], entry.token, entry.received_ns) or UNKNOWN
