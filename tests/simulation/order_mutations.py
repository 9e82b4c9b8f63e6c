"""Rules of DESIGN section 8, each with a way to break it, for the simulator to catch."""

from dataclasses import replace
from typing import Any

import pytest
from mutations import BUSY, Mutation

from sidecar.core import ladder, predecessors, verifier
from sidecar.core.leadership import Desk
from sidecar.core.orders import OrderBook
from sidecar.core.outputs import Now, Origin, Output
from sidecar.core.precommit import Precommit
from sidecar.core.predecessors import Predecessors
from sidecar.core.sidecar import Sidecar
from sidecar.core.slots import Slots
from sidecar.core.timing import MS
from sidecar.core.verifier import Verifier
from sidecar.messages.base import Message
from sidecar.messages.control import Probe, TradingState
from sidecar.messages.journal import OrderLost, OrderNeverSent
from sidecar.messages.orders import OrderGranted, OrderIntent
from sidecar.simulator.clocks import S
from sidecar.simulator.world import World

TRADING = replace(BUSY, halts_per_minute=20, orders_per_minute=60)
BRISK = replace(BUSY, faults_per_minute=0, halts_per_minute=0, orders_per_minute=240)

HASTY = replace(BRISK, orders_per_minute=400)
TAKEN_OVER = replace(HASTY, arbiters=3)


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


def nobody_waits(patch: pytest.MonkeyPatch) -> None:
    """A slot's new holder is granted orders at once, whatever of the last one's is on its way."""
    patch.setattr(Predecessors, "breach", lambda self, intent, now: None)


def unknown_has_arrived(patch: pytest.MonkeyPatch) -> None:
    """An order that is reported unknown is not waited for."""
    original = predecessors.on_its_way
    patch.setattr(predecessors, "on_its_way", lambda order: original(order) and not order.lost)


def new_leader_trusts(patch: pytest.MonkeyPatch) -> None:
    """A new leader takes every slot for one that was given back long ago."""
    patch.setattr(Slots, "given_back_ns", lambda self, slot: self._released_ns.get(slot, 0))


def held_and_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A leader that is deposed does not hand back the orders that it holds."""
    patch.setattr(Predecessors, "hand_back", lambda self: self.held.clear() or [])


def moved_and_taken_over(world: World) -> None:
    """Every four seconds a group is moved, and its leader handed over a moment later."""
    for at_s in range(4, 45, 4):
        world.agenda.after(at_s * S, world.faults.happen, "switchover")
        world.agenda.after(at_s * S + 20 * MS, world.faults.happen, "takeover")


def moved_and_deposed(world: World) -> None:
    """Every four seconds a group is moved, and a moment later another arbiter begins a term, while the leader lives."""
    for at_s in range(4, 45, 4):
        world.agenda.after(at_s * S, world.faults.happen, "switchover")
        world.agenda.after(at_s * S + 60 * MS, nominate_another, world)


def nominate_another(world: World) -> None:
    """A standby reads a probe: its campaign deposes the leader, which keeps its link."""
    standby = next(each for each in world.arbiters.values() if each.alive and not each.core.leading)
    standby.run(standby.take, Probe(arbiter=""), Origin())


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
    Mutation("a grant of an older hold is passed on", "tokens rise", 1, passed_on_late, BRISK, late_grants),
    Mutation("nobody waits for the last holder's orders", "newest last", 0, nobody_waits, BRISK, _back_and_forth),
    Mutation("unknown orders are not waited for", "newest last", 1, unknown_has_arrived, HASTY, _back_and_forth),
    Mutation(
        "a new leader does not wait for them", "newest last", 0, new_leader_trusts, TAKEN_OVER, moved_and_taken_over
    ),
    Mutation(
        "a deposed leader keeps what it holds",
        "every question answered",
        0,
        held_and_forgotten,
        TAKEN_OVER,
        moved_and_deposed,
    ),
    Mutation("a new leader forgets orders", "every order ends", 2, successor_forgets, TRADING),
    Mutation("a snapshot forgets the orders", "same state", 2, snapshot_without_orders, TRADING),
)
