"""The figures that each process publishes, by name, in a registry of its own.

Owns the names, the help texts and the bound on label values: a label takes one of the values named at construction,
anything else is counted under `other`, so that no input can grow the number of series. It must not know when a figure
changes; the shells set them. A gauge that moves with time (`lease_left_seconds`) is best given a function with
`set_function`, which is asked at each scrape.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sidecar.core.order_figures import VALUES
from sidecar.messages.orders import Phase
from sidecar.telemetry.broker_figures import BrokerFigures
from sidecar.telemetry.connections import CUT_CODES
from sidecar.telemetry.figure_gauges import FigureGauges
from sidecar.telemetry.label_gauges import Family, LabelGauges
from sidecar.telemetry.state_figures import StateFigures

Process = Literal["sidecar", "arbiter", "reconciler", "archive", "venue"]
DEAD_LETTER_CODES: Final = ("not-json", "unknown-type", "too-large", "wrong-field", "wrong-sender")
LABEL_VALUES_MAX: Final = 1_000
GROUP_FIGURES: Final = {
    "vacant": "Slots that nobody holds.",
    "unheld": "1 while nobody holds any slot of the group.",
    "degraded": "1 while the group may only reduce risk, because too few of its slots are held.",
    "paused": "1 while an operator's pause keeps the group from failing over.",
    "suspected": "Members that are silent for longer than their rhythm explains.",
    "missing": "Members that were never heard, though their first heartbeat is due.",
    "state_behind": "Members that lag in a slot's state by more than state_lag_max_ms.",
}
STANDING: Final = {
    "orders_in_phase": Family("Orders in memory, by phase; the leader's.", "phase", VALUES["orders_in_phase"]),
    "breaks_open": Family("Open breaks of orders, by kind; the leader's.", "kind", VALUES["breaks_open"]),
    "differences_open": Family(
        "Open differences of what accounts hold; the leader's.", "holds", VALUES["differences_open"]
    ),
    "reconciliation_troubles": Family(
        "Reasons why the venues' word is not heard as it should be; the leader's.",
        "kind",
        VALUES["reconciliation_troubles"],
    ),
    "integrity_findings": Family(
        "Findings that cannot be, by whether an operator resolved them; the leader's.",
        "resolved",
        VALUES["integrity_findings"],
    ),
}
OTHER: Final = "other"
_LAG_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class BoundedCounter:
    """A counter with one label whose values are known beforehand; each begins at 0, unknown ones count as `other`."""

    def __init__(self, name: str, text: str, label: str, values: Iterable[str], registry: CollectorRegistry) -> None:
        counter = Counter(name, text, (label,), registry=registry)
        known = sorted(set(values))[:LABEL_VALUES_MAX]
        self._children = {value: counter.labels(value) for value in (*known, OTHER)}

    def inc(self, value: str, amount: int = 1) -> None:
        """Count `amount` more under `value`."""
        self._children.get(value, self._children[OTHER]).inc(amount)


class GroupGauges(Collector):
    """Gauges with the label `group`, asked at each scrape, so that they cost nothing between.

    `read` gives the figures of each group by name. Groups that were not known beforehand are summed as `other`; what is
    not given is 0.
    """

    def __init__(self, texts: Mapping[str, str], groups: Iterable[str], registry: CollectorRegistry) -> None:
        self.read: Callable[[], Mapping[str, Mapping[str, int]]] = dict
        self._texts = texts
        self._known = (*sorted(set(groups))[:LABEL_VALUES_MAX], OTHER)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """One family for each figure, with a sample for each group."""
        found = self.read()
        for figure, text in self._texts.items():
            family = GaugeMetricFamily(f"sidecar_group_{figure}", text, labels=("group",))
            values = dict.fromkeys(self._known, 0)
            for group, figures in found.items():
                values[group if group in values else OTHER] += figures.get(figure, 0)
            for group, value in values.items():
                family.add_metric((group,), value)
            yield family


class Metrics:
    """What every process publishes. Times are in seconds, as Prometheus has them."""

    def __init__(self, process: Process, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("sidecar_build_info", "1, labelled with what runs.", ("process", "version"), registry=registry).labels(
            process, version
        ).set(1)
        self.broker_connected = Gauge("sidecar_broker_connected", "1 while every link stands.", registry=registry)
        self.broker = BrokerFigures(registry)
        self.dead_letters = BoundedCounter(
            "sidecar_dead_letters", "Messages refused, by reason code.", "code", DEAD_LETTER_CODES, registry
        )
        self.senders_refused = Counter(
            "sidecar_senders_refused", "Messages of users who may not say what they said.", registry=registry
        )
        self.loop_lag_seconds = Histogram(
            "sidecar_loop_lag_seconds", "How late timers ran.", buckets=_LAG_BUCKETS_S, registry=registry
        )


class SidecarMetrics(Metrics):
    """What a sidecar adds. `trading_state` is 0 ACTIVE, 1 REDUCING, 2 CANCEL_ONLY, 3 HALTED."""

    def __init__(self, version: str) -> None:
        super().__init__("sidecar", version)
        registry = self.registry
        self.heartbeats_sent = Counter("sidecar_heartbeats_sent", "Heartbeats published.", registry=registry)
        self.leases_received = Counter("sidecar_leases_received", "Leases that renewed us.", registry=registry)
        self.gate_open = Gauge("sidecar_gate_open", "1 while the gate lets orders pass.", registry=registry)
        self.trading_state = Gauge("sidecar_trading_state", "Strictest level over all orders.", registry=registry)
        self.lease_left_seconds = Gauge("sidecar_lease_left_seconds", "Until the gate closes.", registry=registry)
        self.halts_in_force = Gauge("sidecar_halts_in_force", "Latched halts that concern us.", registry=registry)
        self.control_version = Gauge("sidecar_control_version", "Of the control state we hold.", registry=registry)
        self.component_attached = Gauge("sidecar_component_attached", "1 while a session is open.", registry=registry)
        self.connections_cut = BoundedCounter(
            "sidecar_connections_cut", "Connections of local peers cut, by reason.", "code", CUT_CODES, registry
        )
        self.health_status = Gauge("sidecar_health_status", "0 HEALTHY, 1 DEGRADED, 2 CRITICAL.", registry=registry)
        self.figures = FigureGauges(registry)
        self.states = StateFigures(registry)
        self.orders = BoundedCounter(
            "sidecar_orders", "Orders of our component, by the phase they entered.", "phase", Phase, registry
        )


class ArbiterMetrics(Metrics):
    """What an arbiter adds. `groups` are the configured failover groups."""

    def __init__(self, version: str, groups: Iterable[str]) -> None:
        super().__init__("arbiter", version)
        registry = self.registry
        self.heartbeats_received = Counter("sidecar_heartbeats_received", "Heartbeats heard.", registry=registry)
        self.leases_granted = Counter("sidecar_leases_granted", "Answers with a slot in them.", registry=registry)
        self.failovers = BoundedCounter(
            "sidecar_failovers", "Slots that got another holder, by group.", "group", groups, registry
        )
        self.halts_in_force = Gauge("sidecar_halts_in_force", "Halts latched in the journal.", registry=registry)
        self.measures_incomplete = Gauge(
            "sidecar_measures_incomplete",
            "Components that have reported measures of a halt undone.",
            registry=registry,
        )
        self.trading_state = Gauge("sidecar_trading_state", "Level of the scope all.", registry=registry)
        self.control_version = Gauge("sidecar_control_version", "Of the journaled control state.", registry=registry)
        self.orders = BoundedCounter("sidecar_orders", "Orders, by the phase they entered.", "phase", Phase, registry)
        self.journal_appended = Counter("sidecar_journal_appended", "Records we appended.", registry=registry)
        self.journal_read = Counter("sidecar_journal_read", "Records we read back and folded.", registry=registry)
        self.journal_void = Counter("sidecar_journal_void", "Records of a deposed term, skipped.", registry=registry)
        self.groups = GroupGauges(GROUP_FIGURES, groups, registry)
        self.standing = LabelGauges(STANDING, registry)
        self.correlated_silence = Gauge(
            "sidecar_correlated_silence", "Sidecars that fell silent together and still are.", registry=registry
        )
        self.groups_registered = Gauge("sidecar_groups_registered", "Groups registered at run time.", registry=registry)
        self.arbiters_configured_otherwise = Gauge(
            "sidecar_arbiters_configured_otherwise", "Arbiters heard with other groups configured.", registry=registry
        )
        self.groups_contradicted = Gauge(
            "sidecar_groups_contradicted",
            "Groups frozen because this arbiter's configuration and the journal differ.",
            registry=registry,
        )
        self.snapshots_written = Counter("sidecar_snapshots_written", "Snapshots we wrote.", registry=registry)
        self.snapshots_failed = Counter("sidecar_snapshots_failed", "Snapshots not written.", registry=registry)
        self.snapshots_ignored = Counter(
            "sidecar_snapshots_ignored", "Snapshots that could not be used at the start.", registry=registry
        )
        self.snapshot_offset = Gauge(
            "sidecar_snapshot_offset", "Journal offset of the snapshot we wrote or stand on.", registry=registry
        )
        self.journal_offset = Gauge("sidecar_journal_offset", "Journal offset read last.", registry=registry)
        self.state_differs = Gauge(
            "sidecar_state_differs", "1 when our folded state is not the journal's; we stop.", registry=registry
        )
        self.term = Gauge("sidecar_term", "Highest leadership term seen.", registry=registry)
        self.is_leader = Gauge("sidecar_is_leader", "1 while this arbiter leads.", registry=registry)


class ReconcilerMetrics(Metrics):
    """What the reconciler adds."""

    def __init__(self, version: str) -> None:
        super().__init__("reconciler", version)
        registry = self.registry
        self.evidence = BoundedCounter(
            "sidecar_evidence", "Evidence handed to the arbiter, by source.", "source", ("drop_copy", "query"), registry
        )
        self.queries = BoundedCounter(
            "sidecar_venue_queries",
            "Questions to venues, by outcome.",
            "outcome",
            ("found", "absent", "failed"),
            registry,
        )


class ArchiveFigures:
    """What whoever writes the archive publishes: `sidecar archive`, or an arbiter that carries it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter("sidecar_archive_rows", "Rows written.", registry=registry)
        self.failures = Counter("sidecar_archive_failures", "Attempts to write that failed.", registry=registry)
        self.gaps = Counter("sidecar_archive_gaps", "Stretches the stream had lost before us.", registry=registry)
        self.last_offset = Gauge("sidecar_archive_last_offset", "Of the journal, archived.", registry=registry)
        self.lag_records = Gauge("sidecar_archive_lag_records", "In the journal, not archived yet.", registry=registry)
        self.pruned = Counter("sidecar_archive_pruned", "Rows deleted by retention.", registry=registry)


class ArchiveMetrics(Metrics):
    """What `sidecar archive` publishes."""

    def __init__(self, version: str) -> None:
        super().__init__("archive", version)
        self.archive = ArchiveFigures(self.registry)


class VenueMetrics(Metrics):
    """What the simulated venue adds."""

    def __init__(self, version: str) -> None:
        super().__init__("venue", version)
        registry = self.registry
        self.orders_received = Counter("sidecar_venue_orders", "Orders that reached the venue.", registry=registry)
        self.drop_copies = Counter("sidecar_venue_drop_copies", "Drop copies published.", registry=registry)
