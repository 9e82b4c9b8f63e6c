"""Who may speak for whom."""

import pytest

from sidecar.core.senders import Senders, attributed
from sidecar.messages.base import Message, Token
from sidecar.messages.codec import WIRE_TYPES
from sidecar.messages.control import (
    CommandResult,
    ControlState,
    FailoverRequest,
    Halt,
    HaltAccepted,
    ResumeRequest,
    StatusRequest,
    TradingState,
)
from sidecar.messages.health import Heartbeat, StartComponent
from sidecar.messages.orders import Absence, DropCopy

SENDERS = Senders(operators=frozenset({"sue"}), arbiters=frozenset({"arb-1", "arb-2"}), reconcilers=frozenset({"rec"}))
BEAT = Heartbeat(component="exec-a", incarnation="i", seq=1, ready=True)
ACCEPTED = HaltAccepted(
    component="exec-b", incarnation="i", halt_id="h", closed_ns=1, in_scope=True, trading_state=TradingState.HALTED
)
HALT = Halt(halt_id="h", scopes=("all",), level=TradingState.HALTED, reason="r", actor="bob")
RESUME = ResumeRequest(request_id="r", halt_id="h", actor="bob", reason="r")
STATE = ControlState(arbiter="arbiter-1", term=1, version=1, halts=())
RESULT = CommandResult(arbiter="arbiter-1", request_id="r", ok=True, code="LIFTED", text="")
START = StartComponent(arbiter="arbiter-1", component="exec-a", run="r", order=Token(1, 1))
ABSENCE = Absence(reconciler="reconciler-1", venue="SIM", cl_ord_id="c", query_id="q")


@pytest.mark.parametrize(
    ("message", "user", "allowed"),
    [
        (BEAT, "exec-a", True),
        (BEAT, "exec-b", False),
        (BEAT, "sue", False),
        (BEAT, "us", True),
        (ACCEPTED, "exec-a", False),
        (STATE, "arb-2", True),
        (STATE, "exec-a", False),
        (STATE, "sue", False),
        (STATE, "us", False),
        (RESULT, "exec-a", False),
        (START, "exec-a", False),
        (ABSENCE, "rec", True),
        (ABSENCE, "exec-a", False),
        (HALT, "exec-a", True),
        (HALT, "anybody", True),
    ],
)
def test_who_may_speak_for_whom(message: Message, user: str, allowed: bool) -> None:
    """A user speaks for its own name, arbiters and reconcilers are listed, and anybody may halt."""
    assert (SENDERS.problem(message, user=user, own="us") == "") is allowed


def test_a_refusal_names_both() -> None:
    """A refusal says who spoke, for whom, and whose word it would have been."""
    senders = Senders(component_user="sidecar-{component}")
    assert SENDERS.problem(STATE, user="exec-a", own="us") == (
        "user 'exec-a' speaks for arbiters and is not in security.arbiters"
    )
    assert senders.problem(BEAT, user="exec-a", own="us") == (
        "user 'exec-a' speaks for component 'exec-a', whose user is 'sidecar-exec-a'"
    )
    assert senders.problem(BEAT, user="sidecar-exec-a", own="us") == ""


def test_unlisted_is_our_own() -> None:
    """Where no arbiters are listed only our own user is one: with one user for all everything works, else nothing."""
    nobody = Senders()
    assert nobody.problem(STATE, user="us", own="us") == ""
    assert nobody.problem(STATE, user="exec-a", own="us")
    assert nobody.problem(ABSENCE, user="exec-a", own="us")
    assert nobody.problem(BEAT, user="exec-a", own="us") == ""


def test_an_operator_sends_back_what_another_said() -> None:
    """A dead letter that an operator sends back counts as its sender's; nobody else's does."""
    assert SENDERS.problem(ABSENCE, user="sue", own="us", redriven=True) == ""
    assert SENDERS.problem(ABSENCE, user="exec-a", own="us", redriven=True)


def test_every_message_has_a_sender_of_a_known_kind() -> None:
    """No message on the wire is without a rule."""
    assert {each.SENDER for each in WIRE_TYPES.values()} == {"component", "venue", "arbiter", "reconciler", "actor"}
    assert DropCopy.SENDER == "venue"


def test_what_lowers_is_for_operators() -> None:
    """Of what people may send, only halts and questions are everybody's."""
    failover = FailoverRequest(request_id="r", group="g", actor="bob", reason="r")
    question = StatusRequest(request_id="r", actor="bob")
    asked = {RESUME: True, failover: True, question: False, HALT: False, BEAT: False}
    assert {each: SENDERS.oversteps(each, "bob") for each in asked} == asked
    assert not any(SENDERS.oversteps(each, "sue") for each in asked)


def test_the_verified_user_is_named_beside_the_actor() -> None:
    """Who calls himself otherwise than the broker knows him is journaled under both names."""
    named = attributed(RESUME, user="sue", own="us")
    assert isinstance(named, ResumeRequest)
    assert named.actor == "bob (user sue)"
    assert attributed(named, user="sue", own="us") is named
    assert attributed(RESUME, user="bob", own="us") is RESUME
    assert attributed(RESUME, user="us", own="us") is RESUME
    assert attributed(BEAT, user="sue", own="us") is BEAT
    long = attributed(ResumeRequest(request_id="r", halt_id="h", actor="x" * 999, reason="r"), user="sue", own="us")
    assert isinstance(long, ResumeRequest)
    assert (len(long.actor), long.actor[-11:]) == (256, " (user sue)")
