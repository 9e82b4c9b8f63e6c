"""Rules of DESIGN section 9, each with a way to break it, for the simulator to catch."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from mutations import BUSY, Mutation

from sidecar.core import ladder, sidecar
from sidecar.core.halts import Halts
from sidecar.core.ladder import ControlMemory
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Broadcast, Now, Origin
from sidecar.core.sidecar import Accept, SaveControl, Sidecar
from sidecar.core.timing import MS
from sidecar.messages.control import ControlState, Halt, ResumeRequest, TradingState
from sidecar.simulator.clocks import S
from sidecar.simulator.operators import OPERATOR
from sidecar.simulator.world import World

DRILLS = replace(BUSY, halts_per_minute=30)
TWO = replace(DRILLS, resume_operators=2)
CALM = replace(BUSY, faults_per_minute=0, halts_per_minute=0)


def control_version_ignored(patch: pytest.MonkeyPatch) -> None:
    """A lease opens the gate although a newer control state is on its way."""
    original = Sidecar.on_lease

    def on_lease(self: Sidecar, lease: Any, now_ns: int) -> list[Any]:
        return original(self, msgspec.structs.replace(lease, control_version=0), now_ns)

    patch.setattr(Sidecar, "on_lease", on_lease)


def unconfirmed_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A halt that was only heard is forgotten when a control state does not name it."""
    original = ControlMemory.told

    def told(self: ControlMemory, state: ControlState) -> ControlMemory:
        if state.version < self.version:
            return self
        return original(replace(self, unconfirmed=()), state)

    patch.setattr(ControlMemory, "told", told)


def any_version_counts(patch: pytest.MonkeyPatch) -> None:
    """A control state counts although a newer one was seen: an old leader's, or an old message of this one's."""
    original = ControlMemory.told
    patch.setattr(ControlMemory, "told", lambda self, state: original(replace(self, version=0), state))


def memory_lost(patch: pytest.MonkeyPatch) -> None:
    """A sidecar that starts again does not look at what it had latched."""
    original = Sidecar.__init__

    def init(self: Sidecar, component: str, group: str, timing: Any, memory: Any, *rest: Any, **named: Any) -> None:
        original(self, component, group, timing, ControlMemory(), *rest, **named)

    patch.setattr(Sidecar, "__init__", init)


def unreadable_is_empty(patch: pytest.MonkeyPatch) -> None:
    """A sidecar that cannot read what it had latched starts as if that were nothing."""
    patch.setattr(ladder, "unreadable", lambda component, run, why: ControlMemory())


def accepted_first(patch: pytest.MonkeyPatch) -> None:
    """A halt is acknowledged before the page is closed."""
    original = Sidecar.on_halt
    patch.setattr(Sidecar, "on_halt", lambda self, halt, now_ns: original(self, halt, now_ns)[::-1])


def accepted_before_saving(patch: pytest.MonkeyPatch) -> None:
    """A halt is acknowledged before it is on disk."""
    original = Sidecar.on_halt

    def on_halt(self: Sidecar, halt: Halt, now_ns: int) -> list[Any]:
        outputs = original(self, halt, now_ns)
        saving = [each for each in outputs if isinstance(each, SaveControl)]
        return [*(each for each in outputs if each not in saving), *saving]

    patch.setattr(Sidecar, "on_halt", on_halt)


def saved_late(world: World) -> None:
    """Time and again a sidecar that hears of a halt alone is killed as it has acknowledged it."""
    for at_s in range(5, 45, 4):
        world.agenda.after(at_s * S, _kill_at_acknowledgement, world)


def _kill_at_acknowledgement(world: World) -> None:
    for each in world.sidecars.values():
        if each.core.holding(each.local_ns):
            each.trip, each.trip_after = (Accept, lambda each=each: world.faults.kill(each, S, "sidecar")), True
            halt = Halt(
                halt_id=f"alone-{world.agenda.now_ns}",
                scopes=("all",),
                level=TradingState.HALTED,
                reason="heard here only",
                actor=OPERATOR,
            )
            each.run(each.deliver, halt)


def successor_forgets(patch: pytest.MonkeyPatch) -> None:
    """A new leader knows of no halts."""
    original = Desk._win

    def win(self: Desk, now: Now) -> None:
        original(self, now)
        self.state.halts.clear()

    patch.setattr(Desk, "_win", win)


def young_leader_answers(patch: pytest.MonkeyPatch) -> None:
    """A halt is answered although an earlier leader may still renew leases without it."""
    patch.setattr(Halts, "_answers_from_ns", 0)


def passed_by(world: World) -> None:
    """Time and again the leader stops reading the journal while it goes on answering, and a successor that no holder
    hears is asked for a halt. It is 50 ms before the holder's next heartbeat, so that the leader may answer that
    before a tick of its own holds it up."""
    for at_s in (8, 18, 28):
        world.agenda.after(at_s * S - 50 * MS, _pass_by, world)


def _pass_by(world: World) -> None:
    broker, leader = world.broker, world.broker.consumers[0]
    successor = next(each for each in world.arbiters if each != leader)
    for each in world.sidecars.values():
        world.faults.deafen(successor, each.name, 3 * S)
    broker.lagging.add(leader)
    world.agenda.after(4 * S, broker.lagging.discard, leader)
    broker.move_last(leader)
    halt_id = f"passed-by-{world.agenda.now_ns}"
    halt = Halt(halt_id=halt_id, scopes=("all",), level=TradingState.HALTED, reason="a drill", actor=OPERATOR)
    broker.put(halt, OPERATOR)


def anyone_resumes(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks may lift a halt."""
    patch.setattr(Halts, "operator_problem", lambda self, user: "")


def one_of_two_is_enough(patch: pytest.MonkeyPatch) -> None:
    """Where two operators are needed, one is not asked who the other was."""
    patch.setattr(Halts, "proposal", lambda self, halt_id, now: ("another", 1))


def resume_without_reason(patch: pytest.MonkeyPatch) -> None:
    """A halt is lifted for no reason."""
    original = Halts.resume

    def resume(self: Halts, request: ResumeRequest, *rest: Any) -> None:
        original(self, msgspec.structs.replace(request, reason=request.reason.strip() or "none"), *rest)

    patch.setattr(Halts, "resume", resume)


def resume_by_any_name(patch: pytest.MonkeyPatch) -> None:
    """A resume that names no halt in force lifts the first one."""
    original = Halts.resume

    def resume(self: Halts, request: ResumeRequest, *rest: Any) -> None:
        halts = self._desk.state.halts
        if halts and request.halt_id not in halts:
            request = msgspec.structs.replace(request, halt_id=min(halts))
        original(self, request, *rest)

    patch.setattr(Halts, "resume", resume)


def resume_unjournaled(patch: pytest.MonkeyPatch) -> None:
    """A resume is told to all sidecars and not journaled."""

    def resume(self: Halts, request: ResumeRequest, origin: Origin, now: Now) -> None:
        state = self._desk.state
        if request.halt_id in state.halts and origin.user in self._operators:
            halts = tuple(each for each in state.halts.values() if each.halt_id != request.halt_id)
            told = ControlState(
                arbiter=self._name,
                term=self._desk.term,
                version=state.control_version,
                halts=halts,
                lifted=(request.halt_id,),
            )
            self._desk.send(Broadcast(told))

    patch.setattr(Halts, "resume", resume)


def last_level_wins(patch: pytest.MonkeyPatch) -> None:
    """Of the halts in scope the last one sets the level, and not the strictest."""
    original = ladder.level_of

    def level_of(halts: Any, subject: Any) -> tuple[TradingState, bool]:
        found = [each for each in halts if ladder.concerns(each, subject)]
        return original(found[-1:], subject)

    patch.setattr(sidecar, "level_of", level_of)


def reducing_always_passes(patch: pytest.MonkeyPatch) -> None:
    """A halt that forbids risk-reducing orders, too, does not say so to the component."""
    original = ladder.level_of

    def level_of(halts: Any, subject: Any) -> tuple[TradingState, bool]:
        return original(halts, subject)[0], True

    patch.setattr(sidecar, "level_of", level_of)


def order_scopes_missing(patch: pytest.MonkeyPatch) -> None:
    """A halt of some orders is latched and not on the page."""
    patch.setattr(sidecar, "order_scopes", lambda halts: ())


def unconfirmed_untold(patch: pytest.MonkeyPatch) -> None:
    """Heartbeats do not say which halts no arbiter has confirmed, so that nobody can lift them."""
    original = Sidecar.heartbeat

    def heartbeat(self: Sidecar, now_ns: int) -> Any:
        return msgspec.structs.replace(original(self, now_ns), unconfirmed_halts=())

    patch.setattr(Sidecar, "heartbeat", heartbeat)


def not_told_again(patch: pytest.MonkeyPatch) -> None:
    """A control state is told to all once, and to nobody who has missed it."""
    patch.setattr(Halts, "catch_up", lambda self, heartbeat, origin: None)


def liftings_untold(patch: pytest.MonkeyPatch) -> None:
    """Who has missed that a halt was lifted, and that it ever was journaled, is not told."""
    original = Halts._control_state
    patch.setattr(Halts, "_control_state", lambda self, lifted: original(self, ()))


HALT_MUTATIONS = (
    Mutation("a lease ignores the control version", "halt wins", 15, control_version_ignored, BUSY),
    Mutation("a halt that was only heard is forgotten", "halt wins", 0, unconfirmed_forgotten, DRILLS),
    Mutation("a control state of any age counts", "halt wins", 0, any_version_counts, DRILLS),
    Mutation("a sidecar's memory is lost when it restarts", "halt wins", 5, memory_lost, DRILLS),
    Mutation("an unreadable memory is an empty one", "halt wins", 6, unreadable_is_empty, DRILLS),
    Mutation("acknowledged before closed", "closed before acknowledged", 0, accepted_first),
    Mutation("acknowledged before saved", "halt wins", 1, accepted_before_saving, BUSY, saved_late),
    Mutation("a new leader forgets halts", "halt wins", 0, successor_forgets, DRILLS),
    Mutation("a young leader answers halts", "halt wins", 0, young_leader_answers, CALM, passed_by),
    Mutation("anyone may resume", "nothing resumes by itself", 5, anyone_resumes),
    Mutation("one of two operators is enough", "nothing resumes by itself", 0, one_of_two_is_enough, TWO),
    Mutation("a resume needs no reason", "nothing resumes by itself", 3, resume_without_reason),
    Mutation("a resume lifts what it does not name", "nothing resumes by itself", 2, resume_by_any_name),
    Mutation("a resume is not journaled", "halt wins", 0, resume_unjournaled),
    Mutation("the last level wins", "halt wins", 0, last_level_wins, DRILLS),
    Mutation("reducing orders always pass", "halt wins", 0, reducing_always_passes, DRILLS),
    Mutation("a halt of some orders is not on the page", "halt wins", 6, order_scopes_missing),
    Mutation("who missed a halt is not told again", "liveness", 0, not_told_again, DRILLS),
    Mutation("who missed a lifting is not told", "liveness", 2, liftings_untold, DRILLS),
    Mutation("what is not confirmed is not told", "liveness", 0, unconfirmed_untold, DRILLS),
)
