"""Which records of a journal tell the story of one order: its own, those of its chain, and of cancels that concern it.

Owns the gathering, in the log's order. It must not know where records come from (`order_records.py`), nor how they are
told to a person. Pure.

A story grows as it is heard: a REPLACE or CANCEL that names an order of the story belongs to it from there on, and so
does a MASS_CANCEL while one of its orders may rest there. What an order replaced stood in the log before it: when that
is only found out behind it, `wanting` says that the log must be heard once more, with the names that are known then.
"""

from typing import Final

import msgspec

from sidecar.core.order import NOT_TAKEN, TERMINAL, TRADING
from sidecar.core.standing_since import order_of_halt
from sidecar.messages.journal import (
    AnyFact,
    BreakOpened,
    EvidenceSeen,
    HaltLifted,
    HaltRaised,
    OrderAdopted,
    OrderNeverSent,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    OrphanSeen,
    Record,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent

NAMES_MAX: Final = 500
"""Orders and cancels of one story; further ones are left out."""
TOLD_MAX: Final = 20_000
"""Records of one story; further ones are left out, and `cut` says so."""


class Told(msgspec.Struct, frozen=True):
    """One record of the story and its offset in the journal."""

    offset: int
    record: Record


class OrderStory:
    """The story of the order called `name`, or, where that is empty, of the one that a venue calls by this OrderID.

    `names` are others that are known to belong to it.
    """

    def __init__(self, name: str, *, names: tuple[str, ...] = (), venue: str = "", order_id: str = "") -> None:
        self.name = name
        self.names = {each for each in (name, *names) if each}
        self.told: list[Told] = []
        self.cut = False
        self._sought = (venue, order_id)
        self._heard_of: set[str] = set()
        self._living: dict[str, OrderIntent] = {}
        self._order_ids: set[tuple[str, str]] = set()
        self._venues: dict[str, str] = {}
        self._replaces: dict[str, str] = {}
        self._halts: set[str] = set()

    @property
    def wanting(self) -> bool:
        """Whether orders belong to it whose beginning was not heard."""
        return bool(self.names - self._heard_of)

    def again(self) -> "OrderStory":
        """The same story, to be heard from the beginning with all names that are known now."""
        return OrderStory(self.name, names=tuple(sorted(self.names)))

    def hear(self, offset: int, record: Record) -> None:
        """The next valid record of the log."""
        if not self._belongs(record.fact):
            return
        if len(self.told) >= TOLD_MAX:
            self.cut = True
            return
        self.told.append(Told(offset, record))

    # --- inside ---

    def _belongs(self, fact: AnyFact) -> bool:
        match fact:
            case OrderPrecommitted(intent=intent):
                return self._intent(intent, granted=True)
            case OrderRefused(intent=intent):
                return self._intent(intent, granted=False)
            case EvidenceSeen(report=report) | OrderAdopted(report=report):
                return self._evidence(report, adopted=isinstance(fact, OrderAdopted))
            case OrphanSeen(report=report):
                return (report.venue, report.order_id) in self._order_ids
            case HaltRaised(halt=halt):
                return self._came_with(halt.halt_id)
            case HaltLifted(halt_id=halt_id):
                return halt_id in self._halts
            case _:
                return self._other(fact)

    def _other(self, fact: AnyFact) -> bool:
        name = getattr(fact, "cl_ord_id", "")
        if name not in self.names:
            return False
        match fact:
            case OrderReported(order_id=order_id) if order_id:
                self._order_ids.add((self._venues.get(name, ""), order_id))
            case OrderNeverSent():
                self._living.pop(name, None)
            case BreakOpened():
                self._heard_of.add(name)
            case _:
                pass
        return True

    def _intent(self, intent: OrderIntent, *, granted: bool) -> bool:
        name, original = intent.cl_ord_id, intent.orig_cl_ord_id
        if name not in self.names and original not in self.names and not self._cancelled_by(intent, granted):
            return False
        self._add(name)
        self._heard_of.add(name)
        if intent.kind == "REPLACE" and name in self.names and original and granted:
            self._add(original)
            self._replaces[name] = original
        if granted and intent.kind in TRADING:
            self._living[name] = intent
            self._venues[name] = intent.venue
        return True

    def _came_with(self, halt_id: str) -> bool:
        """Whether this halt came with a break of an order of ours; it is journaled before the break or behind it."""
        if order_of_halt(halt_id) not in self.names:
            return False
        self._halts.add(halt_id)
        return True

    def _cancelled_by(self, intent: OrderIntent, granted: bool) -> bool:
        if intent.kind != "MASS_CANCEL" or not granted:
            return False
        return any(
            (each.venue, each.account) == (intent.venue, intent.account) and intent.symbol in ("", each.symbol)
            for each in self._living.values()
        )

    def _evidence(self, report: ExecutionReport, *, adopted: bool) -> bool:
        name = report.cl_ord_id
        if not self.name and name and (report.venue, report.order_id) == self._sought:
            self.name = name
            self._add(name)
        if name not in self.names:
            return False
        if adopted:
            self._heard_of.add(name)
        self._order_ids.add((report.venue, report.order_id))
        if report.ord_status in TERMINAL:
            self._living.pop(name, None)
        if report.ord_status not in NOT_TAKEN:
            self._living.pop(self._replaces.get(name, ""), None)
        return True

    def _add(self, name: str) -> None:
        if len(self.names) < NAMES_MAX:
            self.names.add(name)
