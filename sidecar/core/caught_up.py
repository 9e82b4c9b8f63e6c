"""How far each member has got with its slots' states, as its heartbeats say: who would lose least by taking over.

Owns the comparison, and the words on states that answer heartbeats. It must not choose: `groups.choose` does, and is
told who lags and who has what. Soft input, like suspicion: every arbiter hears all heartbeats, so a new leader knows it
at once, and nothing of it is journaled but the choice that was made with it (SlotGranted).

| a heartbeat says of a slot                           | then                                                      |
|------------------------------------------------------|-----------------------------------------------------------|
| a version beyond all that was told                   | it is noted with the leader's time                        |
| a version that others went beyond                    | it lags: since the first version that it lacks was told   |
| nothing                                              | the same, with nothing                                    |
| a token beyond any that was granted for that slot    | that is passed over: nobody gains by inventing one        |
| a slot of another group                              | the same                                                  |

Lag is counted up to the member's own last heartbeat, on this arbiter's clock: what was told after that it may well have
by now. A member that invents versions under a real token is believed; so is one that says that it is ready.
"""

from collections.abc import Iterable
from typing import Final

from sidecar.core.bounded import drop_oldest
from sidecar.core.groups import GroupPlan
from sidecar.core.leadership import Desk
from sidecar.core.marks import NOTHING, Mark, Marks
from sidecar.core.plans import Plans
from sidecar.core.roster import Roster
from sidecar.core.state import Holder
from sidecar.messages.base import Token
from sidecar.messages.health import Heartbeat
from sidecar.messages.state import NO_TOKEN, STATES_MAX, SlotWord

SLOTS_MAX: Final = 100_000
"""Slots whose states are followed; of those that were told of longest ago nothing is known then."""
WORDS_MAX: Final = 16
"""Words in one answer. What is missing follows with the next ones, because it is doubted again."""


class CaughtUp:
    """One arbiter's account of states."""

    def __init__(self, plans: Plans, desk: Desk, roster: Roster) -> None:
        self._plans = plans
        self._desk = desk
        self._roster = roster
        self._marks: dict[str, Marks] = {}

    def hear(self, heartbeat: Heartbeat, now_ns: int) -> None:
        """Note what a heartbeat says that the roster took for news."""
        plan = self._plans.of(heartbeat.component) if heartbeat.states else None
        if plan is None:
            return
        for each in heartbeat.states[:STATES_MAX]:
            if self._possible(plan, each.slot, each.token):
                if each.slot not in self._marks:
                    self._marks[each.slot] = Marks.within(plan.policy.state_lag_ns)
                    drop_oldest(self._marks, SLOTS_MAX)
                self._marks[each.slot].note(Mark(each.token, each.version), now_ns)

    def words(self, heartbeat: Heartbeat) -> tuple[SlotWord, ...]:
        """What to tell the sender: of each slot that it doubts, and of those whose newest state it lacks."""
        if not (self._marks or heartbeat.doubts):
            return ()  # Nearly always, where nobody hands states over: a heartbeat must stay cheap.
        plan = self._plans.of(heartbeat.component)
        if plan is None:
            return ()
        doubted = set(heartbeat.doubts[:STATES_MAX]).intersection(plan.slots)
        lacking = (each for each in plan.slots if each in self._marks and each not in doubted)
        behind = [each for each in lacking if self._marks[each].newest > self.mark(heartbeat.component, each)]
        return tuple(self._word(each) for each in [*sorted(doubted), *behind][:WORDS_MAX])

    def newest(self, slot: str) -> Mark:
        """The furthest that any heartbeat told of this slot's state."""
        marks = self._marks.get(slot)
        return marks.newest if marks is not None else NOTHING

    def mark(self, component: str, slot: str) -> Mark:
        """What this member keeps of the slot's state, by its last heartbeat."""
        plan, member = self._plans.of_slot(slot), self._roster.members.get(component)
        if plan is None or member is None:
            return NOTHING
        for each in member.heartbeat.states[:STATES_MAX]:
            if each.slot == slot and self._possible(plan, slot, each.token):
                return Mark(each.token, each.version)
        return NOTHING

    def marks(self, slot: str, components: Iterable[str]) -> dict[str, Mark]:
        """What each of these keeps; empty while nobody ever told of this slot's state."""
        return {each: self.mark(each, slot) for each in components} if slot in self._marks else {}

    def lag_ns(self, component: str, slot: str) -> int:
        """For how long the member had lacked something of this slot's state when it was last heard."""
        marks, member = self._marks.get(slot), self._roster.members.get(component)
        if marks is None or member is None:
            return 0
        return marks.lag_ns(self.mark(component, slot), member.heard_ns)

    def lags(self, plan: GroupPlan, slot: str, component: str) -> bool:
        """Whether it lags by more than the group bears."""
        return slot in self._marks and self.lag_ns(component, slot) > plan.policy.state_lag_ns

    def lagging(self, plan: GroupPlan, slot: str, components: Iterable[str]) -> frozenset[str]:
        """Those of them that do."""
        return frozenset(each for each in components if self.lags(plan, slot, each))

    # --- inside ---

    def _word(self, slot: str) -> SlotWord:
        last, newest = self._holder(slot), self.newest(slot)
        return SlotWord(
            slot=slot,
            component=last.component if last else "",
            token=last.token if last else NO_TOKEN,
            known_token=newest.token,
            known_version=newest.version,
        )

    def _holder(self, slot: str) -> Holder | None:
        """Who holds the slot, or held it last."""
        state = self._desk.state
        return state.holders.get(slot) or state.last.get(slot)

    def _possible(self, plan: GroupPlan, slot: str, token: Token) -> bool:
        last = self._holder(slot)
        return self._plans.of_slot(slot) is plan and last is not None and token <= last.token
