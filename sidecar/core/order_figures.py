"""How orders, reconciliation and integrity stand, in numbers for whoever watches from outside.

Owns what is counted; it decides nothing. Only a leader knows: from any other arbiter there is nothing.
"""

from collections import Counter
from typing import TYPE_CHECKING, Final

from sidecar.core.outputs import Now
from sidecar.core.reconciliation import TROUBLES

if TYPE_CHECKING:
    from sidecar.core.arbiter import Arbiter

BREAK_KINDS: Final = (
    "ABORTED_AFTER_COMMIT",
    "ABORTED_BUT_AT_VENUE",
    "COMMITTED_AFTER_ABORT",
    "EXECUTION_CHANGED",
    "EXTERNAL_ORDER",
    "LATE_EVIDENCE",
    "MISSING_AT_VENUE",
    "OTHER_ORDER",
    "OTHER_ORDER_ID",
    "OTHER_QUANTITY",
    "OVERFILL",
    "STILL_OPEN",
)
"""As docs/orders.md explains them."""
PHASES: Final = ("PRECOMMITTED", "COMMITTED", "UNKNOWN", "VERIFIED", "ABORTED", "BREAK")
VALUES: Final = {
    "orders_in_phase": PHASES,
    "breaks_open": BREAK_KINDS,
    "differences_open": ("positions", "balances"),
    "reconciliation_troubles": TROUBLES,
    "integrity_findings": ("no", "yes"),
}
"""Each figure, and the values of its label that are known beforehand."""


def order_figures(arbiter: "Arbiter", now: Now) -> dict[str, dict[str, int]]:
    """Each figure by the value of its label."""
    if not arbiter.leading:
        return {}
    state, counts = arbiter.state, arbiter.state.book.counts()
    phases = (
        counts.precommitted,
        counts.committed,
        counts.unknown,
        counts.verified,
        counts.aborted,
        counts.broken,
    )
    found, unresolved = len(arbiter.integrity.findings), arbiter.integrity.unresolved
    return {
        "orders_in_phase": dict(zip(PHASES, phases, strict=True)),
        "breaks_open": dict(Counter(each.kind for told in state.opened.values() for each in told)),
        "differences_open": dict(Counter(str(each.holds) for each in state.differences.values())),
        "reconciliation_troubles": dict(Counter(kind for kind, _ in arbiter.reconciliation.troubles(now))),
        "integrity_findings": {"no": unresolved, "yes": found - unresolved},
    }
