"""The figures of the failover benchmark."""

from benchmarks.failover.figures import CauseFigures, Report, summary, times
from sidecar.core.timing import MS


def test_percentiles_are_measurements() -> None:
    """Percentiles are by nearest rank, so p99 of fewer than 100 measurements is the largest."""
    found = times([each * MS for each in range(20, 0, -1)])
    assert (found.p50_ms, found.p99_ms, found.max_ms, found.rounds) == (10.0, 20.0, 20.0, 20)


def test_one_measurement() -> None:
    """One measurement is every percentile of itself."""
    found = times([1_500_000])
    assert (found.p50_ms, found.p99_ms, found.max_ms, found.rounds) == (1.5, 1.5, 1.5, 1)


def figures(goal_p99_ms: float | None) -> CauseFigures:
    """One round of 60 ms."""
    return CauseFigures(p50_ms=60.0, p99_ms=60.0, max_ms=60.0, rounds=1, overlap=0, goal_p99_ms=goal_p99_ms, modes={})


def test_a_missed_goal_is_said() -> None:
    """The table says of each cause whether its goal was met, and nothing where there is none."""
    causes = {"slow": figures(50.0), "quick": figures(70.0), "free": figures(None)}
    table = summary(Report(broker="a broker", load_average=(0.0, 0.0, 0.0), seconds=1.0, causes=causes))
    assert list(table.columns[6].cells) == ["missed", "met", ""]
