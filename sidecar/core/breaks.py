"""Opening a break: journaled, told, and what its policies halt.

Owns the record, the event and the halts that follow from one difference between us and a venue. It must not judge
whether there is one (`order.py`), nor close any: an operator does, through `verifier.py`.
"""

from collections.abc import Callable

from sidecar.core.leadership import Desk
from sidecar.core.limit_desk import LimitDesk
from sidecar.core.order import Order
from sidecar.core.orders import adopted_intent
from sidecar.core.outputs import Event
from sidecar.core.sanity import TEXT_MAX, clip
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.events import BreakFound
from sidecar.messages.journal import BreakOpened
from sidecar.messages.orders import ExecutionReport, OrderIntent


class Breaks:
    """The breaks that one leader finds. `impose` journals a halt of ours."""

    def __init__(self, name: str, desk: Desk, limits: LimitDesk, impose: Callable[[Halt], None]) -> None:
        self._name = name
        self._desk = desk
        self._limits = limits
        self._impose = impose

    def of(self, order: Order, kind: str, ours: str, theirs: str) -> None:
        """Open one of an order in memory, once."""
        if kind not in order.breaks:
            self.open(order.intent.cl_ord_id, kind, ours, theirs, order.intent)

    def of_stray(self, cl_ord_id: str, report: ExecutionReport, problem: str, *, retired: bool) -> None:
        """Open one of an order that is not in memory."""
        kind, ours = ("LATE_EVIDENCE", "long finished") if retired else ("EXTERNAL_ORDER", "not granted by us")
        what = f"{report.side} {report.order_qty} {report.symbol} for {report.account}, OrderID {report.order_id}"
        self.open(cl_ord_id, kind, ours, problem or what, adopted_intent(report))

    def open(self, cl_ord_id: str, kind: str, ours: str, theirs: str, intent: OrderIntent) -> None:
        """Journal and tell a break, and halt what the policies of the order's scopes say.

        The halt comes first: a leader that dies in between reads the cause again, and a break that is known is not
        opened again.
        """
        self._halt(cl_ord_id, kind, intent)
        self._desk.emit(BreakOpened(cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs))
        found = BreakFound(arbiter=self._name, cl_ord_id=cl_ord_id, kind=kind, ours=ours, theirs=theirs)
        self._desk.send(Event(found, f"break-found.{kind.lower()}"))

    def _halt(self, cl_ord_id: str, kind: str, intent: OrderIntent) -> None:
        """Halt what the policies of this order's scopes say; an overfill halts its account in any case."""
        scopes = {f"account:{intent.account}"} if kind == "OVERFILL" else set()
        for each in self._limits.of(intent):
            limits = each.limits
            if limits is not None and (limits.halt_on_external if kind == "EXTERNAL_ORDER" else limits.halt_on_break):
                scopes.add(each.scope)
        # Also those of the leader before, which may have died between the halt and the break.
        ours = [
            each
            for each in self._desk.state.halts.values()
            if each.actor == self._name or each.halt_id.startswith("break-")
        ]
        halted = {scope for each in ours if each.level is TradingState.HALTED for scope in each.scopes}
        if scopes - halted:
            reason = clip(f"{kind}: order {cl_ord_id} differs from what the venue says")
            self._impose(
                Halt(
                    halt_id=self._halt_id(f"break-{kind.lower()}-{cl_ord_id}"),
                    scopes=tuple(sorted(scopes - halted)),
                    level=TradingState.HALTED,
                    reason=reason,
                    actor=self._name,
                )
            )

    def _halt_id(self, wanted: str) -> str:
        """A name that no halt has or had: one that was lifted cannot be raised again, and long ones may look alike."""
        state, name = self._desk.state, clip(wanted)
        if name not in state.halts and name not in state.lifted:
            return name
        return f"{name[: TEXT_MAX - 24]}#{state.control_version + 1}"
