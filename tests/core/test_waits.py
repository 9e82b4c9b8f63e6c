"""Deadlines of orders: each once, the latest of a name only."""

from sidecar.core.waits import Deadlines, Wait, Waits

DEADLINES = Deadlines(report_ns=100, evidence_ns=200, query_ns=50, review_ns=1_000)


def test_a_wait_is_over_once() -> None:
    """A wait is over at its time, and given once."""
    waits = Waits(DEADLINES)
    waits.begin("o1", Wait.REPORT, 0)
    assert list(waits.over(99)) == []
    assert list(waits.over(100)) == [("o1", Wait.REPORT)]
    assert list(waits.over(1_000)) == []


def test_what_was_waited_for_before_is_dropped() -> None:
    """A name waits for one thing: what it waited for before is not over at its time."""
    waits = Waits(DEADLINES)
    waits.begin("o1", Wait.REPORT, 0)
    waits.begin("o1", Wait.EVIDENCE, 50)
    assert list(waits.over(249)) == []
    assert list(waits.over(250)) == [("o1", Wait.EVIDENCE)]


def test_until_when_a_name_waits() -> None:
    """Until when a name waits is known while it waits, and not afterwards."""
    waits = Waits(DEADLINES)
    assert waits.until_ns("o1") is None
    waits.begin("o1", Wait.REPORT, 0)
    waits.again("o1", Wait.EVIDENCE, 10)
    assert waits.until_ns("o1") == 60
    assert list(waits.over(60)) == [("o1", Wait.EVIDENCE)]
    assert waits.until_ns("o1") is None
