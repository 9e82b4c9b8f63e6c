"""Every setting of every process: what it does, its unit, its default and what raising it costs.

Owns the shape of the configuration file and its cross-checks; `load.py` reads files and the environment into it.
It must not open anything. Times are integer milliseconds here and nanoseconds in the core.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from sidecar.config.groups import GroupSettings
from sidecar.config.health_rules import AGE_FILES_MAX, AGE_PATTERN, RULES_MAX, HealthRuleSettings
from sidecar.config.limits import SCOPES_MAX, LimitSettings, Scope
from sidecar.config.local_tcp import LocalTcpSettings
from sidecar.config.measures import MeasuresSettings
from sidecar.config.probes import PROBES_MAX, ProbeSettings
from sidecar.config.section import Name, Section
from sidecar.config.security import SecuritySettings
from sidecar.config.venues import ReconcilerSettings, VenueSettings
from sidecar.core.declared import plan_declared
from sidecar.core.groups import GroupPlan
from sidecar.core.suspicion import Detection
from sidecar.core.timing import MS, Timing


def _amqp(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("amqp://", "amqps://")):
        raise ValueError("the URL must begin with amqp:// or amqps://, for example amqp://user:password@host:5672/")
    return url


def _http(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("the URL must begin with http:// or https://, for example http://user:password@host:15672")
    return url


class TlsSettings(Section):
    """The way to the broker, encrypted: for URLs that begin with amqps://."""

    ca_file: str = Field(
        "", description="PEM file of the authorities that sign the broker's certificates. Empty: the system's own."
    )
    cert_file: str = Field("", description="PEM file of our certificate, for a broker that asks for one.")
    key_file: str = Field("", description="PEM file of its private key, without a passphrase; only we may read it.")
    log_in: bool = Field(
        False,
        description="Log in with the certificate and no password (SASL EXTERNAL; RabbitMQ needs the plugin "
        "rabbitmq_auth_mechanism_ssl). The URLs still name the user, which must be the certificate's.",
    )


class BrokerSettings(Section):
    """Where RabbitMQ is and how long we wait for it."""

    urls: tuple[Annotated[SecretStr, AfterValidator(_amqp)], ...] = Field(
        (SecretStr("amqp://guest:guest@127.0.0.1:5672/"),),
        min_length=1,
        max_length=16,
        description="AMQP URLs of the cluster's nodes, tried in turn, in an order by chance. Never printed.",
    )
    password: SecretStr | None = Field(
        None,
        description="The password of the user in `urls`, so that they need none. For the variable; a file that others "
        "may read is no place for it. Never printed.",
    )
    password_file: str = Field(
        "", description="A file that holds the password, for secrets that are mounted. Instead of password."
    )
    tls: TlsSettings = Field(default_factory=lambda: TlsSettings())
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
    strict: bool = Field(
        False,
        description="Examine the broker (`sidecar doctor`) before the start, and do not start on a critical finding; "
        "what the management API does not show is critical then.",
    )
    management_url: Annotated[SecretStr, AfterValidator(_http)] | None = Field(
        None,
        description="RabbitMQ's management API, with a user of tag monitoring. Unset: port 15672 (15671 with TLS) of "
        "the hosts in `urls`, with their user. Never printed.",
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
    collect_interval_ms: int = Field(
        5_000,
        ge=250,
        le=3_600_000,
        description="Between looks at the host, the component's processes and its files. Lower costs processor time: a "
        "look takes about 5 ms, in a thread of its own.",
    )
    disks: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        (),
        max_length=8,
        description="Directories whose file systems are watched for room, beside the one of run_dir.",
    )
    rules: dict[Name, HealthRuleSettings] = Field(
        {}, max_length=RULES_MAX, description="Rules on figures, beside the defaults of docs/health.md."
    )


class ComponentSettings(Section):
    """The one component beside which this sidecar stands."""

    name: Name = Field(description="The component's name, as in its group.")
    group_registered: bool = Field(
        False,
        description="Its group is registered at run time, so none here needs to name it: the arbiters say which. "
        "A misspelt component name is then noticed by the arbiters only.",
    )
    socket: str = Field("", description="Unix socket of the local interface. Default: run_dir/NAME.sock.")
    tcp: LocalTcpSettings | None = None
    state_bytes_max: int = Field(
        1024 * 1024,
        ge=1,
        le=64 * 1024 * 1024,
        description="The largest state that the component may hand over (PUT /v1/state). Higher costs memory, and disk "
        "at each change.",
    )
    gate: str = Field("", description="File of the gate page. Default: /dev/shm/sidecar-NAME.gate.")
    state_dir: str = Field("", description="Where latched halts are kept. Default: run_dir/NAME.state.")
    stop_grace_ms: int = Field(
        2_000, ge=0, le=600_000, description="Between SIGTERM and SIGKILL for a child component."
    )
    probes: dict[Name, ProbeSettings] = Field(
        {},
        max_length=PROBES_MAX,
        description="How the sidecar finds out by itself whether the component lives and is ready; see docs/health.md.",
    )
    age_files: dict[Annotated[str, StringConstraints(pattern=AGE_PATTERN)], str] = Field(
        {},
        max_length=AGE_FILES_MAX,
        description="Files whose last change gives an age, for example event_log_age_s = '/var/log/exec-a/events.log'. "
        "Names end in _age_s; where the component pushes the same figure, the older of the two counts.",
    )
    start: tuple[str, ...] = Field(
        (),
        max_length=64,
        description="How this sidecar starts its component when it is a cold standby: a program and its arguments, run "
        "as they stand and never by a shell. Nothing that comes over the network chooses or changes it. It may return, "
        "as systemctl start does, or stay as the component itself. None: it cannot be started.",
    )
    start_timeout_ms: int = Field(
        30_000,
        ge=100,
        le=3_600_000,
        description="From the start until the component is attached; then an action that still runs is stopped and the "
        "start has failed. Higher waits longer for one that hangs; the next cold standby waits with it.",
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
    snapshot_records: int = Field(
        10_000,
        ge=0,
        le=10_000_000,
        description="A snapshot of the folded state after so many journal records; an arbiter that starts replays at "
        "most about so many. 0 is never: each start reads the whole journal. Lower costs the leader more work, higher "
        "a start more time.",
    )
    snapshot_interval_s: int = Field(
        60,
        ge=1,
        le=86_400,
        description="At least so long between two snapshots, however fast the journal grows. Higher makes a start "
        "after a burst replay more; lower fills `sidecar.snapshots` sooner.",
    )


class ArchiveSettings(Section):
    """The journal's copy in SQL, written by `sidecar archive` and read by `sidecar audit`; see docs/audit.md."""

    url: SecretStr | None = Field(
        None,
        description="sqlite:///FILE or postgresql://USER@HOST/NAME. Never printed. One with a password belongs into "
        "the variable or url_file, not into this file. Default: archive.db in run_dir.",
    )
    url_file: str = Field("", description="A file that holds the URL, for secrets that are mounted. Instead of url.")
    in_arbiter: bool = Field(
        False, description="Let `sidecar arbiter` write it too. Several writers are safe and cost each a reader's work."
    )
    batch_rows: int = Field(
        500, ge=1, le=10_000, description="Entries in one transaction. Higher catches up faster and costs memory."
    )
    flush_ms: int = Field(
        200,
        ge=0,
        le=60_000,
        description="How long a batch waits for more entries. Higher costs the disk less and is further behind.",
    )
    backoff_max_ms: int = Field(
        10_000,
        ge=100,
        le=600_000,
        description="Longest pause between attempts while the database is away or full. Higher resumes later.",
    )
    behind_max_records: int = Field(
        10_000, ge=1, description="The archive is unhealthy while more records than this are not in it yet."
    )
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="Delete what is older, from the beginning. Higher keeps more. Unset: never."
    )

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if self.url is not None and self.url_file:
            raise ValueError("url and url_file are set, and both say where the archive is: remove one")
        return self


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
    review_interval_ms: int = Field(
        60_000,
        ge=1_000,
        le=86_400_000,
        description="An open order that all is known of is asked about this often, in case a stream hides its fills. "
        "Lower finds them sooner and loads the venue.",
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
    measures: MeasuresSettings = Field(default_factory=lambda: MeasuresSettings())
    component: ComponentSettings | None = None
    arbiter: ArbiterSettings = Field(default_factory=lambda: ArbiterSettings())
    reconciler: ReconcilerSettings = Field(default_factory=lambda: ReconcilerSettings())
    archive: ArchiveSettings = Field(default_factory=lambda: ArchiveSettings())
    orders: OrderSettings = Field(default_factory=lambda: OrderSettings())
    limits: dict[Scope, LimitSettings] = Field(
        default_factory=dict, max_length=SCOPES_MAX, description="Limits on orders by scope; see docs/limits.md."
    )
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

    @model_validator(mode="after")
    def _absence_is_of_what_arrived(self) -> Self:
        """An order may be on its way to the venue for A; being absent there before that says nothing."""
        least_ms = -(-self.timing.to_core().effect_wait_ns() // MS)
        for name in ("report_deadline_ms", "query_interval_ms"):
            asked_ms: int = getattr(self.orders, name)
            if asked_ms < least_ms:
                raise ValueError(
                    f"orders.{name} is {asked_ms}, and an order may be on its way to the venue for {least_ms} ms "
                    f"(timing.gate_to_effect_ms by the slowest clock): raise it to at least {least_ms}"
                )
        return self

    def plans(self) -> tuple[GroupPlan, ...]:
        """All groups as the core takes them, by name."""
        return tuple(plan_declared(each.declared(name)) for name, each in sorted(self.groups.items()))

    def group_of(self, component: str) -> str:
        """The group of a component; empty when it is in none."""
        for name, each in self.groups.items():
            if component in each.components:
                return name
        return ""


Json = dict[str, Any]
