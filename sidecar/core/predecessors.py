"""Orders of a slot's last holder that may still be on their way, and the next holder's orders that wait for them.

Owns one rule: no order that may open risk is granted under a token while one of an older token of its slot may yet
reach the venue. It must not grant or deny: `verifier.py` does.

A holder that gives its slot back has closed its gate, and the slot moves at once. What passed that gate just before may
take the gate-to-effect time A to the venue; after silence the wait for the lease covers that, after a release nothing
does but this. So the slot moves, and its new holder's first orders wait, at most until A (by the slowest clock) after
the release was decided. By then nothing is on its way any more.

| an order under an older token of the slot            | may be on its way                                        |
|------------------------------------------------------|----------------------------------------------------------|
| a cancel, or a mass cancel                           | no matter: it opens nothing                              |
| nothing reported, or reported unknown, or lost       | yes                                                      |
| reported committed, or seen at the venue             | no: it is there                                          |
| reported aborted, or proven absent                   | no: it was never sent                                    |

| an order under the slot's token                      | while any is on its way, and for at most A               |
|------------------------------------------------------|----------------------------------------------------------|
| a cancel, or a mass cancel                           | is granted                                               |
| a question that was granted before                   | is answered as before                                    |
| what another rule forbids                            | is denied at once                                        |
| any other                                            | is held, and decided afresh when the wait is over        |
| any other, when HELD_MAX are held already            | is denied: PREDECESSOR, which is not remembered          |

It is held here rather than denied, so that nobody has to ask again: A is shorter than a sidecar waits for an answer.
What is held was not acknowledged to the arbiters' queue. A leader that is deposed hands it back, and the next one reads
and answers it; after a lost link the broker delivers it again by itself. A new leader does not know when a slot was
given back, and counts from the beginning of its term, which is later.

A denial for want of room rests on nothing that stays true, so it is neither journaled nor repeated: the same ClOrdID
may be asked for again.
"""

from collections import deque
from typing import Final

from sidecar.core.leadership import Desk
from sidecar.core.limits import Breach
from sidecar.core.order import CANCELS, Order
from sidecar.core.outputs import Now, Origin, Settle
from sidecar.core.slots import Slots
from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.orders import OrderIntent

HELD_MAX: Final = 250
"""Orders held at once. Each keeps one delivery of the arbiters' queue unsettled, of which an arbiter takes a thousand:
higher leaves less room for the reports that end the waiting."""


class Predecessors:
    """The rule, at one leader's desk; `wait_ns` is A by the slowest clock."""

    def __init__(self, desk: Desk, slots: Slots, wait_ns: int) -> None:
        self._desk = desk
        self._slots = slots
        self._wait_ns = wait_ns
        self.held: deque[tuple[OrderIntent, Origin]] = deque()
        """Questions that wait, in the order in which they came."""
        self._surveyed: dict[str, Token] = {}
        self._before: dict[str, list[str]] = {}

    def begin_term(self) -> None:
        """A new leader looks at all orders itself."""
        self._surveyed, self._before = {}, {}

    def breach(self, intent: OrderIntent, now: Now) -> Breach | None:
        """What this order of its slot's holder has to wait for, in words; None when it may be granted now."""
        left_ns = self._slots.given_back_ns(intent.slot) + self._wait_ns - now.boot_ns
        before = self._on_their_way(intent) if left_ns > 0 and intent.kind not in CANCELS else []
        if not before:
            return None
        text = (
            f"{len(before)} orders of the last holder of {intent.slot} may be on their way for {-(-left_ns // MS)} ms "
            f"more, the oldest is {before[0]}, and {HELD_MAX} orders wait for that already: ask again then"
        )
        return Breach(code="PREDECESSOR", text=text)

    def hold(self, intent: OrderIntent, origin: Origin) -> bool:
        """Keep a question until `ready` gives it; False when there is no room."""
        if len(self.held) >= HELD_MAX:
            return False
        self.held.append((intent, origin))
        return True

    def ready(self, now: Now) -> list[tuple[OrderIntent, Origin]]:
        """Those that wait for nothing any more, in the order in which they came. They are kept here no longer."""
        if not self.held:
            return []
        ready: list[tuple[OrderIntent, Origin]] = []
        held: deque[tuple[OrderIntent, Origin]] = deque()
        for each in self.held:
            (held if self._waits(each[0], now) else ready).append(each)
        self.held = held
        return ready

    def hand_back(self) -> list[Settle]:
        """Deposed: the next leader answers what this one could not."""
        handed = [Settle(origin.handle, "requeue") for _, origin in self.held]
        self.held.clear()
        return handed

    def on_lost(self) -> None:
        """The deliveries' link is gone: they come again by themselves."""
        self.held.clear()

    # --- inside ---

    def _waits(self, intent: OrderIntent, now: Now) -> bool:
        """Whether it still waits; one whose own hold has ended is answered at once."""
        holder = self._desk.state.holders.get(intent.slot)
        return holder is not None and holder.token == intent.token and self.breach(intent, now) is not None

    def _on_their_way(self, intent: OrderIntent) -> list[str]:
        """ClOrdIDs of older tokens' orders that may still reach the venue, the oldest first."""
        if self._surveyed.get(intent.slot) != intent.token:
            self._survey()
        orders = self._desk.state.book.orders
        before = [name for name in self._before.get(intent.slot, ()) if name in orders and on_its_way(orders[name])]
        self._before[intent.slot] = before
        return before

    def _survey(self) -> None:
        """Look once at all orders for all slots: none under an older token is granted any more."""
        state = self._desk.state
        self._surveyed = {slot: holder.token for slot, holder in state.holders.items()}
        self._before = {}
        for name in state.book.unfinished():
            order = state.book.orders[name]
            newest = self._surveyed.get(order.intent.slot)
            if newest is not None and order.intent.token < newest and on_its_way(order):
                self._before.setdefault(order.intent.slot, []).append(name)


def on_its_way(order: Order) -> bool:
    """Whether this order may have passed its gate and not be at the venue yet, for all that is known."""
    return order.intent.kind not in CANCELS and not (order.reported or order.never_sent or order.executions)
