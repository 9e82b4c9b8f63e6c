"""The system under chaos: the failover benchmark's groups on a cluster, each kind of process with its own broker user.

Owns what differs from `benchmarks/failover/places.py`: three arbiters, all nodes in every process's list, a ledger for
each component, and no setting but the defaults, because how long an outage lasts is what is measured.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.failover.places import COMPONENTS, Places
from sidecar.demo.launcher import ProcessRole, ProcessSpec

ARBITERS: Final = ("arbiter-1", "arbiter-2", "arbiter-3")
RATE: Final = 5
"""Orders per second of each of three holders. Higher makes the journal, which restarted arbiters replay, longer."""
USERS: Final[Mapping[ProcessRole, str]] = {
    "arbiter": "arbiter",
    "venue": "venue",
    "reconciler": "reconciler",
    "sidecar": "sidecar",
}
"""benchmarks/chaos/definitions.json has them."""
PROGRAMS: Final[Mapping[ProcessRole, str]] = {"component": "benchmarks.chaos.trader"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlaces(Places):
    """`users` maps a broker user to the URLs of all nodes, joined by commas, as in `links`."""

    users: Mapping[str, str]

    def ledger(self, component: str) -> Path:
        """Where the component notes what it was told."""
        return self.directory / f"{component}.ledger"

    def broker(self, url: str) -> dict[str, Any]:
        """Every node, and defaults."""
        return {"urls": url.split(",")}

    def security(self) -> dict[str, Any]:
        """A user for each kind of process, shared by all of that kind."""
        return {
            "operators": [self.operator],
            "arbiters": [USERS["arbiter"]],
            "reconcilers": [USERS["reconciler"]],
            "component_user": USERS["sidecar"],
            "venue_user": USERS["venue"],
        }

    def url_of(self, role: ProcessRole) -> str:
        """The cluster as this role's own user."""
        return self.users[USERS[role]]

    def component(self, name: str) -> ProcessSpec:
        """One toy component that notes every answer."""
        spec = Places.component(self, name)
        later = ("--rate", str(RATE), "--ledger", str(self.ledger(name)))
        return dataclasses.replace(spec, arguments=(*spec.arguments, *later))

    def processes(self) -> tuple[ProcessSpec, ...]:
        """Everything, in the order of starting."""
        return (*self.servers(), *(self.component(each) for each in COMPONENTS))
