"""The demo's words."""

from sidecar.demo.narrator import Narrator, short
from sidecar.messages.base import Token
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.events import BreakFound, ControlChanged, OrderChanged, SlotMoved, TermBegan
from sidecar.messages.orders import Phase

ARBITER = "arbiter-1"
HALT = Halt(halt_id="h-1", scopes=("all",), level=TradingState.HALTED, reason="drill", actor="ops")


def order(cl_ord_id: str, phase: Phase) -> OrderChanged:
    return OrderChanged(arbiter=ARBITER, cl_ord_id=cl_ord_id, component="exec-a", venue="SIM", phase=phase)


def test_first_of_each_phase() -> None:
    """Of a component's many orders, the first to enter each phase is told."""
    lines: list[str] = []
    narrator = Narrator(lines.append)
    for number in range(3):
        narrator.hear(order(f"abcdefgh-{number}", Phase.PRECOMMITTED))
        narrator.hear(order(f"abcdefgh-{number}", Phase.VERIFIED))
    assert lines == [
        "exec-a: order abcdef-0 is the first PRECOMMITTED",
        "exec-a: order abcdef-0 is the first VERIFIED",
    ]


def test_unknown_and_its_end() -> None:
    """Every UNKNOWN order is told, and so is what became of it, once."""
    lines: list[str] = []
    narrator = Narrator(lines.append)
    for phase in (Phase.UNKNOWN, Phase.VERIFIED, Phase.VERIFIED):
        narrator.hear(order("x-1", phase))
    narrator.hear(order("x-2", Phase.UNKNOWN))
    narrator.hear(order("x-2", Phase.ABORTED))
    assert lines[:2] == [
        "exec-a: order x-1 is UNKNOWN; SIM is asked",
        "exec-a: order x-1 is VERIFIED, by SIM's own word",
    ]
    assert lines[-2:] == [
        "exec-a: order x-2 is UNKNOWN; SIM is asked",
        "exec-a: order x-2 is ABORTED, by SIM's own word",
    ]


def test_decisions() -> None:
    """Terms, slots, halts and breaks are told with who, what and why."""
    lines: list[str] = []
    narrator = Narrator(lines.append)
    narrator.hear(TermBegan(arbiter=ARBITER, term=3, reason="first"))
    narrator.hear(
        SlotMoved(
            arbiter=ARBITER,
            slot="execution/0",
            component="exec-b",
            incarnation="b-1",
            token=Token(3, 7),
            previous="exec-a",
            cause="released",
        )
    )
    narrator.hear(ControlChanged(arbiter=ARBITER, version=1, change="raised", halt=HALT, actor="ops", reason="drill"))
    narrator.hear(ControlChanged(arbiter=ARBITER, version=2, change="lifted", halt=HALT, actor="ops", reason="drill"))
    narrator.hear(BreakFound(arbiter=ARBITER, cl_ord_id="x-1", kind="OVERFILL", ours="10", theirs="11"))
    assert lines == [
        "arbiter-1 leads, term 3",
        "execution/0 goes to exec-b, token 3.7 (released)",
        "journaled: HALTED on all by ops: drill",
        "journaled: ops lifted halt h-1: drill",
        "BREAK OVERFILL on x-1: 10 against 11",
    ]


def test_short() -> None:
    """A long incarnation is cut, the number never is."""
    assert short("0123456789abcdef-1234") == "012345-1234"
    assert short("x") == "x"
