"""The parts of one sidecar process and how they know each other.

Owns the wiring, nothing else. It must not start anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sidecar import __version__
from sidecar.agent.clock import boottime_ns
from sidecar.agent.control_store import ControlStore
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.health import Health
from sidecar.agent.heartbeats import Heartbeats
from sidecar.agent.inbox import Inbox
from sidecar.agent.orders import OrderDesk
from sidecar.agent.postbox import Postbox
from sidecar.agent.probe_runs import probe_run
from sidecar.agent.probes import Probes
from sidecar.agent.reports import ReportOutbox
from sidecar.agent.sessions import Sessions
from sidecar.agent.starting import Starting
from sidecar.broker.interface import Broker, Subscription
from sidecar.broker.roundtrip import Roundtrip
from sidecar.broker.topology import control_queue, reply_queue
from sidecar.config.health_rules import health_rules
from sidecar.config.models import Settings
from sidecar.core.sidecar import Sidecar
from sidecar.core.timing import MS
from sidecar.gate.writer import GateWriter
from sidecar.messages.local import GateStatus, LocalStatus
from sidecar.telemetry.metrics import SidecarMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The paths of one component's sidecar."""

    component: str
    socket: Path
    gate: Path
    state_dir: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As configured, or the defaults under `run_dir`. ValueError without a section [component]."""
        if settings.component is None:
            raise ValueError("the section [component] is missing: set component.name to the component's name")
        name, run_dir = settings.component.name, Path(settings.run_dir)
        return cls(
            component=name,
            socket=Path(settings.component.socket or run_dir / f"{name}.sock"),
            gate=Path(settings.component.gate or f"/dev/shm/sidecar-{name}.gate"),
            state_dir=Path(settings.component.state_dir or run_dir / f"{name}.state"),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a component that we start is told."""
        return {"SIDECAR_SOCKET": str(self.socket), "SIDECAR_GATE": str(self.gate)}

    def make(self) -> None:
        """Make the directories, for this user only. OSError when they cannot be made."""
        for directory in (self.socket.parent, self.state_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


class Parts:
    """Everything of one run, made once the gate page is ours; subscribes on `broker`, which is not started yet."""

    def __init__(
        self, settings: Settings, places: Places, broker: Broker, writer: GateWriter, metrics: SidecarMetrics, run: str
    ) -> None:
        self.run = run
        name, timing = places.component, settings.timing.to_core()
        store = ControlStore(places.state_dir, name)
        replies = reply_queue(name, run)
        observe_only_ns = settings.detection.observe_only_ms * MS
        self.core = Sidecar(name, settings.group_of(name), timing, store.load(run), run, observe_only_ns)
        self.postbox = Postbox(broker, name, replies.name, metrics)
        self.gatekeeper = Gatekeeper(self.core, writer, store, self.postbox)
        self.heartbeats = Heartbeats(self.gatekeeper, self.postbox, timing, metrics)
        self.sessions = Sessions(self.gatekeeper, self.heartbeats, str(places.gate))
        self.reports = ReportOutbox(name, self.postbox, metrics, settings.orders.unrecorded_max)
        self.desk = OrderDesk(self.core, self.postbox, self.reports, settings.orders, metrics)
        arbiters = settings.security.arbiters
        self.inbox = Inbox(self.gatekeeper, self.desk, self.reports, self.postbox, metrics, arbiters)
        rules = health_rules(settings.health.rules)
        self.health = Health(self.gatekeeper, self.inbox, self.postbox, timing, rules)
        self.starting = Starting(self.core, run, settings.component, places.environment, self.postbox)
        self.inbox.on_start = self.starting.ordered
        probes = settings.component.probes if settings.component else {}
        runs = {each: probe_run(probe, lambda: self.child_pid) for each, probe in probes.items()}
        self.child_pid: int | None = None
        self.probes = Probes(probes, runs, self.sessions, self.health)
        self.gatekeeper.on_change = self._announce
        halts = control_queue(name, run)
        self.roundtrip = Roundtrip(broker, name, exchange="", routing_key=halts.name, what="the queue of halts")
        on_control = self.roundtrip.listen(self.inbox.on_control)
        control = Subscription(queue=halts, on_delivery=on_control, no_ack=True)
        broker.subscribe(control, control=True)
        broker.subscribe(Subscription(queue=replies, on_delivery=self.inbox.on_reply))
        self._ask_at_scrape(metrics)

    def status(self) -> LocalStatus:
        """The sidecar's own view of itself."""
        healthy, reasons, _ = self.health.view()
        return LocalStatus(
            component=self.core.component,
            group=self.core.group,
            run=self.run,
            version=__version__,
            gate=self.gatekeeper.status(),
            broker=self.postbox.broker_name(),
            trouble=self.postbox.trouble,
            healthy=healthy,
            reasons=reasons,
            halts=self.core.memory.in_force,
            orders_waiting=len(self.desk),
            reports_unrecorded=len(self.reports),
        )

    def _announce(self, status: GateStatus) -> None:
        self.starting.notice(attached=bool(status.incarnation))
        self.probes.notice(status.incarnation)
        self.sessions.announce(status)

    def _ask_at_scrape(self, metrics: SidecarMetrics) -> None:
        core = self.core
        metrics.gate_open.set_function(lambda: float(not core.why_closed(boottime_ns())))
        metrics.trading_state.set_function(lambda: float(core.page(boottime_ns()).trading_state))
        metrics.lease_left_seconds.set_function(lambda: _left_s(core))
        metrics.halts_in_force.set_function(lambda: sum(map(core.concerned, core.memory.in_force)))
        metrics.control_version.set_function(lambda: float(core.memory.version))
        metrics.component_attached.set_function(lambda: float(bool(core.incarnation)))


def _left_s(core: Sidecar) -> float:
    now_ns = boottime_ns()
    return (core.deadline_ns - now_ns) / 1e9 if core.holding(now_ns) else 0.0
