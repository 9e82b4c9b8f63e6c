"""The arbiter's side of measures: each row of the table in core/completion.py, and what status says."""

from desks import Desk, evidence, fold, halt, intent, serving, started
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.completion import AGAIN_NS, LOOK_NS
from sidecar.core.sanity import TEXT_MAX
from sidecar.core.state import measured_key
from sidecar.core.timing import MS
from sidecar.messages.control import Halt, ResumeRequest, StatusRequest, TradingState
from sidecar.messages.events import HaltStatus, StatusReport
from sidecar.messages.journal import MeasuresReported
from sidecar.messages.measures import (
    MEASURES,
    REMAINING_MAX,
    MeasureOutcome,
    MeasuresChanged,
    MeasuresRecorded,
    MeasuresReport,
    MeasureState,
)
from sidecar.messages.orders import OrderAborted, OrderCommitted

KILL = halt("k1", measures=("cancel",))


def told(n: int = 1, *states: MeasureState, component: str = "exec-a", halt_id: str = "k1") -> MeasuresReport:
    """A sidecar's report on a kill; done unless states are given."""
    given = zip(MEASURES, states or ("done",), strict=False)
    outcomes = tuple(MeasureOutcome(measure=measure, state=state) for measure, state in given)
    return MeasuresReport(
        component=component,
        incarnation=f"{component}~1",
        halt_id=halt_id,
        n=n,
        completed=all(each.state == "done" for each in outcomes),
        outcomes=outcomes,
    )


def killed(*orders: str, kill: Halt = KILL) -> Desk:
    """A leader whose first holder has these orders at the venue, and then a kill."""
    desk = serving()
    for each in orders:
        desk.queue(intent(each))
        desk.queue(OrderCommitted(component="exec-a", cl_ord_id=each, order_id=f"V-{each}", ord_status="NEW"))
    desk.tick(desk.timing.leader_wait_ns // MS)
    desk.queue(kill)
    desk.sent.clear()
    return desk


def look(desk: Desk, ns: int = LOOK_NS) -> None:
    """Let the leader look at the open orders."""
    desk.tick(ns // MS + 100)


def status(desk: Desk) -> HaltStatus:
    """What the status report says of the only halt that is followed."""
    desk.queue(StatusRequest(request_id="s1", actor="dana"))
    (found,) = desk.replies(StatusReport)[-1].halt_status
    return found


def test_a_report_is_journaled_then_answered_and_told() -> None:
    """A report is answered with its number once it is in the journal, and told as an event."""
    desk = killed()
    desk.reading = False
    desk.queue(told())
    look(desk)
    assert desk.replies(MeasuresRecorded) == []
    desk.reading = True
    desk.read_back()
    (answer,) = desk.replies(MeasuresRecorded)
    assert (answer.n, answer.complete) == (1, True)
    assert [each.complete for each in desk.events(MeasuresChanged)] == [True]


def test_done_with_open_orders_is_not_complete() -> None:
    """A component that says done while the order table shows orders of it open is not complete, and they are named."""
    desk = killed("o1", "o2")
    desk.queue(told())
    look(desk)
    (event,) = desk.events(MeasuresChanged)
    assert (event.complete, event.still_open, event.still_open_count) == (False, ("o1", "o2"), 2)
    assert not desk.replies(MeasuresRecorded)[-1].complete


def test_evidence_completes_it() -> None:
    """When the venue's evidence closes the last order, the verdict is journaled and told without another report."""
    desk = killed("o1")
    desk.queue(told())
    look(desk)
    desk.queue(evidence("o1", status="CANCELED", order_id="V-o1"))
    look(desk, AGAIN_NS)
    assert [each.complete for each in desk.events(MeasuresChanged)] == [False, True]
    assert {each.component: each.complete for each in status(desk).components} == {"exec-a": True, "exec-b": False}


def test_only_orders_in_scope_count() -> None:
    """Open orders outside the kill's scopes do not make it incomplete."""
    desk = killed("o1", kill=halt("k1", "symbol:OTHER", measures=("cancel",)))
    desk.queue(told())
    look(desk)
    assert desk.events(MeasuresChanged)[0].complete


def test_a_request_to_cancel_is_no_open_order() -> None:
    """A cancel request on its way, or unanswered, keeps no kill incomplete."""
    desk = killed()
    held = desk.core.state.holders["execution/0"].token
    desk.queue(intent("c1", kind="CANCEL", orig_cl_ord_id="o1", token=held))
    assert "OrderPrecommitted" in desk.facts()
    desk.queue(told())
    look(desk)
    assert desk.events(MeasuresChanged)[0].complete


def test_what_turns_up_later_is_in_the_status() -> None:
    """An order that was said never to be sent, and is found at the venue after the kill was complete, is shown open."""
    desk = serving()
    desk.queue(intent("o1"))
    desk.queue(OrderAborted(component="exec-a", cl_ord_id="o1", reason="the gate closed"))
    desk.tick(desk.timing.leader_wait_ns // MS)
    desk.queue(KILL)
    desk.queue(told())
    look(desk)
    assert status(desk).components[-1].complete
    desk.queue(evidence("o1"))
    row = next(each for each in status(desk).components if each.component == "exec-a")
    assert (row.complete, row.still_open) == (False, ("o1",))


def test_a_flatten_leaves_orders_alone() -> None:
    """A halt without cancel asks for no order's end, so open ones do not make it incomplete."""
    desk = killed("o1", kill=halt("k1", level=TradingState.REDUCING, measures=("flatten",)))
    desk.queue(told())
    look(desk)
    assert desk.events(MeasuresChanged)[0].complete


def test_nobody_with_orders_is_not_complete() -> None:
    """A component that is not there is complete only when no order of it is known at all."""
    desk = killed("o1")
    desk.queue(told(1, "nobody"))
    desk.queue(told(1, "nobody", component="exec-b"))
    look(desk)
    assert {each.component: each.complete for each in desk.events(MeasuresChanged)} == {
        "exec-a": False,
        "exec-b": True,
    }


def test_repetitions_and_older_reports_change_nothing() -> None:
    """A report that is in the journal is answered and not journaled again; so is one that a later one has overtaken."""
    desk = killed("o1")
    for n in (2, 2, 1):
        desk.queue(told(n))
        look(desk)
    assert desk.facts().count("MeasuresReported") == 1
    assert [each.n for each in desk.replies(MeasuresRecorded)] == [2, 2, 2]


def test_reports_are_gathered() -> None:
    """Of several reports between two looks only the last of each component is journaled."""
    desk = killed("o1")
    look(desk)
    for n in (1, 2, 3):
        desk.queue(told(n))
    look(desk)
    assert [each.fact.n for each in desk.journal if isinstance(each.fact, MeasuresReported)] == [3]


def test_a_report_before_its_halt_waits() -> None:
    """A report on a halt that the arbiter does not know yet is left unanswered, and counts when it comes again."""
    desk = serving()
    desk.queue(told())
    look(desk)
    assert desk.replies(MeasuresRecorded) == []
    desk.queue(KILL)
    desk.queue(told())
    look(desk)
    assert [each.n for each in desk.replies(MeasuresRecorded)] == [1]


def test_a_forgotten_halt_is_answered() -> None:
    """A report on a halt that was lifted and is not followed any more is answered, so that its sidecar rests."""
    desk = killed(kill=halt("k1"))
    desk.queue(ResumeRequest(request_id="r1", halt_id="k1", actor="dana", reason="checked"), user="operator")
    desk.queue(told(5))
    look(desk)
    assert [each.n for each in desk.replies(MeasuresRecorded)] == [5]
    assert "MeasuresReported" not in desk.facts()


def test_lifting_forgets_what_is_complete() -> None:
    """When a halt is lifted, complete components are forgotten, and others are followed until they are complete."""
    desk = killed("o1")
    desk.queue(told(1, "failed"))
    desk.queue(told(component="exec-b"))
    look(desk)
    desk.queue(ResumeRequest(request_id="r1", halt_id="k1", actor="dana", reason="checked"), user="operator")
    assert set(desk.core.state.measured) == {measured_key("k1", "exec-a")}
    found = status(desk)
    assert (found.in_force, [each.component for each in found.components]) == (False, ["exec-a"])
    desk.queue(evidence("o1", status="CANCELED", order_id="V-o1"))
    desk.queue(told(2))
    look(desk)
    assert desk.core.state.measured == {}
    desk.queue(StatusRequest(request_id="s2", actor="dana"))
    assert desk.replies(StatusReport)[-1].halt_status == ()


def test_status_lists_what_is_incomplete() -> None:
    """Status has a row for every sidecar that is asked, incomplete ones first, with what remains by both words."""
    desk = killed("o1", "o2")
    desk.queue(
        MeasuresReport(
            component="exec-a",
            incarnation="exec-a~1",
            halt_id="k1",
            n=1,
            completed=False,
            outcomes=(MeasureOutcome(measure="cancel", state="failed", remaining=("o2",), remaining_count=1),),
        )
    )
    desk.queue(told(component="exec-b"))
    look(desk)
    desk.queue(evidence("o1", status="CANCELED", order_id="V-o1"))
    found = status(desk)
    assert (found.concerned_count, found.incomplete_count) == (2, 1)
    first, last = found.components
    assert (first.component, first.complete, first.outcomes[0].remaining) == ("exec-a", False, ("o2",))
    assert first.still_open == ("o2",)
    assert (last.component, last.complete) == ("exec-b", True)


def test_a_sidecar_that_says_nothing_is_listed() -> None:
    """A sidecar that is heard and has not reported is incomplete; so is one that is not heard but has an open order."""
    desk = killed("o1")
    assert [(each.component, each.complete) for each in status(desk).components] == [
        ("exec-a", False),
        ("exec-b", False),
    ]
    unheard = Desk(journal=list(desk.journal), name="arbiter-2")
    rows = status(unheard).components
    assert [(each.component, each.still_open) for each in rows] == [("exec-a", ("o1",))]


def test_status_names_who_has_not_latched() -> None:
    """A sidecar whose heartbeat has an older control version, and does not name the halt, has not latched it."""
    desk = killed()
    assert status(desk).unlatched == ("exec-a", "exec-b")
    desk.hear("exec-a", control_version=1)
    desk.hear("exec-b", unconfirmed_halts=(KILL,))
    assert (status(desk).unlatched, status(desk).unlatched_count) == ((), 0)


def test_bad_reports_are_not_journaled() -> None:
    """A report beyond its bounds changes nothing."""
    long = MeasureOutcome(measure="cancel", state="failed", remaining=tuple(map(str, range(REMAINING_MAX + 1))))
    desk = killed()
    bad = [
        told(0),
        told(2**70),
        told(halt_id="k" * (TEXT_MAX + 1)),
        MeasuresReport(component="exec-a", incarnation="", halt_id="k1", n=1, completed=True, outcomes=(long,)),
        MeasuresReport(
            component="exec-a", incarnation="", halt_id="k1", n=1, completed=True, outcomes=told().outcomes * 5
        ),
        MeasuresReport(
            component="exec-a",
            incarnation="",
            halt_id="k1",
            n=1,
            completed=True,
            outcomes=(MeasureOutcome(measure="cancel", state="done", text="t" * (TEXT_MAX + 1)),),
        ),
    ]
    for each in bad:
        desk.queue(each)
        look(desk)
    assert "MeasuresReported" not in desk.facts()


def test_a_new_leader_hears_it_again() -> None:
    """What a deposed leader had not journaled is journaled by the next when the sidecar repeats it."""
    desk = killed("o1")
    desk.queue(told())
    desk.journal.append(started(9))
    desk.read_back()
    assert "MeasuresReported" not in desk.facts()
    later = Desk(journal=list(desk.journal), name="arbiter-2")
    later.queue(told())
    look(later)
    assert [each.n for each in later.replies(MeasuresRecorded)] == [1]


REPORTS = [told(1, "asked"), told(2, "failed"), told(3, "late"), told(4), told(1, component="exec-b")]


@settings(deadline=None, max_examples=50)
@given(st.permutations(REPORTS), st.lists(st.sampled_from(REPORTS), max_size=5))
def test_order_and_repetition_of_reports_cannot_matter(order: list[MeasuresReport], more: list[MeasuresReport]) -> None:
    """In whatever order reports arrive and repeat, the last word of each component is what stands, on every fold."""
    desk = killed()
    for each in (*order, *more):
        desk.queue(each)
        look(desk)
    rows = desk.core.state.measured
    assert {each.component: (each.n, each.complete) for each in rows.values()} == {
        "exec-a": (4, True),
        "exec-b": (1, True),
    }
    assert fold(desk.journal).measured == rows
