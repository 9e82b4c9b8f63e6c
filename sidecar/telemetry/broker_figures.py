"""What a process's broker connection has done, and what was found about the broker, read at each scrape.

Owns the names and help texts. It must not know a broker: it is handed functions that return plain numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

COUNTERS: Final = {
    "reconnects": "Links to the broker that stood again after a loss.",
    "published": "Messages sent, confirmed where a confirm was asked for.",
    "publish_failures": "Messages sent and not confirmed.",
    "returned": "Messages that reached no queue.",
    "refused": "Messages refused here, before sending: no link, an alarm, or too many unconfirmed.",
    "posts_dropped": "Messages that expire anyway and were dropped here.",
    "delivered": "Messages received.",
    "blocked_s": "Seconds in which the broker blocked publishers.",
}
_NAMES: Final = {"blocked_s": "blocked_seconds"}


class BrokerFigures(Collector):
    """Registers itself. `counters` gives the totals by the names above; unknown names are left out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counters: Callable[[], Mapping[str, float]] = dict
        self.findings: Callable[[], Mapping[str, int]] = dict
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """One counter a figure, and a gauge of the findings by level."""
        totals = self.counters()
        for name, text in COUNTERS.items():
            if name in totals:
                yield CounterMetricFamily(f"sidecar_broker_{_NAMES.get(name, name)}", text, value=totals[name])
        found = self.findings()
        if found:
            gauge = GaugeMetricFamily("sidecar_broker_findings", "Of the last examination.", labels=("level",))
            for level, count in found.items():
                gauge.add_metric((level,), count)
            yield gauge
