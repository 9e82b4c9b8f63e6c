"""The figures of state hand-over at one sidecar, by name. Owns the names; it must not know when they change."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

REFUSAL_CODES: Final = ("not-json", "unknown-type", "too-large", "wrong-field", "wrong-sender", "past", "disk")
"""Of what came: those of dead letters; from a holder of the past; and what our own disk refused."""


class StateFigures:
    """What a sidecar publishes about states. Times are in seconds; gauges are the worst of all slots."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag_seconds = Gauge(
            "sidecar_state_lag_seconds", "Since something newer than what is kept here is known.", registry=registry
        )
        self.versions_behind = Gauge(
            "sidecar_state_versions_behind", "Newest version known, less the kept one.", registry=registry
        )
        self.unreplicated_seconds = Gauge(
            "sidecar_state_unreplicated_seconds",
            "For how long the newest state of our component has been on no standby's disk.",
            registry=registry,
        )
        self.bytes = Gauge("sidecar_state_bytes", "Of all states kept here.", registry=registry)
        self.connected = Gauge(
            "sidecar_state_connected", "1 while the connection for states stands.", registry=registry
        )
        self.sent_bytes = Counter("sidecar_state_sent_bytes", "Of states, sent to standbys.", registry=registry)
        self.received = Counter("sidecar_state_received", "States taken over from a holder.", registry=registry)
        self._refused = Counter(
            "sidecar_state_refused", "Pieces and states not taken, by reason.", ("code",), registry=registry
        )
        self._codes = {code: self._refused.labels(code) for code in REFUSAL_CODES}

    def refuse(self, code: str, amount: int = 1) -> None:
        """Count what was not taken."""
        self._codes.get(code, self._codes["wrong-field"]).inc(amount)
