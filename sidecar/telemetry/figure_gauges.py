"""The component's health in Prometheus: each figure by its name, and which rules are broken.

Owns the names of the families and the bound on series. It must not know where figures come from: it is handed functions
that return plain numbers, and asks them at each scrape.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

FIGURES_MAX: Final = 256
"""Names shown in one run of the process, the first that came. Higher costs Prometheus a series each, for ever."""


class FigureGauges(Collector):
    """Registers itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.figures: Callable[[], Mapping[str, float]] = dict
        self.rules: Callable[[], Mapping[str, bool]] = dict
        self._shown: set[str] = set()
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The figures known now, how many were left out, and each rule with whether it is broken."""
        figures, left_out = GaugeMetricFamily("sidecar_figure", "A figure of the component.", labels=("name",)), 0
        for name, value in sorted(self.figures().items()):
            if name not in self._shown and len(self._shown) >= FIGURES_MAX:
                left_out += 1
                continue
            self._shown.add(name)
            figures.add_metric((name,), value)
        yield figures
        yield GaugeMetricFamily("sidecar_figures_left_out", "Figures that are above the bound on series.", left_out)
        rules = GaugeMetricFamily("sidecar_rule_broken", "1 while the rule is broken.", labels=("rule",))
        for name, is_broken in sorted(self.rules().items()):
            rules.add_metric((name,), is_broken)
        yield rules
