"""Rules of DESIGN section 8, each with a way to break it, for the simulator to catch."""

from dataclasses import replace
from typing import Any

import pytest
from mutations import BUSY, Mutation

from sidecar.core import ladder, verifier
from sidecar.core.leadership import Desk
from sidecar.core.orders import OrderBook
from sidecar.core.outputs import Now, Output
from sidecar.core.precommit import Precommit
from sidecar.core.sidecar import Sidecar
from sidecar.core.timing import MS
from sidecar.core.verifier import Verifier
from sidecar.messages.base import Message
from sidecar.messages.control import TradingState
from sidecar.messages.journal import OrderLost, OrderNeverSent
from sidecar.messages.orders import OrderGranted, OrderIntent
from sidecar.simulator.clocks import S
from sidecar.simulator.world import World

TRADING = replace(BUSY, halts_per_minute=20, orders_per_minute=60)
BRISK = replace(BUSY, faults_per_minute=0, halts_per_minute=0, orders_per_minute=240)


def never_a_problem(name: str) -> Any:
    """A check of the pre-commit that finds nothing."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Precommit, name, lambda self, *arguments: None)

    return patched


def lost_is_never_sent(patch: pytest.MonkeyPatch) -> None:
    """An order of which nothing is heard is taken for one that was never sent."""
    original = Desk.emit

    def emit(self: Desk, fact: Any) -> Any:
        if isinstance(fact, OrderLost):
            fact = OrderNeverSent(cl_ord_id=fact.cl_ord_id, reason=fact.reason)
        return original(self, fact)

    patch.setattr(Desk, "emit", emit)


def one_absence(patch: pytest.MonkeyPatch) -> None:
    """A venue that does not know an order is believed at once."""
    patch.setattr(verifier, "ABSENCES_NEEDED", 1)


def deadlines_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A new leader does not take up the deadlines of its predecessors."""
    patch.setattr(Verifier, "begin_term", lambda self, now: None)


def never_asked(patch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for evidence."""
    patch.setattr(Verifier, "_want", lambda self, order: None)


def before_read_back(patch: pytest.MonkeyPatch) -> None:
    """Grants leave with the append."""

    def finish(self: Desk) -> list[Output]:
        outputs, self._appends, self._pending = [*self._appends, *self._pending], [], []
        return outputs

    patch.setattr(Desk, "finish", finish)


def passed_on_late(patch: pytest.MonkeyPatch) -> None:
    """A sidecar passes a grant on to a holder that has lost the slot since it asked, and holds it anew."""
    patch.setattr(Sidecar, "recheck", lambda self, request, intent, now_ns: self.deny(request, now_ns))


def late_grants(world: World) -> None:
    """Half of all grants come late, and every two seconds a group is moved and moved back."""
    to_sidecar = world.broker.to_sidecar

    def sometimes_late(message: Message, component: str, sender: str) -> None:
        if isinstance(message, OrderGranted) and message.n % 2:
            world.agenda.after(600 * MS, to_sidecar, message, component, sender)
        else:
            to_sidecar(message, component, sender)

    patched: Any = world.broker
    patched.to_sidecar = sometimes_late
    _back_and_forth(world)


def late_questions(world: World) -> None:
    """Some intents come late, and every two seconds a group is moved and moved back."""
    put = world.broker.put

    def sometimes_late(message: Message, user: str, reply_to: str = "") -> None:
        if isinstance(message, OrderIntent) and message.side == "BUY":
            world.agenda.after(200 * MS, put, message, user, reply_to)
        else:
            put(message, user, reply_to)

    patched: Any = world.broker
    patched.put = sometimes_late
    _back_and_forth(world)


def _back_and_forth(world: World) -> None:
    for at_s in range(4, 45, 2):
        for later_ns in (0, 250 * MS):
            world.agenda.after(at_s * S + later_ns, world.faults.happen, "switchover")


def successor_forgets(patch: pytest.MonkeyPatch) -> None:
    """A new leader knows of no orders."""
    original = Desk._win

    def win(self: Desk, now: Now) -> None:
        original(self, now)
        self.state.book = OrderBook()

    patch.setattr(Desk, "_win", win)


def snapshot_without_orders(patch: pytest.MonkeyPatch) -> None:
    """Who stands on a snapshot knows of no orders."""
    patch.setattr(OrderBook, "of", classmethod(lambda cls, parts: cls()))


def halts_deny_cancels(patch: pytest.MonkeyPatch) -> None:
    """A halt denies whatever it does not let pass by name."""
    original = ladder.permits

    def permits(level: TradingState, *, kind: str, **named: Any) -> bool:
        return original(level, kind="NEW", **named)

    patch.setattr(ladder, "permits", permits)


ORDER_MUTATIONS = (
    Mutation(
        "whoever held the slot may trade", "granted to the holder", 0, never_a_problem("_holder"), BRISK, late_questions
    ),
    Mutation("halts are not asked for an order", "halt wins", 12, never_a_problem("_halted"), TRADING),
    Mutation("halts deny cancels, too", "cancels always pass", 0, halts_deny_cancels, TRADING),
    Mutation("a lost order is one that was never sent", "resolved by evidence", 0, lost_is_never_sent, TRADING),
    Mutation("one absence is enough", "resolved by evidence", 2, one_absence, TRADING),
    Mutation("a new leader forgets deadlines", "every order ends", 4, deadlines_forgotten, TRADING),
    Mutation("nobody is asked for evidence", "every order ends", 2, never_asked, TRADING),
    Mutation("grants leave before read-back", "granted once", 0, before_read_back, TRADING),
    Mutation("a grant of an older hold is passed on", "tokens rise", 2, passed_on_late, BRISK, late_grants),
    Mutation("a new leader forgets orders", "every order ends", 2, successor_forgets, TRADING),
    Mutation("a snapshot forgets the orders", "same state", 2, snapshot_without_orders, TRADING),
)
