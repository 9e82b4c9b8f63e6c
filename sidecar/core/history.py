"""Past failovers, folded from the journal: who had a slot, who took it, why, and when each phase ended.

Owns the bounded table that `sidecar history` shows. It is part of the folded state, equal on every arbiter: its times
are those written in the records, for people; nothing decides by them. One slot's entry:

| fact         | the entry                                                                        |
|--------------|----------------------------------------------------------------------------------|
| SlotDraining | begins: who asked, why and when                                                  |
| SlotVacated  | begins, or goes on if the same hold was asked to end: last heard, lease over     |
| SlotGranted  | goes on, or begins for a slot that nobody held: to whom, under which token       |
| SlotTaken    | is complete: the new holder was heard to act                                     |

An entry that the next one overtakes is kept as it is, with its later phases missing: that is what happened.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.explain import Failover
from sidecar.messages.journal import Record, SlotDraining, SlotGranted, SlotTaken, SlotVacated

HISTORY_MAX = 256
"""Failovers that are remembered, beside the one under way of each slot. Older ones are in the journal."""


class History:
    """The fold of failovers. `apply` is given valid records only."""

    def __init__(self) -> None:
        self._past: deque[Failover] = deque(maxlen=HISTORY_MAX)
        self._open: dict[str, Failover] = {}

    def apply(self, record: Record, holder: str = "") -> None:
        """Fold one record about a slot; `holder` is who is asked to step down."""
        at_ns = record.at_ns
        match record.fact:
            case SlotDraining() as fact:
                asked = Failover(
                    slot=fact.slot, cause=fact.reason, asked_by=fact.actor, previous=holder, asked_ns=at_ns
                )
                self._begin(asked)
            case SlotVacated() as fact:
                begun = self._open.get(fact.slot)
                if begun is None or begun.vacated_ns or begun.granted_ns:
                    self._begin(Failover(slot=fact.slot, cause=fact.cause, previous=fact.component))
                    begun = self._open[fact.slot]
                self._open[fact.slot] = replace(
                    begun,
                    heard_ns=_ago(at_ns, fact.last_heard_ms_ago),
                    suspected_ns=_ago(at_ns, fact.suspected_ms_ago),
                    vacated_ns=at_ns,
                )
            case SlotGranted() as fact:
                begun = self._open.get(fact.slot)
                if begun is None or begun.granted_ns:
                    self._begin(Failover(slot=fact.slot, cause=fact.cause))
                    begun = self._open[fact.slot]
                begun = replace(begun, component=fact.component, token=fact.token, granted_ns=at_ns)
                if fact.actor and not begun.asked_ns:  # Nobody held it when the operator asked.
                    begun = replace(begun, asked_by=fact.actor, asked_ns=at_ns)
                self._open[fact.slot] = begun
            case SlotTaken() as fact if self.awaits(fact.slot, fact.token):
                self._past.append(replace(self._open.pop(fact.slot), taken_ns=at_ns))
            case _:
                pass

    def awaits(self, slot: str, token: Token) -> bool:
        """Whether nobody has yet heard the holder of this token act."""
        under_way = self._open.get(slot)
        return under_way is not None and under_way.token == token

    def last(self, count: int, group: str = "") -> tuple[Failover, ...]:
        """The newest failovers, at most `count`, oldest first; those of one group if it is named."""
        found = [each for each in self if not group or each.slot.partition("/")[0] == group]
        found.sort(key=_began_ns)
        return tuple(found[-count:]) if count > 0 else ()

    def copy(self) -> "History":
        """An independent fold. Cheap: entries are immutable."""
        twin = History()
        twin._past, twin._open = self._past.copy(), dict(self._open)
        return twin

    def parts(self) -> tuple[Iterable[Failover], dict[str, Failover]]:
        """What a snapshot needs, to be read only: the past ones and the one under way of each slot."""
        return self._past, self._open

    @classmethod
    def of(cls, past: Iterable[Failover], under_way: dict[str, Failover]) -> "History":
        """The history of these parts."""
        history = cls()
        history._past.extend(past)
        history._open = under_way
        return history

    def __iter__(self) -> Iterator[Failover]:
        """Every entry, the completed ones first."""
        yield from self._past
        yield from self._open.values()

    def _begin(self, failover: Failover) -> None:
        overtaken = self._open.pop(failover.slot, None)
        if overtaken is not None:
            self._past.append(overtaken)
        self._open[failover.slot] = failover


def _ago(at_ns: int, ms_ago: int | None) -> int:
    return 0 if ms_ago is None else at_ns - ms_ago * MS


def _began_ns(failover: Failover) -> int:
    return failover.asked_ns or failover.vacated_ns or failover.granted_ns
