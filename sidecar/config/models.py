"""Every setting of every process: what it does, its unit, its default and what raising it costs.

Owns the shape of the configuration file and its cross-checks; `load.py` reads files and the environment into it.
It must not open anything. Times are integer milliseconds here and nanoseconds in the core.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.suspicion import Detection
from sidecar.core.timing import MS, Timing

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
Name = Annotated[str, Field(pattern=NAME.pattern, description="Letters, digits, - and _; at most 64.")]


def _amqp(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("amqp://", "amqps://")):
        raise ValueError("the URL must begin with amqp:// or amqps://, for example amqp://user:password@host:5672/")
    return url


class Section(BaseModel):
    """A part of the configuration: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSettings(Section):
    """Where RabbitMQ is and how long we wait for it."""

    urls: tuple[Annotated[SecretStr, AfterValidator(_amqp)], ...] = Field(
        (SecretStr("amqp://guest:guest@127.0.0.1:5672/"),),
        min_length=1,
        max_length=16,
        description="AMQP URLs of the cluster's nodes, tried in turn. Never printed.",
    )
    embedded: bool = Field(False, description="Use the in-process broker. It survives nothing; for development only.")
    connect_timeout_ms: int = Field(
        5_000,
        ge=100,
        le=120_000,
        description="Give up one connection attempt. Higher finds a slow node, slower failover.",
    )
    publish_timeout_ms: int = Field(
        5_000,
        ge=100,
        le=120_000,
        description="Give up waiting for a confirm. Higher hides a stalled broker for longer.",
    )
    amqp_heartbeat_s: int = Field(
        5,
        ge=2,
        le=60,
        description="AMQP heartbeat; a dead peer is found after about 3x. Our own heartbeats are faster.",
    )
    backoff_max_ms: int = Field(
        5_000, ge=100, le=60_000, description="Longest pause between attempts. Higher eases a struggling broker."
    )
    pending_max: int = Field(
        10_000, ge=1, le=1_000_000, description="Publishes awaiting their confirm. Higher costs memory in a stall."
    )


class TimingSettings(Section):
    """Leases and leadership. The inequality of docs/leases.md is checked and refused with its numbers."""

    heartbeat_ms: int = Field(250, ge=10, le=60_000, description="Between a sidecar's heartbeats. Higher is slower.")
    holder_lease_ms: int = Field(
        1_500,
        ge=50,
        le=600_000,
        description="D: how long a lease lasts from its heartbeat's sending. Higher rides "
        "out longer stalls and closes later.",
    )
    gate_to_effect_ms: int = Field(
        300, ge=0, le=600_000, description="A: the longest time from the gate check to the order's effect at the venue."
    )
    holder_wait_ms: int = Field(
        2_000,
        ge=50,
        le=600_000,
        description="L: how long a silent holder's slot is left alone. Higher is a slower failover after silence.",
    )
    leader_lease_ms: int = Field(
        1_000, ge=50, le=600_000, description="How long an arbiter may grant after its last read-back tick was sent."
    )
    leader_wait_ms: int = Field(
        1_200, ge=50, le=600_000, description="How long a new leader waits for the old one's grants to have ended."
    )
    tick_ms: int = Field(
        100, ge=10, le=10_000, description="Between the leader's journal records. Lower costs journal."
    )
    probe_ms: int = Field(400, ge=30, le=60_000, description="Silence of the journal after which a standby probes.")
    clock_error_ppm: int = Field(
        10_000, ge=0, le=500_000, description="Bound on clock rate error, parts per million. Higher shortens leases."
    )

    def to_core(self) -> Timing:
        """The same times in nanoseconds."""
        return Timing(
            heartbeat_ns=self.heartbeat_ms * MS,
            holder_lease_ns=self.holder_lease_ms * MS,
            effect_ns=self.gate_to_effect_ms * MS,
            holder_wait_ns=self.holder_wait_ms * MS,
            leader_lease_ns=self.leader_lease_ms * MS,
            leader_wait_ns=self.leader_wait_ms * MS,
            tick_ns=self.tick_ms * MS,
            probe_ns=self.probe_ms * MS,
            clock_error_ppm=self.clock_error_ppm,
        )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        violations = self.to_core().violations()
        if violations:
            raise ValueError("\n".join(violations))
        return self


class GroupSettings(Section):
    """One failover group."""

    mode: Mode = Field(Mode.ACTIVE_PASSIVE, description="How slots are distributed; see docs/leases.md.")
    components: tuple[Name, ...] = Field(min_length=1, max_length=256, description="Members, most preferred first.")
    active: int | None = Field(None, ge=1, description="n_plus_one: how many are active. Default: all but one.")
    partitions: tuple[Name, ...] = Field(
        (), max_length=1024, description="active_active and cluster: names of the slots. Default: one per component."
    )
    failback: Literal["manual", "delayed"] = Field(
        "manual", description="manual: a slot never goes back by itself. delayed: it does after failback_delay_ms."
    )
    failback_delay_ms: int = Field(
        60_000, ge=1_000, description="How long the preferred member must be ready first. Higher is calmer."
    )
    preference: dict[Name, Literal["prefer", "neutral", "never"]] = Field(
        default_factory=dict,
        description="By component; default neutral. prefer: before the others (the sharing modes ignore it). "
        "never: only when an operator names it. Among equals the order of components decides.",
    )
    min_active: int = Field(
        0,
        ge=0,
        description="With fewer slots held by a live member the group is degraded: new risk is denied with REDUCING. "
        "0 is off. Higher stops more members for the loss of one.",
    )
    block_window_ms: int = Field(
        10_000,
        ge=0,
        le=86_400_000,
        description="After a slot moved, failback and health leave its new holder alone for this long. Higher is "
        "calmer, and leaves a sick holder for longer. A vacant slot never waits for it.",
    )
    promotion_backoff_ms: int = Field(
        1_000,
        ge=0,
        le=3_600_000,
        description="A member that was granted a slot and lost it before it was heard to act is passed over for this "
        "long, twice as long after each further time. 0 is off. Higher leaves a slot vacant for longer.",
    )
    promotion_backoff_max_ms: int = Field(
        8_000,
        ge=0,
        le=86_400_000,
        description="The longest such backoff. Higher spares a crashing member, and leaves a lone one's slot vacant.",
    )
    unready_failover_ms: int = Field(
        2_000,
        ge=0,
        le=3_600_000,
        description="A holder that has said for this long that it is not ready is drained to a ready member. 0 is off. "
        "Higher tolerates longer dips.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.components)) != len(self.components):
            raise ValueError("components lists a name twice: remove the repetition")
        if self.active is not None and self.active > len(self.components):
            raise ValueError(f"active is {self.active} but there are {len(self.components)} components: lower it")
        slots = len(plan_group("", self.mode, self.components, active=self.active, partitions=self.partitions).slots)
        if self.min_active > slots:
            raise ValueError(
                f"min_active is {self.min_active} but there are {slots} slots, so it never holds: lower it"
            )
        for name in self.preference:
            if name not in self.components:
                raise ValueError(
                    f"preference names {name!r}, which is not in components: add it there or remove it here"
                )
        if all(self.preference.get(each) == "never" for each in self.components):
            raise ValueError("preference says never for every component, so nobody could act: take it from one")
        return self

    def policy(self) -> Policy:
        """What restrains this group, as the core takes it."""
        return Policy(
            prefer=frozenset(each for each, said in self.preference.items() if said == "prefer"),
            never=frozenset(each for each, said in self.preference.items() if said == "never"),
            min_active=self.min_active,
            block_window_ns=self.block_window_ms * MS,
            backoff_ns=self.promotion_backoff_ms * MS,
            backoff_max_ns=max(self.promotion_backoff_ms, self.promotion_backoff_max_ms) * MS,
            unready_ns=self.unready_failover_ms * MS,
        )


class DetectionSettings(Section):
    """How silence is judged; see docs/detection.md. It ranks and warns: no lease ends earlier by any of it."""

    method: Literal["phi", "fixed"] = Field(
        "phi", description="phi learns each member's rhythm (phi accrual); fixed counts missed heartbeats."
    )
    phi_threshold: float = Field(
        8.0, ge=1.0, le=300.0, description="phi: suspected from here on. Higher waits longer and errs more rarely."
    )
    missed_max: int = Field(
        3, ge=1, le=1_000, description="fixed: suspected when more heartbeats than this are missing. Higher is slower."
    )
    window: int = Field(
        100, ge=2, le=10_000, description="phi: intervals remembered of each member. Higher adapts more slowly."
    )
    deviation_min_ms: int | None = Field(
        None,
        ge=1,
        le=60_000,
        description="phi: the least deviation that is believed. Higher is slower. Default: two fifths of heartbeat_ms.",
    )
    first_heartbeat_ms: int = Field(
        10_000,
        ge=100,
        le=3_600_000,
        description="A configured component that was not heard this long into a leader's term is reported as missing.",
    )
    learning_ms: int | None = Field(
        None,
        ge=1,
        le=600_000,
        description="After an outage of the arbiter, its journal or its broker, silence is not judged for this long. "
        "Higher is slower after one. Default: holder_wait_ms.",
    )
    canary_late_ms: int | None = Field(
        None,
        ge=10,
        le=600_000,
        description="An arbiter whose own heartbeat is older than this distrusts itself. Higher notices a slow broker "
        "later. Default: three heartbeats.",
    )
    correlated_min: int = Field(
        4, ge=2, le=100_000, description="Silence is called correlated only among at least this many living sidecars."
    )
    correlated_percent: int = Field(
        50, ge=1, le=100, description="More than this share falling silent within an interval is correlated; 100: off."
    )
    correlated_max_ms: int = Field(
        10_000,
        ge=0,
        le=3_600_000,
        description="How long it holds failovers back at most. Higher is slower when most hosts are really lost.",
    )
    observe_only_ms: int = Field(
        10_000,
        ge=100,
        le=3_600_000,
        description="A sidecar that no arbiter answered for this long says OBSERVE_ONLY. Its gate closed long before.",
    )

    def to_core(self) -> Detection:
        """The same in nanoseconds; 0 stands for a default that follows from the other times."""
        return Detection(
            method=self.method,
            phi_threshold=self.phi_threshold,
            missed_max=self.missed_max,
            window=self.window,
            deviation_min_ns=(self.deviation_min_ms or 0) * MS,
            first_heartbeat_ns=self.first_heartbeat_ms * MS,
            learning_ns=(self.learning_ms or 0) * MS,
            canary_late_ns=(self.canary_late_ms or 0) * MS,
            correlated_min=self.correlated_min,
            correlated_percent=self.correlated_percent,
            correlated_max_ns=self.correlated_max_ms * MS,
        )


class HealthSettings(Section):
    """Slow health: reports, not heartbeats."""

    report_interval_ms: int = Field(
        5_000, ge=100, le=3_600_000, description="Between persistent health reports. Lower costs history."
    )


class ComponentSettings(Section):
    """The one component beside which this sidecar stands."""

    name: Name = Field(description="The component's name, as in its group.")
    socket: str = Field("", description="Unix socket of the local interface. Default: run_dir/NAME.sock.")
    gate: str = Field("", description="File of the gate page. Default: /dev/shm/sidecar-NAME.gate.")
    state_dir: str = Field("", description="Where latched halts are kept. Default: run_dir/NAME.state.")
    stop_grace_ms: int = Field(
        2_000, ge=0, le=600_000, description="Between SIGTERM and SIGKILL for a child component."
    )


class ArbiterSettings(Section):
    """One arbiter."""

    id: Name = Field("arbiter-1", description="Unique among the arbiters.")
    failovers_per_hour_max: int = Field(
        30,
        ge=0,
        le=1_000_000,
        description="The brake: after so many automatic failovers within an hour, of all groups together, vacant slots "
        "wait for their last holder, an operator's failover or the hour to pass. 0 is off. Higher lets a fault spread "
        "for longer.",
    )


class ReconcilerSettings(Section):
    """The reconciliation process."""

    id: Name = Field("reconciler-1", description="Unique among the reconcilers.")
    query_timeout_ms: int = Field(2_000, ge=10, description="Give up one venue query; it then counts as no answer.")


class OrderSettings(Section):
    """Deadlines of the commit protocol."""

    precommit_timeout_ms: int = Field(
        1_000, ge=10, le=60_000, description="A sidecar gives up waiting for a grant; the order must then not be sent."
    )
    report_deadline_ms: int = Field(
        5_000, ge=100, le=600_000, description="A granted order without a report is UNKNOWN after this."
    )
    evidence_deadline_ms: int = Field(
        10_000, ge=100, le=3_600_000, description="A committed order without evidence is asked about after this."
    )
    query_interval_ms: int = Field(
        2_000, ge=100, le=600_000, description="Between queries for the same order. Lower loads the venue."
    )
    in_flight_max: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="Orders of one component awaiting a grant at once. Higher lets it flood us.",
    )
    unrecorded_max: int = Field(
        10_000, ge=1, le=1_000_000, description="Reports kept until they are journaled. Higher costs about 1 KB each."
    )


class VenueSettings(Section):
    """A venue the reconciler can ask."""

    adapter: Literal["simulated"] = Field("simulated", description="How to talk to it.")
    address: str = Field(description="host:port of the simulated venue's socket.")


class SecuritySettings(Section):
    """Who may do what. The broker verifies user names."""

    operators: tuple[str, ...] = Field((), description="Broker users that may resume and fail over. Empty: nobody may.")
    arbiters: tuple[str, ...] = Field((), description="Broker users that may grant leases. Empty: any verified user.")


class TelemetrySettings(Section):
    """Logs, metrics and the health endpoint of each process."""

    log_format: Literal["json", "console"] = Field("json", description="json for machines, console for people.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lower prints more.")
    host: str = Field("127.0.0.1", description="Address of the HTTP endpoint with /health and /metrics.")
    port: int | None = Field(
        None, ge=0, le=65535, description="Its port; 0 takes a free one and logs it; unset serves none on TCP."
    )


class Settings(Section):
    """The whole configuration file. One file serves every process; each reads its own sections."""

    broker: BrokerSettings = Field(default_factory=lambda: BrokerSettings())
    timing: TimingSettings = Field(default_factory=lambda: TimingSettings())
    groups: dict[Name, GroupSettings] = Field(default_factory=dict, description="Failover groups by name.")
    detection: DetectionSettings = Field(default_factory=lambda: DetectionSettings())
    health: HealthSettings = Field(default_factory=lambda: HealthSettings())
    component: ComponentSettings | None = None
    arbiter: ArbiterSettings = Field(default_factory=lambda: ArbiterSettings())
    reconciler: ReconcilerSettings = Field(default_factory=lambda: ReconcilerSettings())
    orders: OrderSettings = Field(default_factory=lambda: OrderSettings())
    venues: dict[Name, VenueSettings] = Field(default_factory=dict)
    security: SecuritySettings = Field(default_factory=lambda: SecuritySettings())
    telemetry: TelemetrySettings = Field(default_factory=lambda: TelemetrySettings())
    run_dir: str = Field("/tmp/trading-sidecar", description="Sockets and state of this host's sidecars.")

    @model_validator(mode="after")
    def _one_group_each(self) -> Self:
        seen: dict[str, str] = {}
        for group, settings in self.groups.items():
            for component in settings.components:
                if component in seen:
                    raise ValueError(
                        f"component {component!r} is in groups {seen[component]!r} and {group!r}: leave it in one"
                    )
                seen[component] = group
        return self

    def plans(self) -> tuple[GroupPlan, ...]:
        """All groups as the core takes them, by name."""
        return tuple(
            plan_group(
                name,
                each.mode,
                each.components,
                active=each.active,
                partitions=each.partitions,
                failback_ns=each.failback_delay_ms * MS if each.failback == "delayed" else None,
                policy=each.policy(),
            )
            for name, each in sorted(self.groups.items())
        )

    def group_of(self, component: str) -> str:
        """The group of a component; empty when it is in none."""
        for name, each in self.groups.items():
            if component in each.components:
                return name
        return ""


Json = dict[str, Any]
