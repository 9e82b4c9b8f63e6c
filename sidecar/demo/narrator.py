"""The demo's words for what the processes report. Nothing is said here that was not heard.

Owns the wording. It must not know the scenario: a line is a function of one message and of what was told before.
"""

from collections.abc import Callable

from sidecar.messages.base import Message
from sidecar.messages.events import BreakFound, ControlChanged, OrderChanged, SlotEmptied, SlotMoved, TermBegan
from sidecar.messages.orders import DropCopy, ExecutionReport, OrdStatus, Phase


class Narrator:
    """Tells events as they come. Orders are many: of each component, the first to enter each phase is told."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: set[tuple[str, str]] = set()
        self._unknown: set[str] = set()

    def hear(self, message: Message) -> None:
        """Tell this message, if it is news."""
        match message:
            case TermBegan():
                self._say(f"{message.arbiter} leads, term {message.term}")
            case SlotMoved():
                self._say(f"{message.slot} goes to {message.component}, token {message.token} ({message.cause})")
            case SlotEmptied():
                self._say(f"{message.slot} left {message.component}, token {message.token} ({message.cause})")
            case ControlChanged(change="raised", halt=halt):
                scopes = ", ".join(halt.scopes)
                self._say(f"journaled: {halt.level.name} on {scopes} by {halt.actor}: {halt.reason}")
            case ControlChanged():
                self._say(f"journaled: {message.actor} lifted halt {message.halt.halt_id}: {message.reason}")
            case BreakFound():
                self._say(f"BREAK {message.kind} on {message.cl_ord_id}: {message.ours} against {message.theirs}")
            case OrderChanged():
                self._order(message)
            case DropCopy(report=report):
                self._execution(report)
            case _:
                pass

    def _order(self, event: OrderChanged) -> None:
        order = f"{event.component}: order {short(event.cl_ord_id)}"
        if event.phase is Phase.UNKNOWN:
            self._unknown.add(event.cl_ord_id)
            self._say(f"{order} is UNKNOWN; {event.venue} is asked")
        elif event.cl_ord_id in self._unknown:
            self._unknown.discard(event.cl_ord_id)
            self._say(f"{order} is {event.phase}, by {event.venue}'s own word")
        elif self._first(event.component, event.phase):
            why = f": {event.code} {event.text}" if event.code or event.text else ""
            self._say(f"{order} is the first {event.phase}{why}")

    def _execution(self, report: ExecutionReport) -> None:
        told: tuple[OrdStatus, ...] = ("PARTIALLY_FILLED", "FILLED", "REJECTED", "CANCELED")
        if report.ord_status in told and self._first("venue", report.ord_status):
            quantity = f"{report.cum_qty} of {report.order_qty} {report.symbol}"
            self._say(f"{report.venue} drop copy: {short(report.cl_ord_id)} {report.ord_status}, {quantity}")

    def _first(self, who: str, what: str) -> bool:
        if (who, what) in self._told:
            return False
        self._told.add((who, what))
        return True


def short(cl_ord_id: str) -> str:
    """A ClOrdID of the toy components for people: the start of the incarnation, and the number."""
    incarnation, dash, number = cl_ord_id.rpartition("-")
    return f"{incarnation[:6]}{dash}{number}"
