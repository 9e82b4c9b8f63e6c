"""The leader's view of everything, as one report. Owns the wording of nothing: it only gathers."""

from typing import TYPE_CHECKING

from sidecar.core.checkpoints import Digest
from sidecar.core.groups import GroupPlan
from sidecar.core.halt_overview import halt_statuses
from sidecar.core.ladder import Subject, level_of
from sidecar.core.outputs import Now
from sidecar.core.roster import Member
from sidecar.core.sanity import clip
from sidecar.messages.events import GroupStatus, SidecarStatus, SlotStatus, StatusReport

REASONS_MAX = 8
"""Reasons of one sidecar in a report."""

DIGESTED_MAX = 1_000
"""With no more orders than these in memory the digest is taken while the question waits: a few milliseconds."""

if TYPE_CHECKING:
    from sidecar.core.arbiter import Arbiter


def status_report(arbiter: "Arbiter", request_id: str, now: Now) -> StatusReport:
    """What the leader knows at `now`; its offset and digest say of which journal."""
    state = arbiter.state
    level, _ = level_of(state.halts.values(), Subject())
    left: dict[str, int] = {}
    digest = _digest(arbiter)
    for slot, holder in state.holders.items():
        left[holder.component] = max(left.get(holder.component, 0), arbiter.slots.ends_ns(slot) - now.boot_ns)
    return StatusReport(
        arbiter=arbiter.rules.name,
        request_id=request_id,
        term=state.position.term,
        offset=arbiter.offset,
        digest=digest.digest,
        digest_offset=digest.offset,
        arbiters=arbiter.peers.status(now),
        trading_state=level,
        control_version=state.control_version,
        halts=tuple(state.halts[each] for each in sorted(state.halts)),
        groups=tuple(_group(arbiter, each, now) for each in arbiter.plans),
        sidecars=tuple(
            _sidecar(arbiter, name, member, left, now) for name, member in sorted(arbiter.roster.members.items())
        ),
        orders=state.book.counts(),
        missing=arbiter.silence.missing(now),
        silence_unjudged=arbiter.silence.unjudged(now),
        halt_status=halt_statuses(arbiter, now),
        reconciliation=arbiter.reconciliation.reasons(now),
        differences=arbiter.reconciliation.status(),
    )


def _digest(arbiter: "Arbiter") -> Digest:
    """Of the present state while that is quickly done, else of the last mark."""
    book, offset = arbiter.desk.log_state.book, arbiter.offset
    return Digest(offset, arbiter.desk.log_state.digest()) if book.size <= DIGESTED_MAX else arbiter.checkpoints.last


def _group(arbiter: "Arbiter", plan: GroupPlan, now: Now) -> GroupStatus:
    reason = arbiter.state.degraded.get(plan.name)
    return GroupStatus(
        group=plan.name,
        mode=str(plan.mode),
        slots=tuple(_slot(arbiter, each, now) for each in plan.slots),
        degraded=reason is not None,
        degraded_reason=reason or "",
        pause=arbiter.pauses.status(plan.name, now),
        waits=tuple(
            wait
            for slot in plan.slots
            if slot not in arbiter.state.holders and (wait := arbiter.brakes.waits_for(plan, slot, now))
        )
        + arbiter.cold.waits(plan, now),
        components=plan.members,
        origin=arbiter.plans.known(plan.name),
        registered=plan.name in arbiter.state.groups,
        contradiction=arbiter.plans.contradictions.get(plan.name, ""),
    )


def _slot(arbiter: "Arbiter", slot: str, now: Now) -> SlotStatus:
    holder = arbiter.state.holders.get(slot)
    if holder is None:
        return SlotStatus(slot=slot)
    return SlotStatus(
        slot=slot,
        component=holder.component,
        incarnation=holder.incarnation,
        token=holder.token,
        lease_left_ns=max(0, arbiter.slots.ends_ns(slot) - now.boot_ns),
        draining=slot in arbiter.state.draining,
    )


def _sidecar(arbiter: "Arbiter", name: str, member: Member, left: dict[str, int], now: Now) -> SidecarStatus:
    plan = arbiter.plans.of(name)
    heartbeat = member.heartbeat
    return SidecarStatus(
        component=name,
        group=plan.name if plan else "",
        incarnation=heartbeat.incarnation,
        ready=heartbeat.ready,
        role=heartbeat.role,
        control_version=heartbeat.control_version,
        silent_ns=now.boot_ns - member.heard_ns,
        lease_left_ns=left.get(name, 0),
        reasons=tuple(map(clip, heartbeat.reasons[:REASONS_MAX])),
        suspected=arbiter.roster.suspected(name, now.boot_ns),
        phi=arbiter.roster.level(name, now.boot_ns) if arbiter.rules.detection.method == "phi" else 0.0,
    )
