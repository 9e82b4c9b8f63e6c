"""Figures in Prometheus, and the bound on their series."""

from prometheus_client import CollectorRegistry, generate_latest

from sidecar.telemetry.figure_gauges import FIGURES_MAX, FigureGauges


def test_figures_are_read_at_each_scrape() -> None:
    """Each figure is a series by its name while it is known, and each rule says whether it is broken."""
    registry = CollectorRegistry()
    gauges = FigureGauges(registry)
    assert b"name=" not in generate_latest(registry)
    gauges.figures = lambda: {"market_data_age_s": 4.5, 'odd "name"\n': 1.0}
    gauges.rules = lambda: {"errors": True, "event-log": False}
    assert registry.get_sample_value("sidecar_figure", {"name": "market_data_age_s"}) == 4.5
    assert registry.get_sample_value("sidecar_figure", {"name": 'odd "name"\n'}) == 1.0
    assert b'name="odd \\"name\\"\\n"' in generate_latest(registry)
    assert registry.get_sample_value("sidecar_rule_broken", {"rule": "errors"}) == 1
    assert registry.get_sample_value("sidecar_rule_broken", {"rule": "event-log"}) == 0
    gauges.figures = dict
    assert registry.get_sample_value("sidecar_figure", {"name": "market_data_age_s"}) is None


def test_names_are_bounded() -> None:
    """However many names come, one after the other, the first ones are shown and the others only counted."""
    registry = CollectorRegistry()
    gauges = FigureGauges(registry)
    gauges.figures = lambda: {f"n{each:05}": 1.0 for each in range(FIGURES_MAX)}
    generate_latest(registry)
    gauges.figures = lambda: {"n00000": 2.0, "late": 3.0}
    assert registry.get_sample_value("sidecar_figure", {"name": "late"}) is None
    assert registry.get_sample_value("sidecar_figure", {"name": "n00000"}) == 2.0
    assert registry.get_sample_value("sidecar_figures_left_out") == 1
