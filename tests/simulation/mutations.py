"""Rules of DESIGN sections 6 and 7, each with a way to break it, for the simulator to catch.

A rule is broken by replacing one method or one time of the arbiters' belief, never by touching the simulator.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import pytest

from sidecar.core import slots
from sidecar.core.arbiter import Arbiter
from sidecar.core.groups import Mode, plan_group
from sidecar.core.leadership import Desk
from sidecar.core.log import InvariantBroken, Verdict, judge
from sidecar.core.outputs import Now, Origin, Output
from sidecar.core.roster import Member
from sidecar.core.sidecar import Sidecar, WritePage
from sidecar.core.slots import Slots
from sidecar.core.state import State
from sidecar.core.timing import MS, Timing
from sidecar.messages.base import Message, Token
from sidecar.messages.control import Probe
from sidecar.messages.groups import GroupDeclaration
from sidecar.messages.health import Heartbeat, Lease
from sidecar.messages.journal import GroupRemoved, Record
from sidecar.simulator.clocks import S
from sidecar.simulator.operators import OPERATOR
from sidecar.simulator.world import Scenario, World

PAIR = Scenario(plans=(plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b")),), halts_per_minute=4)
ERRING = replace(PAIR, timing=replace(Timing(), clock_error_ppm=50_000))
"""Hosts whose clocks err by 5 %, for which the default times are just enough."""
BUSY = replace(PAIR, faults_per_minute=40, loss=0.1)
ERRING_BUSY = replace(ERRING, faults_per_minute=40)
QUIET = replace(PAIR, faults_per_minute=0, halts_per_minute=0)
ENDLESS = replace(QUIET, believed=replace(Timing(), leader_lease_ns=10**15))
REGISTERED = replace(
    QUIET, plans=(), registered=(GroupDeclaration(name="quotes", components=("q1", "q2"), promotion_backoff_ms=0),)
)
"""A group that is removed and registered again whenever nobody holds its slot."""
Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A broken rule: which promise falls, and the seed whose run shows it."""

    name: str
    rule: str
    seed: int
    patch: Patch = lambda patch: None
    scenario: Scenario = PAIR
    faults: Callable[[World], None] = lambda world: None

    def run(self, seed: int) -> World:
        """One run with the rule broken, which must be undone by whoever gave `patch`."""
        world = World(self.scenario, seed)
        self.faults(world)
        world.run()
        return world

    def broken(self, seed: int) -> set[str]:
        """The promises that fall in that run; a core that stops itself (`InvariantBroken`) is caught as such."""
        try:
            return {each.rule for each in self.run(seed).referee.violations}
        except InvariantBroken:
            return {"the core stops itself"}


def believing(scenario: Scenario = PAIR, **times: int) -> Scenario:
    """Arbiters that run on other times than the holders."""
    return replace(scenario, believed=replace(scenario.timing, **times))


def from_receipt(patch: pytest.MonkeyPatch) -> None:
    """The lease is counted from the answer's arrival."""
    original = Sidecar.on_lease

    def on_lease(self: Sidecar, lease: Lease, now_ns: int) -> list[Any]:
        outputs = original(self, lease, now_ns)
        if outputs and self.slots:
            self.deadline_ns = now_ns + self._timing.holder_lease_ns
            outputs = [self._page(now_ns), *outputs[1:]]
        return outputs

    patch.setattr(Sidecar, "on_lease", on_lease)


def before_read_back(patch: pytest.MonkeyPatch) -> None:
    """Outputs leave with the append."""

    def finish(self: Desk) -> list[Output]:
        outputs, self._appends, self._pending = [*self._appends, *self._pending], [], []
        return outputs

    patch.setattr(Desk, "finish", finish)


def unrecorded_grants(patch: pytest.MonkeyPatch) -> None:
    """Renewals are sent without being recorded."""
    original = Slots._lease

    def lease(self: Slots, member: Member, now: Now, **named: Any) -> None:
        before = dict(self._granted_ns)
        original(self, member, now, **named)
        for slot, at_ns in before.items():
            self._granted_ns[slot] = at_ns

    patch.setattr(Slots, "_lease", lease)


def same_token(patch: pytest.MonkeyPatch) -> None:
    """Every holder gets the same token."""
    patch.setattr(slots, "Token", lambda term, epoch: Token(1, 1))


def own_log_only(patch: pytest.MonkeyPatch) -> None:
    """A leader does not let a higher term depose it."""
    original = Desk._read_leading

    def read(self: Desk, record: Any, now: Now, body: bytes | None) -> list[Output]:
        if record.arbiter != self.author:
            return []
        at = self.log_state.position
        self.log_state.position = msgspec.structs.replace(
            at, term=self.term, author=self.author, n=min(at.n, record.n - 1)
        )
        return original(self, record, now, body)

    patch.setattr(Desk, "_read_leading", read)


def lower_tokens_accepted(patch: pytest.MonkeyPatch) -> None:
    """A sidecar accepts any lease that answers a heartbeat: of a lower term, with a lower token, or given back."""
    original = Sidecar.on_lease

    def on_lease(self: Sidecar, lease: Lease, now_ns: int) -> list[Any]:
        self._term, self._leased_seq, self._leased_n = 0, 0, 0
        return original(self, lease, now_ns)

    patch.setattr(Sidecar, "on_lease", on_lease)
    patch.setattr(Sidecar, "_acceptable", lambda self, held: True)
    patch.setattr(Sidecar, "_was_given_back", lambda self, held: False)


def given_back_accepted(patch: pytest.MonkeyPatch) -> None:
    """A sidecar takes back under the same token what it has released."""
    original = Sidecar.on_lease

    def on_lease(self: Sidecar, lease: Lease, now_ns: int) -> list[Any]:
        self._leased_n = 0
        return original(self, lease, now_ns)

    patch.setattr(Sidecar, "on_lease", on_lease)
    patch.setattr(Sidecar, "_was_given_back", lambda self, held: False)


def names_only(patch: pytest.MonkeyPatch) -> None:
    """Leases bind to names: what was granted to one run of a component, the next run takes up."""
    attach, on_lease, renewable = Sidecar.attach, Sidecar.on_lease, Slots._renewable

    def renewed(self: Slots, heartbeat: Heartbeat, now: Now) -> Any:
        for holder in self._desk.state.holders.values():
            if holder.component == heartbeat.component:
                heartbeat = msgspec.structs.replace(heartbeat, incarnation=holder.incarnation)
        return renewable(self, heartbeat, now)

    def attached(self: Sidecar, incarnation: str, now_ns: int) -> list[Any]:
        sent = list(self._sent)
        outputs = attach(self, incarnation, now_ns)
        self._sent.extend(sent)
        return outputs

    def leased(self: Sidecar, lease: Lease, now_ns: int) -> list[Any]:
        return on_lease(self, msgspec.structs.replace(lease, incarnation=self.incarnation), now_ns)

    patch.setattr(Slots, "_renewable", renewed)
    patch.setattr(Sidecar, "attach", attached)
    patch.setattr(Sidecar, "on_lease", leased)
    patch.setattr(Sidecar, "_was_given_back", lambda self, held: False)


def consumer_leads(patch: pytest.MonkeyPatch) -> None:
    """The single active consumer is trusted: whoever reads the queue leads, without having won the log."""
    original = Arbiter.on_queue

    def on_queue(self: Arbiter, message: Message, origin: Origin, now: Now) -> list[Output]:
        outputs = original(self, message, origin, now)
        if self.desk._in_flight and not self.leading:
            self.desk._win(now)
            self.desk.state.apply(self.desk._in_flight[0].record)
            self.desk._may_grant_until_ns = now.boot_ns + self.rules.timing.leader_lease_ns
            outputs = [*outputs, *self._begin_term(now)]
        return outputs

    def finish(self: Desk) -> list[Output]:
        outputs, self._appends, self._pending = [*self._appends, *self._pending], [], []
        return outputs

    patch.setattr(Arbiter, "on_queue", on_queue)
    patch.setattr(Desk, "finish", finish)


def drain_forgotten(patch: pytest.MonkeyPatch) -> None:
    """An operator's failover moves the slot without waiting until its holder has closed."""
    original = Slots._drain

    def drain(self: Slots, slot: str, *, now: Now, **rest: Any) -> None:
        original(self, slot, now=now, **rest)
        self._vacate(slot, self._desk.state.holders[slot], "drained", now)

    patch.setattr(Slots, "_drain", drain)


def release_first(patch: pytest.MonkeyPatch) -> None:
    """A dying component's slots are given back before its page is closed."""
    original = Sidecar.detach
    patch.setattr(Sidecar, "detach", lambda self, reason, now_ns: original(self, reason, now_ns)[::-1])


def lower_terms_count(patch: pytest.MonkeyPatch) -> None:
    """A record counts although a higher term stands before it, for every reader."""
    original = State.apply

    def apply(self: State, record: Record, body: bytes | None = None) -> Any:
        if record.term < self.position.term:
            self.position = msgspec.structs.replace(
                self.position, term=record.term, author=record.arbiter, n=record.n - 1
            )
        return original(self, record, body)

    patch.setattr(State, "apply", apply)


def repetitions_count(patch: pytest.MonkeyPatch) -> None:
    """A record that is appended again after a lost confirm is folded again."""
    original = State.apply

    def apply(self: State, record: Record, body: bytes | None = None) -> Any:
        at = self.position
        if judge(at, record) is not Verdict.DUPLICATE:
            return original(self, record, body)
        self.position = msgspec.structs.replace(at, n=record.n - 1)
        verdict = original(self, record, body)
        self.position = msgspec.structs.replace(self.position, n=at.n)
        return verdict

    patch.setattr(State, "apply", apply)


def switchovers(world: World) -> None:
    """An operator's failover every three seconds on top of all else."""
    for at_s in range(4, 45, 3):
        world.agenda.after(at_s * S, world.faults.happen, "switchover")


def deserted(world: World) -> None:
    """Time and again all components are gone for a while, so that their group can be removed."""
    for at_s in range(5, 45, 5):
        for each in world.sidecars.values():
            world.agenda.after(at_s * S, each.run, each.detach)
            world.agenda.after(at_s * S + 2_500 * MS, each.run, each.attach)


def slow_deaths(world: World) -> None:
    """Time and again the holder's component dies, and its sidecar is stopped when it comes to write the page."""
    for at_s in (8, 18, 28):
        world.agenda.after(at_s * S, _die_slowly, world)


def _die_slowly(world: World) -> None:
    for sidecar in world.sidecars.values():
        if sidecar.core.holding(sidecar.local_ns):
            sidecar.trip = (WritePage, partial(world.faults.stop, sidecar, 3 * S, "pause"))
            sidecar.trip_after = False
            sidecar.run(sidecar.detach)
            world.agenda.after(4 * S, sidecar.run, sidecar.attach)


def cornered(world: World) -> None:
    """Time and again the leader stops reading the journal while it goes on answering, and another is nominated that
    does not hear the holder: what the leader's own lease is for.

    It reads on, its own tick first, which lets out what it has answered meanwhile, a moment before the slot moves. That
    its own canary is lost keeps it from judging who hears it.
    """
    for at_s in (8, 18, 28):
        world.agenda.after(at_s * S, lambda: _corner(world))


def _corner(world: World) -> None:
    leader = world.broker.consumers[0]
    successor = next(each for each in world.arbiters if each != leader)
    for sidecar in world.sidecars.values():
        if sidecar.core.holding(sidecar.local_ns):
            world.faults.deafen(sidecar.name, successor, 9 * S)
    world.faults.deafen(leader, leader, 6 * S)
    world.agenda.after(2 * S, world.broker._reading.add, leader)  # By then the successor has forgotten the holder.
    world.agenda.after(2_200 * MS, _hand_over, world, leader)  # After a tick of the leader's.
    world.agenda.after(4_900 * MS, world.broker._deliver_records, world.arbiters[leader])


def _hand_over(world: World, leader: str) -> None:
    world.broker.move_last(leader)
    world.broker.put(Probe(arbiter=""), OPERATOR)


def removal_forgets_tokens(patch: pytest.MonkeyPatch) -> None:
    """With a registered group the fold drops the epochs of its slots."""
    original = State.apply

    def apply(self: State, record: Record, body: bytes | None = None) -> Any:
        verdict = original(self, record, body)
        if isinstance(record.fact, GroupRemoved):
            for slot in [each for each in self.epochs if slots.group_name(each) == record.fact.group]:
                del self.epochs[slot]
        return verdict

    patch.setattr(State, "apply", apply)


MUTATIONS = (
    Mutation("the leader waits half a lease", "one holder", 3, scenario=believing(holder_wait_ns=700 * MS)),
    Mutation("the leader waits D instead of L", "one holder", 5, scenario=believing(holder_wait_ns=1_500 * MS)),
    Mutation("the clock error is ignored", "one holder", 7, scenario=believing(ERRING, holder_wait_ns=1_800 * MS)),
    Mutation("a new leader does not wait", "one holder", 7, scenario=believing(leader_wait_ns=-2_000 * MS)),
    Mutation("the leader's lease never ends", "one holder", 0, scenario=ENDLESS, faults=cornered),
    Mutation("the lease counts from receipt", "one holder", 4, from_receipt, ERRING_BUSY),
    Mutation("answers leave before read-back", "in the journal", 1, before_read_back),
    Mutation("renewals are not recorded", "one holder", 0, unrecorded_grants),
    Mutation("the drain is forgotten", "one holder", 3, drain_forgotten),
    Mutation("the release comes before the closing", "one holder", 0, release_first, QUIET, slow_deaths),
    Mutation("leases bind to names", "in the journal", 3, names_only, BUSY),
    Mutation("lower tokens are accepted", "one holder", 2, lower_tokens_accepted, BUSY, switchovers),
    Mutation("a token that was given back is accepted", "one holder", 2, given_back_accepted, BUSY, switchovers),
    Mutation("all holders share a token", "tokens rise", 3, same_token),
    Mutation("a removed group's tokens begin again", "tokens rise", 1, removal_forgets_tokens, REGISTERED, deserted),
    Mutation("the active consumer is trusted", "in the journal", 1, consumer_leads),
    Mutation("a higher term deposes nobody", "in the journal", 7, own_log_only),
    Mutation("records of a lower term count", "tokens rise", 21, lower_terms_count, BUSY, switchovers),
    Mutation("a repeated append counts again", "tokens rise", 73, repetitions_count, BUSY, switchovers),
)
