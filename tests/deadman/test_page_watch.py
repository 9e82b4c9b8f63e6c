"""What the reader of the dead-man benchmark says about a page, on a clock that the test sets."""

from pathlib import Path

import pytest

from benchmarks.deadman.page_watch import Closing, Opening, OpenTooLong, PageWatch
from sidecar.core.page import CLOSED, Page
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.base import Token
from sidecar.messages.control import TradingState


class Looking:
    """A page, its writer, and a watch whose clock stands at `now_ns`; each reading of it takes a nanosecond."""

    def __init__(self, path: Path) -> None:
        self.now_ns = 1_000
        self.writer = GateWriter(path)
        self.watch = PageWatch("exec-a", GateReader(path, now_ns=self.tick), self.tick)

    def tick(self) -> int:
        """What time it is."""
        self.now_ns += 1
        return self.now_ns

    def open_until(self, deadline_ns: int) -> None:
        """Write a page that allows everything until then."""
        page = Page(
            role="ACTIVE",
            trading_state=TradingState.ACTIVE,
            deadline_ns=deadline_ns,
            token=Token(3, 4),
            incarnation="0" * 32,
        )
        self.writer.write(page)


@pytest.fixture
def looking(tmp_path: Path) -> Looking:
    """One that was never open."""
    return Looking(tmp_path / "page.gate")


def test_a_closed_gate_is_no_news(looking: Looking) -> None:
    """A gate that was never open has not closed."""
    assert looking.watch.look() == []


def test_a_gate_that_closes_by_its_deadline(looking: Looking) -> None:
    """A closing names its last deadline, and lies between the last look that saw it open and the first that did not."""
    looking.open_until(5_000)
    (opening,) = looking.watch.look()
    assert isinstance(opening, Opening)
    assert 1_000 < opening.looked_ns < 5_000
    looking.open_until(6_000)
    looking.now_ns = 5_500
    assert looking.watch.look() == []
    looking.now_ns = 6_000
    (closing,) = looking.watch.look()
    assert isinstance(closing, Closing)
    assert (closing.component, closing.incarnation, closing.token) == ("exec-a", "0" * 32, Token(3, 4))
    assert closing.deadline_ns == 6_000
    assert 5_500 < closing.last_open_ns < 6_000 <= closing.closed_by_ns
    assert looking.watch.look() == []


def test_a_gate_that_is_closed_early(looking: Looking) -> None:
    """A gate that its sidecar closes has closed before its deadline."""
    looking.open_until(5_000)
    looking.watch.look()
    looking.writer.write(CLOSED)
    (closing,) = looking.watch.look()
    assert isinstance(closing, Closing)
    assert closing.closed_by_ns < closing.deadline_ns == 5_000


def test_a_gate_that_stays_open_is_found(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that says open after the deadline is found out by the watch's own clock, once for each deadline."""
    looking.open_until(5_000)
    looking.watch.look()
    monkeypatch.setattr(GateReader, "check", lambda self: True)
    looking.now_ns = 7_000
    (found,) = looking.watch.look()
    assert isinstance(found, OpenTooLong)
    assert (found.component, found.deadline_ns) == ("exec-a", 5_000)
    assert found.looked_ns > 7_000
    assert looking.watch.look() == []
    looking.open_until(6_000)
    assert len(looking.watch.look()) == 1
