"""Who holds which slot: the leader's side of the leases of DESIGN section 6.

Owns granting, renewing, vacating and draining. It must not know what a slot is for. One slot:

| state    | input                                             | next     | fact, then outputs                         |
|----------|---------------------------------------------------|----------|--------------------------------------------|
| vacant   | a member could act (after the settling time)      | held     | SlotGranted; Lease                         |
| held     | heartbeat of the holding incarnation              | held     | none (recorded in memory); Lease           |
| held     | Released with the holder's token                  | vacant   | SlotVacated                                |
| held     | silence: L after the last recorded grant          | vacant   | SlotVacated                                |
| held     | operator's failover, or failback or health is due | draining | SlotDraining; Lease without the slot       |
| draining | Released, or L after the last recorded grant      | vacant   | SlotVacated                                |

A holder that hears none of our answers (`hearing.py`) is not renewed, and so is silent in this table's sense.

A release names its holder's token, which is never used again: acting on it late, as a new leader may, harms nobody.
A new leader knows no earlier grants, so it moves no silent holder's slot before L(leader) + L(holder) after its own
TermStarted was read back. Renewals need no journal: they die with the leader, and that wait covers them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sidecar.core.brakes import Brakes
from sidecar.core.caught_up import CaughtUp
from sidecar.core.groups import GroupPlan, choose
from sidecar.core.hearing import Hearing
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now, Reply
from sidecar.core.plans import Plans
from sidecar.core.roster import Member, Roster
from sidecar.core.sanity import clip
from sidecar.core.state import Holder
from sidecar.core.stepping import Stepping
from sidecar.core.timing import MS, Timing
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.events import SlotEmptied, SlotMoved
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.journal import SlotDraining, SlotGranted, SlotTaken, SlotVacated
from sidecar.messages.state import SlotWord

FAILBACK, HEALTH = "failback", "health"
"""Who asks for a drain that no operator asked for."""
SETTLING_HEARTBEATS = 2
"""A new leader leaves vacant slots alone for this many heartbeats, so that the preferred member can be heard."""


@dataclass(frozen=True, slots=True)
class Move:
    """One slot that an operator's failover would move; `holder` is empty for a vacant one.

    `behind_ms` is for how long the chosen one has lacked something of the slot's state, 0 where that is borne.
    """

    slot: str
    holder: str
    chosen: str
    lease_left_ns: int
    behind_ms: int = 0

    @property
    def sentence(self) -> str:
        """The move in words."""
        behind = f"; {self.chosen} is {self.behind_ms} ms behind with its state" if self.behind_ms else ""
        if not self.holder:
            return f"{self.slot} is vacant and would go to {self.chosen}{behind}"
        return (
            f"{self.slot} would move from {self.holder} to {self.chosen} as soon as {self.holder} has closed its gate, "
            f"at most {self.lease_left_ns // MS} ms from now{behind}"
        )


class Slots:
    """All slots of all groups, at one leader's desk."""

    def __init__(
        self,
        name: str,
        plans: Plans,
        desk: Desk,
        roster: Roster,
        timing: Timing,
        brakes: Brakes,
        caught_up: CaughtUp,
    ) -> None:
        self._name = name
        self._plans = plans
        self._desk = desk
        self._roster = roster
        self._timing = timing
        self._takeover_wait_ns = timing.takeover_wait_ns()
        self._brakes = brakes
        self._caught_up = caught_up
        self._stepping = Stepping(desk, roster, brakes, self.deaf_ns)
        self._hearing = Hearing(timing.holder_lease_ns)
        self._granted_ns: dict[str, int] = {}
        self._overheard: dict[str, Released] = {}
        self._released_ns: dict[str, int] = {}

    def deaf_ns(self, component: str, now: Now) -> int:
        """For how long a component that sends heartbeats has heard no answer; 0 unless that is too long."""
        if self._roster.suspected(component, now.boot_ns):
            return 0  # It sends none: a silent one, not a deaf one.
        return self._hearing.deaf_ns(component, now.boot_ns)

    def begin_term(self) -> None:
        """A new leadership knows nothing of what earlier ones recorded in memory."""
        self._granted_ns.clear()
        self._released_ns.clear()
        self._hearing.begin_term()
        self._stepping.begin_term()

    # --- inputs ---

    def answer(self, heartbeat: Heartbeat, now: Now) -> None:
        """Renew what the heartbeat's incarnation holds, and say to the others why they stand by."""
        member = self._roster.members[heartbeat.component]
        self._hearing.hear(heartbeat)
        if heartbeat.incarnation and self._desk.may_grant(now):
            self._lease(member, now, words=self._caught_up.words(heartbeat))
            plan = self._plans.of(heartbeat.component)
            if plan is not None:
                self._stepping.hear(heartbeat, now)
                self._note_taken(plan, heartbeat)
                self._assign(plan, now)  # Only where this heartbeat can matter: a heartbeat must stay cheap.
        elif words := self._caught_up.words(heartbeat):
            self._tell(words, member)  # It keeps states for a component that it may have to start.

    def overhear(self, released: Released) -> None:
        """Note a release, whoever leads: a leader that is deposed before it is journaled leaves it to the next one."""
        self._overheard.update({each.slot: released for each in released.slots if self._plans.of_slot(each.slot)})

    def take_up(self, now: Now) -> None:
        """A new leader acts on the releases that it overheard and nobody has journaled."""
        for slot in sorted(self._overheard.keys() & self._desk.state.holders.keys()):
            self.released(self._overheard[slot], now)

    def released(self, released: Released, now: Now) -> None:
        """The holder closed its gate and gives slots back: they move at once."""
        for each in released.slots:
            holder = self._desk.state.holders.get(each.slot)
            if self._plans.of_slot(each.slot) is not None and holder == Holder(
                released.component, released.incarnation, each.token
            ):
                self._released_ns[each.slot] = now.boot_ns
                self._vacate(each.slot, holder, clip(f"released: {released.reason}"), now)

    def planned(self, plan: GroupPlan, *, to: str, now: Now, only: str = "") -> tuple[tuple[Move, ...], str]:
        """What an operator's failover would do now, slot by slot; or why it can do nothing, as a sentence.

        With `only` it concerns the slots that this component holds.
        """
        if frozen := self._plans.contradictions.get(plan.name):
            return (), frozen
        if to and to not in plan.members:
            return (), f"{clip(to)!r} is not in group {plan.name!r}: name one of {', '.join(plan.members)}"
        if to and self._roster.fresh(to, now.boot_ns) is None:
            return (), f"{to!r} could not act now: see `sidecar status`"
        held = {slot: each.component for slot, each in self._desk.state.holders.items()}
        moves = []
        for slot in plan.slots:
            holder = held.get(slot, "")
            if only and holder != only:
                continue
            chosen = self._choice(slot, now, wanted=to, avoid=holder, asked=True, held=held)
            if chosen is None or chosen == holder or (to and chosen != to):
                continue
            left_ns = max(0, self.ends_ns(slot) - now.boot_ns) if holder else 0
            lags = self._caught_up.lags(plan, slot, chosen)
            behind_ms = self._caught_up.lag_ns(chosen, slot) // MS if lags else 0
            moves.append(Move(slot, holder, chosen, left_ns, behind_ms))
            held[slot] = chosen
        if not moves:
            return (), f"no other ready member of group {plan.name!r} could take over"
        if not any(each.holder for each in moves) and not self._desk.may_grant(now):
            return (), "the arbiter's own records do not come back from the journal now: ask again"
        return tuple(moves), ""

    def move(self, moves: tuple[Move, ...], to: str, actor: str, reason: str, now: Now) -> bool:
        """Do what was planned for an operator; whether any holder was asked to step down."""
        for each in moves:
            if each.holder:
                self._drain(each.slot, to=to, actor=actor, reason=reason, now=now)
            elif self._desk.may_grant(now):
                cause, member = clip(f"{reason} (by {actor})"), self._roster.members[each.chosen]
                self._grant(each.slot, member, now, cause=cause, previous="", actor=clip(actor))
        return any(each.holder for each in moves)

    def tick(self, now: Now, *, judging: bool) -> None:
        """End leases that ran out (if silence is to be judged now), start failbacks that are due, fill vacancies."""
        if not judging:
            self._hearing.begin_term()  # What an arbiter in doubt sent or held back says nothing of who hears it.
        for slot, holder in self._over(now) if judging else ():
            if self._plans.of_slot(slot) is not None and now.boot_ns >= self.ends_ns(slot):
                deaf = self.deaf_ns(holder.component, now)
                cause = "silence: it heard no answer" if deaf else "silence: the lease ran out"
                self._vacate(slot, holder, cause, now)
        for plan in self._plans:
            self._step_down(plan, now)
            self._assign(plan, now)

    def ends_ns(self, slot: str) -> int:
        """When a silent holder's slot may move, on the leader's clock."""
        floor_ns = self._desk.led_since_ns + self._takeover_wait_ns
        granted_ns = self._granted_ns.get(slot)
        return floor_ns if granted_ns is None else max(floor_ns, granted_ns + self._timing.holder_wait_ns)

    def given_back_ns(self, slot: str) -> int:
        """When at the latest the slot was last given back before its lease was over, on the leader's clock."""
        return self._released_ns.get(slot, self._desk.led_since_ns)  # An earlier leader's decision was before that.

    def settled(self, now: Now) -> bool:
        """Whether this leadership has lasted long enough for everybody to have been heard."""
        return now.boot_ns >= self._desk.led_since_ns + SETTLING_HEARTBEATS * self._timing.heartbeat_ns

    def line(self, slot: str, now: Now) -> tuple[str, ...]:
        """Who would take the slot if nobody held it now, next first, its present holder left out; for people."""
        holder = self._desk.state.holders.get(slot)
        avoid = holder.component if holder else ""
        line: list[str] = []
        while (chosen := self._choice(slot, now, wanted="", avoid=avoid, passed=line)) not in (None, avoid):
            line.append(str(chosen))
        return tuple(line)

    # --- inside ---

    def _over(self, now: Now) -> list[tuple[str, Holder]]:
        """Holds whose time is over by `ends_ns`; to be asked again, because what goes before may renew what follows."""
        if now.boot_ns < self._desk.led_since_ns + self._takeover_wait_ns:
            return []
        granted, since_ns = self._granted_ns, now.boot_ns - self._timing.holder_wait_ns
        return sorted([each for each in self._desk.state.holders.items() if granted.get(each[0], since_ns) <= since_ns])

    def _assign(self, plan: GroupPlan, now: Now) -> None:
        """Grant every vacant slot of this group that somebody could take."""
        holders = self._desk.state.holders
        for slot in plan.slots:
            if slot not in holders and self.settled(now):
                self._fill(slot, now)

    def _note_taken(self, plan: GroupPlan, heartbeat: Heartbeat) -> None:
        """Write down, once a token, that its holder acts: for the history and for the backoff of promotions."""
        if heartbeat.role != "ACTIVE":
            return
        state = self._desk.state
        for slot in plan.slots:
            holder = state.holders.get(slot)
            if holder is None or holder.incarnation != heartbeat.incarnation:
                continue
            if state.history.awaits(slot, holder.token):
                self._desk.emit(SlotTaken(slot=slot, token=holder.token))

    def _tell(self, words: tuple[SlotWord, ...], member: Member) -> None:
        """Words on states for who is granted nothing."""
        told = Lease(
            arbiter=self._name,
            term=self._desk.term,
            incarnation="",
            seq=member.heartbeat.seq,
            ttl_ns=0,
            control_version=self._desk.state.control_version,
            group=self._plans.group_of(member.heartbeat.component),
            words=words,
        )
        self._desk.send(Reply(told, member.origin))

    def _lease(self, member: Member, now: Now, words: tuple[SlotWord, ...] = ()) -> None:
        heartbeat = member.heartbeat
        held, reason = self._renewable(heartbeat, now)
        for each in held:
            self._granted_ns[each.slot] = now.boot_ns  # Recorded before it is sent.
        lease = Lease(
            arbiter=self._name,
            term=self._desk.term,
            incarnation=heartbeat.incarnation,
            seq=heartbeat.seq,
            ttl_ns=self._timing.holder_lease_ns,
            control_version=self._desk.state.control_version,
            slots=held,
            standby_reason="" if held else reason,
            group=self._plans.group_of(heartbeat.component),
            n=self._desk.decided,
            words=words,
        )
        self._hearing.answered(heartbeat, now.boot_ns)
        self._desk.send(Reply(lease, member.origin))

    def _renewable(self, heartbeat: Heartbeat, now: Now) -> tuple[tuple[SlotToken, ...], str]:
        plan = self._plans.of(heartbeat.component)
        if plan is None:
            return (), f"component {heartbeat.component!r} is in no group: add it to one, configured or registered"
        if heartbeat.control_version > self._desk.state.control_version:
            return (), (
                f"it has latched control version {heartbeat.control_version}, newer than the journal's "
                f"{self._desk.state.control_version}: the journal was replaced; see docs/operating.md"
            )
        if plan.quorum > 1 and len(self._ready(plan, now)) < plan.quorum:
            return (), f"group {plan.name!r} is below its quorum of {plan.quorum}"
        deaf_ns = self._hearing.deaf_ns(heartbeat.component, now.boot_ns)
        if deaf_ns:
            return (), f"its heartbeats arrive, but for {deaf_ns // MS} ms it has heard no answer: look at its link"
        holders, draining = self._desk.state.holders, self._desk.state.draining
        mine = tuple(
            [
                SlotToken(slot, holders[slot].token)
                for slot in self._plans.slots_of(heartbeat.component)
                if slot in holders and holders[slot].incarnation == heartbeat.incarnation and slot not in draining
            ]
        )
        return mine, "" if mine else self._standby_reason(plan, heartbeat)

    def _standby_reason(self, plan: GroupPlan, heartbeat: Heartbeat) -> str:
        if frozen := self._plans.contradictions.get(plan.name):
            return clip(frozen)
        held = self._desk.state.holders
        holders = [held[slot].component for slot in plan.slots if slot in held]
        if heartbeat.component in holders:
            return "stepping down, or an earlier incarnation's lease still runs"
        names = holders[0] if len(holders) == 1 else ", ".join(sorted(set(holders)))
        return f"{names or 'nobody yet'} holds {plan.name}"

    def _ready(self, plan: GroupPlan, now: Now) -> list[str]:
        able = (each for each in plan.members if self._roster.fresh(each, now.boot_ns))
        return [each for each in able if not self._hearing.deaf_ns(each, now.boot_ns)]

    def _vacate(self, slot: str, holder: Holder, cause: str, now: Now) -> None:
        """End a hold and, if the leader's own lease still runs, grant the slot to the next in the same breath."""
        draining = self._desk.state.draining.get(slot)
        if draining is not None:
            cause = clip(f"{draining.reason} (by {draining.actor})")
        heard_ms_ago, suspected_ms_ago = self._ages_ms(holder, now)
        self._desk.emit(
            SlotVacated(
                slot=slot,
                component=holder.component,
                incarnation=holder.incarnation,
                token=holder.token,
                cause=cause,
                last_heard_ms_ago=heard_ms_ago,
                suspected_ms_ago=suspected_ms_ago,
            )
        )
        emptied = SlotEmptied(
            arbiter=self._name, slot=slot, component=holder.component, token=holder.token, cause=cause
        )
        self._desk.send(Event(emptied, f"slot-emptied.{group_name(slot)}"))
        wanted, actor = (draining.to, draining.actor) if draining else ("", "")
        self._fill(
            slot,
            now,
            cause=cause,
            wanted=wanted,
            avoid=holder.component,
            asked=draining is not None,
            actor="" if actor == HEALTH else actor,
        )

    def _ages_ms(self, holder: Holder, now: Now) -> tuple[int | None, int | None]:
        """How long ago the holder was last heard and began to be suspected; None where it was not."""
        member = self._roster.members.get(holder.component)
        if member is None or member.heartbeat.incarnation != holder.incarnation:
            return None, None
        heard_ms_ago = (now.boot_ns - member.heard_ns) // MS
        return heard_ms_ago, None if member.suspected_ns is None else (now.boot_ns - member.suspected_ns) // MS

    def _fill(
        self,
        slot: str,
        now: Now,
        *,
        cause: str = "vacant",
        wanted: str = "",
        avoid: str = "",
        asked: bool = False,
        actor: str = "",
    ) -> None:
        if not self._desk.may_grant(now):
            return
        chosen = self._choice(slot, now, wanted=wanted, avoid=avoid, asked=asked)
        if chosen is not None:
            self._grant(slot, self._roster.members[chosen], now, cause=cause, previous=avoid, actor=actor)

    def _choice(
        self,
        slot: str,
        now: Now,
        *,
        wanted: str,
        avoid: str,
        passed: Collection[str] = (),
        asked: bool = False,
        held: Mapping[str, str] | None = None,
    ) -> str | None:
        """Who should take the slot: ready, not restrained, and not ahead of the journal's control version.

        A move that was `asked` for is decided already, so that a pause or the brake does not leave it half done.
        """
        plan = self._plans.of_slot(slot)
        if plan is None or plan.name in self._plans.contradictions:
            return None
        holders, version = self._desk.state.holders, self._desk.state.control_version
        ready = [
            each for each in self._ready(plan, now) if self._roster.members[each].heartbeat.control_version <= version
        ]
        if held is None:
            held = {each: holders[each].component for each in plan.slots if each in holders}
        others = {each: held[each] for each in plan.slots if each in held and each != slot}
        barred = self._brakes.barred(plan, slot, now, last=avoid, asked=asked).union(passed)
        return choose(
            plan,
            slot,
            ready,
            others,
            wanted=wanted,
            avoid=avoid,
            barred=barred,
            lagging=self._caught_up.lagging(plan, slot, ready),
            marks=self._caught_up.marks(slot, ready),
        )

    def _grant(self, slot: str, member: Member, now: Now, *, cause: str, previous: str, actor: str = "") -> None:
        heartbeat = member.heartbeat
        token = Token(self._desk.term, self._desk.state.epochs.get(slot, 0) + 1)
        component, incarnation = heartbeat.component, heartbeat.incarnation
        self._desk.emit(
            SlotGranted(slot=slot, component=component, incarnation=incarnation, token=token, cause=cause, actor=actor)
        )
        self._lease(member, now)
        moved = SlotMoved(
            arbiter=self._name,
            slot=slot,
            component=component,
            incarnation=incarnation,
            token=token,
            previous=previous,
            cause=cause,
        )
        self._desk.send(Event(moved, f"slot-moved.{group_name(slot)}"))

    def _drain(self, slot: str, *, to: str, actor: str, reason: str, now: Now) -> None:
        self._desk.emit(SlotDraining(slot=slot, to=to, actor=clip(actor), reason=clip(reason)))
        holder = self._desk.state.holders[slot]
        member = self._roster.members.get(holder.component)
        if member is not None and member.heartbeat.incarnation == holder.incarnation and self._desk.may_grant(now):
            self._lease(member, now)  # Without the slot: the holder closes and releases without waiting.

    def _step_down(self, plan: GroupPlan, now: Now) -> None:
        """Drain the living holders that are due to step down without an operator."""
        if plan.failback_ns is None and not plan.policy.unready_ns:
            return
        due = self._stepping.failback(plan, now)
        if due is not None:
            slot, better = due
            reason = f"{better} is {'its home' if plan.shares else 'preferred'} and ready"
            if self._caught_up.lags(plan, slot, better):
                pass  # It goes back when that has the state: nothing presses.
            elif self._choice(slot, now, wanted=better, avoid=self._desk.state.holders[slot].component) == better:
                self._drain(slot, to=better, actor=FAILBACK, reason=reason, now=now)
        for slot, reason in self._stepping.unhealthy(plan, now):
            holder = self._desk.state.holders[slot].component
            chosen = self._choice(slot, now, wanted="", avoid=holder)
            if chosen not in (None, holder):
                self._drain(slot, to=str(chosen), actor=HEALTH, reason=reason, now=now)
                if not plan.shares:
                    return


def group_name(slot: str) -> str:
    """The group of a slot name."""
    return slot.partition("/")[0]
