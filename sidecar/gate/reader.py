"""Reads the gate page: the component's side.

Owns the answer to "may I act right now?" from the page alone, without asking anybody. It must not write, and it never
raises for what it finds: a page that is missing, short, damaged, of another layout, half written or past its deadline
is a closed gate.
"""

import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, Self

from sidecar.core.ladder import permits
from sidecar.core.page import CLOSED, Page
from sidecar.gate.host import boot_id, refuse_other_byte_orders
from sidecar.gate.layout import (
    BOOT_ID_BYTES,
    BOOT_ID_OFFSET,
    LAYOUT_VERSION,
    MAGIC,
    MAGIC_WORD,
    OPEN_UNTIL_WORD,
    PAGE_BYTES,
    SCOPE_KINDS,
    SEQUENCE_WORD,
    VERSION_WORD,
    decode,
)
from sidecar.messages.control import TradingState
from sidecar.messages.orders import OrderKind, Side

READ_TRIES_MAX: Final = 64
"""Copies taken of a page that is being written before it counts as closed. Higher waits longer for a stopped writer."""

_NO_PAGE: Final = memoryview(bytes(PAGE_BYTES)).cast("Q")
_BOOTTIME_NS: Final = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A page that was read whole, and how it was found; `halted` are the names in its scoped halts, by kind."""

    words: memoryview
    sequence: int
    page: Page
    open_elsewhere: bool
    halted: dict[str, frozenset[str]]

    @classmethod
    def of(cls, words: memoryview, sequence: int, page: Page) -> Self:
        named: dict[str, set[str]] = {kind: set() for kind in SCOPE_KINDS}
        for scope, _ in page.scoped:
            kind, _, name = scope.partition(":")
            named[kind].add(name)
        elsewhere = page.role == "ACTIVE" and page.trading_state is TradingState.ACTIVE
        return cls(words, sequence, page, elsewhere, {kind: frozenset(names) for kind, names in named.items()})


class GateReader:
    """The gate of one component. Threads may share it; opening and reopening the file is its own business."""

    def __init__(self, path: Path, *, now_ns: Callable[[], int] = _BOOTTIME_NS) -> None:
        refuse_other_byte_orders()
        self._boot_id = boot_id()
        self._path = path
        self._now_ns = now_ns
        self._words = _NO_PAGE
        self._identity = (0, 0)
        self._settled = _Settled.of(self._words, 0, CLOSED)
        self._map_again()

    def check(
        self,
        side: Side | None = None,
        qty: Decimal | None = None,
        symbol: str = "",
        venue: str = "",
        account: str = "",
        strategy: str = "",
        *,
        kind: OrderKind = "NEW",
        reduces_risk: bool = False,
    ) -> bool:
        """Whether such an order may be sent now.

        Name what the order concerns: a halt of one symbol cannot stop an order that does not say its symbol (the
        arbiter still does, at pre-commit). `side` and `qty` are for the reader of the code; the page has no limits.
        """
        now_ns, words, known = self._now_ns(), self._words, self._settled
        if now_ns < words[OPEN_UNTIL_WORD]:
            return True
        if (
            known.open_elsewhere
            and known.words is words
            and known.sequence == words[SEQUENCE_WORD]
            and now_ns < known.page.deadline_ns
            and symbol not in known.halted["symbol"]
            and venue not in known.halted["venue"]
            and account not in known.halted["account"]
            and strategy not in known.halted["strategy"]
        ):
            return True  # There are scoped halts, and none of them is of this order.
        scopes = (f"symbol:{symbol}", f"venue:{venue}", f"account:{account}", f"strategy:{strategy}")
        page = self.read()
        return passes(page, self._now_ns(), scopes=scopes, kind=kind, reduces_risk=reduces_risk)

    def read(self) -> Page:
        """What the page says, or CLOSED. A page whose deadline has passed is returned as it is, and allows nothing."""
        page = self._copy()
        if page.deadline_ns <= self._now_ns() and self._map_again():
            page = self._copy()
        return page

    def _copy(self) -> Page:
        words = self._words
        for _ in range(READ_TRIES_MAX):
            sequence = words[SEQUENCE_WORD]
            known = self._settled
            if known.words is words and sequence == known.sequence:
                return known.page
            found = decode(words.tobytes()) if sequence % 2 == 0 else None
            if found is not None and words[SEQUENCE_WORD] == sequence:
                self._settled = _Settled.of(words, sequence, found)
                return found
            os.sched_yield()  # On a busy host the writer may need our processor to finish.
        return CLOSED

    def _map_again(self) -> bool:
        """Map what stands at the path now, if it is another file than before; whether it is.

        The old mapping is left to the garbage collector, because another thread may be reading it.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            found = os.fstat(fd)
            identity = (found.st_dev, found.st_ino)
            if identity == self._identity or found.st_size < PAGE_BYTES:
                return False
            words = memoryview(mmap.mmap(fd, PAGE_BYTES, prot=mmap.PROT_READ)).cast("Q")
        except (OSError, ValueError):
            return False
        finally:
            os.close(fd)
        if (words[MAGIC_WORD], words[VERSION_WORD]) != (MAGIC, LAYOUT_VERSION) or not self._of_this_boot(words):
            return False
        self._words, self._identity = words, identity
        return True

    def _of_this_boot(self, words: memoryview) -> bool:
        """Whether the page was written since the host started: an older one's deadlines are of another clock."""
        return words.cast("B")[BOOT_ID_OFFSET : BOOT_ID_OFFSET + BOOT_ID_BYTES] == self._boot_id


def passes(page: Page, now_ns: int, *, scopes: tuple[str, ...], kind: OrderKind, reduces_risk: bool) -> bool:
    """Whether `page` lets an order of these scopes (`symbol:XYZ`, ...) pass at `now_ns`."""
    if page.role != "ACTIVE" or now_ns >= page.deadline_ns:
        return False
    levels = [page.trading_state, *(level for scope, level in page.scoped if scope in scopes)]
    return all(
        permits(level, kind=kind, reduces_risk=reduces_risk, reducing_allowed=page.reducing_allowed) for level in levels
    )
