"""One simulated component that trades: it asks, is answered, looks at its gate, sends, and reports.

Owns what `agent/orders.py`, `agent/reports.py` and a well-behaved component do with an order. Its sidecar forgets all
of this when it is killed; the component goes on by its gate page until the new one closes that.
"""

import random
from collections.abc import Callable
from typing import Any

from sidecar.core.timing import MS
from sidecar.gate.reader import passes
from sidecar.messages.base import Message
from sidecar.messages.control import TradingState
from sidecar.messages.local import OrderRequest
from sidecar.messages.orders import (
    ExecutionReport,
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderIntent,
    OrderUnknown,
    ReportRecorded,
)
from sidecar.simulator.clocks import S
from sidecar.simulator.ledger import Ledger
from sidecar.simulator.operators import ORDER_SCOPES
from sidecar.simulator.sidecar_host import SidecarHost
from sidecar.simulator.venue import Venue
from sidecar.simulator.wishes import Wishes

ATTEMPT_NS = 500 * MS
ATTEMPTS = 2
REPEAT_NS = 1 * S
HASTE_NS = 50 * MS
"""Who takes over a slot asks for its first order at most so long after."""
THINK_NS = 20 * MS
"""A component looks at its gate at most so long after it was told that it may send."""
SLOW = 0.2
"""Of so many orders the way to the venue takes about as long as it may; of the others it is short."""
ANSWER_NS = 100 * MS
PATIENCE_NS = 1 * S
"""Without the venue's answer for so long an order is reported UNKNOWN."""
NO_ANSWER, NO_REPORT, CUT_SHORT = 0.15, 0.1, 0.1
"""Of so many orders the venue's answer gets lost on the way; of so many nothing is reported at all; of so many the
connection to the venue breaks, and they are reported UNKNOWN while they may still be on their way."""
TWICE, ANEW, OLD_MAX = 0.1, 0.1, 20
"""So many questions are delivered twice; so many, once a sidecar was killed, use a ClOrdID of before again."""


class Trader:
    """One component's orders. `effect_ns` is the longest way from its gate to the venue; `put` leads to arbiters."""

    def __init__(
        self,
        host: SidecarHost,
        dice: random.Random,
        venue: Venue,
        ledger: Ledger,
        put: Callable[[Message, str, str], None],
        *,
        effect_ns: int,
        interval_ns: int,
    ) -> None:
        self._host = host
        self._dice = dice
        self._venue = venue
        self._ledger = ledger
        self._put = put
        self._effect_ns = effect_ns
        self._interval_ns = interval_ns
        self._asked = 0
        self._life = host.life
        self._waiting: dict[str, tuple[OrderRequest, OrderIntent]] = {}
        self._given_up: set[str] = set()
        self._unrecorded: dict[str, Message] = {}
        self._executed_here: set[str] = set()
        self._old: list[str] = []
        """What the last runs of its sidecar were asked for, and did not know the end of."""
        self._wishes = Wishes(dice, venue.exchange)
        self._end_ns = 0
        host.on_order = self.hear
        host.on_opened = self.open_up

    def open_up(self) -> None:
        """Whoever takes over trades at once."""
        if self._agenda.now_ns < self._end_ns:
            self._agenda.after(self._dice.randrange(HASTE_NS), self._host.run, self._ask)

    def trade_until(self, end_ns: int) -> None:
        """Ask for an order every now and then."""
        self._end_ns = end_ns
        if self._agenda.now_ns < end_ns:
            if self._host.alive and not self._host.stopped:
                self._ask()
            self._agenda.after(self._dice.randrange(2 * self._interval_ns), self.trade_until, end_ns)

    def hear(self, message: Message) -> None:
        """An answer or a receipt comes to the sidecar."""
        self._forget_if_killed()
        match message:
            case OrderGranted(cl_ord_id=cl_ord_id):
                self._ledger.answered(cl_ord_id, self._agenda.now_ns)
                if cl_ord_id in self._waiting:
                    self._pass_on(*self._waiting.pop(cl_ord_id))
                elif cl_ord_id in self._given_up:
                    self._given_up.discard(cl_ord_id)
                    self._abort(cl_ord_id, "granted too late, never passed on")
            case OrderDenied(cl_ord_id=cl_ord_id) if cl_ord_id in self._waiting:
                _, intent = self._waiting.pop(cl_ord_id)
                self._ledger.denied(intent.kind, message.code, "a leader", self._agenda.now_ns)
            case ReportRecorded(cl_ord_id=cl_ord_id):
                self._unrecorded.pop(cl_ord_id, None)

    # --- inside ---

    @property
    def _agenda(self) -> Any:
        return self._host.agenda

    def _forget_if_killed(self) -> None:
        if self._life != self._host.life:
            self._life = self._host.life
            self._old = [*self._old, *self._waiting, *self._given_up, *self._unrecorded][-OLD_MAX:]
            self._waiting.clear()
            self._given_up.clear()
            self._unrecorded.clear()

    def _ask(self) -> None:
        self._forget_if_killed()
        core, dice = self._host.core, self._dice
        if not core.slots:
            return
        self._asked += 1
        cl_ord_id, slot = f"{core.incarnation}~{self._asked}", dice.choice(core.slots).slot
        if self._old and dice.random() < ANEW:
            cl_ord_id = dice.choice(self._old)
        request = self._wishes.next(cl_ord_id, slot)
        denial = core.deny(request, self._host.local_ns)
        if denial is not None:
            self._ledger.denied(request.kind, denial.code, "a sidecar", self._agenda.now_ns)
            return
        intent = core.intent(request)
        if intent is not None:
            self._waiting[intent.cl_ord_id] = (request, intent)
            self._attempt(intent, ATTEMPTS, self._life)

    def _attempt(self, intent: OrderIntent, left: int, life: int) -> None:
        """Send the intent, and again; without an answer nothing may be sent."""
        if life != self._life or intent.cl_ord_id not in self._waiting:
            return
        if left:
            for _ in range(2 if self._dice.random() < TWICE else 1):
                self._put(intent, self._host.name, self._host.name)
            self._agenda.after(ATTEMPT_NS, self._host.run, self._attempt, intent, left - 1, life)
        else:
            del self._waiting[intent.cl_ord_id]
            self._given_up.add(intent.cl_ord_id)

    def _pass_on(self, request: OrderRequest, intent: OrderIntent) -> None:
        denial = self._host.core.recheck(request, intent, self._host.local_ns)
        if denial is not None:
            self._abort(intent.cl_ord_id, f"granted, but not passed on: {denial.code}")
        else:
            self._agenda.after(self._dice.randrange(THINK_NS), self._send, intent, self._life, self._agenda.now_ns)

    def _send(self, intent: OrderIntent, life: int, passed_on_ns: int) -> None:
        """The component's last look is at its gate, as it stands, whatever became of its sidecar."""
        host, page = self._host, self._host.page
        passing = passes(page, host.local_ns, scopes=ORDER_SCOPES, kind=intent.kind, reduces_risk=intent.reduces_risk)
        ours = page.incarnation == intent.incarnation
        if ours and not passing and host.local_ns < page.deadline_ns:
            self._ledger.denied(intent.kind, TradingState.HALTED.name, "a gate page", self._agenda.now_ns)
        if not ours or not passing:
            if host.core.incarnation == intent.incarnation:
                self._tell_sidecar(OrderAborted, intent, life, reason="the gate closed before it was sent")
            return
        self._ledger.left(intent, self._agenda.now_ns)
        way_ns = int(self._dice.random() ** 4 * self._effect_ns)
        if self._dice.random() < SLOW:
            way_ns = self._effect_ns - way_ns
        if len(host.core.slots) > 1:  # Its page is of no one slot: the time runs from the sidecar's last look at that.
            way_ns = min(way_ns, self._effect_ns - (self._agenda.now_ns - passed_on_ns))
        self._agenda.after(way_ns, self._venue.arrive, intent, lambda report: self._executed(intent, report, life))
        roll = self._dice.random()
        if roll >= NO_REPORT:
            patience_ns = PATIENCE_NS if roll < 1 - CUT_SHORT else self._dice.randrange(self._effect_ns)
            self._agenda.after(patience_ns, self._run_out, intent, life)

    def _executed(self, intent: OrderIntent, report: ExecutionReport, life: int) -> None:
        if self._dice.random() >= NO_ANSWER:
            way_ns = self._dice.randrange(ANSWER_NS)
            self._agenda.after(way_ns, self._commit, intent, report, life)

    def _commit(self, intent: OrderIntent, report: ExecutionReport, life: int) -> None:
        self._executed_here.add(intent.cl_ord_id)
        self._tell_sidecar(OrderCommitted, intent, life, order_id=report.order_id, ord_status=report.ord_status)

    def _run_out(self, intent: OrderIntent, life: int) -> None:
        """The venue's answer did not come in time."""
        if intent.cl_ord_id not in self._executed_here:
            self._tell_sidecar(OrderUnknown, intent, life, reason="no answer of the venue")

    def _tell_sidecar(self, kind: type[Any], intent: OrderIntent, life: int, **what: Any) -> None:
        """Only to the sidecar that passed it on: a new one is told nothing of old orders by this component."""
        if self._host.life == life and self._host.alive:
            report = kind(component=self._host.name, cl_ord_id=intent.cl_ord_id, **what)
            self._host.run(self._keep, report)

    def _abort(self, cl_ord_id: str, reason: str) -> None:
        self._keep(OrderAborted(component=self._host.name, cl_ord_id=cl_ord_id, reason=reason))

    def _keep(self, report: OrderAborted | OrderCommitted | OrderUnknown) -> None:
        self._forget_if_killed()
        self._ledger.reported(report, report.cl_ord_id)
        self._unrecorded[report.cl_ord_id] = report
        self._repeat(report, self._life)

    def _repeat(self, report: OrderAborted | OrderCommitted | OrderUnknown, life: int) -> None:
        if life == self._life == self._host.life and self._unrecorded.get(report.cl_ord_id) is report:
            self._put(report, self._host.name, self._host.name)
            self._agenda.after(REPEAT_NS, self._host.run, self._repeat, report, life)
