"""The judgement of the failover benchmark: whether two ever held one slot."""

from benchmarks.failover.overlap import gates_overlapping, orders_overlapping
from benchmarks.failover.watch import Span
from sidecar.messages.base import Token
from sidecar.messages.venue import AuditEntry

OLD, NEW = Token(1, 1), Token(1, 2)
SLOTS = {("one", OLD): "g/0", ("two", NEW): "g/0", ("three", NEW): "g/1"}


def slot_of(incarnation: str, token: Token, at_ns: int) -> str:
    """As the arbiters told it; nobody spoke of any other."""
    return SLOTS.get((incarnation, token), "")


def span(incarnation: str, token: Token, first_ns: int, last_ns: int) -> Span:
    """A gate that was seen open."""
    return Span(f"component-{incarnation}", incarnation, token, first_ns, last_ns)


def order(number: int, incarnation: str, token: Token) -> AuditEntry:
    """An order as it reached the venue, the `number`th."""
    return AuditEntry(
        received_ns=number,
        component=f"component-{incarnation}",
        run=f"run-{incarnation}",
        account="ACC-1",
        token=token,
        cl_ord_id=f"{incarnation}-{number}",
    )


def test_gates_of_one_slot_open_together() -> None:
    """Two gates of one slot that were open at one instant are an overlap."""
    assert len(gates_overlapping([span("one", OLD, 0, 100), span("two", NEW, 90, 200)], slot_of)) == 1


def test_gates_one_after_the_other() -> None:
    """A gate that opens when the other was last seen open is none."""
    assert gates_overlapping([span("one", OLD, 0, 100), span("two", NEW, 100, 200)], slot_of) == []


def test_gates_of_two_slots() -> None:
    """Gates of two slots may be open together, even under equal tokens."""
    assert gates_overlapping([span("two", NEW, 0, 100), span("three", NEW, 0, 100)], slot_of) == []


def test_gates_that_nobody_spoke_of() -> None:
    """Gates whose slot no arbiter named are judged as one slot, so that nothing escapes by being unknown."""
    assert len(gates_overlapping([span("x", OLD, 0, 100), span("y", NEW, 50, 200)], slot_of)) == 1


def test_an_older_token_after_a_newer() -> None:
    """An order under an older token of a slot that arrives after one under a newer is an overlap."""
    assert len(orders_overlapping([order(1, "two", NEW), order(2, "one", OLD)], slot_of)) == 1


def test_orders_of_two_slots_interleave() -> None:
    """Two slots of one account trade side by side."""
    arrivals = [order(1, "two", NEW), order(2, "three", NEW), order(3, "two", NEW), order(4, "three", NEW)]
    assert orders_overlapping(arrivals, slot_of) == []


def test_a_handover_in_order() -> None:
    """Orders under tokens that only go up are none."""
    assert orders_overlapping([order(1, "one", OLD), order(2, "two", NEW)], slot_of) == []
