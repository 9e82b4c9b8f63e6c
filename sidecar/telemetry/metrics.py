"""The figures that each process publishes, by name, in a registry of its own.

Owns the names, the help texts and the bound on label values: a label takes one of the values named at construction,
anything else is counted under `other`, so that no input can grow the number of series. It must not know when a figure
changes; the shells set them. A gauge that moves with time (`lease_left_seconds`) is best given a function with
`set_function`, which is asked at each scrape.
"""

from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from sidecar.messages.orders import Phase

Process = Literal["sidecar", "arbiter", "reconciler", "venue"]
DEAD_LETTER_CODES: Final = ("not-json", "unknown-type", "too-large", "wrong-field", "wrong-sender")
LABEL_VALUES_MAX: Final = 1_000
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


class Metrics:
    """What every process publishes. Times are in seconds, as Prometheus has them."""

    def __init__(self, process: Process, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("sidecar_build_info", "1, labelled with what runs.", ("process", "version"), registry=registry).labels(
            process, version
        ).set(1)
        self.broker_connected = Gauge("sidecar_broker_connected", "1 while every link stands.", registry=registry)
        self.dead_letters = BoundedCounter(
            "sidecar_dead_letters", "Messages refused, by reason code.", "code", DEAD_LETTER_CODES, registry
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
        self.trading_state = Gauge("sidecar_trading_state", "Level of the scope all.", registry=registry)
        self.control_version = Gauge("sidecar_control_version", "Of the journaled control state.", registry=registry)
        self.orders = BoundedCounter("sidecar_orders", "Orders, by the phase they entered.", "phase", Phase, registry)
        self.journal_appended = Counter("sidecar_journal_appended", "Records we appended.", registry=registry)
        self.journal_read = Counter("sidecar_journal_read", "Records we read back and folded.", registry=registry)
        self.journal_void = Counter("sidecar_journal_void", "Records of a deposed term, skipped.", registry=registry)
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


class VenueMetrics(Metrics):
    """What the simulated venue adds."""

    def __init__(self, version: str) -> None:
        super().__init__("venue", version)
        registry = self.registry
        self.orders_received = Counter("sidecar_venue_orders", "Orders that reached the venue.", registry=registry)
        self.drop_copies = Counter("sidecar_venue_drop_copies", "Drop copies published.", registry=registry)
