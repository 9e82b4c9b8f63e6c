"""What stands open, and since when: breaks of orders with both sides, differences, and who set limits last.

Owns the fold of these for people, by the `at_ns` of their records. Nothing is decided by it: what a break means for its
order is folded in `order.py`. It must not know who asks.
"""

from typing import Final

from sidecar.core.bounded import drop_oldest
from sidecar.core.differences import difference_of
from sidecar.messages.journal import (
    BreakClosed,
    BreakOpened,
    DifferenceClosed,
    DifferenceOpened,
    LimitsSet,
    Record,
)
from sidecar.messages.order_queries import OpenBreak

OPENED_MAX: Final = 100_000
"""Orders whose open breaks are told with both sides, at about 300 bytes each; of more, the oldest lose their sides."""
DATED_MAX: Final = 10_000
"""Limits and differences whose time is known; there are no more than a thousand of each."""
KINDS_MAX: Final = 32
"""Kinds of breaks of one order; there are fewer."""

Opened = dict[str, tuple[OpenBreak, ...]]
"""By ClOrdID, the oldest first."""


def note_break(opened: Opened, record: Record) -> None:
    """One kind of break of an order counts once; an operator closes all of an order's together."""
    match record.fact:
        case BreakOpened(cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs):
            known = opened.get(cl_ord_id, ())
            if len(known) < KINDS_MAX and all(each.kind != kind for each in known):
                opened[cl_ord_id] = (*known, OpenBreak(cl_ord_id, kind, ours, theirs, record.at_ns))
                drop_oldest(opened, OPENED_MAX)
        case BreakClosed(cl_ord_id=cl_ord_id):
            opened.pop(cl_ord_id, None)
        case _:
            pass


def note_time(dated: dict[str, int], record: Record) -> None:
    """When limits were set or a difference was opened, for as long as that stands."""
    match record.fact:
        case LimitsSet(scope=scope, limits=limits):
            dated.pop(limits_name(scope), None)
            if limits is not None:
                dated[limits_name(scope)] = record.at_ns
        case DifferenceOpened() as fact:
            dated[difference_key(difference_of(fact))] = record.at_ns
        case DifferenceClosed() as fact:
            dated.pop(difference_key(difference_of(fact)), None)
        case _:
            pass
    drop_oldest(dated, DATED_MAX)


def order_of_halt(halt_id: str) -> str:
    """The ClOrdID of the order whose break made the arbiter raise this halt; empty for every other halt."""
    kind, _, name = halt_id.removeprefix("break-").partition("-")
    return name if halt_id.startswith("break-") and kind else ""


def limits_name(scope: str) -> str:
    """The key of a scope's limits."""
    return f"limits {scope}"


def difference_key(name: str) -> str:
    """The key of a difference, by its `differences.difference_name`."""
    return f"difference {name}"
