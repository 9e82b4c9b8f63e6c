"""One order's story for a person, and as JSON.

Owns words and layout: what each record says, who said it, and what to do next. It must not ask anybody anything.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sidecar.cli.breaks_view import sides_of
from sidecar.cli.halts_view import columns_of
from sidecar.cli.orders_view import WAITS, iso, phase_text, when, words_of
from sidecar.core.order import ABSENCES_NEEDED
from sidecar.journal.order_story import OrderStory, Told
from sidecar.messages.journal import (
    AbsenceSeen,
    BreakClosed,
    BreakOpened,
    EvidenceSeen,
    HaltLifted,
    HaltRaised,
    OrderAdopted,
    OrderLost,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    OrphanSeen,
)
from sidecar.messages.order_queries import OrderReport
from sidecar.messages.orders import ExecutionReport, OrderIntent

NO_REPORT: Final = "no report by the deadline"
"""The arbiter's own word in an OrderLost; every other one is the component's."""
ABSENT: Final = "absent at the venue"
"""How the arbiter's own word in an OrderNeverSent begins."""
NEXT: Final = {
    "report": "then it is UNKNOWN, and the venue is asked",
    "query": "then the venue is asked again; only its word resolves it",
    "evidence": "then the venue is asked",
    "ending": "then the venue is asked; shown open again it is a break",
    "review": "then the venue is asked whether fills were missed",
    "claim": "then its order is external",
}


PAST: Final = {
    "EXTERNAL": ", not ours, and known by its break only",
    "NAME": ", not in the leader's memory any more",
    "NOT": ", not in the leader's memory any more",
}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the story: when it was decided, by whom it was said, and what it says, in words and as journaled.

    `at` is the deciding arbiter's wall clock, UTC; `arbiter` its name and run, `term` its leadership.
    """

    at: str
    at_ns: int
    offset: int
    term: int
    n: int
    arbiter: str
    cl_ord_id: str
    who: str
    what: str
    text: str
    fact: dict[str, Any]


class OrderTold(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `sidecar order`. `now` is the leader's memory, None when no arbiter answered.

    `source` is where the story was read: `archive`, `journal`, or empty. `notes` says what is missing and why.
    """

    id: str
    cl_ord_id: str
    known: bool
    now: OrderReport | None
    intent: OrderIntent | None
    chain: tuple[str, ...]
    story: tuple[Moment, ...]
    source: str
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls, asked: str, report: OrderReport | None, story: OrderStory | None, *, source: str, notes: tuple[str, ...]
    ) -> "OrderTold":
        """All that was found out."""
        told = story.told if story is not None else []
        moments = tuple(_moments(told))
        name = report.cl_ord_id if report is not None and report.remembered != "NOT" else ""
        name = name or (story.name if story is not None and told else "") or asked
        intent = report.intent if report is not None else None
        if story is not None and story.cut:
            notes = (*notes, "the story is longer than what is told here: see `sidecar audit --cl-ord-id`")
        return cls(
            id=asked,
            cl_ord_id=name,
            known=bool(told) or (report is not None and report.remembered != "NOT"),
            now=report,
            intent=intent or _intent(told, name),
            chain=tuple(sorted({each.cl_ord_id for each in moments if each.cl_ord_id} - {name})),
            story=moments,
            source=source,
            notes=notes,
        )


def order_view(told: OrderTold) -> RenderableType:
    """Everything, for a person."""
    if not told.known:
        answer = f"nobody knows an order {told.id}" if told.now is not None else f"nothing is known of {told.id} here"
        return Group(Text(answer, style="bold red"), *_notes(told))
    parts: list[RenderableType] = [_headline(told)]
    if told.intent is not None:
        parts.append(_intent_view(told.intent))
    if told.now is not None:
        parts.extend(Text(line, style=style) for line, style in _now(told.now))
    if told.story:
        parts.append(_story(told))
    reports = [each for each in _reports(told) if each.cl_ord_id in (told.cl_ord_id, "")]
    if reports:
        parts.append(_executions(reports))
    return Group(*parts, *_notes(told))


# --- the story ---


def _moments(told: Iterable[Told]) -> Iterator[Moment]:
    owners: dict[str, OrderIntent] = {}
    for each in told:
        record = each.record
        match record.fact:
            case OrderPrecommitted(intent=intent) | OrderRefused(intent=intent):
                owners.setdefault(intent.cl_ord_id, intent)
        name = _name_of(record.fact)
        what, who, text = _said(record.fact, owners.get(name), record.arbiter.partition("#")[0])
        yield Moment(
            at=iso(record.at_ns),
            at_ns=record.at_ns,
            offset=each.offset,
            term=record.term,
            n=record.n,
            arbiter=record.arbiter,
            cl_ord_id=name,
            who=who,
            what=what,
            text=text,
            fact=msgspec.to_builtins(record.fact),
        )


def _name_of(fact: Any) -> str:
    for holder in (getattr(fact, "intent", None), getattr(fact, "report", None), fact):
        name = getattr(holder, "cl_ord_id", "")
        if name:
            return str(name)
    return ""


def _said(fact: Any, intent: OrderIntent | None, arbiter: str) -> tuple[str, str, str]:
    """What a record says: the word for it, who says so, and the rest."""
    component = intent.component if intent is not None else "the component"
    match fact:
        case OrderPrecommitted():
            who = f"{fact.intent.component} ({fact.intent.incarnation})"
            return "granted", who, f"{_order_words(fact.intent)}, slot {fact.intent.slot}, token {fact.intent.token}"
        case OrderRefused():
            return "DENIED", arbiter, f"{fact.code}: {fact.text}"
        case OrderReported():
            return "committed", component, f"OrderID {fact.order_id}, OrdStatus {fact.ord_status}"
        case OrderLost():
            return "UNKNOWN", arbiter if fact.reason == NO_REPORT else component, fact.reason
        case OrderNeverSent():
            return "never sent", arbiter if fact.reason.startswith(ABSENT) else component, fact.reason
        case EvidenceSeen() | OrphanSeen():
            return "evidence", f"{fact.report.venue} ({_source(fact.source)})", _report_words(fact.report)
        case OrderAdopted():
            return "adopted", f"{fact.report.venue} ({_source(fact.source)})", _report_words(fact.report)
        case AbsenceSeen():
            return "not found", "the venue, asked", f"query {fact.query_id}; {ABSENCES_NEEDED} prove absence"
        case BreakOpened():
            ours, theirs = sides_of(fact.ours, fact.theirs)
            return "BREAK", arbiter, f"{fact.kind}: ours {ours}; theirs {theirs}"
        case BreakClosed():
            return "break resolved", fact.actor, fact.reason
        case HaltRaised():
            return "halt", fact.halt.actor, f"{fact.halt.level.name} {' '.join(fact.halt.scopes)}: {fact.halt.reason}"
        case HaltLifted():
            return "halt lifted", fact.actor, f"{fact.halt_id}: {fact.reason}"
        case _:
            return type(fact).__name__, arbiter, ""


def _source(source: str) -> str:
    return {"drop_copy": "drop copy", "query": "asked"}.get(source, source)


def _order_words(intent: OrderIntent) -> str:
    price = "at the market" if intent.price is None else f"at {intent.price:f}"
    original = f" of {intent.orig_cl_ord_id}" if intent.orig_cl_ord_id else ""
    if intent.kind in ("CANCEL", "MASS_CANCEL"):
        return f"{intent.kind}{original} {intent.symbol}".strip()
    return f"{intent.kind}{original} {intent.side} {intent.qty:f} {intent.symbol} {price}"


def _report_words(report: ExecutionReport) -> str:
    text = f"{report.exec_type}, OrdStatus {report.ord_status}, CumQty {report.cum_qty:f} of {report.order_qty:f}"
    if report.last_qty:
        text += f", last {report.last_qty:f} at {report.last_px:f}"
    return f"{text}, OrderID {report.order_id}, ExecID {report.exec_id}"


def _intent(told: Iterable[Told], name: str) -> OrderIntent | None:
    for each in told:
        match each.record.fact:
            case OrderPrecommitted(intent=intent) | OrderRefused(intent=intent) if intent.cl_ord_id == name:
                return intent
    return None


# --- the parts of the view ---


def _headline(told: OrderTold) -> Text:
    line = told.now.line if told.now is not None else None
    if line is None:
        return Text(f"{told.cl_ord_id}{PAST.get(told.now.remembered, '') if told.now else ''}", style="bold")
    filled = f"  {line.ord_status or 'no OrdStatus yet'}, {line.cum_qty:f} of {line.qty:f} filled  "
    return Text.assemble((told.cl_ord_id, "bold"), f"  {words_of(line)}  ", phase_text(line), filled, line.order_id)


def _intent_view(intent: OrderIntent) -> Table:
    table = columns_of("intent", "")
    for name, value in msgspec.to_builtins(intent).items():
        if name == "type" or value in ("", None, False):
            continue
        shown = f"{value['term']}.{value['epoch']}" if name == "token" else str(value)
        table.add_row(name, Text(shown))
    return table


def _now(report: OrderReport) -> Iterator[tuple[str, str]]:
    line = report.line
    if report.remembered == "NAME":
        yield "granted once and finished; the leader remembers the ClOrdID only", ""
    if report.adopted:
        yield "it was not granted by us: found at the venue, and followed since", "yellow"
    if report.replaces:
        yield f"replaces {', '.join(report.replaces)}", ""
    if report.replaced_by:
        yield f"replaced by {', '.join(report.replaced_by)}", ""
    if report.replacing:
        yield f"a replacement is asked for, its outcome is not known yet: {report.replacing}", "yellow"
    if report.cancelled_by:
        yield f"a cancel concerns it: {report.cancelled_by}", "yellow"
    if line is not None and line.waits:
        left = f" for another {report.wait_left_ns / 1e9:.1f} s" if report.wait_left_ns else ""
        yield f"waits for {WAITS.get(line.waits, line.waits)}{left}, {NEXT.get(line.waits, '')}", "cyan"
    elif line is not None and not line.breaks and not line.code:
        yield "nothing more is expected", "green"
    for each in report.breaks:
        ours, theirs = sides_of(each.ours, each.theirs)
        yield f"open break {each.kind} since {when(each.at_ns)}: ours {ours}; theirs {theirs}", "bold red"
    if report.breaks:
        yield f'to close it: sidecar break resolve {report.cl_ord_id} --reason "..."', ""
    for halt_id in report.halts:
        yield f'it halted: sidecar resume {halt_id} --reason "..."', "bold red"


def _story(told: OrderTold) -> Table:
    several = len({each.cl_ord_id for each in told.story} - {""}) > 1
    columns = ("when (UTC)", *(("ClOrdID",) if several else ()), "what", "who", "", "offset", "decided by")
    table = columns_of(*columns)
    table.columns[0].no_wrap = True
    for each in told.story:
        style = "bold red" if each.what in ("UNKNOWN", "BREAK", "halt", "DENIED") else ""
        named = (Text(each.cl_ord_id),) if several else ()
        decided = f"{each.arbiter.partition('#')[0]}, term {each.term}"
        table.add_row(
            when(each.at_ns),
            *named,
            Text(each.what, style=style),
            Text(each.who),
            Text(each.text),
            str(each.offset),
            decided,
        )
    return table


def _reports(told: OrderTold) -> list[ExecutionReport]:
    """All executions of the story, or those in the leader's memory where there is none."""
    if not told.story:
        return list(told.now.reports) if told.now is not None else []
    kinds = ("EvidenceSeen", "OrderAdopted", "OrphanSeen")
    facts = (each.fact for each in told.story if each.fact["fact"] in kinds)
    return [msgspec.convert(fact["report"], ExecutionReport) for fact in facts]


def _executions(reports: Iterable[ExecutionReport]) -> Table:
    table = columns_of(
        "ExecID", "ExecType", "OrdStatus", "LastQty", "LastPx", "CumQty", "LeavesQty", "AvgPx", "OrderID"
    )
    seen: set[ExecutionReport] = set()
    for each in reports:
        if each in seen:
            continue
        seen.add(each)
        numbers = (each.last_qty, each.last_px, each.cum_qty, each.leaves_qty, each.avg_px)
        table.add_row(
            Text(each.exec_id),
            each.exec_type,
            each.ord_status,
            *(f"{number:f}" for number in numbers),
            Text(each.order_id),
        )
    return table


def _notes(told: OrderTold) -> list[Text]:
    notes = [Text(each, style="yellow") for each in told.notes]
    if told.source:
        notes.append(Text(f"read from the {told.source}; times are the deciding arbiter's clock", style="dim"))
    return notes
