"""Execute-once at the leader's desk: one claim, one run, one result."""

from typing import Any

import pytest
from desks import Desk, fold, serving, started
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core import once_table
from sidecar.core.once_table import KEPT_NS, STEP_MAX_NS, OnceTable
from sidecar.core.snapshot import Taken, state_of
from sidecar.core.tables import pieces_of
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import Probe
from sidecar.messages.journal import OnceFinished, Record, Ticked
from sidecar.messages.once import (
    LIMIT_MAX_NS,
    RESULT_BYTES_MAX,
    OnceAnswer,
    OnceChanged,
    OnceClaim,
    OnceRecorded,
    OnceReport,
    OnceState,
    OnceVerdict,
)

LIMIT_NS = 1_000 * MS


def claim(claim_id: str = "exec-a.1", **fields: Any) -> OnceClaim:
    """A claim of exec-a's, for the effect `place/k`."""
    values: dict[str, Any] = {"component": "exec-a", "incarnation": "exec-a~1", "limit_ns": LIMIT_NS}
    return OnceClaim(claim_id=claim_id, kind="place", **{**values, "key": "k", **fields})


def told(outcome: str, claim_id: str = "exec-a.1", **fields: Any) -> OnceReport:
    """What became of it."""
    values: dict[str, Any] = {"component": "exec-a", "key": "k", "result": '"V-1"' if outcome == "DONE" else ""}
    return OnceReport(claim_id=claim_id, kind="place", outcome=outcome, **{**values, **fields})  # type: ignore[arg-type]  # A word of a test.


def desk_after(*messages: Any) -> Desk:
    """A leader that read these."""
    desk = serving()
    for each in messages:
        desk.queue(each)
    return desk


def verdict(desk: Desk, message: OnceClaim) -> OnceVerdict:
    """The answer to this claim."""
    desk.queue(message)
    return desk.replies(OnceAnswer)[-1].verdict


def state(desk: Desk) -> OnceState:
    """Where it stands."""
    effect = desk.core.state.once.get("place", "k")
    return effect.state if effect else OnceState.FREE


def test_a_claim_is_journaled_before_it_is_answered() -> None:
    """No RUN leaves before its record was read back."""
    desk = serving()
    desk.reading = False
    desk.sent.clear()
    desk.queue(claim())
    assert (desk.facts()[-1], desk.sent) == ("OnceClaimed", [])
    desk.read_back()
    assert [each.verdict for each in desk.replies(OnceAnswer)] == [OnceVerdict.RUN]
    assert desk.settled() == ["ack"]


def test_one_of_many_runs_and_all_others_get_its_result() -> None:
    """Of fifty claims one is told to run, the rest that it is busy, and afterwards everybody its result."""
    desk = serving()
    first = [verdict(desk, claim(f"exec-a.{each}")) for each in range(50)]
    assert first == [OnceVerdict.RUN] + [OnceVerdict.BUSY] * 49
    desk.queue(told("DONE", "exec-a.0"))
    assert verdict(desk, claim("exec-b.1", component="exec-b")) is OnceVerdict.DONE
    assert (desk.replies(OnceAnswer)[-1].result, desk.replies(OnceAnswer)[-1].by) == ('"V-1"', "exec-a")
    assert desk.facts().count("OnceClaimed") == 1


def test_a_claim_delivered_again_gets_its_own_answer() -> None:
    """The claim that runs is told RUN again when it is delivered twice, and nothing more is journaled."""
    desk = desk_after(claim())
    assert verdict(desk, claim()) is OnceVerdict.RUN
    assert desk.facts().count("OnceClaimed") == 1


def test_a_crash_between_claim_and_result_is_unknown() -> None:
    """Without a report within its limit the effect is UNKNOWN, everybody is told, and nobody runs it again."""
    desk = desk_after(claim())
    desk.tick(1_000)
    assert state(desk) is OnceState.RUNNING  # The limit has a fiftieth of grace for both clocks.
    desk.tick(100)
    assert state(desk) is OnceState.UNKNOWN
    assert [each.change for each in desk.events(OnceChanged)] == ["UNKNOWN"]
    assert verdict(desk, claim("exec-a.2")) is OnceVerdict.UNKNOWN
    desk.tick(200_000)
    assert verdict(desk, claim("exec-a.3")) is OnceVerdict.UNKNOWN


def test_a_crash_of_the_component_is_known_at_once() -> None:
    """Once the claimer's run has ended, the next claim finds the effect UNKNOWN without waiting for the limit."""
    desk = desk_after(claim())
    desk.release("exec-a", SlotToken("execution/0", Token(1, 1)))
    assert verdict(desk, claim("exec-b.1", component="exec-b")) is OnceVerdict.UNKNOWN


def test_a_resolver_is_alone_and_settles_it() -> None:
    """One claim resolves an UNKNOWN effect, others are told that it is busy, and what it found is everybody's."""
    desk = desk_after(claim(), told("UNKNOWN"))
    assert verdict(desk, claim("exec-a.2", resolves=True)) is OnceVerdict.RESOLVE
    assert verdict(desk, claim("exec-a.3", resolves=True)) is OnceVerdict.BUSY
    desk.queue(told("DONE", "exec-a.2", result="7"))
    assert verdict(desk, claim("exec-a.4")) is OnceVerdict.DONE


def test_a_resolver_that_finds_nothing_frees_it() -> None:
    """An effect that certainly did not happen can be claimed again, by one only."""
    desk = desk_after(claim(), told("UNKNOWN"), claim("exec-a.2", resolves=True), told("NOT_DONE", "exec-a.2"))
    assert state(desk) is OnceState.FREE
    assert [verdict(desk, claim(f"exec-a.{each}")) for each in (3, 4)] == [OnceVerdict.RUN, OnceVerdict.BUSY]


def test_a_late_resolver_frees_nothing() -> None:
    """A resolver's NOT_DONE after its limit is ignored: what it saw may be older than what happened since."""
    desk = desk_after(claim(), told("UNKNOWN"), claim("exec-a.2", resolves=True))
    desk.tick(1_100)
    desk.queue(told("NOT_DONE", "exec-a.2"))
    assert state(desk) is OnceState.UNKNOWN


@pytest.mark.parametrize("resolving", [False, True])
def test_the_late_word_of_who_ran_it_counts(resolving: bool) -> None:
    """The claimer's own late report settles an UNKNOWN effect, even while somebody looks into it."""
    looked = [claim("exec-a.2", resolves=True)] if resolving else []
    desk = desk_after(claim(), told("UNKNOWN"), *looked, told("DONE"))
    assert state(desk) is OnceState.DONE


def test_two_that_did_it_are_an_alert() -> None:
    """A second claim that says it did it, too, is journaled and told, and changes no result."""
    freed = (claim(), told("UNKNOWN"), claim("exec-a.2", resolves=True), told("NOT_DONE", "exec-a.2"))
    desk = desk_after(*freed, claim("exec-a.3"), told("DONE", result="1"))
    assert [each.change for each in desk.events(OnceChanged)][-1] == "CONTRADICTED"
    desk.queue(told("DONE", "exec-a.3", result="3"))
    desk.queue(told("DONE", result="1"))
    assert desk.facts().count("OnceContradicted") == 2
    assert verdict(desk, claim("exec-a.4")) is OnceVerdict.DONE
    assert desk.replies(OnceAnswer)[-1].result == "3"


def test_a_late_word_on_a_freed_effect_closes_it() -> None:
    """Who says that he did it, though it counted as not done, keeps the next one from doing it again."""
    freed = (claim(), told("UNKNOWN"), claim("exec-a.2", resolves=True), told("NOT_DONE", "exec-a.2"))
    desk = desk_after(*freed, told("DONE"))
    assert verdict(desk, claim("exec-a.5")) is OnceVerdict.DONE


def test_repeated_reports_change_nothing() -> None:
    """A report that is repeated is answered as the first one was and journaled once."""
    desk = desk_after(claim(), told("DONE"), told("DONE"))
    assert [each.state for each in desk.replies(OnceRecorded)] == [OnceState.DONE] * 2
    assert desk.facts().count("OnceFinished") == 1


def test_the_same_key_with_other_arguments_is_refused() -> None:
    """A fingerprint that differs from the first one's is refused, whatever became of the effect."""
    desk = desk_after(claim(fingerprint="a"))
    assert verdict(desk, claim("exec-a.2", fingerprint="b")) is OnceVerdict.REFUSED
    desk.queue(told("DONE"))
    assert verdict(desk, claim("exec-a.3", fingerprint="b")) is OnceVerdict.REFUSED
    assert verdict(desk, claim("exec-a.4", fingerprint="a")) is OnceVerdict.DONE


@pytest.mark.parametrize(
    "change",
    [
        {"key": ""},
        {"key": "x" * 129},
        {"limit_ns": 0},
        {"limit_ns": LIMIT_MAX_NS + 1},
        {"fingerprint": "x" * 129},
        {"claim_id": "exec-b.1"},
        {"claim_id": "exec-a." + "x" * 300},
        {"incarnation": "x" * 300},
    ],
)
def test_a_bad_claim_is_refused(change: dict[str, Any]) -> None:
    """What no journal may carry, and a claim in another's name, is refused and changes nothing."""
    desk = serving()
    assert verdict(desk, claim(**{"claim_id": "exec-a.1", **change})) is OnceVerdict.REFUSED
    assert "OnceClaimed" not in desk.facts()


def test_a_bad_report_changes_nothing() -> None:
    """A result that is too long, or a report in another's name, leaves the effect as it was."""
    desk = desk_after(claim(), told("DONE", result="x" * (RESULT_BYTES_MAX + 1)), told("DONE", component="exec-b"))
    assert state(desk) is OnceState.RUNNING
    assert all(each.text for each in desk.replies(OnceRecorded))


def test_a_full_table_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room nothing is forgotten early: one more claim is refused."""
    monkeypatch.setattr(once_table, "ENTRIES_MAX", 2)
    desk = desk_after(claim(key="1"), claim(key="2"))
    assert verdict(desk, claim(key="3")) is OnceVerdict.REFUSED
    monkeypatch.setattr(once_table, "ENTRIES_MAX", 10)
    monkeypatch.setattr(once_table, "RESULTS_BYTES_MAX", 3 * RESULT_BYTES_MAX)
    assert [verdict(desk, claim(key=each)) for each in "34"] == [OnceVerdict.RUN, OnceVerdict.REFUSED]


def test_a_new_leader_knows_and_counts_afresh() -> None:
    """The next leader answers from the journal, and its own count makes a claim without a report UNKNOWN."""
    desk = desk_after(claim(), claim(key="other"))
    desk.queue(told("DONE", key="other"))
    heir = Desk(name="arbiter-2", journal=desk.journal, lead=True)
    assert verdict(heir, claim("exec-a.2", key="other")) is OnceVerdict.DONE
    assert verdict(heir, claim("exec-a.2")) is OnceVerdict.BUSY
    heir.tick(1_100)
    assert state(heir) is OnceState.UNKNOWN


def test_a_result_outlives_its_journal_in_a_snapshot() -> None:
    """A leader that stands on a snapshot gives the result, knows who runs what, and forgets at the same time."""
    desk = desk_after(claim(), claim(key="running"), told("DONE"))
    restored = state_of(pieces_of(fold(desk.journal)))
    assert restored.once.clock_ns == desk.core.state.once.clock_ns
    heir, offset = Desk(name="arbiter-2", journal=[], lead=False), len(desk.journal) - 1
    heir.core.restore(Taken(restored, desk.core.chronicle.times(desk.now), offset, 0, True), "digest", heir.now)
    heir.journal, heir.read_to = desk.journal, offset + 1
    heir.queue(Probe(arbiter=""))
    assert verdict(heir, claim("exec-b.1", component="exec-b")) is OnceVerdict.DONE
    assert heir.replies(OnceAnswer)[-1].result == '"V-1"'
    assert verdict(heir, claim("exec-b.2", component="exec-b", key="running")) is OnceVerdict.BUSY
    heir.tick(1_100)
    assert verdict(heir, claim("exec-b.3", component="exec-b", key="running")) is OnceVerdict.UNKNOWN


def test_a_deposed_leader_answers_nothing() -> None:
    """A claim whose record lost the race for the log is not answered by the leader that was deposed."""
    desk = serving()
    desk.reading = False
    desk.sent.clear()
    desk.queue(claim())
    desk.do(desk.core.on_record(started(2), 99, desk.now))
    assert desk.replies(OnceAnswer) == []
    assert desk.settled() == ["requeue"]


# --- the fold ---


def finished(n: int, at_ns: int, author: str = "arbiter-1#1") -> Record:
    """An effect that was done at that time of its author's clock."""
    fact = OnceFinished(kind="place", key=f"k{n}", component="exec-a", claim_id="exec-a.1", result="1")
    return Record(term=1, n=n, arbiter=author, at_ns=at_ns, fact=fact)


def aged(table: OnceTable, at_ns: int, age_ns: int, author: str = "arbiter-1#1") -> int:
    """Let a leader tick for so long; returns the time then."""
    for now_ns in range(at_ns, at_ns + age_ns + 1, STEP_MAX_NS):
        table.go_on(Record(term=1, n=1, arbiter=author, at_ns=now_ns, fact=Ticked()))
    return now_ns


def test_results_are_kept_for_three_days_of_the_log() -> None:
    """A result is there after 71 hours and gone after 73, and what is UNKNOWN stays."""
    table, hour_ns = OnceTable(), 3_600 * 10**9
    for record in (finished(1, 0),):
        table.go_on(record)
        table.apply(record.fact)  # type: ignore[arg-type]  # It is one of ours.
    now_ns = aged(table, 0, 71 * hour_ns)
    assert table.get("place", "k1") is not None
    aged(table, now_ns, 2 * hour_ns)
    assert table.get("place", "k1") is None
    assert table.result_bytes == 0


def test_a_jumping_clock_forgets_nothing() -> None:
    """A wall clock that jumps by a year, or differs between two arbiters, ages a result by one step at most."""
    table, year_ns = OnceTable(), 365 * 24 * 3_600 * 10**9
    for at_ns, author in ((0, "a"), (year_ns, "a"), (0, "a"), (5 * year_ns, "b"), (0, "a")):
        table.go_on(Record(term=1, n=1, arbiter=author, at_ns=at_ns, fact=Ticked()))
    assert table.clock_ns == STEP_MAX_NS < KEPT_NS


MOVES = st.lists(
    st.tuples(st.sampled_from(["claim", "resolve", "DONE", "NOT_DONE", "UNKNOWN", "wait"]), st.integers(0, 3)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(MOVES)
def test_nobody_runs_it_while_another_may_have(moves: list[tuple[str, int]]) -> None:
    """RUN is given only when no earlier RUN is open: each was reported NOT_DONE, or found so by a resolver in time."""
    desk = serving()
    may_have_run: set[str] = set()
    resolving = ""
    for at, (move, who) in enumerate(moves):
        claim_id = f"exec-a.{who}"
        match move:
            case "wait":
                desk.tick(1_100)
                resolving = ""
            case "claim" | "resolve":
                claim_id = f"exec-a.{at + 10}"
                answer = verdict(desk, claim(claim_id, resolves=move == "resolve"))
                if answer is OnceVerdict.RUN:
                    assert not may_have_run
                    may_have_run = {claim_id}
                elif answer is OnceVerdict.RESOLVE:
                    resolving = claim_id
            case _:
                claim_id = resolving or next(iter(may_have_run), claim_id)
                desk.queue(told(move, claim_id))
                if move == "NOT_DONE":
                    may_have_run.clear()
                if move == "DONE" and not may_have_run:
                    may_have_run = {claim_id}  # His word that it happened counts as a run.
                resolving = ""
    assert fold(desk.journal).digest() == desk.core.state.digest()
