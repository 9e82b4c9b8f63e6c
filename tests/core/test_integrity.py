"""What cannot be is found, halts its scope, and stays halted until an operator says why not."""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from desks import Desk, fold, intent
from journals import journal
from order_desks import order, resting, told, trade

from sidecar.core import integrity
from sidecar.core.fills import Fills
from sidecar.core.log import Position
from sidecar.core.log_tail import TAIL_MAX, LogTail
from sidecar.core.state import Holder, State
from sidecar.core.timing import MS
from sidecar.core.violations import Violation, checks, order_problem
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.control import CommandResult, Probe, ResumeRequest
from sidecar.messages.integrity import IntegrityFinding, IntegrityQuery, IntegrityReport, ResolveIntegrity
from sidecar.messages.journal import SnapshotDigested, Ticked
from sidecar.messages.orders import Evidence, OrderDenied


def traded() -> Desk:
    """A leader whose holder has orders in several states, and a position."""
    desk = resting("o1", "o2", "o3")
    for each in (
        trade("o1", qty="40", cum="40", exec_id="f1"),
        trade("o1", qty="30", cum="30", exec_id="f2", exec_type="TRADE_CORRECT", exec_ref_id="f1"),
        trade("o2", qty="100", cum="100", order_id="V2"),
        told("o3", "CANCELED", order_id="V3"),
        told("theirs", "NEW", order_id="V9"),
    ):
        desk.queue(each)
    return desk


def test_what_happens_is_never_a_violation() -> None:
    """A leader that traded finds nothing against itself, at the start of its term or later."""
    desk = traded()
    again = Desk(journal=list(desk.journal), name="arbiter-2")
    again.tick(200)
    desk.tick(61_000)
    assert again.core.state.halts == {}
    assert [each for each in checks(desk.core.state) if each is not None] == []


@pytest.mark.parametrize(
    "reports",
    [
        (trade(cum="40", exec_id="same"), trade(qty="50", cum="50", exec_id="same")),
        (trade(cum="40", exec_type="TRADE_CORRECT"),),
        (trade(cum="40", exec_type="TRADE_CANCEL"),),
        (trade(cum="40", exec_type="TRADE_CORRECT", exec_ref_id="f1"),),
        (trade(cum="40"), trade(qty="0", cum="40", exec_type="ORDER_STATUS")),
        (trade(cum="40"), trade(cum="0", exec_id="b", exec_type="TRADE_CANCEL", exec_ref_id="f1"), trade(cum="40")),
    ],
)
def test_strange_evidence_is_no_violation(reports: tuple[Evidence, ...]) -> None:
    """Whatever a venue says, what is folded of it adds up: that is for breaks to tell, not for integrity."""
    desk = resting("o1")
    for each in reports:
        desk.queue(each)
    assert [each for each in checks(desk.core.state) if each is not None] == []


def _position(desk: Desk) -> None:
    positions = desk.core.state.book.exposure.positions
    name = next(iter(positions))
    positions[name] = msgspec.structs.replace(positions[name], cash=positions[name].cash + 1)


def _fills(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = msgspec.structs.replace(order(desk), fills=Fills(cum_qty=Decimal(-1)))


def _executions(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = msgspec.structs.replace(
        order(desk), fills=Fills(cum_qty=Decimal(30), trades=Decimal(30))
    )


def _unsent(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = msgspec.structs.replace(order(desk), never_sent=True, breaks=())


def _nameless(desk: Desk) -> None:
    desk.core.state.book.orders["o1"] = msgspec.structs.replace(order(desk), superseded=True)


def _token(desk: Desk) -> None:
    desk.core.state.holders["execution/0"] = Holder("exec-a", "exec-a~1", Token(1, 9))


def _sums(desk: Desk) -> None:
    desk.core.state.book.working.counts["all"] += 1


@pytest.mark.parametrize(
    ("harm", "scope"),
    [
        (_position, "account:ACC"),
        (_fills, "account:ACC"),
        (_executions, "account:ACC"),
        (_token, "group:execution"),
        (_sums, "all"),
    ],
)
def test_a_violation_halts_its_scope(harm: Callable[[Desk], None], scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each violation is found within a round and halts its scope, once, with what is wrong as the reason."""
    monkeypatch.setattr(integrity, "CHECK_NS", 100 * MS)
    desk = traded()
    harm(desk)
    desk.tick(61_000 if scope != "group:execution" else 300)
    raised = [each for each in desk.core.state.halts.values() if each.scopes == (scope,)]
    assert len(raised) == 1
    assert raised[0].reason.startswith("integrity: ")
    assert desk.core.leading


@pytest.mark.parametrize("harm", [_fills, _executions, _unsent, _nameless])
def test_states_that_nothing_legal_leads_to(harm: Callable[[Desk], None]) -> None:
    """Each illegal state of an order is named."""
    desk = traded()
    assert order_problem(order(desk)) == ""
    harm(desk)
    assert order_problem(order(desk))


def test_a_term_begins_with_a_look() -> None:
    """An order that waited for a leader is denied when the state that it was handed cannot be."""
    desk = Desk(journal=list(traded().journal), name="arbiter-2", lead=False)
    _position(desk)
    desk.queue(intent("o9", token=Token(1, 1)))
    (denied,) = desk.replies(OrderDenied)
    assert denied.code == "HALTED"
    assert "integrity: the sums of XYZ at SIM differ" in denied.text


def test_only_an_operator_lifts_it() -> None:
    """Trading goes on when an operator has said why, and stops again if the next round still finds it."""
    desk = traded()
    _position(desk)
    desk.tick(61_000)
    (halt_id,) = desk.core.state.halts
    desk.queue(ResumeRequest(request_id="r", halt_id=halt_id, actor="dana", reason="looked at"), user="operator")
    assert desk.core.state.halts == {}
    desk.tick(61_000)
    assert len(desk.core.state.halts) == 1
    assert desk.replies(OrderDenied) == []


def test_a_round_takes_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a whole round: a tick looks at so many, and the rest comes with the next ones."""
    monkeypatch.setattr(integrity, "SLICE", 1)
    desk = traded()
    _position(desk)
    desk.tick(50)
    assert desk.core.state.halts == {}
    desk.tick(61_000)
    assert len(desk.core.state.halts) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_checks_raise_for_no_journal(seed: int) -> None:
    """Whatever a journal holds, the checks come to an end."""
    folded = State()
    for each in journal(seed, length=1_500):
        folded.apply(each)
    assert sum(1 for _ in checks(folded)) > 0


def findings(desk: Desk) -> tuple[IntegrityFinding, ...]:
    """What the leader says it found."""
    desk.queue(IntegrityQuery(request_id="q", actor="dana"), user="anyone")
    return desk.replies(IntegrityReport)[-1].findings


def resolve(desk: Desk, finding: str, *, user: str = "operator", reason: str = "booked by hand") -> CommandResult:
    """An operator's word on one finding, and the answer."""
    desk.queue(ResolveIntegrity(request_id="r1", finding=finding, actor="dana", reason=reason), user=user)
    return desk.replies(CommandResult)[-1]


def resume(desk: Desk) -> None:
    """Lift every halt."""
    for each in tuple(desk.core.state.halts):
        desk.queue(ResumeRequest(request_id="r", halt_id=each, actor="dana", reason="looked at"), user="operator")


def test_a_violation_that_cannot_go_away_is_resolved_as_it_stands() -> None:
    """Once an operator has resolved it, it halts nothing any more, whatever is traded and whoever leads."""
    desk = traded()
    _position(desk)
    desk.tick(61_000)
    (found,) = findings(desk)
    assert (found.scope, found.halts, found.resolved) == ("account:ACC", tuple(desk.core.state.halts), False)
    assert resolve(desk, found.finding).ok
    assert set(desk.core.state.halts) == set(found.halts)
    resume(desk)
    desk.queue(trade("o1", qty="20", cum="50", exec_id="f9"))
    desk.tick(61_000)
    assert desk.core.state.halts == {}
    assert [(each.finding, each.resolved, each.actor) for each in findings(desk)] == [(found.finding, True, "dana")]
    assert fold(desk.journal).resolved == desk.core.state.resolved


def test_what_is_wrong_in_another_way_is_another_finding() -> None:
    """A resolved finding halts again when it is not the one that was resolved."""
    desk = traded()
    _position(desk)
    desk.tick(61_000)
    assert resolve(desk, findings(desk)[0].finding).ok
    resume(desk)
    _position(desk)
    desk.tick(61_000)
    assert [each.scopes for each in desk.core.state.halts.values()] == [("account:ACC",)]


def test_only_an_operator_resolves_and_only_what_was_found() -> None:
    """Anyone may ask what was found; resolving takes an operator, a reason, and a finding that is there."""
    desk = traded()
    _position(desk)
    desk.tick(61_000)
    (found,) = findings(desk)
    assert not resolve(desk, found.finding, user="exec-a").ok
    assert not resolve(desk, found.finding, reason=" ").ok
    assert not resolve(desk, "0123456789").ok
    assert desk.core.state.resolved == {}
    assert [resolve(desk, found.finding).ok for _ in range(2)] == [True, True]
    assert desk.facts().count("IntegrityResolved") == 1


def _twice(desk: Desk, *, other: bool) -> None:
    """The journal's last record comes again, the same or with another content."""
    record = desk.journal[-1]
    desk.do(desk.core.on_record(record, 900, desk.now, encode(record)))
    again = msgspec.structs.replace(record, at_ns=record.at_ns + 1) if other else record
    desk.do(desk.core.on_record(again, 901, desk.now, encode(again)))


@pytest.mark.parametrize("other", [False, True])
def test_a_record_that_comes_twice_must_say_the_same(other: bool) -> None:
    """An append that was repeated is no violation; another record under its number halts everything."""
    desk = traded()
    desk.core.tail.read(desk.journal[-1], encode(desk.journal[-1]))
    _twice(desk, other=other)
    desk.tick(50)
    assert [each.scopes for each in desk.core.state.halts.values()] == ([("all",)] if other else [])


def test_a_follower_keeps_it_until_it_leads() -> None:
    """What only a follower could see wrong with the journal is halted when it leads."""
    desk = Desk(lead=False)
    desk.core.integrity.note(Violation("all", "two records under one number"))
    desk.tick(50)
    assert desk.core.state.halts == {}
    desk.queue(Probe(arbiter=""))
    desk.tick(50)
    assert [each.scopes for each in desk.core.state.halts.values()] == [("all",)]


def digested(desk: Desk, n: int) -> None:
    """The journal says that the state behind this record has a digest."""
    desk.core.desk.begin(desk.now)
    desk.core.desk.emit(SnapshotDigested(term=1, n=n, digest="d", form="other"))
    desk.do(desk.core.desk.finish())


def test_snapshots_out_of_order_halt_everything() -> None:
    """A digest of an earlier mark than the last one's is out of order."""
    desk = traded()
    for n in (3, 5):
        digested(desk, n)
    desk.tick(50)
    assert desk.core.state.halts == {}
    digested(desk, 4)
    desk.tick(50)
    assert [each.scopes for each in desk.core.state.halts.values()] == [("all",)]


def test_the_tail_is_bounded() -> None:
    """What repeats a record from before the tail is not compared."""
    tail, record = LogTail(), traded().journal[0]
    for n in range(TAIL_MAX + 1):
        tail.read(msgspec.structs.replace(record, n=n, fact=Ticked()), b"first")
    at = Position(record.term, record.arbiter, TAIL_MAX)
    found = [
        tail.contradicted(at, msgspec.structs.replace(record, n=n, fact=Ticked()), b"other", 7) is not None
        for n in (0, 1, TAIL_MAX)
    ]
    assert found == [False, True, True]


def test_a_term_that_was_begun_twice_is_no_contradiction() -> None:
    """Whoever gave a campaign up and tries again for the same term appends another first record, and that is legal."""
    tail, first = LogTail(), traded().journal[0]
    tail.read(first, b"first")
    at = Position(first.term, first.arbiter, 0)
    assert first.n == 0
    assert tail.contradicted(at, first, b"other", 7) is None


def test_a_campaign_that_was_begun_again_contradicts_nothing() -> None:
    """Whoever gives a campaign up and tries again for the same term has its beginning in the log twice."""
    tail, record = LogTail(), traded().journal[0]
    tail.read(record, b"first")
    assert tail.contradicted(Position(record.term, record.arbiter, 0), record, b"second", 7) is None
