"""The figures of orders, reconciliation and integrity, and what telemetry makes of them."""

from decimal import Decimal
from typing import get_args

from desks import Desk
from order_desks import breaks, resting, trade

from sidecar.core.order_figures import PHASES, VALUES, order_figures
from sidecar.core.reconciliation import ReconcileRule
from sidecar.core.violations import Violation
from sidecar.messages.journal import DifferenceOpened
from sidecar.messages.orders import OrderUnknown, Phase
from sidecar.messages.reconcile import Holds
from sidecar.telemetry.metrics import STANDING, ArbiterMetrics


def figures(desk: Desk) -> dict[str, dict[str, int]]:
    """What is not 0."""
    found = order_figures(desk.core, desk.now)
    return {name: told for name, each in found.items() if (told := {key: n for key, n in each.items() if n})}


def test_the_figures_have_names_everywhere() -> None:
    """What the core counts is what telemetry publishes, under labels that cover what there is."""
    assert set(order_figures(resting().core, resting().now)) == set(VALUES) == set(STANDING)
    assert set(PHASES) == set(Phase) - {Phase.DENIED}
    assert VALUES["differences_open"] == get_args(Holds)


def test_what_stands_open_is_counted() -> None:
    """Orders by phase, open breaks by kind, differences, findings and troubles are counted at the leader."""
    desk = resting("o1", "o2")
    desk.core.reconciliation._rule = ReconcileRule(venues=("SIM",), silent_ns=1)
    desk.queue(trade(qty="130", cum="130"))
    desk.queue(OrderUnknown(component="exec-a", cl_ord_id="o2", reason="x"))
    desk.core.desk.begin(desk.now)
    opened = DifferenceOpened(
        venue="SIM", account="ACC", holds="positions", name="XYZ", ours=Decimal(1), theirs=Decimal(2)
    )
    desk.core.desk.emit(opened)
    desk.do(desk.core.desk.finish())
    desk.core.integrity.note(Violation("all", "two records under one number"))
    desk.tick(50)
    assert breaks(desk) == ["OVERFILL"]
    assert figures(desk) == {
        "orders_in_phase": {"VERIFIED": 1, "BREAK": 1},
        "breaks_open": {"OVERFILL": 1},
        "differences_open": {"positions": 1},
        "reconciliation_troubles": {"unheard": 1},
        "integrity_findings": {"no": 1},
    }


def test_only_a_leader_knows() -> None:
    """An arbiter that does not lead shows nothing."""
    assert order_figures(Desk(lead=False).core, resting().now) == {}


def test_they_are_published() -> None:
    """Each figure is a gauge with its label, 0 where nothing is given, and unknown values are summed as other."""
    metrics = ArbiterMetrics("1", ["execution"])
    metrics.standing.read = lambda: {"breaks_open": {"OVERFILL": 2, "NEW_KIND": 3, "NEWER_KIND": 1}}
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    assert values[("sidecar_breaks_open", "OVERFILL")] == 2
    assert values[("sidecar_breaks_open", "other")] == 4
    assert values[("sidecar_breaks_open", "STILL_OPEN")] == 0
    assert values[("sidecar_integrity_findings", "no")] == 0
