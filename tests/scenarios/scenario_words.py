"""What a scenario's output says: facts, answers, alerts and gates in plain words.

Owns the wording. It must not know how anything came about. Times are milliseconds since the scenario began.
"""

from collections.abc import Iterator

from sidecar.core.sidecar import Sidecar
from sidecar.core.timing import MS
from sidecar.messages.base import Message, SlotToken
from sidecar.messages.control import CommandResult, Halt
from sidecar.messages.detection import CorrelatedSilence, MemberHeard, MemberMissing, MemberSuspected
from sidecar.messages.events import StatusReport
from sidecar.messages.explain import ExplainReport, Failover, HistoryReport
from sidecar.messages.journal import (
    AnyFact,
    GroupDegraded,
    GroupPaused,
    GroupRestored,
    HaltLifted,
    HaltRaised,
    OrderPrecommitted,
    OrderRefused,
    PauseEnded,
    SlotDraining,
    SlotGranted,
    SlotTaken,
    SlotVacated,
    TermStarted,
    Ticked,
)
from sidecar.messages.orders import OrderDenied, OrderGranted


def ms(value_ns: int) -> str:
    """A time for people."""
    return f"{value_ns // MS} ms"


def fact_words(fact: AnyFact, term: int) -> str:
    """What a record says; empty for a tick, of which there are too many."""
    match fact:
        case Ticked():
            return ""
        case TermStarted():
            return f"term {term} begins: {fact.reason}"
        case SlotGranted():
            by = f", asked by {fact.actor}" if fact.actor and f"(by {fact.actor})" not in fact.cause else ""
            return f"{fact.slot} goes to {fact.incarnation} under {fact.token} ({fact.cause}{by})"
        case SlotVacated():
            heard = "" if fact.last_heard_ms_ago is None else f", last heard {fact.last_heard_ms_ago} ms ago"
            return f"{fact.slot} leaves {fact.incarnation} ({fact.cause}{heard})"
        case SlotTaken():
            return f"{fact.slot} is acted upon under {fact.token}"
        case SlotDraining():
            to = f" for {fact.to}" if fact.to else ""
            return f"{fact.slot}: its holder is to step down{to} (by {fact.actor}: {fact.reason})"
        case _:
            return _other_fact_words(fact)


def _other_fact_words(fact: AnyFact) -> str:
    match fact:
        case GroupDegraded():
            return f"{fact.group} is degraded to REDUCING: {fact.reason}"
        case GroupRestored():
            return f"{fact.group} is restored"
        case GroupPaused():
            return f"{fact.group} is paused for {ms(fact.duration_ns)} by {fact.actor}: {fact.reason}"
        case PauseEnded():
            return f"the pause of {fact.group} ends{f' by {fact.actor}' if fact.actor else ''}: {fact.reason}"
        case HaltRaised():
            return f"{halt_words(fact.halt)} is in force"
        case HaltLifted():
            return f"halt {fact.halt_id} is lifted by {fact.actor}: {fact.reason}"
        case OrderPrecommitted():
            return f"order {fact.intent.cl_ord_id} may be sent under {fact.intent.token}"
        case OrderRefused():
            return f"order {fact.intent.cl_ord_id} is denied: {fact.code}"
        case _:
            return type(fact).__name__


def halt_words(halt: Halt) -> str:
    """A halt, with what it closes."""
    return f"halt {halt.halt_id} ({halt.level.name} of {', '.join(halt.scopes)})"


def held_words(held: tuple[SlotToken, ...]) -> str:
    """Slots with their tokens."""
    return ", ".join(f"{each.slot} under {each.token}" for each in held)


def gate_words(core: Sidecar, now_ns: int, start_ns: int) -> str:
    """The gate as it stands, with its deadline where it is open."""
    if why := core.why_closed(now_ns):
        return f"gate CLOSED: {why}"
    return f"gate OPEN for {held_words(core.slots)} until {ms(core.deadline_ns - start_ns)}"


def event_words(message: Message) -> str:
    """An alert; empty for the events that repeat what the journal's line has said."""
    match message:
        case MemberSuspected():
            return f"alerts: {message.component} of {message.group} is suspected, silent for {ms(message.silent_ns)}"
        case MemberMissing():
            return f"alerts: {message.component} of {message.group} was never heard"
        case MemberHeard():
            return f"tells: {message.component} of {message.group} is heard"
        case CorrelatedSilence():
            names = ", ".join(message.components) or "nobody"
            return f"alerts: correlated silence {message.change} ({names})"
        case _:
            return ""


def answer_words(message: Message) -> Iterator[str]:
    """The answer to a question or a request, line by line."""
    match message:
        case CommandResult():
            yield f"answers {message.code}: {message.text}"
        case OrderGranted():
            yield f"answers: order {message.cl_ord_id} is granted"
        case OrderDenied():
            yield f"answers: order {message.cl_ord_id} is denied, {message.code}: {message.text}"
        case ExplainReport():
            yield from explain_words(message)
        case HistoryReport():
            yield from map(failover_words, message.failovers)
        case StatusReport():
            yield from status_words(message)
        case _:
            yield type(message).__name__


def explain_words(report: ExplainReport) -> Iterator[str]:
    """Who holds each slot, who would be next, and why others are no candidates."""
    for slot in report.slots:
        line = f"next in line: {', '.join(slot.line) or 'nobody'}"
        if slot.component:
            down = f"; {slot.stepping_down}" if slot.stepping_down else ""
            held = f"{slot.incarnation} holds it under {slot.token}, for {ms(slot.lease_left_ns)} at most"
            yield f"{slot.slot}: {held}{down}; {line}"
        else:
            yield f"{slot.slot}: vacant; {line}"
    for member in report.members:
        yield f"{member.component}: {'a candidate' if member.candidate else '; '.join(member.obstacles)}"
        yield from (f"{member.component}: {each}" for each in member.notes)
    yield from (f"waits: {each}" for each in report.waits)


def status_words(report: StatusReport) -> Iterator[str]:
    """The holders of all slots, and what holds the groups back."""
    for group in report.groups:
        for slot in group.slots:
            left = f", for {ms(slot.lease_left_ns)} at most" if slot.component else ""
            draining = ", stepping down" if slot.draining else ""
            held = f"{slot.incarnation} under {slot.token}" if slot.component else "vacant"
            yield f"{slot.slot}: {held}{left}{draining}"
        if group.degraded:
            yield f"{group.group}: degraded to REDUCING: {group.degraded_reason}"
        if group.pause is not None:
            yield f"{group.group}: paused by {group.pause.actor} for {ms(group.pause.left_ns)}: {group.pause.reason}"
        yield from group.waits
    if report.halts:
        yield f"halts: {', '.join(map(halt_words, report.halts))}, control version {report.control_version}"


def failover_words(failover: Failover) -> str:
    """One line of the history; its times are left out, because the lines above have them."""
    asked = f", asked by {failover.asked_by}" if failover.asked_by else ""
    acted = "acted" if failover.taken_ns else "has not acted"
    taker = f"{failover.component or 'nobody yet'}"
    return f"{failover.slot}: {failover.previous or 'nobody'} -> {taker} ({failover.cause}{asked}), {acted}"
