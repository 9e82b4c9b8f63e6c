"""How the simulated venue treats an order: decided by a seed and the ClOrdID alone, so that a run can be repeated.

Owns the shares of the fates and the plan that follows from one. Pure: it must not know time, sockets or the book.
"""

import hashlib
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of a new order at the venue."""

    REJECTED = "rejected"
    SLOW = "slow"
    """Accepted at once and filled, but told to nobody before `slow_ms`, drop copy included. A query sees it."""
    LOST = "lost"
    """Never reaches the book, as if the network had swallowed it. A query truthfully finds nothing."""
    RESTING = "resting"
    PARTIAL = "partial"
    """Filled in two halves."""
    FILLED = "filled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Shares of the fates in percent of new orders; what is left over is FILLED. Times in milliseconds.

    Of all orders, `uncancellable_percent` refuse every cancel.
    """

    seed: int = 1
    rejected_percent: int = 4
    slow_percent: int = 3
    lost_percent: int = 1
    resting_percent: int = 15
    partial_percent: int = 30
    fill_ms: int = 20
    slow_ms: int = 2_000
    uncancellable_percent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The fate of one order: fills as (milliseconds after receipt, quantity), and the delay of every report of it."""

    fate: Fate
    fills: tuple[tuple[int, Decimal], ...] = ()
    report_delay_ms: int = 0


def plan_order(cl_ord_id: str, qty: Decimal, behaviour: Behaviour) -> Plan:
    """What the venue will do with this order; the same for the same arguments."""
    fate = _fate(cl_ord_id, behaviour)
    at_ms = behaviour.fill_ms
    match fate:
        case Fate.FILLED:
            return Plan(fate=fate, fills=((at_ms, qty),))
        case Fate.PARTIAL:
            first = (qty / 2).to_integral_value(ROUND_CEILING)
            halves = ((at_ms, first), (2 * at_ms, qty - first))
            return Plan(fate=fate, fills=tuple(each for each in halves if each[1] > 0))
        case Fate.SLOW:
            return Plan(fate=fate, fills=((at_ms, qty),), report_delay_ms=behaviour.slow_ms)
        case Fate.REJECTED | Fate.LOST | Fate.RESTING:
            return Plan(fate=fate)


def refuses_cancel(cl_ord_id: str, behaviour: Behaviour) -> bool:
    """Whether this order cannot be cancelled, whoever asks; the same for the same arguments."""
    return _mark(f"cancel\0{cl_ord_id}", behaviour) < behaviour.uncancellable_percent


def _fate(cl_ord_id: str, behaviour: Behaviour) -> Fate:
    mark = _mark(cl_ord_id, behaviour)
    for fate, percent in (
        (Fate.REJECTED, behaviour.rejected_percent),
        (Fate.SLOW, behaviour.slow_percent),
        (Fate.LOST, behaviour.lost_percent),
        (Fate.RESTING, behaviour.resting_percent),
        (Fate.PARTIAL, behaviour.partial_percent),
    ):
        if mark < percent:
            return fate
        mark -= percent
    return Fate.FILLED


def _mark(text: str, behaviour: Behaviour) -> int:
    digest = hashlib.blake2b(f"{behaviour.seed}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 100
