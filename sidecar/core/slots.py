"""Who holds which slot: the leader's side of the leases of DESIGN section 6.

Owns granting, renewing, vacating and draining. It must not know what a slot is for. One slot:

| state    | input                                             | next     | fact, then outputs                         |
|----------|---------------------------------------------------|----------|--------------------------------------------|
| vacant   | a member could act (after the settling time)      | held     | SlotGranted; Lease                         |
| held     | heartbeat of the holding incarnation              | held     | none (recorded in memory); Lease           |
| held     | Released with the holder's token                  | vacant   | SlotVacated                                |
| held     | silence: L after the last recorded grant          | vacant   | SlotVacated                                |
| held     | operator's failover, or failback is due           | draining | SlotDraining; Lease without the slot       |
| draining | Released, or L after the last recorded grant      | vacant   | SlotVacated                                |

A new leader knows no earlier grants, so it moves no silent holder's slot before L(leader) + L(holder) after its own
TermStarted was read back. Renewals need no journal: they die with the leader, and that wait covers them.
"""

from sidecar.core.groups import GroupPlan, choose
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now, Reply
from sidecar.core.roster import Member, Roster
from sidecar.core.sanity import clip
from sidecar.core.state import Holder
from sidecar.core.timing import Timing
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.events import SlotEmptied, SlotMoved
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.journal import SlotDraining, SlotGranted, SlotVacated

SETTLING_HEARTBEATS = 2
"""A new leader leaves vacant slots alone for this many heartbeats, so that the preferred member can be heard."""


class Slots:
    """All slots of all groups, at one leader's desk."""

    def __init__(self, name: str, plans: tuple[GroupPlan, ...], desk: Desk, roster: Roster, timing: Timing) -> None:
        self._name = name
        self._plans = plans
        self._group_of = {member: plan for plan in plans for member in plan.members}
        self._plan_of_slot = {slot: plan for plan in plans for slot in plan.slots}
        self._desk = desk
        self._roster = roster
        self._timing = timing
        self._granted_ns: dict[str, int] = {}

    def plan_of(self, component: str) -> GroupPlan | None:
        """The group of a component, or None."""
        return self._group_of.get(component)

    def begin_term(self) -> None:
        """A new leadership knows nothing of what earlier ones recorded in memory."""
        self._granted_ns.clear()

    # --- inputs ---

    def answer(self, heartbeat: Heartbeat, now: Now) -> None:
        """Renew what the heartbeat's incarnation holds, and say to the others why they stand by."""
        member = self._roster.members[heartbeat.component]
        if heartbeat.incarnation and self._desk.may_grant(now):
            self._lease(member, now)
            plan = self._group_of.get(heartbeat.component)
            if plan is not None:
                self._assign(plan, now)  # Only where this heartbeat can matter: a heartbeat must stay cheap.

    def released(self, released: Released, now: Now) -> None:
        """The holder closed its gate and gives slots back: they move at once."""
        for each in released.slots:
            holder = self._desk.state.holders.get(each.slot)
            if each.slot in self._plan_of_slot and holder == Holder(
                released.component, released.incarnation, each.token
            ):
                self._vacate(each.slot, holder, clip(f"released: {released.reason}"), now)

    def drain(self, plan: GroupPlan, *, to: str, actor: str, reason: str, now: Now) -> str:
        """Ask the holders of a group to step down; why not, as a sentence, or empty."""
        held = [slot for slot in plan.slots if slot in self._desk.state.holders]
        if not held:
            return f"group {plan.name!r} has no holder now: a slot is granted as soon as a member is ready"
        if to and to not in plan.members:
            return f"{clip(to)!r} is not in group {plan.name!r}: name one of {', '.join(plan.members)}"
        if to and self._roster.fresh(to, now.boot_ns) is None:
            return f"{to!r} could not act now: see `sidecar status`"
        holders = self._desk.state.holders
        moved = [
            slot
            for slot in held
            if self._choice(slot, now, wanted=to, avoid=holders[slot].component) not in (None, holders[slot].component)
        ]
        for slot in moved:
            self._drain(slot, to=to, actor=actor, reason=reason, now=now)
        return "" if moved else f"no other ready member of group {plan.name!r} could take over"

    def tick(self, now: Now, *, judging: bool) -> None:
        """End leases that ran out (if silence is to be judged now), start failbacks that are due, fill vacancies."""
        for slot, holder in sorted(self._desk.state.holders.items()):
            if judging and slot in self._plan_of_slot and now.boot_ns >= self.ends_ns(slot):
                self._vacate(slot, holder, "silence: the lease ran out", now)
        for plan in self._plans:
            self._fail_back(plan, now)
            self._assign(plan, now)

    def ends_ns(self, slot: str) -> int:
        """When a silent holder's slot may move, on the leader's clock."""
        floor_ns = self._desk.led_since_ns + self._timing.takeover_wait_ns()
        granted_ns = self._granted_ns.get(slot)
        return floor_ns if granted_ns is None else max(floor_ns, granted_ns + self._timing.holder_wait_ns)

    # --- inside ---

    def _assign(self, plan: GroupPlan, now: Now) -> None:
        """Grant every vacant slot of this group that somebody could take."""
        settled_ns = self._desk.led_since_ns + SETTLING_HEARTBEATS * self._timing.heartbeat_ns
        if now.boot_ns < settled_ns:
            return
        for slot in plan.slots:
            if slot not in self._desk.state.holders:
                self._fill(slot, now)

    def _lease(self, member: Member, now: Now) -> None:
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
            n=self._desk.decided,
        )
        self._desk.send(Reply(lease, member.origin))

    def _renewable(self, heartbeat: Heartbeat, now: Now) -> tuple[tuple[SlotToken, ...], str]:
        plan = self._group_of.get(heartbeat.component)
        if plan is None:
            return (), f"component {heartbeat.component!r} is in no group: add it to groups.NAME.components"
        if heartbeat.control_version > self._desk.state.control_version:
            return (), (
                f"it has latched control version {heartbeat.control_version}, newer than the journal's "
                f"{self._desk.state.control_version}: the journal was replaced; see docs/operating.md"
            )
        if plan.quorum > 1 and len(self._ready(plan, now)) < plan.quorum:
            return (), f"group {plan.name!r} is below its quorum of {plan.quorum}"
        holders, draining = self._desk.state.holders, self._desk.state.draining
        mine = tuple(
            SlotToken(slot, holders[slot].token)
            for slot in plan.slots
            if slot in holders and holders[slot].incarnation == heartbeat.incarnation and slot not in draining
        )
        return mine, "" if mine else self._standby_reason(plan, heartbeat)

    def _standby_reason(self, plan: GroupPlan, heartbeat: Heartbeat) -> str:
        held = self._desk.state.holders
        holders = sorted({held[slot].component for slot in plan.slots if slot in held})
        if heartbeat.component in holders:
            return "stepping down, or an earlier incarnation's lease still runs"
        return f"{', '.join(holders) or 'nobody yet'} holds {plan.name}"

    def _ready(self, plan: GroupPlan, now: Now) -> list[str]:
        return [each for each in plan.members if self._roster.fresh(each, now.boot_ns)]

    def _vacate(self, slot: str, holder: Holder, cause: str, now: Now) -> None:
        """End a hold and, if the leader's own lease still runs, grant the slot to the next in the same breath."""
        draining = self._desk.state.draining.get(slot)
        if draining is not None:
            cause = clip(f"{draining.reason} (by {draining.actor})")
        self._desk.emit(
            SlotVacated(
                slot=slot, component=holder.component, incarnation=holder.incarnation, token=holder.token, cause=cause
            )
        )
        emptied = SlotEmptied(
            arbiter=self._name, slot=slot, component=holder.component, token=holder.token, cause=cause
        )
        self._desk.send(Event(emptied, f"slot-emptied.{group_name(slot)}"))
        self._fill(slot, now, cause=cause, wanted=draining.to if draining else "", avoid=holder.component)

    def _fill(self, slot: str, now: Now, *, cause: str = "vacant", wanted: str = "", avoid: str = "") -> None:
        if not self._desk.may_grant(now):
            return
        chosen = self._choice(slot, now, wanted=wanted, avoid=avoid)
        if chosen is not None:
            self._grant(slot, self._roster.members[chosen], now, cause=cause, previous=avoid)

    def _choice(self, slot: str, now: Now, *, wanted: str, avoid: str) -> str | None:
        """Who should take the slot: ready, and not ahead of the journal's control version (see `_renewable`)."""
        plan = self._plan_of_slot[slot]
        holders, version = self._desk.state.holders, self._desk.state.control_version
        ready = [
            each for each in self._ready(plan, now) if self._roster.members[each].heartbeat.control_version <= version
        ]
        others = {each: holders[each].component for each in plan.slots if each in holders and each != slot}
        return choose(plan, slot, ready, others, wanted=wanted, avoid=avoid)

    def _grant(self, slot: str, member: Member, now: Now, *, cause: str, previous: str) -> None:
        heartbeat = member.heartbeat
        token = Token(self._desk.term, self._desk.state.epochs.get(slot, 0) + 1)
        component, incarnation = heartbeat.component, heartbeat.incarnation
        self._desk.emit(SlotGranted(slot=slot, component=component, incarnation=incarnation, token=token, cause=cause))
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

    def _fail_back(self, plan: GroupPlan, now: Now) -> None:
        """Give a slot back to a more preferred member that has been ready for long enough."""
        if plan.failback_ns is None or plan.shares:
            return
        state = self._desk.state
        held = {slot: state.holders[slot].component for slot in plan.slots if slot in state.holders}
        if any(slot in state.draining for slot in held):
            return
        for slot, component in held.items():
            for better in plan.members[: plan.members.index(component)] if component in plan.members else ():
                member = self._roster.fresh(better, now.boot_ns)
                if better in held.values() or member is None:
                    continue
                if now.boot_ns - member.ready_since_ns >= plan.failback_ns:
                    self._drain(slot, to=better, actor="failback", reason=f"{better} is preferred and ready", now=now)
                    return


def group_name(slot: str) -> str:
    """The group of a slot name."""
    return slot.partition("/")[0]
