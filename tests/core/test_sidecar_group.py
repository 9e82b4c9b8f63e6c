"""A sidecar learns its group from the leader, and holds nothing where its own configuration names another one."""

import pytest
from desks import halt

from sidecar.core.ladder import ControlMemory
from sidecar.core.sidecar import Output, Publish, Sidecar, WritePage
from sidecar.core.timing import MS, Timing
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import TradingState
from sidecar.messages.health import Lease, Released

T0 = 10**15
SLOT = SlotToken("quotes/0", Token(1, 1))
LATER = SlotToken("quotes/0", Token(1, 2))


def sidecar(group: str = "") -> Sidecar:
    """One with a component attached."""
    core = Sidecar("q-a", group, Timing(), ControlMemory())
    core.attach("i1", T0)
    return core


def answer(core: Sidecar, group: str, *slots: SlotToken, at_ns: int = T0) -> list[Output]:
    """The leader's answer to the next heartbeat."""
    seq = core.heartbeat(at_ns).seq
    ttl_ns = Timing().holder_lease_ns
    lease = Lease(
        arbiter="a", term=1, incarnation="i1", seq=seq, ttl_ns=ttl_ns, control_version=0, slots=slots, group=group
    )
    return core.on_lease(lease, at_ns + MS)


def test_it_learns_its_group() -> None:
    """Without a group of its own it takes the leader's, and halts of that group close it, also earlier ones."""
    core = sidecar()
    core.on_halt(halt("h1", "group:quotes"), T0)
    assert core.page(T0).trading_state is TradingState.ACTIVE
    answer(core, "quotes", SLOT)
    assert (core.group, core.holding(T0 + MS)) == ("quotes", True)
    assert core.page(T0 + MS).trading_state is TradingState.HALTED
    assert core.concerned(halt("h2", "group:quotes"))
    assert core.accepted(halt("h1", "group:quotes"), T0).in_scope


def test_it_follows_to_another_group() -> None:
    """A later answer may name another group; one that names none, as of a version before, takes nothing back."""
    core = sidecar()
    for named, group in (("quotes", "quotes"), ("", "quotes"), ("makers", "makers")):
        answer(core, named)
        assert core.group == group


@pytest.mark.parametrize("held", [False, True])
def test_two_different_groups_are_closed(held: bool) -> None:
    """Where its configuration and the leader name different groups it holds nothing, says so and gives all back."""
    core = sidecar("execution")
    if held:
        answer(core, "execution", SLOT)
        assert core.holding(T0 + MS)
    page, publish = answer(core, "quotes", SLOT)
    assert isinstance(page, WritePage) and page.page.deadline_ns == 0
    assert isinstance(publish, Publish) and isinstance(publish.message, Released)
    assert publish.message.slots == (SLOT,)
    for word in ("execution", "quotes"):
        assert word in core.why_closed(T0 + MS)
        assert word in publish.message.reason
    heartbeat = core.heartbeat(T0 + 2 * MS)
    assert (heartbeat.ready, core.why_closed(T0) in heartbeat.reasons) == (False, True)
    assert core.group == "execution"


def test_agreement_opens_again() -> None:
    """Once the leader names the configured group again, a new token opens the gate; the one given back does not."""
    core = sidecar("execution")
    answer(core, "quotes", SLOT)
    answer(core, "execution", SLOT)
    assert not core.slots
    assert core.heartbeat(T0).ready
    answer(core, "execution", LATER)
    assert core.holding(T0 + MS)
