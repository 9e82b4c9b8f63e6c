"""Halts: what passes, and what a receiver remembers."""

import pytest
from desks import halt
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.ladder import (
    HALT_BYTES_MAX,
    HALTS_MAX,
    UNCONFIRMED_BYTES_MAX,
    ControlMemory,
    Subject,
    concerns,
    forbidding,
    halt_problem,
    level_of,
    order_scopes,
    permits,
    scope_problem,
)
from sidecar.messages.base import WIRE_BYTES_MAX
from sidecar.messages.codec import encode
from sidecar.messages.control import ControlState, Halt, TradingState
from sidecar.messages.health import Heartbeat

ACTIVE, REDUCING, CANCEL_ONLY, HALTED = TradingState
TOLD = {"arbiter": "arbiter-1", "term": 1}


@pytest.mark.parametrize(
    ("level", "entry", "reducing", "reducing_forbidden", "cancel"),
    [
        (ACTIVE, True, True, True, True),
        (REDUCING, False, True, True, True),
        (CANCEL_ONLY, False, False, False, True),
        (HALTED, False, True, False, True),
    ],
)
def test_halt_does_not_trap_a_position(
    level: TradingState, entry: bool, reducing: bool, reducing_forbidden: bool, cancel: bool
) -> None:
    """Cancels always pass, and risk-reducing orders pass under HALTED unless the halt forbids them."""
    assert permits(level, kind="NEW", reduces_risk=False, reducing_allowed=True) is entry
    assert permits(level, kind="NEW", reduces_risk=True, reducing_allowed=True) is reducing
    assert permits(level, kind="NEW", reduces_risk=True, reducing_allowed=False) is reducing_forbidden
    assert permits(level, kind="CANCEL", reduces_risk=False, reducing_allowed=False) is cancel


@pytest.mark.parametrize(
    ("scope", "matches"),
    [
        ("all", True),
        ("component:exec-a", True),
        ("component:exec", False),
        ("group:execution", True),
        ("symbol:XYZ", True),
        ("symbol:", False),
        ("venue:OTHER", False),
        ("galaxy:andromeda", True),
        ("", True),
    ],
)
def test_a_scope_matches_its_own_and_the_unknown_matches_all(scope: str, matches: bool) -> None:
    """A scope concerns what it names, and a scope of an unknown kind concerns everything."""
    subject = Subject(component="exec-a", group="execution", venue="SIM", symbol="XYZ")
    assert concerns(halt("h", scope), subject) is matches


@pytest.mark.parametrize("scope", ["", "ALL", "symbol:", "galaxy:x", "symbol", ":x", "symbol:" + "x" * 257])
def test_a_scope_that_names_nothing_is_refused(scope: str) -> None:
    """A malformed scope is refused with the mend."""
    assert "KIND:NAME" in scope_problem(scope)


@pytest.mark.parametrize(
    "bad",
    [
        halt(""),
        halt("h" * 257),
        halt("h", level=ACTIVE),
        halt("h", reason="r" * 257),
        halt("h", issued_ns=10**40),
        halt("h", actor="a" * 10_000),
        halt("h", *[f"symbol:{n}" for n in range(10_000)]),
        halt("h", *[f"symbol:{n:0250}" for n in range(64)]),
        Halt(halt_id="h", scopes=(), level=HALTED, reason="", actor="dana"),
    ],
)
def test_a_halt_no_journal_could_carry_is_refused(bad: Halt) -> None:
    """An unnamed, lowering, oversized or empty halt is refused with a sentence."""
    assert halt_problem(bad)


def test_any_one_halt_forbids() -> None:
    """The strictest halt in scope is the reason, and a milder one beside it opens nothing."""
    halts = [halt("a", level=REDUCING), halt("b", level=CANCEL_ONLY), halt("c", "symbol:OTHER")]
    found = forbidding(halts, Subject(symbol="XYZ"), kind="NEW", reduces_risk=True)
    assert found is not None
    assert found.halt_id == "b"
    assert level_of(halts, Subject()) == (CANCEL_ONLY, False)


def test_a_halt_that_forbids_reducing_says_so_per_scope() -> None:
    """A scoped HALTED without reducing orders is listed at the level that adds that, too."""
    assert order_scopes([halt("a", "symbol:X", reducing_allowed=False)]) == (
        ("symbol:X", CANCEL_ONLY),
        ("symbol:X", HALTED),
    )


# --- what a receiver remembers ---

HALTS = [halt(f"h{n}", level=level) for n, level in enumerate((REDUCING, CANCEL_ONLY, HALTED))]
HEARD = st.sampled_from(HALTS)
STATES = [
    ControlState(version=1, halts=(HALTS[0],), **TOLD),  # type: ignore[arg-type]  # A table's values.
    ControlState(version=2, halts=(HALTS[0], HALTS[1]), **TOLD),  # type: ignore[arg-type]  # A table's values.
    ControlState(version=3, halts=(HALTS[1],), lifted=("h0",), **TOLD),  # type: ignore[arg-type]  # As above.
]


@given(st.permutations([*HALTS[1:], *STATES]), st.lists(st.sampled_from([*HALTS[1:], *STATES]), max_size=6))
def test_order_and_repetition_cannot_matter(messages: list[object], repeated: list[object]) -> None:
    """Whatever the order and repetition of the same messages, the same halts are in force at the end."""
    memory = ControlMemory()
    for message in [*messages, *repeated]:
        memory = memory.heard(message) if isinstance(message, Halt) else memory.told(message)  # type: ignore[arg-type]
    assert memory.version == 3
    assert {each.halt_id for each in memory.in_force} == {"h1", "h2"}


@given(st.lists(st.sampled_from([*HALTS, *STATES[:2]]), max_size=12))
def test_nothing_opens_without_a_word_from_an_arbiter(messages: list[object]) -> None:
    """Without a newer control state that leaves it out, a halt once heard stays in force."""
    memory, heard = ControlMemory(), set()
    for message in messages:
        if isinstance(message, Halt):
            memory = memory.heard(message)
            heard.add(message.halt_id)
        elif isinstance(message, ControlState):
            memory = memory.told(message)
        assert heard <= {each.halt_id for each in memory.in_force}


def test_an_unconfirmed_halt_survives_a_state_that_does_not_know_it() -> None:
    """A halt heard on the fast path is not lifted by a control state in which it is merely missing."""
    memory = ControlMemory().heard(HALTS[2]).told(STATES[1])
    assert HALTS[2] in memory.in_force
    lifted = memory.told(ControlState(version=4, halts=(), lifted=("h2",), **TOLD))  # type: ignore[arg-type]
    assert lifted.in_force == ()


def test_an_older_state_is_ignored() -> None:
    """A control state older than what is known changes nothing."""
    memory = ControlMemory().told(STATES[2])
    assert memory.told(STATES[0]) is memory


@pytest.mark.parametrize("size", [1, 200])
def test_more_halts_than_fit_halt_everything(size: int) -> None:
    """Halts beyond the bound, by number or by size, become one of everything, and a heartbeat still fits the wire."""
    memory = ControlMemory()
    for n in range(HALTS_MAX * 3):
        scopes = [f"symbol:{n:0{size}}"] * (1 if size == 1 else 32)
        fresh = halt(f"h{n}", *scopes)
        assert not halt_problem(fresh)
        memory = memory.heard(fresh)
        beat = Heartbeat(component="a", incarnation="i", seq=1, ready=True, unconfirmed_halts=memory.unconfirmed)
        assert len(encode(beat)) < WIRE_BYTES_MAX
    assert level_of(memory.in_force, Subject()) == (HALTED, False)
    assert HALT_BYTES_MAX <= UNCONFIRMED_BYTES_MAX
