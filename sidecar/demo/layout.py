"""What the demo consists of, and the configuration file of each process.

Owns names, paths and settings. It must not start anything. JSON, because the standard library writes it; the files are
readable by their owner only, since the broker's URL may hold a password.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.demo.launcher import ProcessSpec

VENUE: Final = "SIM"
ACCOUNT: Final = "ACC-1"
ARBITERS: Final = ("arbiter-1", "arbiter-2")
EXECUTION: Final = ("exec-a", "exec-b")
MARKET_DATA: Final = ("md-1",)
COMPONENTS: Final = EXECUTION + MARKET_DATA
LOST_PERCENT: Final = 3
RATE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoLayout:
    """Everything with a name, below one directory. Unix socket paths are short by design: at most 107 bytes."""

    directory: Path
    venue_port: int
    broker: dict[str, Any]
    operator: str
    seed: int

    def socket(self, component: str) -> Path:
        """Where the component's sidecar answers."""
        return self.directory / f"{component}.sock"

    def gate(self, component: str) -> Path:
        """The component's gate page."""
        return self.directory / f"{component}.gate"

    def servers(self) -> tuple[ProcessSpec, ...]:
        """The venue, the arbiters, the reconciler and the sidecars; their files are written here."""
        venue_arguments = ("--listen", f"127.0.0.1:{self.venue_port}", "--name", VENUE, "--seed", str(self.seed))
        lost = ("--lost-percent", str(LOST_PERCENT))
        return (
            ProcessSpec(role="venue", name=VENUE, config=self._file("venue", {}), arguments=(*venue_arguments, *lost)),
            *(ProcessSpec(role="arbiter", name=each, config=self._file(each, _arbiter(each))) for each in ARBITERS),
            ProcessSpec(role="reconciler", name="reconciler-1", config=self._file("reconciler", {})),
            *(ProcessSpec(role="sidecar", name=each, config=self._file(each, self._own(each))) for each in COMPONENTS),
        )

    def component(self, name: str) -> ProcessSpec:
        """One toy component."""
        kind = "execution" if name in EXECUTION else "market-data"
        arguments = ["--name", name, "--kind", kind, "--socket", str(self.socket(name))]
        if kind == "execution":
            arguments += ["--venue", f"127.0.0.1:{self.venue_port}", "--venue-name", VENUE]
            arguments += ["--account", ACCOUNT, "--rate", str(RATE)]
        return ProcessSpec(role="component", name=name, arguments=tuple(arguments))

    def settings(self) -> dict[str, Any]:
        """What all processes share. The orders' deadlines are short, so that every story ends within the demo."""
        return {
            "broker": self.broker,
            "groups": {
                "execution": {"mode": "active_passive", "components": EXECUTION},
                "market-data": {"mode": "active_passive", "components": MARKET_DATA},
            },
            "venues": {VENUE: {"adapter": "simulated", "address": f"127.0.0.1:{self.venue_port}"}},
            "orders": {"report_deadline_ms": 2_000, "evidence_deadline_ms": 3_000, "query_interval_ms": 500},
            "health": {"report_interval_ms": 1_000},
            "security": {"operators": [self.operator]},
            "telemetry": {"port": 0},
            "run_dir": str(self.directory),
        }

    def _own(self, component: str) -> dict[str, Any]:
        return {
            "component": {
                "name": component,
                "socket": str(self.socket(component)),
                "gate": str(self.gate(component)),
                "state_dir": str(self.directory / f"{component}.state"),
            }
        }

    def _file(self, name: str, own: dict[str, Any]) -> Path:
        path = self.directory / f"{name}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.settings() | own, file, indent=2)
        return path


def _arbiter(name: str) -> dict[str, Any]:
    return {"arbiter": {"id": name}}


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
