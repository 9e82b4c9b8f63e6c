"""Cold standbys: the leader has a component started where nobody who is ready can take a slot.

Owns whom to ask, when a start has failed, and what an operator who names a cold member gets. It must not grant: a
component that comes up takes its slot like any other (`slots.py`). It must not know what a start action is: the sidecar
runs its own (`core/starter.py` is that side), and no message of ours chooses it. One cold member:

| state    | input                                                      | next     | fact, then outputs              |
|----------|------------------------------------------------------------|----------|---------------------------------|
| cold     | a slot is vacant and open to it, and no ready member could | starting | StandbyStarting; StartComponent |
| cold     | an operator's failover to it, or with nobody else left     | starting | StandbyStarting; StartComponent |
| starting | heartbeat of that run of its sidecar, nothing attached     | starting | StartComponent, as if lost      |
| starting | heartbeat of an attached and ready component               | up       | StandbyStarted; operator's move |
| starting | StartFailed for this order, or a heartbeat of another run  | cold     | StandbyStartFailed              |
| starting | start_limit passed, or its sidecar is suspected            | cold     | StandbyStartFailed              |

A failed start counts as a failed promotion, so its member backs off and the next one is asked. For an operator the old
holder is asked to step down only when the new one is ready: it keeps the slot if the start fails. A start under way is
folded state, so a new leader goes on with it; its `order` lets the sidecar recognise a repetition.
"""

from typing import Final, Literal

from sidecar.core.brakes import Brakes
from sidecar.core.chronicle import Chronicle
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now, Origin, Reply
from sidecar.core.plans import Plans
from sidecar.core.roster import Roster
from sidecar.core.sanity import clip
from sidecar.core.slots import Slots
from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.control import FailoverRequest
from sidecar.messages.events import StandbyStart
from sidecar.messages.health import Heartbeat, StartComponent, StartFailed
from sidecar.messages.journal import StandbyStarted, StandbyStartFailed, StandbyStarting

REST_NS: Final = 1_000 * MS
"""A member is not asked again within this time after a start of it ended, even where no backoff is configured."""


class Cold:
    """All cold standbys, at one leader's desk.

    A slot that nobody ever held is left alone for `first_ns` of a leadership: a system that starts brings its hot
    members up by itself.
    """

    def __init__(
        self,
        name: str,
        plans: Plans,
        desk: Desk,
        roster: Roster,
        slots: Slots,
        brakes: Brakes,
        chronicle: Chronicle,
        first_ns: int,
    ) -> None:
        self._name = name
        self._plans = plans
        self._desk = desk
        self._roster = roster
        self._slots = slots
        self._brakes = brakes
        self._chronicle = chronicle
        self._first_ns = first_ns
        self._asked_ns: dict[str, int] = {}
        self._ended_ns: dict[str, int] = {}

    def begin_term(self) -> None:
        """What an earlier leadership of ours decided and never read back did not happen."""
        self._asked_ns.clear()
        self._ended_ns.clear()

    # --- inputs ---

    def hear(self, heartbeat: Heartbeat, now: Now) -> None:
        """One heartbeat, after `slots.answer`: is what was to be started up, is its sidecar still the one we asked."""
        start = self._desk.state.starting.get(heartbeat.component)
        if start is None:
            return
        if heartbeat.incarnation:
            if self._roster.fresh(heartbeat.component, now.boot_ns) is not None:
                self._ready(start, heartbeat, now)
        elif heartbeat.run != start.run:
            self._fail(start, "its sidecar was restarted meanwhile", now)
        elif self._desk.may_grant(now):
            self._ask(start, self._roster.members[heartbeat.component].origin)

    def failed(self, message: StartFailed, now: Now) -> None:
        """The sidecar's own word that the start is over, so that nobody waits for the limit."""
        start = self._desk.state.starting.get(message.component)
        if start is not None and start.order == message.order:
            self._fail(start, message.reason, now)

    def tick(self, now: Now, *, judging: bool) -> None:
        """After `slots.tick`: give up what took too long, and have started what no doubtful silence calls for."""
        starting = self._desk.state.starting
        for _, start in sorted(starting.items()) if starting else ():
            if reason := self._overdue(start, now, judging):
                self._fail(start, reason, now)
        cold = [each for each in self._plans if each.policy.cold]
        if cold and self._desk.may_grant(now) and self._slots.settled(now):
            for plan in cold:
                doubtful = not judging and any(self._roster.suspected(each, now.boot_ns) for each in plan.members)
                if not doubtful and plan.name not in self._plans.contradictions:
                    self._need(plan, now)

    def operate(self, plan: GroupPlan, request: FailoverRequest, now: Now) -> tuple[str, str] | None:
        """An operator's failover that no ready member could take: code and text of what is done, None if nothing can.

        The code is STARTING, DRY_RUN or REFUSED.
        """
        slot = self._slot_to_move(plan, request.holder)
        chosen = request.to or (self._best(plan, slot, now, asked=True) if slot else "")
        if not slot or chosen not in plan.policy.cold or self._attached(chosen):
            return None
        if problem := self.unable(chosen, now):
            return "REFUSED", f"{chosen} is cold and cannot be started now: {problem}"
        if not self._desk.may_grant(now):
            return "REFUSED", "the arbiter's own records do not come back from the journal now: ask again"
        holder = self._desk.state.holders.get(slot)
        then = f"then {holder.component} is asked to step down" if holder else f"then it is granted {slot}"
        limit_ms = plan.policy.start_limit_ns // MS
        if request.dry_run:
            return "DRY_RUN", f"{chosen} is cold and would be started first, within {limit_ms} ms; {then}"
        reason = request.reason or "manual failover"
        self._start(plan, slot, chosen, now, actor=request.actor, reason=reason, holder=request.holder)
        return "STARTING", f"{chosen} is cold and is started first, within {limit_ms} ms; {then}"

    # --- for people ---

    def unable(self, component: str, now: Now) -> str:
        """Why a cold member could not be started now, as a sentence; empty when it could."""
        member, state = self._roster.members.get(component), self._desk.state
        if member is None:
            return "this arbiter never heard its sidecar"
        if component in state.starting:
            return self.progress(component, now)
        if self._roster.suspected(component, now.boot_ns):
            return "its sidecar is silent"
        if not member.heartbeat.startable:
            return "its sidecar has no component.start, or its last start action still runs"
        if member.heartbeat.control_version > state.control_version:
            return f"its control version {member.heartbeat.control_version} is ahead of the journal's"
        if any(each.component == component for each in state.holders.values()):
            return "the lease of its earlier incarnation has not ended"
        left_ns = self._rested_ns(component) - now.boot_ns
        return f"its last start ended just now; again in {-(-left_ns // MS)} ms" if left_ns > 0 else ""

    def progress(self, component: str, now: Now) -> str:
        """How long a start has been under way, in words; empty when none is."""
        start = self._desk.state.starting.get(component)
        if start is None:
            return ""
        asked = f", asked by {start.actor}" if start.actor else ""
        return f"starting since {self._age_ns(start, now) // MS} ms, limit {start.limit_ns // MS} ms{asked}"

    def waits(self, plan: GroupPlan, now: Now) -> tuple[str, ...]:
        """What slots of the group wait for here, one sentence each."""
        if not plan.policy.cold:
            return ()
        state = self._desk.state
        starting = [each for each in plan.members if each in state.starting]
        found = [f"{state.starting[each].slot} waits for {each}: {self.progress(each, now)}" for each in starting]
        never = [each for each in plan.slots if each not in state.epochs and self._first_left_ns(now) > 0]
        if never:
            left_ms = -(-self._first_left_ns(now) // MS)
            found.append(f"{', '.join(never)} was never held: no cold member is started for another {left_ms} ms")
        return tuple(map(clip, found))

    # --- inside ---

    def _need(self, plan: GroupPlan, now: Now) -> None:
        """One start for each slot that `slots.tick` left vacant; where members share slots, one at a time."""
        state = self._desk.state
        under_way = sum(each in state.starting for each in plan.members)
        vacant = [each for each in plan.slots if each not in state.holders and self._open(each, now)]
        for slot in vacant[under_way : 1 if plan.shares else None]:
            chosen = self._best(plan, slot, now)
            if chosen:
                self._start(plan, slot, chosen, now, reason="no ready member could take it")

    def _open(self, slot: str, now: Now) -> bool:
        return slot in self._desk.state.epochs or self._first_left_ns(now) <= 0

    def _best(self, plan: GroupPlan, slot: str, now: Now, *, asked: bool = False) -> str:
        """The cold member that failed least often in a row, of these the most preferred; empty when there is none."""
        barred = self._brakes.barred(plan, slot, now, asked=asked)
        able = [
            each
            for each in plan.ranked
            if each in plan.policy.cold
            and each not in barred
            and not self._attached(each)
            and not self.unable(each, now)
        ]
        failures = self._chronicle.failures
        return min(able, key=lambda each: failures[each].count if each in failures else 0, default="")

    def _start(
        self,
        plan: GroupPlan,
        slot: str,
        component: str,
        now: Now,
        *,
        reason: str,
        actor: str = "",
        holder: str = "",
    ) -> None:
        member = self._roster.members[component]
        start = StandbyStarting(
            slot=slot,
            component=component,
            run=member.heartbeat.run,
            order=Token(self._desk.term, self._desk.decided + 1),
            limit_ns=plan.policy.start_limit_ns,
            actor=clip(actor),
            reason=clip(reason),
            holder=holder,
        )
        self._desk.emit(start)
        self._asked_ns[component] = now.boot_ns
        self._ask(start, member.origin)
        self._tell(start, "BEGAN", start.reason)

    def _ask(self, start: StandbyStarting, origin: Origin) -> None:
        message = StartComponent(arbiter=self._name, component=start.component, run=start.run, order=start.order)
        self._desk.send(Reply(message, origin))

    def _ready(self, start: StandbyStarting, heartbeat: Heartbeat, now: Now) -> None:
        """It is up. What was vacant it got already, or gets like any other; an operator's move is done now."""
        self._desk.emit(StandbyStarted(slot=start.slot, component=start.component, incarnation=heartbeat.incarnation))
        self._ended_ns[start.component] = now.boot_ns
        self._tell(start, "READY", start.reason)
        plan = self._plans.of_slot(start.slot)
        if not start.actor or plan is None:
            return
        moves, problem = self._slots.planned(plan, to=start.component, now=now, only=start.holder)
        if not problem:
            self._slots.move(moves, start.component, start.actor, start.reason, now)

    def _fail(self, start: StandbyStarting, reason: str, now: Now) -> None:
        self._desk.emit(StandbyStartFailed(slot=start.slot, component=start.component, reason=clip(reason)))
        self._ended_ns[start.component] = now.boot_ns
        self._tell(start, "FAILED", clip(reason))

    def _tell(self, start: StandbyStarting, change: Literal["BEGAN", "READY", "FAILED"], reason: str) -> None:
        event = StandbyStart(
            arbiter=self._name,
            slot=start.slot,
            component=start.component,
            change=change,
            reason=reason,
        )
        self._desk.send(Event(event, f"standby-start.{start.slot.partition('/')[0]}"))

    def _overdue(self, start: StandbyStarting, now: Now, judging: bool) -> str:
        if self._age_ns(start, now) >= start.limit_ns:
            return f"no ready component within {start.limit_ns // MS} ms"
        if judging and self._roster.suspected(start.component, now.boot_ns):
            return "its sidecar fell silent"
        return ""

    def _age_ns(self, start: StandbyStarting, now: Now) -> int:
        asked_ns = self._asked_ns.get(start.component)
        if asked_ns is None:
            began_ns = self._chronicle.starting_ns.get(start.component)
            asked_ns = now.boot_ns if began_ns is None else self._chronicle.boot_ns(began_ns)
        return now.boot_ns - asked_ns

    def _rested_ns(self, component: str) -> int:
        failed = self._chronicle.failures.get(component)
        failed_ns = self._chronicle.boot_ns(failed.at_ns) if failed else None
        ended_ns = [each for each in (self._ended_ns.get(component), failed_ns) if each is not None]
        return max(ended_ns) + REST_NS if ended_ns else 0

    def _first_left_ns(self, now: Now) -> int:
        return self._desk.led_since_ns + self._first_ns - now.boot_ns

    def _attached(self, component: str) -> bool:
        member = self._roster.members.get(component)
        return member is not None and bool(member.heartbeat.incarnation)

    def _slot_to_move(self, plan: GroupPlan, holder: str) -> str:
        holders = self._desk.state.holders
        held = {each: holders[each].component if each in holders else "" for each in plan.slots}
        return next((each for each in plan.slots if not holder or held[each] == holder), "")
