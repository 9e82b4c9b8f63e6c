"""The control ladder: which halts are in force, what they forbid, and how receivers remember them.

Owns scopes, the rule of what passes at each level, and `ControlMemory`, a receiver's latched halts. It must not know
how halts travel.

| level       | entries | risk-reducing                      | cancels |
|-------------|---------|------------------------------------|---------|
| ACTIVE      | pass    | pass                               | pass    |
| REDUCING    | no      | pass                               | pass    |
| CANCEL_ONLY | no      | no                                 | pass    |
| HALTED      | no      | pass, unless the halt forbids them | pass    |

Each halt in scope is judged by itself and any one forbids, so the order and repetition of messages cannot matter.
A halt that one receiver heard on the fast path is *unconfirmed* until an arbiter's `ControlState` names it; a
confirmed halt is lifted only by a newer `ControlState` without it, an unconfirmed one only by being named as lifted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.core.sanity import INT_MAX, TEXT_MAX, clip
from sidecar.messages.codec import encode
from sidecar.messages.control import ControlState, Halt, TradingState
from sidecar.messages.orders import OrderKind

_ACTIVE: Final = TradingState.ACTIVE
"""Python 3.11 looks an enumeration's members up slowly, and this is asked for every lease."""
SCOPE_KINDS = ("group", "component", "venue", "account", "symbol", "strategy")
ORDER_SCOPE_KINDS = ("venue", "account", "symbol", "strategy")
HALTS_MAX = 64
"""Halts a receiver remembers unconfirmed; one more becomes a halt of everything. Higher makes heartbeats longer."""
HALT_BYTES_MAX = 8 * 1024
"""One halt, encoded."""
UNCONFIRMED_BYTES_MAX = 16 * 1024
"""All unconfirmed halts of a receiver, encoded: a heartbeat carries them, and nobody reads one that is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a halt may concern; empty fields match nothing."""

    component: str = ""
    group: str = ""
    venue: str = ""
    account: str = ""
    symbol: str = ""
    strategy: str = ""


def scope_problem(scope: str) -> str:
    """Why `scope` names nothing, as a sentence with the mend; empty when it is well formed."""
    kind, _, name = scope.partition(":")
    if scope == "all" or (kind in SCOPE_KINDS and 0 < len(name) <= TEXT_MAX):
        return ""
    return f"scope {scope[:80]!r} is not 'all' or KIND:NAME with KIND one of {', '.join(SCOPE_KINDS)}"


def halt_problem(halt: Halt) -> str:
    """Why a halt is not acceptable to the journal; empty when it is."""
    if not halt.halt_id or len(halt.halt_id) > TEXT_MAX:
        return f"halt_id must have 1 to {TEXT_MAX} characters"
    if not halt.scopes or len(halt.scopes) > HALTS_MAX:
        return f"a halt names 1 to {HALTS_MAX} scopes, for example 'all'"
    if halt.level is TradingState.ACTIVE:
        return "a halt cannot set ACTIVE: lift the halt in force with resume"
    if len(halt.reason) > TEXT_MAX:
        return f"the reason is longer than {TEXT_MAX} characters"
    if abs(halt.issued_ns) > INT_MAX:
        return "issued_ns is no 64-bit number of nanoseconds"
    if len(encode(halt)) > HALT_BYTES_MAX:
        return f"a halt has at most {HALT_BYTES_MAX} bytes: name fewer or wider scopes"
    return next((problem for problem in map(scope_problem, halt.scopes) if problem), "")


def concerns(halt: Halt, subject: Subject) -> bool:
    """Whether any scope of the halt matches. A scope of a kind unknown to this version matches everything."""
    return "all" in halt.scopes or any(_matches(scope, subject) for scope in halt.scopes)


def _matches(scope: str, subject: Subject) -> bool:
    kind, _, name = scope.partition(":")
    if kind in SCOPE_KINDS:
        return name != "" and getattr(subject, kind) == name
    return True  # "all", or unknown: uncertain means closed.


def permits(level: TradingState, *, kind: OrderKind, reduces_risk: bool, reducing_allowed: bool) -> bool:
    """The table above, for one order at one level."""
    if kind in ("CANCEL", "MASS_CANCEL") or level is TradingState.ACTIVE:
        return True
    if level is TradingState.CANCEL_ONLY or kind == "TRANSFER":
        return False
    return (reduces_risk or kind == "CLOSE_POSITION") and (level is TradingState.REDUCING or reducing_allowed)


def forbidding(halts: Iterable[Halt], subject: Subject, *, kind: OrderKind, reduces_risk: bool) -> Halt | None:
    """The strictest halt in scope that forbids such an order, or None when it may pass."""
    found = [
        each
        for each in halts
        if concerns(each, subject)
        and not permits(each.level, kind=kind, reduces_risk=reduces_risk, reducing_allowed=each.reducing_allowed)
    ]
    return max(found, key=lambda each: (each.level, each.halt_id), default=None)


def level_of(halts: Iterable[Halt], subject: Subject) -> tuple[TradingState, bool]:
    """The strictest level in scope, and whether risk-reducing orders pass under all halts in scope."""
    found = [each for each in halts if concerns(each, subject)]
    if not found:
        return _ACTIVE, True
    level = max([each.level for each in found])
    reducing = all(
        permits(each.level, kind="NEW", reduces_risk=True, reducing_allowed=each.reducing_allowed) for each in found
    )
    return level, reducing


def order_scopes(halts: Iterable[Halt]) -> tuple[tuple[str, TradingState], ...]:
    """The scopes that concern only some orders, with every level in force there, sorted.

    A HALTED that forbids risk-reducing orders is listed as CANCEL_ONLY too, because that is what it adds.
    """
    found: set[tuple[str, TradingState]] = set()
    for halt in halts:
        for scope in halt.scopes:
            if scope.partition(":")[0] in ORDER_SCOPE_KINDS:
                found.add((scope, halt.level))
                if halt.level is TradingState.HALTED and not halt.reducing_allowed:
                    found.add((scope, TradingState.CANCEL_ONLY))
    return tuple(sorted(found))


def sentence(halt: Halt) -> str:
    """A halt in words, for denials and status."""
    return f"{halt.level.name} by {halt.actor}: {halt.reason or 'no reason given'} (halt {halt.halt_id})"


@dataclass(frozen=True, slots=True)
class ControlMemory:
    """What one receiver has latched. Immutable; kept on disk by the sidecar."""

    version: int = 0
    confirmed: tuple[Halt, ...] = ()
    unconfirmed: tuple[Halt, ...] = ()

    @property
    def in_force(self) -> tuple[Halt, ...]:
        """Every halt that binds this receiver."""
        return self.confirmed + self.unconfirmed

    def heard(self, halt: Halt) -> "ControlMemory":
        """The memory after a halt on the fast path; the same object when it was known already."""
        if any(each.halt_id == halt.halt_id for each in self.in_force):
            return self
        more = (*self.unconfirmed, halt)
        if len(more) > HALTS_MAX or sum(len(encode(each)) for each in more) > UNCONFIRMED_BYTES_MAX:
            why = f"more than {HALTS_MAX} halts, or {UNCONFIRMED_BYTES_MAX} bytes of them, that no arbiter confirmed"
            more = (everything(f"overflow-{halt.halt_id}", halt.actor, why),)
        return ControlMemory(self.version, self.confirmed, more)

    def told(self, state: ControlState) -> "ControlMemory":
        """The memory after an arbiter's word; the same object when it is older than what is known."""
        if state.version < self.version:
            return self
        settled = {each.halt_id for each in state.halts} | set(state.lifted)
        waiting = tuple(each for each in self.unconfirmed if each.halt_id not in settled)
        told = ControlMemory(state.version, state.halts, waiting)
        return self if told == self else told


def unreadable(component: str, run: str, why: str) -> ControlMemory:
    """The memory of a receiver that cannot read what it had latched: a halt of itself, until an operator lifts that.

    `run` makes the halt's identity unique.
    """
    halt = Halt(
        halt_id=f"unreadable-{component}-{run}",
        scopes=(f"component:{component}",),
        level=TradingState.HALTED,
        reason=f"the file of latched halts could not be read ({why})"[:TEXT_MAX],
        actor=component,
        reducing_allowed=False,
    )
    return ControlMemory(unconfirmed=(halt,))


def everything(halt_id: str, actor: str, reason: str) -> Halt:
    """The halt that stands for those which there is no room for: stricter than any of them.

    It forbids risk-reducing orders too, because one of them may have.
    """
    return Halt(
        halt_id=clip(halt_id),
        scopes=("all",),
        level=TradingState.HALTED,
        reason=reason,
        actor=clip(actor),
        reducing_allowed=False,
    )
