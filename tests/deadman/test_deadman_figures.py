"""The judgement of the dead-man benchmark."""

import json
from pathlib import Path

from benchmarks.deadman.figures import BOUND_NS, EndFigures, Measured, Report, failures, figures, merge, orders_late
from benchmarks.deadman.page_watch import Closing, OpenTooLong
from benchmarks.failover.places import TIMING
from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.venue import AuditEntry

DEADLINE_NS = 1_500 * MS


def measured(*, last_open_ns: int = DEADLINE_NS - 1, closed_by_ns: int = DEADLINE_NS + MS) -> Measured:
    """A gate whose keeper was struck at 0."""
    closing = Closing(
        component="a",
        incarnation="i",
        token=Token(1, 1),
        deadline_ns=DEADLINE_NS,
        last_open_ns=last_open_ns,
        closed_by_ns=closed_by_ns,
    )
    return Measured(0, closing)


def test_a_gate_that_closed_at_its_deadline_is_well() -> None:
    """What is measured is from the deadline, and from the fault, to the first look that saw the gate closed."""
    found = figures(1, [measured()], [], 0)
    assert (found.after_deadline.max_ms, found.after_fault.max_ms, found.early) == (1.0, 1501.0, 0)
    assert failures({"sidecar_killed": found}) == []


def test_a_gate_that_closed_early_is_well() -> None:
    """A gate that closed before its deadline is counted, and harms nobody."""
    found = figures(1, [measured(last_open_ns=5, closed_by_ns=9)], [], 0)
    assert (found.early, found.after_deadline.max_ms, failures({"x": found})) == (1, 0.0, [])


def test_what_must_not_be() -> None:
    """A gate open past its deadline, one renewed by nobody, and an order that came too late each fail the run."""
    late = OpenTooLong(component="a", deadline_ns=1, looked_ns=2)
    assert failures({"x": figures(1, [measured()], [late], 0)}) == ["x: 1 gates were open after their deadline"]
    renewed = measured(last_open_ns=BOUND_NS + 1, closed_by_ns=BOUND_NS + 2)
    (said,) = failures({"x": figures(1, [renewed], [], 0)})
    assert "longer than D and a heartbeat" in said
    just = measured(last_open_ns=BOUND_NS, closed_by_ns=BOUND_NS + 2)
    assert failures({"x": figures(1, [just], [], 0)}) == []
    assert failures({"x": figures(1, [measured()], [], 2)}) == ["x: 2 orders reached the venue too late"]


def order(received_ns: int, *, incarnation: str = "i", epoch: int = 1) -> AuditEntry:
    """One that reached the venue then."""
    return AuditEntry(
        received_ns=received_ns,
        component="a",
        run="r",
        account="ACC-1",
        token=Token(1, epoch),
        cl_ord_id=f"{incarnation}-7",
    )


def test_orders_under_a_closed_gate() -> None:
    """An order is late that comes after the deadline and the time to its effect, before anybody could open the gate."""
    rounds = [(measured(), 5_000 * MS)]
    latest_ns = DEADLINE_NS + TIMING.effect_ns
    assert orders_late([order(latest_ns), order(latest_ns + 1), order(5_000 * MS)], rounds) == 1
    assert orders_late([order(latest_ns + 1, incarnation="j"), order(latest_ns + 1, epoch=2)], rounds) == 0


def test_figures_join_those_of_other_benchmarks(tmp_path: Path) -> None:
    """Each cause gets a line of its own in the shared file, and the lines of others stay."""
    path = tmp_path / "build" / "bench.json"
    causes: dict[str, EndFigures] = {"link_cut": figures(1, [measured()], [], 0)}
    report = Report(
        broker="b", holder_lease_ms=1_500, heartbeat_ms=250, load_average=(0, 0, 0), seconds=1, causes=causes
    )
    merge(report, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "gate_check": {"ours": 1}}))
    merge(report, path)
    found = json.loads(path.read_text())
    assert found["gate_check"] == {"ours": 1}
    assert found["deadman_link_cut"]["ours"] == 1501.0
    assert found["deadman_link_cut"]["open_past_deadline"] == 0
