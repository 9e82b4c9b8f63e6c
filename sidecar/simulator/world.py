"""One simulated run: the real cores, a broker, faults drawn from a seed, and a referee.

Owns the putting together, the run's two phases (break things; heal, and require what must hold) and its account. The
same scenario and seed are the same run, to the byte of the journal.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sidecar.core.arbiter import Rules
from sidecar.core.checkpoints import SnapshotRule
from sidecar.core.declared import plan_declared
from sidecar.core.groups import GroupPlan
from sidecar.core.halts import LiftRule
from sidecar.core.ladder import ControlMemory
from sidecar.core.leadership import CAMPAIGN_PROBES
from sidecar.core.sidecar import Sidecar
from sidecar.core.suspicion import Detection
from sidecar.core.timing import Timing
from sidecar.core.waits import Deadlines
from sidecar.messages.base import Message
from sidecar.messages.control import CommandResult
from sidecar.messages.groups import GroupDeclaration, RegisterGroup, RemoveGroup
from sidecar.messages.journal import (
    BreakOpened,
    EvidenceSeen,
    HaltLifted,
    HaltRaised,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderReported,
    Record,
    SlotGranted,
    Ticked,
)
from sidecar.simulator.arbiter_host import ArbiterHost
from sidecar.simulator.broker import TAIL_NS, Broker
from sidecar.simulator.clocks import Agenda, HostClock, S
from sidecar.simulator.errands import Claimer, Errands
from sidecar.simulator.faults import Faults
from sidecar.simulator.invariants import Referee
from sidecar.simulator.ledger import Ledger
from sidecar.simulator.operators import OPERATOR, OPERATORS
from sidecar.simulator.sidecar_host import SidecarHost
from sidecar.simulator.trader import Trader
from sidecar.simulator.venue import Venue

START_FAILS = 0.15
"""Of so many starts of a cold standby the action fails."""
SLOWEST_START_NS = 6 * S
"""Longer than the limit of a fleet that wants to see starts time out."""
ENLIST_NS = 2 * S
"""Between an operator's registrations of a group; the same one again changes nothing."""
REMOVALS = 0.5
"""In so many of them a removal is tried as well, before or after: the two overtake each other."""
QUIET_NS = 3 * S
"""Every run starts with this much peace, so that there is something to break."""
ANSWERED_NS = 5 * S
"""What was delivered to an arbiter in the peace after the healing is answered so soon."""
DEADLINES = Deadlines(report_ns=3 * S, evidence_ns=4 * S, query_ns=1 * S, review_ns=6 * S)
"""Shorter than the defaults, so that a run sees many of them pass; longer than a lease and an order's way."""
SNAPSHOTS = SnapshotRule(records=50, interval_ns=10 * S)
"""So often that an arbiter which starts again mostly finds one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated. `believed` is the timing the arbiters use; another than `timing` is a mutation.

    `failovers_per_hour_max` is the global brake; 0 is none. Groups in `registered` are in nobody's configuration: an
    operator registers them, and during the faults tries time and again to remove them, and registers them anew.
    `orders_per_minute` is each component's, while it holds a slot, `errands_per_minute` what it wants done once.
    `resume_operators` must ask before a halt is lifted.
    """

    plans: tuple[GroupPlan, ...]
    registered: tuple[GroupDeclaration, ...] = ()
    arbiters: int = 2
    timing: Timing = field(default_factory=Timing)
    detection: Detection = field(default_factory=Detection)
    failovers_per_hour_max: int = 0
    believed: Timing | None = None
    seconds: int = 60
    faults_per_minute: int = 12
    halts_per_minute: int = 2
    orders_per_minute: int = 0
    errands_per_minute: int = 0
    resume_operators: int = 1
    loss: float = 0.02

    @property
    def all_plans(self) -> tuple[GroupPlan, ...]:
        """Configured and registered ones."""
        return (*self.plans, *map(plan_declared, self.registered))

    @property
    def heal_ns(self) -> int:
        """The bound: how long after the last fault every slot must be held.

        A campaign that is given up, a probe and a new campaign; the takeover's wait, once more if the first new leader
        had to distrust itself; a few heartbeats; the longest delays of two messages; and the longest backoff.
        """
        timing = self.timing
        backoff_ns = max(each.policy.backoff_max_ns if each.policy.backoff_ns else 0 for each in self.all_plans)
        enlisting_ns = ENLIST_NS + 2 * TAIL_NS if self.registered else 0
        leading_ns = (CAMPAIGN_PROBES + 2) * timing.probe_ns + enlisting_ns
        return leading_ns + 2 * timing.takeover_wait_ns() + 4 * timing.heartbeat_ns + 2 * TAIL_NS + backoff_ns

    @property
    def settle_ns(self) -> int:
        """How long after the healing every order must have ended: a new leader counts all deadlines afresh.

        A deadline, then the questions that it takes to prove that an order is absent, and one that gets lost.
        """
        waits_ns = max(DEADLINES.report_ns, DEADLINES.evidence_ns) + 4 * DEADLINES.query_ns
        return waits_ns if self.orders_per_minute else 0

    @property
    def length_ns(self) -> int:
        """The run's length: `seconds`, or as long as peace, healing and a while of faults between them need."""
        return max(self.seconds * S, QUIET_NS + 2 * self.heal_ns) + self.settle_ns


class World:
    """The wires, the hosts and the dice of one run. With `traced` its `timeline` tells what happened."""

    def __init__(self, scenario: Scenario, seed: int, *, traced: bool = False) -> None:
        self.scenario = scenario
        self.agenda = Agenda()
        self.failovers: Counter[str] = Counter()
        self.timeline: list[tuple[int, str]] = []
        self._traced = traced
        self._holders: dict[str, tuple[str, str]] = {}
        self._automatic: set[str] = set()
        self._dice = random.Random(seed)
        self._groups = {member: plan.name for plan in scenario.all_plans for member in plan.members}
        self.referee = self._referee(seed)
        self.broker = Broker(self.agenda, self._dice, scenario.loss, self._stored, self._told)
        self.ledger = Ledger(self.broker.truth, self._groups.__getitem__, self.referee.violated)
        self.errands = Errands(self.referee.violated)
        self.venue = Venue(self.agenda, self._dice, self.ledger, self.broker.put)
        self.sidecars = {member: self._sidecar(member, plan) for plan in scenario.all_plans for member in plan.members}
        self.arbiters = {f"arbiter-{n + 1}": self._arbiter(f"arbiter-{n + 1}") for n in range(scenario.arbiters)}
        self.broker.sidecars, self.broker.arbiters = self.sidecars, self.arbiters
        latches = self.referee.latches
        self.faults = Faults(self.agenda, self._dice, self.broker, scenario.timing, latches, self._groups, self.say)

    def run(self) -> None:
        """Start everything, break things, heal, and require what must hold."""
        for arbiter in self.arbiters.values():
            self.broker.consumers.append(arbiter.name)
            arbiter.tick()
        for sidecar in self.sidecars.values():
            sidecar.beat(self.scenario.timing.heartbeat_ns)
            self.agenda.after(self._dice.randrange(S), sidecar.come_up)
        end_ns, bound_ns = self.scenario.length_ns - self.scenario.settle_ns, self.scenario.heal_ns
        for group in self.scenario.registered:
            self._enlist(group, end_ns - bound_ns)
        self.faults.schedule(self.scenario.faults_per_minute * end_ns // (60 * S), QUIET_NS, end_ns - bound_ns)
        halts = self.scenario.halts_per_minute * end_ns // (60 * S)
        self.faults.operators.schedule(halts, QUIET_NS, end_ns - bound_ns)
        for trader in self._traders():
            trader.trade_until(end_ns - bound_ns)
        for claimer in self._claimers():
            claimer.work_until(end_ns - bound_ns)
        self.agenda.run_until(end_ns - bound_ns)
        self.say("healed all faults end here")
        self.faults.heal()
        self.agenda.run_until(end_ns)
        for plan in self.scenario.all_plans:
            for slot in plan.slots if plan.ranked and not self._braked else ():
                self.referee.healed(slot, self.agenda.now_ns, bound_ns)
        for message in self.broker.unsettled(end_ns - ANSWERED_NS):
            self.referee.violated(end_ns, "every question answered", f"nobody settled {message}")
        self.agenda.run_until(end_ns + self.scenario.settle_ns)
        self.ledger.ended(self.agenda.now_ns, bound_ns + self.scenario.settle_ns, self.venue.exchange)

    def say(self, text: str) -> None:
        """One line for the timeline."""
        if self._traced:
            self.timeline.append((self.agenda.now_ns, text))

    # --- inside ---

    def _enlist(self, group: GroupDeclaration, faults_end_ns: int) -> None:
        """The operator registers a group again and again, and until the healing also tries to remove it."""
        if self.agenda.now_ns < faults_end_ns and self._dice.random() < REMOVALS:
            removal = RemoveGroup(request_id="r", group=group.name, actor=OPERATOR, reason="a drill")
            self.broker.put(removal, OPERATOR)
        self.broker.put(RegisterGroup(request_id="r", group=group, actor=OPERATOR, reason="a drill"), OPERATOR)
        self.agenda.after(ENLIST_NS, self._enlist, group, faults_end_ns)

    def _stored(self, record: Record) -> None:
        fact = record.fact
        match fact:
            case Ticked():
                return
            case OrderPrecommitted() | OrderReported() | OrderNeverSent() | OrderLost() | EvidenceSeen():
                self.ledger.stored(fact, self.agenda.now_ns)
            case BreakOpened():
                self.ledger.stored(fact, self.agenda.now_ns)
            case SlotGranted():
                self.referee.granted(fact.slot, fact.incarnation, fact.token, self.agenda.now_ns)
                self._granted(fact)
            case HaltRaised():
                self.referee.latches.raised(fact.halt, self.agenda.now_ns)
            case HaltLifted():
                self.referee.latches.lifted(fact.halt_id, self.agenda.now_ns)
            case _:
                pass
        if self._traced:
            self.say(f"log    {record.term}.{record.n} by {record.arbiter}: {fact}")

    def _told(self, message: Message) -> None:
        """An operator is told that a halt was accepted."""
        if isinstance(message, CommandResult) and message.ok and message.code == "HALT":
            self.referee.latches.accepted(message.request_id, self.agenda.now_ns)

    def _granted(self, fact: SlotGranted) -> None:
        """Count a failover, and require that there was reason for it and room under the brake.

        As the brake does, it counts holders that were succeeded by another component without anybody asking.
        """
        before = self._holders.get(fact.slot)
        self._holders[fact.slot] = (fact.component, fact.incarnation)
        if fact.cause != "vacant":
            self.failovers[cause_kind(fact.cause)] += 1
            if not self.faults.happened and not self.scenario.loss:
                self.referee.moved_in_peace(fact.slot, fact.cause, self.agenda.now_ns)
        if before is not None and before[0] != fact.component and not fact.actor:
            braked = self._braked and before[1] not in self._automatic
            self._automatic.add(before[1])
            if braked:
                self.referee.over_the_limit(fact.slot, len(self._automatic), self.agenda.now_ns)

    @property
    def _braked(self) -> bool:
        """Whether the brake is on: no run is as long as its hour, so nothing is forgotten."""
        most = self.scenario.failovers_per_hour_max
        return bool(most) and len(self._automatic) >= most

    def _referee(self, seed: int) -> Referee:
        timing = self.scenario.timing
        return Referee(
            seed,
            self._groups,
            frozenset(OPERATORS),
            effect_ns=timing.effect_ns,
            lease_ns=-int(-timing.holder_stops_by_ns()) + 1 - timing.effect_ns,
            resumers=self.scenario.resume_operators,
            leader_lease_ns=-int(-timing.leader_stops_by_ns()) + 1,
            say=self.say if self._traced else None,
        )

    def _sidecar(self, member: str, plan: GroupPlan) -> SidecarHost:
        group = plan.name if plan in self.scenario.plans else ""
        core = Sidecar(member, group, self.scenario.timing, ControlMemory())
        start_takes = self._start_takes if member in plan.policy.cold else None
        return SidecarHost(core, self.agenda, self._clock(), self.broker, self.referee, start_takes)

    def _traders(self) -> Iterator[Trader]:
        """One for each component, when orders are simulated, and the venue that they share."""
        rate = self.scenario.orders_per_minute
        venue = self.venue
        self.broker.on_wanted = venue.wanted
        for host in self.sidecars.values() if rate else ():
            yield Trader(
                host,
                self._dice,
                venue,
                self.ledger,
                self.broker.put,
                effect_ns=self.scenario.timing.effect_ns,
                interval_ns=60 * S // rate,
            )

    def _claimers(self) -> Iterator[Claimer]:
        """One for each component, when errands are simulated."""
        rate = self.scenario.errands_per_minute
        for host in self.sidecars.values() if rate else ():
            yield Claimer(host, self._dice, self.errands, self.broker.put, 60 * S // rate)

    def _start_takes(self) -> int | None:
        """How long a cold standby's start takes this time, also longer than its limit; None: it fails."""
        if self._dice.random() < START_FAILS:
            return None
        return self._dice.randrange(SLOWEST_START_NS)

    def _arbiter(self, name: str) -> ArbiterHost:
        rules = Rules(
            name=name,
            plans=self.scenario.plans,
            timing=self.scenario.believed or self.scenario.timing,
            deadlines=DEADLINES,
            operators=frozenset(OPERATORS),
            failovers_per_hour_max=self.scenario.failovers_per_hour_max,
            detection=self.scenario.detection,
            snapshots=SNAPSHOTS,
            lifting=LiftRule(operators=self.scenario.resume_operators),
        )
        return ArbiterHost(rules, self.agenda, self._clock(), self.broker, self.referee)

    def _clock(self) -> HostClock:
        """At one end of the bound on the rate error, half of the time, where mistakes show; else anywhere within."""
        bound = self.scenario.timing.clock_error_ppm
        error_ppm = self._dice.choice(
            (-bound, bound, self._dice.randint(-bound, bound), self._dice.randint(-bound, bound))
        )
        return HostClock(self._dice.randrange(10**15), error_ppm)


def cause_kind(cause: str) -> str:
    """The kind of a failover's cause: released, silence, or asked for."""
    kind = cause.partition(":")[0]
    return kind if kind in ("released", "silence") else "asked for"


def without_faults(scenario: Scenario) -> Scenario:
    """The same, on a good day."""
    return replace(scenario, faults_per_minute=0, halts_per_minute=0, loss=0.0)
