"""Pages for the gate's tests."""

from hypothesis import strategies as st

from sidecar.core.page import Page
from sidecar.gate.layout import NAME_BYTES_MAX, SCOPE_KINDS, SCOPES_MAX
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
