"""The fold of what accounts held before us and of the differences that are open. Names and arithmetic only.

Owns the keys of both tables and what an operator's word changes. It must not decide: `reconciliation.py` does.
"""

from typing import Final

from sidecar.core.exact import ZERO, add, subtract
from sidecar.core.positions import account_name, position_name
from sidecar.messages.journal import DifferenceClosed, DifferenceOpened, StatementAdopted
from sidecar.messages.reconcile import StatementLine

OPENINGS_MAX: Final = 1_000
"""Accounts whose opening statement is kept; the oldest is forgotten first, and taken again with the next statement."""
DIFFERENCES_MAX: Final = 1_000
"""Differences that are open at once. Higher costs the status its size."""


def difference_name(venue: str, account: str, holds: str, name: str) -> str:
    """The key of a difference; no two share one."""
    return f"{holds} {position_name(venue, account, name)}"


def opening_of(fact: StatementAdopted | DifferenceClosed) -> str:
    """The key of the account that it is about."""
    return account_name(fact.venue, fact.account)


def difference_of(fact: DifferenceOpened | DifferenceClosed) -> str:
    """The key of the difference that it is about."""
    return difference_name(fact.venue, fact.account, fact.holds, fact.name)


def closed(openings: dict[str, tuple[StatementLine, ...]], fact: DifferenceClosed) -> None:
    """An operator's word becomes part of what the account held before us; evidence changes nothing."""
    if not fact.actor or fact.holds != "positions":
        return
    key = opening_of(fact)
    held = {line.name: line.qty for line in openings.get(key, ())}
    held[fact.name] = add(held.get(fact.name, ZERO), subtract(fact.theirs, fact.ours))
    openings[key] = tuple(StatementLine(name=name, qty=qty) for name, qty in held.items())
