"""Metrics: the names that dashboards rely on, and the bound on their labels."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from sidecar.telemetry.metrics import (
    ArbiterMetrics,
    BoundedCounter,
    Metrics,
    ReconcilerMetrics,
    SidecarMetrics,
    VenueMetrics,
)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    "metrics",
    [SidecarMetrics("1"), ArbiterMetrics("1", ["execution"]), ReconcilerMetrics("1"), VenueMetrics("1")],
    ids=lambda each: type(each).__name__,
)
def test_names(metrics: Metrics) -> None:
    """Every series of ours begins with sidecar_, the rest are the process's own."""
    names = set(re.findall(r"^([a-z_]+)[{ ]", generate_latest(metrics.registry).decode(), re.MULTILINE))
    assert {name for name in names if not name.startswith(("sidecar_", "process_"))} == set()
    assert "sidecar_build_info" in names
    assert "sidecar_dead_letters_total" in names


def test_two_processes_in_one_interpreter() -> None:
    """Two sets of metrics share nothing."""
    one, other = SidecarMetrics("1"), SidecarMetrics("1")
    one.heartbeats_sent.inc()
    assert value(one, "sidecar_heartbeats_sent_total") == 1
    assert value(other, "sidecar_heartbeats_sent_total") == 0


def test_known_labels_begin_at_zero() -> None:
    """A group that never failed over shows 0, not nothing."""
    metrics = ArbiterMetrics("1", ["execution", "data"])
    metrics.failovers.inc("execution")
    assert value(metrics, "sidecar_failovers_total", group="execution") == 1
    assert value(metrics, "sidecar_failovers_total", group="data") == 0


def test_unknown_labels_are_bounded() -> None:
    """However many unknown values come, they make one series."""
    metrics = SidecarMetrics("1")
    for each in range(100):
        metrics.dead_letters.inc(f"made-up-{each}")
    assert value(metrics, "sidecar_dead_letters_total", code="other") == 100
    assert b"made-up" not in generate_latest(metrics.registry)


def test_too_many_known_labels() -> None:
    """Known values beyond the bound are counted as other."""
    registry = CollectorRegistry()
    counter = BoundedCounter("sidecar_x", "X.", "group", (f"g{each:05}" for each in range(2_000)), registry)
    counter.inc("g01999")
    assert registry.get_sample_value("sidecar_x_total", {"group": "other"}) == 1


def test_group_gauges_are_read_at_each_scrape() -> None:
    """Every group begins at 0, shows what is given, and is 0 again when it is no longer given."""
    metrics = ArbiterMetrics("1", ["execution"])
    assert value(metrics, "sidecar_group_vacant", group="execution") == 0
    metrics.groups.read = lambda: {"execution": {"vacant": 2, "degraded": 1}}
    assert value(metrics, "sidecar_group_vacant", group="execution") == 2
    assert value(metrics, "sidecar_group_degraded", group="execution") == 1
    assert value(metrics, "sidecar_group_paused", group="execution") == 0
    metrics.groups.read = dict
    assert value(metrics, "sidecar_group_vacant", group="execution") == 0


def test_groups_not_known_beforehand_are_one_series() -> None:
    """However many groups are registered at run time, they are summed as one."""
    metrics = ArbiterMetrics("1", ["execution"])
    metrics.groups.read = lambda: {f"made-up-{each}": {"unheld": 1} for each in range(50)}
    assert value(metrics, "sidecar_group_unheld", group="other") == 50
    assert b"made-up" not in generate_latest(metrics.registry)
