"""Pages for the gate's tests; run as a program it writes them to the given path without pause."""

import sys
from itertools import count
from pathlib import Path

from hypothesis import strategies as st

from sidecar.core.page import Page
from sidecar.gate.layout import NAME_BYTES_MAX, SCOPE_KINDS, SCOPES_MAX
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState

WORDS = st.integers(0, 2**64 - 1)
LEVELS = st.sampled_from(TradingState)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=NAME_BYTES_MAX).filter(
    lambda each: len(each.encode()) <= NAME_BYTES_MAX
)
SCOPES = st.builds("{}:{}".format, st.sampled_from(SCOPE_KINDS), NAMES)
PAGES = st.builds(
    Page,
    role=st.sampled_from(["ACTIVE", "STANDBY"]),
    trading_state=LEVELS,
    reducing_allowed=st.booleans(),
    deadline_ns=WORDS,
    token=st.none() | st.builds(Token, WORDS, WORDS),
    incarnation=st.text(st.characters(codec="utf-8"), max_size=16),
    control_version=WORDS,
    scoped=st.lists(st.tuples(SCOPES, LEVELS), max_size=SCOPES_MAX).map(tuple),
)


def page_of(number: int) -> Page:
    """The page of `number`: every field follows from it, so that a mixture of two shows."""
    level = TradingState(number % 4)
    return Page(
        role="ACTIVE" if number % 2 else "STANDBY",
        trading_state=level,
        reducing_allowed=bool(number % 3),
        deadline_ns=number,
        token=Token(number, number + 1),
        incarnation=f"run-{number}",
        control_version=number,
        scoped=tuple((f"symbol:{number}-{each}", level) for each in range(number % SCOPES_MAX)),
    )


def hammer(path: Path) -> None:
    """Write page after page until killed, after saying so on standard output."""
    writer = GateWriter(path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in count(1):
        writer.write(page_of(number))


if __name__ == "__main__":
    hammer(Path(sys.argv[1]))
