"""The judgement of `make chaos`: what it calls lost, twice, overlapping, or open for too long."""

from pathlib import Path

import msgspec

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.ledger import Entry, Ledger, LedgerReader, Told
from benchmarks.chaos.records import Records
from benchmarks.chaos.rounds import Struck
from benchmarks.chaos.verdict import Holders, counts, fault_figures, held, lost_or_twice, sentences
from benchmarks.chaos.witness import open_in_silence, orders_too_late
from benchmarks.failover.places import TIMING
from benchmarks.failover.watch import Span
from sidecar.core.timing import MS
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.examples import example_of
from sidecar.messages.journal import AnyFact, OrderPrecommitted, OrderReported, Record, SlotGranted, TermStarted
from sidecar.messages.orders import OrderIntent
from sidecar.messages.venue import AuditEntry

START = TermStarted(reason="a test")
TOKEN = Token(1, 1)


def granted(cl_ord_id: str) -> OrderPrecommitted:
    """An order that was granted."""
    return OrderPrecommitted(intent=msgspec.structs.replace(example_of(OrderIntent), cl_ord_id=cl_ord_id))


def journal(*facts: AnyFact) -> Records:
    """A journal of one term with these facts, numbered from 1."""
    records = Records()
    for n, fact in enumerate((START, *facts)):
        records.add(encode(Record(term=1, n=n, arbiter="arbiter-1#1", at_ns=n, fact=fact)), n)
    return records


def told(what: Told, key: str, mark: str = "", at_ns: int = 0) -> Entry:
    """Something that a client noted."""
    return Entry(at_ns=at_ns, by="pair-a", told=what, key=key, mark=mark)


def test_what_stands_in_the_journal_once_is_right() -> None:
    """A grant at its own place and a report of it are found, once."""
    records = journal(granted("A"), OrderReported(cl_ord_id="A", order_id="1", ord_status="NEW"))
    assert lost_or_twice([told("granted", "A", "1.1"), told("committed", "A")], records) == []


def test_what_is_missing_is_named() -> None:
    """An answer that does not stand in the journal is named with who was told."""
    ((_, text),) = lost_or_twice([told("granted", "B", "1.1")], journal(granted("A")))
    assert text == "pair-a was told granted B 1.1; it stands in the journal 0 times"


def test_a_grant_at_another_place_is_lost() -> None:
    """A grant must stand where its answer said it stands."""
    assert lost_or_twice([told("granted", "A", "1.7")], journal(granted("A")))


def test_twice_is_found() -> None:
    """A fact that stands in the journal twice is found, and counted as a duplicate of its fault."""
    records = journal(granted("A"), granted("A"))
    entries = [told("granted", "A", "1.2", at_ns=5)]
    assert lost_or_twice(entries, records)
    (figures,) = fault_figures([struck(at_ns=0)], entries, records, lambda until_ns: [])
    assert (figures.acknowledged, figures.found, figures.duplicates) == (1, 1, 1)


def test_void_records_do_not_count() -> None:
    """A record of a loser, or behind a gap, is no journaling of anything."""
    records = journal()
    records.add(encode(Record(term=1, n=2, arbiter="arbiter-1#1", at_ns=1, fact=granted("A"))), 1)
    records.add(encode(Record(term=1, n=1, arbiter="arbiter-2#1", at_ns=1, fact=granted("A"))), 2)
    assert lost_or_twice([told("granted", "A", "1.2")], records)


def test_a_report_without_an_order_acknowledged_nothing() -> None:
    """A report that the arbiter knew no order for is no promise."""
    assert not counts(told("committed", "A", "DENIED"))
    assert counts(told("committed", "A", "VERIFIED"))


def test_answers_belong_to_the_fault_before_them() -> None:
    """What was told between two strikes counts for the earlier one, and so do overlaps."""
    entries = [told("granted", each, f"1.{n}", at_ns=at_ns) for n, each, at_ns in ((1, "A", 15), (2, "B", 25))]
    records = journal(granted("A"), granted("B"))
    faults = [struck(at_ns=10), struck(at_ns=20)]
    first, second = fault_figures(faults, entries, records, lambda until_ns: ["two at 22"] if until_ns > 22 else [])
    assert (first.acknowledged, first.overlap) == (1, 0)
    assert (second.acknowledged, second.overlap) == (1, 1)


def test_the_slot_is_the_journals() -> None:
    """Two gates of one slot at one instant are an overlap; of two slots they are none."""
    one, other = span("a", Token(1, 1), 0, 20), span("b", Token(1, 2), 10, 30)
    for slot, found in (("pair/0", 1), ("pair/1", 0)):
        records = journal(
            SlotGranted(slot="pair/0", component="a", incarnation="a", token=one.token, cause=""),
            SlotGranted(slot=slot, component="b", incarnation="b", token=other.token, cause=""),
        )
        assert len(Holders(spans=[one, other], arrivals=[], records=records).overlaps()) == found


def test_a_lease_is_told_by_its_gate() -> None:
    """A gate that opens under a token is an acknowledged lease, once, however often it closed in between."""
    spans = [span("a", TOKEN, 0, 10), span("a", TOKEN, 20, 30)]
    entries = held(spans)
    assert [(each.key, each.mark) for each in entries] == [("a", "1.1")]
    grant = SlotGranted(slot="pair/0", component="a", incarnation="a", token=TOKEN, cause="")
    assert lost_or_twice(entries, journal(grant)) == []
    assert lost_or_twice(entries, journal())


def test_open_after_the_last_possible_lease() -> None:
    """A gate that outlives the last lease that could be granted is found; one that ends with it is not."""
    lease_ns = TIMING.holder_lease_ns
    assert open_in_silence([span("a", TOKEN, 0, 100 + lease_ns)], {"a": 100}, 10 * lease_ns) == []
    assert open_in_silence([span("a", TOKEN, 0, 101 + lease_ns)], {"a": 100}, 10 * lease_ns)
    assert open_in_silence([span("a", TOKEN, 0, 101 + lease_ns)], {"b": 100}, 10 * lease_ns) == []


def test_an_order_after_the_deadline() -> None:
    """An order that arrives when its holder's deadline and the gate-to-effect time are over is found."""

    def arrives(at_ns: int) -> AuditEntry:
        return AuditEntry(received_ns=at_ns, component="a", run="1", account="X", token=TOKEN, cl_ord_id="a-0")

    until_ns = 1_000 * MS
    assert orders_too_late([arrives(until_ns + TIMING.effect_ns)], {("a", TOKEN): until_ns}) == []
    assert orders_too_late([arrives(until_ns + TIMING.effect_ns + 1)], {("a", TOKEN): until_ns})


def test_a_ledger_is_read_as_it_grows(tmp_path: Path) -> None:
    """A reader gets each line once, and a line that is still being written when it is whole."""
    path = tmp_path / "a.ledger"
    reader = LedgerReader(path)
    assert reader.new() == []
    ledger = Ledger(path)
    ledger.note(told("granted", "A"))
    assert [each.key for each in reader.new()] == ["A"]
    line = msgspec.json.encode(told("granted", "B")) + b"\n"
    for part, keys in ((line[:9], []), (line[9:], ["B"])):
        with path.open("ab") as file:
            file.write(part)
        assert [each.key for each in reader.new()] == keys
    ledger.close()


def test_many_findings_are_few_words() -> None:
    """The evidence is bounded in words; the number is whole."""
    assert sentences("lost", [(0, "x")] * 60)[-1] == "lost: and 10 more"


def test_enough_kinds_of_fault() -> None:
    """There are at least ten kinds of fault, and a short form with some of them."""
    assert len(FAULTS) >= 10
    assert 3 <= sum(each.short for each in FAULTS.values()) < 10


def span(component: str, token: Token, first_ns: int, last_ns: int) -> Span:
    """A gate that was open; its incarnation has the component's name."""
    return Span(component, component, token, first_ns, last_ns, last_ns)


def struck(*, at_ns: int) -> Struck:
    """A fault at that moment."""
    return Struck(
        fault=FAULTS["close_connections"],
        target="all nodes",
        struck_ns=at_ns,
        done_ns=at_ns,
        healing_ns=at_ns,
        healed_ns=at_ns,
        recovered_ns=at_ns,
        outage_ns=0,
        leases_lost=0,
        helped="",
    )
