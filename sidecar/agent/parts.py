"""The parts of one sidecar process and how they know each other.

Owns the wiring, nothing else. It must not start anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sidecar import __version__
from sidecar.agent.clock import boottime_ns
from sidecar.agent.collecting import Collecting, Looker
from sidecar.agent.control_store import ControlStore
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.health import Health
from sidecar.agent.heartbeats import Heartbeats
from sidecar.agent.inbox import Inbox
from sidecar.agent.measure_programs import MeasurePrograms
from sidecar.agent.measure_store import MeasureStore
from sidecar.agent.measures import MeasureDesk
from sidecar.agent.once import OnceDesk
from sidecar.agent.orders import OrderDesk
from sidecar.agent.own_halts import OwnHalts
from sidecar.agent.postbox import Postbox
from sidecar.agent.probe_runs import probe_run
from sidecar.agent.probes import Probes
from sidecar.agent.process_figures import pid_in
from sidecar.agent.reports import ReportOutbox
from sidecar.agent.sessions import Sessions
from sidecar.agent.starting import Starting
from sidecar.agent.state_desk import StateDesk
from sidecar.agent.state_keep import StateKeep
from sidecar.agent.state_wire import StateWire
from sidecar.agent.strategies import StrategyDesk
from sidecar.broker.interface import Broker, Subscription
from sidecar.broker.roundtrip import Roundtrip
from sidecar.broker.topology import HEALTH, control_queue, reply_queue, roundtrip_key
from sidecar.config.health_rules import health_rules
from sidecar.config.models import Settings
from sidecar.core.health_rules import SEVERITY
from sidecar.core.ladder import ControlMemory
from sidecar.core.measures import Measures
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
        self.own_halts = OwnHalts(name)
        self.strategies = StrategyDesk(self.gatekeeper, self.own_halts, self.postbox)
        keep = StateKeep(places.state_dir, name)
        self.state_bytes_max = settings.component.state_bytes_max if settings.component else 0
        self.sessions = Sessions(self.gatekeeper, self.heartbeats, str(places.gate), keep)
        self.reports = ReportOutbox(name, self.postbox, metrics, settings.orders.unrecorded_max)
        self.desk = OrderDesk(self.core, self.postbox, self.reports, settings.orders, metrics)
        self.once = OnceDesk(self.core, self.postbox, metrics, settings.orders.precommit_timeout_ms)
        senders = settings.security.senders()
        self._state_wire = StateWire(broker, name, run, self.postbox, senders, metrics.states)
        self.states = self._states_of(settings, keep, metrics)
        self.inbox = Inbox(self.gatekeeper, self.desk, self.reports, self.postbox, metrics, senders)
        self.collecting = self._collecting_of(settings)
        rules = health_rules(settings.health.rules)
        self.health = Health(self.gatekeeper, self.inbox, self.postbox, timing, rules, self.collecting)
        self.starting = Starting(self.core, run, settings.component, places.environment, self.postbox)
        self.inbox.on_start = self.starting.ordered
        self.inbox.on_lease = self.states.on_lease
        self.inbox.on_once = self.once.on_answer
        self.inbox.on_once_recorded = self.once.on_recorded
        self.measures = self._measures_of(settings, places)
        self.inbox.on_measures_recorded = self.measures.on_recorded
        self.gatekeeper.on_accepted = self.measures.accepted
        probes = settings.component.probes if settings.component else {}
        runs = {each: probe_run(probe, lambda: self.child_pid) for each, probe in probes.items()}
        self.child_pid: int | None = None
        self.probes = Probes(probes, runs, self.sessions, self.health)
        self.gatekeeper.on_change = self._announce
        self.gatekeeper.on_halts = self._announce_halts
        halts = control_queue(name, run)
        way = roundtrip_key(name, run)
        self.roundtrip = Roundtrip(broker, name, exchange=HEALTH, routing_key=way, what="the queue of halts")
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
            measures=self.measures.reports(),
            up_ns=self.health.up_ns,
            health=self.health.report(),
            states=self.states.status(),
            state_trouble=self._state_wire.trouble,
            strategies=self.strategies.states,
        )

    def _states_of(self, settings: Settings, keep: StateKeep, metrics: SidecarMetrics) -> StateDesk:
        desk = StateDesk(
            self.core,
            keep,
            self._state_wire,
            self.postbox,
            metrics.states,
            bytes_max=self.state_bytes_max,
            others={group: each.components for group, each in settings.groups.items()},
        )
        desk.tell, desk.hurry = self.sessions.tell, self.heartbeats.send
        return desk

    def _collecting_of(self, settings: Settings) -> Collecting:
        own = settings.component
        age_files = own.age_files if own else {}
        pid_files = tuple(each.pid_file for each in own.probes.values() if each.pid_file) if own else ()
        look = Looker(
            (settings.run_dir, *settings.health.disks),
            age_files,
            lambda: self.child_pid or self.starting.pid or pid_in(pid_files),
        )
        return Collecting(look, age_files, settings.health.collect_interval_ms / 1000)

    def _measures_of(self, settings: Settings, places: Places) -> MeasureDesk:
        store, rules = MeasureStore(places.state_dir), settings.measures.to_core()
        limits_s = {measure: limit_ns / 1e9 for measure, limit_ns in rules.limits_ns.items()}
        programs = MeasurePrograms(settings.measures.commands, limits_s, places.environment)
        core = Measures(self.core.component, rules, store.load())
        return MeasureDesk(
            core, self.core, self.sessions, self.postbox, store, programs, self.starting, limits_s["stop"]
        )

    def _announce_halts(self, memory: ControlMemory) -> None:
        self.sessions.announce_halts(memory)
        self.measures.halts_changed(memory)

    def _announce(self, status: GateStatus) -> None:
        self.states.notice(status)
        self.measures.notice(status.incarnation)
        self.starting.notice(attached=bool(status.incarnation))
        self.health.notice(status.incarnation)
        self.strategies.notice(status.incarnation)
        self.probes.notice(status.incarnation)
        self.sessions.announce(status)

    def _ask_at_scrape(self, metrics: SidecarMetrics) -> None:
        core = self.core
        metrics.gate_open.set_function(lambda: float(not core.why_closed(boottime_ns())))
        metrics.trading_state.set_function(lambda: float(core.page(boottime_ns()).trading_state))
        metrics.lease_left_seconds.set_function(lambda: _left_s(core))
        metrics.halts_in_force.set_function(lambda: sum(map(core.concerned, core.memory.in_force)))
        metrics.control_version.set_function(lambda: float(core.memory.version))
        metrics.figures.figures, metrics.figures.rules = self.health.figures, self.health.rules_broken
        metrics.health_status.set_function(lambda: float(SEVERITY[self.health.report().status]))
        metrics.component_attached.set_function(lambda: float(bool(core.incarnation)))


def _left_s(core: Sidecar) -> float:
    now_ns = boottime_ns()
    return (core.deadline_ns - now_ns) / 1e9 if core.holding(now_ns) else 0.0
