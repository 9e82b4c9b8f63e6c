"""Probes: the rows of the tables in core/probing.py."""

from typing import Any

import pytest

from sidecar.core.probing import ProbeRule, Probing, Purpose
from sidecar.core.timing import MS

SECOND_NS = 1_000 * MS


def rule(name: str = "web", purpose: Purpose = Purpose.READINESS, **fields: Any) -> ProbeRule:
    """A probe each second."""
    return ProbeRule(**{"name": name, "purpose": purpose, "period_ns": SECOND_NS, **fields})


def begun(*rules: ProbeRule) -> Probing:
    """A component attached at 0."""
    probing = Probing(rules)
    probing.begin(0)
    return probing


def run(probing: Probing, *results: str, name: str = "web", from_s: int = 0) -> None:
    """These results, one each second."""
    for at, problem in enumerate(results, start=from_s):
        assert name in probing.due(at * SECOND_NS)
        probing.result(name, probing.generation, problem)


def test_without_probes_all_is_well() -> None:
    """A component without probes is ready as soon as it attaches."""
    assert begun().verdict().ready
    assert begun().next_ns() is None


def test_unknown_is_not_ready() -> None:
    """A readiness probe that was not run yet is no good word."""
    verdict = begun(rule()).verdict()
    assert not verdict.ready
    assert not verdict.dead
    assert verdict.reasons == ("readiness probe web has not passed yet",)


@pytest.mark.parametrize("purpose", Purpose)
def test_only_failures_in_a_row_count(purpose: Purpose) -> None:
    """A good result between bad ones begins the count anew, whatever the probe is for."""
    probing = begun(rule(purpose=purpose, failures=3, successes=2))
    run(probing, "no", "no", "", "no", "no")
    assert not probing.verdict().dead
    run(probing, "refused", from_s=5)
    assert probing.verdict().dead == ("" if purpose is Purpose.READINESS else f"{purpose} probe web failed: refused")
    assert not probing.verdict().ready


def test_it_takes_successes_in_a_row_to_come_back() -> None:
    """A failing readiness probe is believed again after as many good results in a row as configured."""
    probing = begun(rule(failures=1, successes=2))
    run(probing, "no", "")
    assert probing.verdict().reasons == ("readiness probe web fails",)
    run(probing, "", from_s=2)
    assert probing.verdict().ready


def test_one_bad_result_below_the_threshold_changes_nothing() -> None:
    """A passing probe stays so until it has failed often enough."""
    probing = begun(rule(failures=2))
    run(probing, "", "no")
    assert probing.verdict().ready


def test_others_wait_for_the_startup_probe() -> None:
    """Liveness and readiness are not asked before the component has started, and the startup probe not after it."""
    probing = begun(rule("up", Purpose.STARTUP, failures=5), rule("live", Purpose.LIVENESS), rule())
    assert probing.due(0) == ("up",)
    assert probing.verdict().reasons == ("startup probe up has not passed yet",)
    probing.result("up", probing.generation, "")
    assert probing.due(SECOND_NS) == ("live", "web")


def test_a_component_that_never_starts_is_dead() -> None:
    """A startup probe that fails as often as it may ends the wait."""
    probing = begun(rule("up", Purpose.STARTUP, failures=2))
    run(probing, "no", "no", name="up")
    assert probing.verdict().dead == "startup probe up failed: no"


def test_liveness_is_believed_until_it_fails() -> None:
    """A component whose liveness was not asked yet is alive and ready."""
    assert begun(rule(purpose=Purpose.LIVENESS)).verdict().ready


def test_a_probe_that_still_runs_is_not_started_again() -> None:
    """A slow probe is run once at a time, and its next run counts from the start of the last."""
    probing = begun(rule())
    assert probing.due(0) == ("web",)
    assert probing.due(5 * SECOND_NS) == ()
    assert probing.next_ns() is None
    probing.result("web", probing.generation, "")
    assert probing.due(5 * SECOND_NS) == ("web",)


def test_a_late_result_of_an_earlier_run_says_nothing() -> None:
    """What a probe found out about a dead run does not count for the next one."""
    probing = begun(rule(failures=1))
    probing.due(0)
    before = probing.generation
    probing.begin(SECOND_NS)
    probing.due(SECOND_NS)
    probing.result("web", before, "no")
    probing.result("nobody", probing.generation, "no")
    assert probing.verdict().reasons == ("readiness probe web has not passed yet",)


def test_the_first_run_is_delayed() -> None:
    """A probe with a delay is first run when that is over."""
    probing = begun(rule(delay_ns=3 * SECOND_NS))
    assert probing.next_ns() == 3 * SECOND_NS
    assert probing.due(2 * SECOND_NS) == ()
    assert probing.due(3 * SECOND_NS) == ("web",)


def test_a_component_that_stops_pushing_is_found() -> None:
    """A pushed probe is bad when a whole period passed without a push, and good again with the next push."""
    probing = begun(rule("beat", Purpose.LIVENESS, pushed=True, failures=2))
    for at in range(4):
        probing.pushed(at * SECOND_NS)
        assert probing.due(at * SECOND_NS) == ()
    assert probing.verdict().ready
    for at in range(4, 7):
        probing.due(at * SECOND_NS)
    assert probing.verdict().dead == "liveness probe beat failed: the component has not pushed its health in time"


def test_nothing_is_probed_without_a_component() -> None:
    """When the component is gone its probes are not run, and say nothing."""
    probing = begun(rule())
    probing.end()
    assert probing.due(10 * SECOND_NS) == ()
    assert probing.verdict().ready
