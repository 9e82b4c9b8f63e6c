"""The benchmarked system: two groups, five sidecars, two arbiters, and the configuration file of each process.

Owns names, paths and settings. It must not start anything. Timings are the defaults; only the longest pause between
attempts to connect is short, so that a cut link is mended before the next round, and the brake on failovers is off.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.config.models import TimingSettings
from sidecar.core.groups import Mode
from sidecar.demo.launcher import ProcessRole, ProcessSpec

VENUE: Final = "SIM"
ARBITERS: Final = ("arbiter-1", "arbiter-2")
RATE: Final = 10
"""Orders per second of each holder, all three phases. Higher loads the machine whose delays are measured."""
TIMING: Final = TimingSettings().to_core()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchGroup:
    """A group under test. `active` is how many of its members hold a slot."""

    name: str
    mode: Mode
    members: tuple[str, ...]
    active: int

    def settings(self) -> dict[str, Any]:
        """Its section of the configuration."""
        own: dict[str, Any] = {"mode": self.mode.value, "components": self.members}
        return own | ({"active": self.active} if self.mode is Mode.N_PLUS_ONE else {})


GROUPS: Final = (
    BenchGroup(name="pair", mode=Mode.ACTIVE_PASSIVE, members=("pair-a", "pair-b"), active=1),
    BenchGroup(name="trio", mode=Mode.N_PLUS_ONE, members=("trio-a", "trio-b", "trio-c"), active=2),
)
COMPONENTS: Final = tuple(each for group in GROUPS for each in group.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Everything with a name, below one directory. `links` maps a component to the broker URL of its own sidecar."""

    directory: Path
    venue_port: int
    url: str
    operator: str
    links: Mapping[str, str]
    arbiter_ports: Mapping[str, int]

    def gate(self, component: str) -> Path:
        """The component's gate page."""
        return self.directory / f"{component}.gate"

    def servers(self) -> tuple[ProcessSpec, ...]:
        """The venue, the reconciler, the arbiters and the sidecars."""
        venue = ("--listen", f"127.0.0.1:{self.venue_port}", "--name", VENUE)
        return (
            self._spec("venue", VENUE, {}, *venue),
            self._spec("reconciler", "reconciler-1", {}),
            *(self.arbiter(each) for each in self.arbiter_ports),
            *(self.sidecar(each) for each in COMPONENTS),
        )

    def arbiter(self, name: str) -> ProcessSpec:
        """One arbiter, with a health endpoint."""
        return self._spec(
            "arbiter",
            name,
            {"arbiter": {"id": name, "failovers_per_hour_max": 0}, "telemetry": {"port": self.arbiter_ports[name]}},
        )

    def sidecar(self, component: str) -> ProcessSpec:
        """The sidecar of one component."""
        own = {
            "name": component,
            "socket": str(self._socket(component)),
            "gate": str(self.gate(component)),
            "state_dir": str(self.directory / f"{component}.state"),
        }
        return self._spec("sidecar", component, {"component": own, "broker": self.broker(self.links[component])})

    def component(self, name: str) -> ProcessSpec:
        """One toy component. All trade one account: the audit tells slots apart by incarnation and token."""
        arguments = ("--name", name, "--socket", str(self._socket(name)), "--venue", f"127.0.0.1:{self.venue_port}")
        return ProcessSpec(
            role="component", name=name, arguments=(*arguments, "--venue-name", VENUE, "--rate", str(RATE))
        )

    def _socket(self, component: str) -> Path:
        return self.directory / f"{component}.sock"

    def broker(self, url: str) -> dict[str, Any]:
        """A process's section on its broker."""
        return {"urls": [url], "backoff_max_ms": 250}

    def security(self) -> dict[str, Any]:
        """Who may do what; everybody is one broker user."""
        return {"operators": [self.operator]}

    def url_of(self, role: ProcessRole) -> str:
        """The broker as processes of this role reach it; sidecars have `links`."""
        return self.url

    def _spec(self, role: ProcessRole, name: str, own: dict[str, Any], *arguments: str) -> ProcessSpec:
        own = {"broker": self.broker(self.url_of(role)), **own}
        return ProcessSpec(role=role, name=name, config=self._file(f"{role}-{name}", own), arguments=arguments)

    def _file(self, name: str, own: dict[str, Any]) -> Path:
        shared = {
            "groups": {each.name: each.settings() for each in GROUPS},
            "venues": {VENUE: {"adapter": "simulated", "address": f"127.0.0.1:{self.venue_port}"}},
            "security": self.security(),
            "run_dir": str(self.directory),
        }
        path = self.directory / f"{name}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(shared | own, file, indent=2)
        return path
