"""Why a group stands as it does: the leader's answers to `ExplainRequest` and `HistoryRequest`.

Owns the sentences that say why a member is no candidate and what a vacant slot waits for. It decides nothing: who
would be next is asked of the code that decides it (`Slots.line`), so that an explanation cannot differ from the deed.
"""

from typing import TYPE_CHECKING

from sidecar.core.groups import GroupPlan
from sidecar.core.marks import NOTHING
from sidecar.core.outputs import Now
from sidecar.core.roster import Member
from sidecar.core.sanity import clip
from sidecar.core.slots import SETTLING_HEARTBEATS
from sidecar.core.timing import MS
from sidecar.messages.control import CommandResult
from sidecar.messages.explain import (
    ExplainReport,
    ExplainRequest,
    HistoryReport,
    HistoryRequest,
    MemberExplained,
    SlotExplained,
)

STATES_NOTED_MAX = 4
"""Slots of whose states a member's notes speak."""
REASONS_MAX = 8
"""A member's own reasons in one sentence."""

if TYPE_CHECKING:
    from sidecar.core.arbiter import Arbiter


def explain(arbiter: "Arbiter", request: ExplainRequest, now: Now) -> ExplainReport | CommandResult:
    """One group as the leader sees it at `now`, or the refusal when there is none of that name."""
    plan = arbiter.plans.named(request.group)
    if plan is None:
        return _no_such_group(arbiter, request.request_id, request.group)
    return ExplainReport(
        arbiter=arbiter.rules.name,
        request_id=request.request_id,
        term=arbiter.state.position.term,
        group=plan.name,
        mode=str(plan.mode),
        slots=tuple(_slot(arbiter, each, now) for each in plan.slots),
        members=tuple(_member(arbiter, plan, each, now) for each in plan.members),
        waits=_waits(arbiter, plan, now),
    )


def history(arbiter: "Arbiter", request: HistoryRequest) -> HistoryReport | CommandResult:
    """The last failovers, or the refusal of a group that is neither configured nor remembered."""
    found = arbiter.state.history.last(request.last, request.group)
    known = not request.group or arbiter.plans.named(request.group) is not None
    if not found and not known:
        return _no_such_group(arbiter, request.request_id, request.group)
    return HistoryReport(arbiter=arbiter.rules.name, request_id=request.request_id, failovers=found)


def _no_such_group(arbiter: "Arbiter", request_id: str, group: str) -> CommandResult:
    text = f"no group {clip(group)!r}; known: {arbiter.plans.names}"
    return CommandResult(arbiter=arbiter.rules.name, request_id=request_id, ok=False, code="REFUSED", text=text)


def _slot(arbiter: "Arbiter", slot: str, now: Now) -> SlotExplained:
    holder, draining = arbiter.state.holders.get(slot), arbiter.state.draining.get(slot)
    line = arbiter.slots.line(slot, now)
    if holder is None:
        return SlotExplained(slot=slot, line=line)
    stepping_down = ""
    if draining is not None:
        successor = f" for {draining.to}" if draining.to else ""
        stepping_down = clip(f"asked by {draining.actor} to step down{successor}: {draining.reason}")
    return SlotExplained(
        slot=slot,
        component=holder.component,
        incarnation=holder.incarnation,
        token=holder.token,
        lease_left_ns=max(0, arbiter.slots.ends_ns(slot) - now.boot_ns),
        stepping_down=stepping_down,
        line=line,
    )


def _member(arbiter: "Arbiter", plan: GroupPlan, name: str, now: Now) -> MemberExplained:
    member = arbiter.roster.members.get(name)
    holders = arbiter.state.holders
    holds = tuple(each for each in plan.slots if each in holders and holders[each].component == name)
    obstacles = [*_unable(arbiter, member, name, now), *_taken(arbiter, plan, member, holds)]
    if name in plan.policy.never:
        obstacles.append("its preference is never: it takes a slot only when an operator names it")
    if name in arbiter.brakes.barred(plan, plan.slots[0], now, asked=True):
        obstacles.append(f"backing off: {arbiter.chronicle.failures[name].count} promotions in a row failed")
    return MemberExplained(
        component=name,
        candidate=not obstacles,
        incarnation=member.heartbeat.incarnation if member else "",
        holds=holds,
        silent_ns=now.boot_ns - member.heard_ns if member else None,
        obstacles=tuple(map(clip, obstacles)),
        notes=_notes(arbiter, plan, name, member, now),
    )


def _notes(arbiter: "Arbiter", plan: GroupPlan, name: str, member: Member | None, now: Now) -> tuple[str, ...]:
    found = [_standby(arbiter, plan, name, member, now)]
    theirs, ours = member.heartbeat.control_version if member else 0, arbiter.state.control_version
    if member is not None and theirs < ours:
        found.append(
            f"its control version {theirs} is behind the journal's {ours}: it acts on no lease until it caught up"
        )
    found.extend(_states(arbiter, plan, name))
    return tuple(clip(each) for each in found if each)


def _states(arbiter: "Arbiter", plan: GroupPlan, name: str) -> list[str]:
    """How far the member has got with the slots' states, where there are any."""
    caught_up, found = arbiter.caught_up, []
    known = [each for each in plan.slots if caught_up.newest(each) != NOTHING]
    for slot in known[:STATES_NOTED_MAX]:
        mark, newest, lag_ms = caught_up.mark(name, slot), caught_up.newest(slot), caught_up.lag_ns(name, slot) // MS
        if mark >= newest:
            found.append(f"state of {slot}: version {mark.version}, the newest")
            continue
        has = f"version {mark.version}" if mark != NOTHING else "none"
        too_far = ", which is too far behind" if caught_up.lags(plan, slot, name) else ""
        found.append(f"state of {slot}: {has} of {newest.version}, lacking it for {lag_ms} ms{too_far}")
    return found


def _standby(arbiter: "Arbiter", plan: GroupPlan, name: str, member: Member | None, now: Now) -> str:
    """What kind of standby it is, if not a hot one, and how far its start is."""
    if name in plan.policy.warm:
        return "warm: chosen after hot ones"
    if name not in plan.policy.cold:
        return ""
    if member is not None and member.heartbeat.incarnation:
        return "cold, and started: chosen after hot and warm ones"
    if progress := arbiter.cold.progress(name, now):
        return f"cold: {progress}"
    problem = arbiter.cold.unable(name, now)
    if problem:
        return f"cold: would not be started: {problem}"
    return f"cold: would be started, within {plan.policy.start_limit_ns // MS} ms, if no ready member could take a slot"


def _unable(arbiter: "Arbiter", member: Member | None, name: str, now: Now) -> list[str]:
    """Why the member could not act now: exactly what `Roster.fresh` and the control version ask for, in words."""
    if member is None:
        return ["this arbiter never heard it"]
    heartbeat, said = member.heartbeat, "; ".join(member.heartbeat.reasons[:REASONS_MAX])
    because = f": {said}" if said else ""
    found = []
    if arbiter.roster.suspected(name, now.boot_ns):
        level = arbiter.roster.level(name, now.boot_ns)
        found.append(f"suspected: silent for {(now.boot_ns - member.heard_ns) // MS} ms, which is level {level:.1f}")
    if not heartbeat.incarnation:
        found.append(f"no component is attached to its sidecar{because}")
    elif heartbeat.incarnation in member.ended:
        found.append(f"its incarnation {heartbeat.incarnation} has ended, and the next was not heard yet")
    elif not heartbeat.ready:
        found.append(f"not ready{because}")
    if deaf_ns := arbiter.slots.deaf_ns(name, now):
        found.append(f"it sends heartbeats, but for {deaf_ns // MS} ms it has heard no answer: look at its link")
    version = arbiter.state.control_version
    if heartbeat.control_version > version:
        found.append(f"its control version {heartbeat.control_version} is ahead of the journal's {version}")
    if not found and arbiter.roster.fresh(name, now.boot_ns) is None:
        found.append("it could not act now")
    return found


def _taken(arbiter: "Arbiter", plan: GroupPlan, member: Member | None, holds: tuple[str, ...]) -> list[str]:
    """Why what the member holds keeps it from taking more."""
    if plan.shares:
        return []
    found = []
    for slot in holds:
        if slot in arbiter.state.draining:
            found.append(f"stepping down from {slot}")
        elif member is not None and arbiter.state.holders[slot].incarnation != member.heartbeat.incarnation:
            found.append(f"the lease of its earlier incarnation on {slot} has not ended")
        else:
            found.append(f"already holds {slot}")
    return found


def _waits(arbiter: "Arbiter", plan: GroupPlan, now: Now) -> tuple[str, ...]:
    """What keeps vacant slots of the group from being granted, whoever is a candidate."""
    found = []
    if frozen := arbiter.plans.contradictions.get(plan.name):
        found.append(frozen)
    if not arbiter.desk.may_grant(now):
        found.append("the leader may not grant: its own records have not come back from the journal lately")
    settled_ns = arbiter.desk.led_since_ns + SETTLING_HEARTBEATS * arbiter.rules.timing.heartbeat_ns
    if now.boot_ns < settled_ns:
        found.append(f"a new leader settles for another {-(-(settled_ns - now.boot_ns) // MS)} ms, to hear everyone")
    ready = sum(arbiter.roster.fresh(each, now.boot_ns) is not None for each in plan.members)
    if ready < plan.quorum and plan.quorum > 1:
        found.append(f"below quorum: {ready} of {len(plan.members)} members could act, {plan.quorum} are needed")
    pause = arbiter.pauses.status(plan.name, now)
    if pause is not None:
        found.append(f"paused by {pause.actor} for another {pause.left_ns // MS} ms: {pause.reason}")
    if unjudged := arbiter.silence.unjudged(now):
        found.append(clip(f"silent holders keep their slots: {unjudged}"))
    vacant = [each for each in plan.slots if each not in arbiter.state.holders]
    found.extend(wait for each in vacant if (wait := arbiter.brakes.waits_for(plan, each, now)))
    return (*found, *arbiter.cold.waits(plan, now))
