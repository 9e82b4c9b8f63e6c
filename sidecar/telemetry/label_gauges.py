"""Gauges with one label each, asked at each scrape, so that they cost nothing between.

Owns their families. It must not know where figures come from: it is handed a function that returns plain numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

REST: Final = "other"


class Family(NamedTuple):
    """What one gauge is of, its label, and the label's values that are known beforehand."""

    text: str
    label: str
    values: tuple[str, ...]


class LabelGauges(Collector):
    """Registers itself. `read` gives each gauge's figures; unknown values are summed as `other`, others begin at 0."""

    def __init__(self, families: Mapping[str, Family], registry: CollectorRegistry) -> None:
        self.read: Callable[[], Mapping[str, Mapping[str, int]]] = dict
        self._families = families
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """One family for each gauge, with a sample for each value."""
        found = self.read()
        for name, (text, label, known) in self._families.items():
            family = GaugeMetricFamily(f"sidecar_{name}", text, labels=(label,))
            values = dict.fromkeys((*known, REST), 0)
            for value, figure in found.get(name, {}).items():
                values[value if value in values else REST] += figure
            for value, figure in values.items():
                family.add_metric((value,), figure)
            yield family
