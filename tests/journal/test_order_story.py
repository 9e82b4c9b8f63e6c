"""One order's story: gathered from a journal, found again in the archive and in the stream."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from archived import write

from sidecar.broker.interface import Outgoing
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import JOURNAL_STREAM
from sidecar.journal import order_story
from sidecar.journal.archive_ledger import Entry
from sidecar.journal.order_records import from_archive, from_stream
from sidecar.journal.order_story import OrderStory
from sidecar.journal.stream import RECORD_TYPE
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.journal import (
    AnyFact,
    BreakClosed,
    BreakOpened,
    EvidenceSeen,
    HaltLifted,
    HaltRaised,
    OrderLost,
    OrderPrecommitted,
    OrderRefused,
    OrderReported,
    OrphanSeen,
    Record,
    TermStarted,
    Ticked,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrderKind, OrdStatus

NOW_NS = 1_800_000_000 * 10**9
WAIT_S = 20.0


def granted(
    name: str, kind: OrderKind = "NEW", of: str = "", *, account: str = "ACC", symbol: str = "XYZ"
) -> OrderPrecommitted:
    """A grant."""
    return OrderPrecommitted(
        intent=OrderIntent(
            cl_ord_id=name,
            component="exec-a",
            incarnation="exec-a~1",
            slot="execution/0",
            token=Token(1, 1),
            account=account,
            venue="SIM",
            symbol=symbol,
            side="BUY",
            qty=Decimal(10),
            kind=kind,
            orig_cl_ord_id=of,
        )
    )


def seen(name: str, status: OrdStatus = "NEW", order_id: str = "") -> EvidenceSeen:
    """The venue's word; it calls order `o1` `V-o1`."""
    report = ExecutionReport(
        venue="SIM",
        account="ACC",
        cl_ord_id=name,
        order_id=order_id or f"V-{name}",
        exec_id=f"X-{name}-{status}",
        exec_type="ORDER_STATUS",
        ord_status=status,
        symbol="XYZ",
        side="BUY",
        order_qty=Decimal(10),
        cum_qty=Decimal(0),
        leaves_qty=Decimal(10),
    )
    return EvidenceSeen(report=report, source="drop_copy")


def halted(halt_id: str) -> HaltRaised:
    """A halt of that id."""
    return HaltRaised(
        halt=Halt(halt_id=halt_id, scopes=("account:ACC",), level=TradingState.HALTED, reason="r", actor="arbiter-1")
    )


FACTS: tuple[AnyFact, ...] = (
    TermStarted(reason="a test"),
    granted("other", account="B"),
    granted("o1"),
    OrderReported(cl_ord_id="o1", order_id="V-o1", ord_status="NEW"),
    seen("o1"),
    granted("c0", "CANCEL", "other", account="B"),
    granted("o2", "REPLACE", "o1"),
    Ticked(),
    seen("o2", order_id="V-o1"),
    granted("m0", "MASS_CANCEL", account="B"),
    granted("m1", "MASS_CANCEL"),
    OrderLost(cl_ord_id="m1", reason="no report by the deadline"),
    halted("break-overfill-o2"),
    BreakOpened(cl_ord_id="o2", kind="OVERFILL", ours="10", theirs="20"),
    halted("break-overfill-other"),
    seen("o2", "CANCELED", order_id="V-o1"),
    granted("m2", "MASS_CANCEL"),
    BreakClosed(cl_ord_id="o2", actor="dana", reason="looked"),
    HaltLifted(halt_id="break-overfill-o2", actor="dana", reason="looked"),
    OrphanSeen(report=seen("", order_id="V-o1").report, source="query"),
    OrphanSeen(report=seen("", order_id="V-else").report, source="query"),
    seen("other", "FILLED"),
)
CHAIN = [2, 3, 4, 6, 8, 10, 11, 12, 13, 15, 17, 18, 19]
"""Offsets of what the story of o1 and o2 is."""


def record(at: int, fact: AnyFact) -> Record:
    """The record at this offset."""
    return Record(term=1, n=at, arbiter="arbiter-1#a", at_ns=NOW_NS + at, fact=fact)


def told(story: OrderStory, facts: Sequence[AnyFact] = FACTS) -> list[int]:
    """The offsets of what belongs to the story, after hearing it again if it wants that."""
    for at, fact in enumerate(facts):
        story.hear(at, record(at, fact))
    return told(story.again(), facts) if story.told and story.wanting else [each.offset for each in story.told]


@pytest.mark.parametrize("name", ["o1", "o2"])
def test_a_chain_is_one_story(name: str) -> None:
    """Whichever order of a chain is asked for, its story has all of them, cancels, breaks, and the halts with them."""
    assert told(OrderStory(name)) == CHAIN


def test_others_have_stories_of_their_own() -> None:
    """What concerns another order or account is in no other story."""
    assert told(OrderStory("other")) == [1, 5, 9, 14, 21]
    assert told(OrderStory("m2")) == [16]
    assert told(OrderStory("nobody")) == []


def test_a_denied_order_has_a_story() -> None:
    """A denial is the whole story of a denied order."""
    refused = OrderRefused(intent=granted("o9").intent, code="BAD_QTY", text="zero")
    assert told(OrderStory("o9"), (*FACTS, refused)) == [len(FACTS)]


def test_an_order_is_found_by_the_venues_name() -> None:
    """Asked for by its OrderID, an order's story begins with the first evidence and is whole when heard again."""
    story = OrderStory("", venue="SIM", order_id="V-other")
    assert told(story) == [1, 5, 9, 14, 21]


def test_a_story_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A story that is too long is cut, and says so."""
    monkeypatch.setattr(order_story, "TOLD_MAX", 3)
    story = OrderStory("o1")
    for at, fact in enumerate(FACTS):
        story.hear(at, record(at, fact))
    assert ([each.offset for each in story.told], story.cut) == ([2, 3, 4], True)


VOID = encode(Record(term=1, n=99, arbiter="arbiter-9#b", at_ns=NOW_NS, fact=FACTS[4]))
BODIES = [encode(record(at, fact)) for at, fact in enumerate(FACTS)]


@pytest.mark.parametrize("name", ["o1", "o2", "SIM/V-o1"])
def test_the_archive_has_the_story(tmp_path: Path, name: str) -> None:
    """The archive gives the story by ClOrdID and by the venue's OrderID, without what does not count."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    write(url, [Entry(offset, body) for offset, body in enumerate([*BODIES, VOID])])
    story = from_archive(url, name)
    assert [each.offset for each in story.told if not isinstance(each.record.fact, OrphanSeen)] == CHAIN[:-1]
    assert story.name in ("o1", "o2")


def test_the_archive_knows_no_such_order(tmp_path: Path) -> None:
    """An order that the archive does not have has no story."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    write(url, [Entry(offset, body) for offset, body in enumerate(BODIES)])
    assert from_archive(url, "nobody").told == []
    assert from_archive(url, "SIM/V-nothing").told == []


@pytest.mark.parametrize("name", ["o1", "o2", "SIM/V-o1"])
async def test_the_stream_has_the_story(name: str) -> None:
    """The journal's stream gives the same story, read up to the offset that is asked for."""
    hub = MemoryHub()
    writer = MemoryBroker(hub, name="arbiter-1")
    await writer.start()
    for body in [*BODIES[:5], VOID, *BODIES[5:], b"no record", encode(record(len(BODIES), seen("o2", "FILLED")))]:
        out = Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=body, type=RECORD_TYPE, app_id="arbiter-1#a")
        await writer.publish(out)
    heard: list[int] = []
    story = await from_stream(
        lambda: MemoryBroker(hub, name="reader"), name, (), end=len(BODIES), wait_s=WAIT_S, tell=heard.append
    )
    await writer.close()
    assert [each.offset for each in story.told] == [at + (at > 4) for at in CHAIN]
    assert heard[-1] == len(BODIES) + 1


@pytest.mark.parametrize(("begin", "name"), [(2, "o2"), (5, "o2"), (14, "SIM/V-o1")])
async def test_the_stream_is_read_from_where_a_story_begins(begin: int, name: str) -> None:
    """Told where a story begins the stream is read from there; when more is wanted, from the journal's beginning."""
    hub = MemoryHub()
    writer = MemoryBroker(hub, name="arbiter-1")
    await writer.start()
    for body in BODIES:
        out = Outgoing(exchange="", routing_key=JOURNAL_STREAM, body=body, type=RECORD_TYPE, app_id="arbiter-1#a")
        await writer.publish(out)
    story = await from_stream(
        lambda: MemoryBroker(hub, name="reader"), name, (), begin=begin, end=len(BODIES) - 1, wait_s=WAIT_S
    )
    await writer.close()
    assert [each.offset for each in story.told] == CHAIN
