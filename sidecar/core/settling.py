"""Which differences between two sides have stood long enough to be believed.

Owns the times since which each one stands. It must not know what is compared. Fills may be on their way on both sides,
so a difference is believed when it has stood alike for `settle_ns`; one that changes all the time and never vanishes,
after UNSTEADY times as long.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

UNSTEADY: Final = 6


class _Apart(NamedTuple):
    """A difference, since when it is this one, and since when there was one at all."""

    qty: Decimal
    since_ns: int
    first_ns: int


class Settling:
    """The differences of one account, by name."""

    def __init__(self, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self._since: dict[str, _Apart] = {}

    def settled(self, apart: Mapping[str, Decimal], now_ns: int) -> set[str]:
        """Which of these, all that there are now, are believed."""
        for name in [each for each in self._since if each not in apart]:
            del self._since[name]
        for name, qty in apart.items():
            known = self._since.get(name)
            if known is None or known.qty != qty:
                self._since[name] = _Apart(qty, now_ns, known.first_ns if known is not None else now_ns)
        return {name for name, each in self._since.items() if self._is_settled(each, now_ns)}

    def _is_settled(self, each: _Apart, now_ns: int) -> bool:
        return now_ns - each.since_ns >= self._settle_ns or now_ns - each.first_ns >= UNSTEADY * self._settle_ns
