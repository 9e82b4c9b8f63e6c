"""The sidecar's side of measures: each row of the table in core/measure_run.py, and what survives what."""

from measure_worlds import World, halt, left

from sidecar.core.measure_run import REPEAT_NS, REPEATS_MAX, KeptRun, names_that_fit
from sidecar.core.measures import RUNS_MAX, SaveRuns, StopComponent
from sidecar.core.timing import MS
from sidecar.messages.codec import encode
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.local import MeasureAnswer
from sidecar.messages.measures import MEASURES, REMAINING_BYTES_MAX, REMAINING_MAX


def test_a_halt_without_measures_asks_for_nothing() -> None:
    """A plain halt begins no run."""
    world = World(Halt(halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="", actor="dana"))
    world.tick(5_000)
    assert world.outputs == []


def test_a_kill_is_asked_and_done() -> None:
    """A kill asks the component at once, and its answer that nothing remains is reported at once as completed."""
    world = World(halt())
    assert (world.asked, world.states) == (["cancel"], ["asked"])
    world.tick(40)
    outcome = world.answer("cancel")
    assert outcome is not None and outcome.state == "done"
    assert [(each.n, each.completed) for each in world.said] == [(1, True)]
    assert world.said[0].outcomes[0].took_ns == 40 * MS


def test_what_remains_is_asked_for_again() -> None:
    """While something remains the measure is asked again every retry interval, and reported with its names."""
    world = World(halt())
    world.answer("cancel", left("o-1", "o-2"))
    assert world.said[-1].outcomes[0].remaining == ("o-1", "o-2")
    world.tick(3_000)
    assert len(world.asked) == 7
    world.answer("cancel", left("o-2"))
    world.answer("cancel")
    assert world.said[-1].completed
    world.tick(3_000)
    assert len(world.asked) == 7


def test_done_with_something_remaining_is_not_done() -> None:
    """An answer that says done and names what remains counts as failed: the names are the evidence."""
    world = World(halt())
    world.answer("cancel", MeasureAnswer(outcome="done", remaining=("o-1",)))
    assert world.states == ["failed"]


def test_measures_are_done_in_order() -> None:
    """Whatever the order in the halt, cancel comes before flatten, persist and stop, each when the last one is done."""
    world = World(halt("h1", "stop", "persist", "flatten", "cancel"))
    for measure in MEASURES[:3]:
        assert world.asked[-1] == measure
        world.answer(measure)
    assert [type(each) for each in world.outputs if isinstance(each, StopComponent)] == [StopComponent]
    world.answer("stop")
    assert world.said[-1].completed


def test_a_late_measure_holds_nobody_up() -> None:
    """A measure over its time limit is late and asked on, and the next one begins at that moment."""
    world = World(halt("h1", "cancel", "flatten"))
    world.tick(950)
    assert "flatten" not in world.asked
    world.tick(50)
    assert world.states == ["late", "asked"]
    assert "flatten" in world.asked
    world.tick(500)
    assert world.asked.count("cancel") == 4


def test_a_failed_measure_gets_its_whole_time() -> None:
    """A failed cancel is tried again until its limit before positions are closed under resting orders."""
    world = World(halt("h1", "cancel", "flatten"))
    world.answer("cancel", left("o-1"))
    world.tick(950)
    assert "flatten" not in world.asked
    world.tick(50)
    assert "flatten" in world.asked


def test_emergency_shutdown_ends_within_its_limits() -> None:
    """A component that answers nothing is stopped when the limits of cancel, flatten and persist have passed: 3.5 s."""
    world = World(halt("h1", *MEASURES))
    world.tick(3_450)
    assert not [each for each in world.outputs if isinstance(each, StopComponent)]
    world.tick(50)
    assert [each for each in world.outputs if isinstance(each, StopComponent)]
    assert world.states == ["late", "late", "late", "asked"]


def test_nobody_is_there() -> None:
    """Without a component and a program a measure is nobody's, the next begins at once, and stop is still asked for."""
    world = World(halt("h1", *MEASURES), attached=False)
    assert world.states == ["nobody", "nobody", "nobody", "asked"]
    assert world.asked == []
    world.answer("stop")
    assert [each.completed for each in world.said] == [False, False]


def test_who_attaches_is_asked() -> None:
    """A component that attaches later is asked at once, in order, with time limits that begin anew."""
    world = World(halt("h1", "cancel", "flatten"), attached=False)
    world.tick(10_000)
    world.core.attached("a~1", world.now_ns)
    world.tick(900)
    assert set(world.asked) == {"cancel"}
    world.tick(100)
    assert set(world.asked) == {"cancel", "flatten"}


def test_a_new_incarnation_is_asked_at_once() -> None:
    """A component that restarts in the middle is asked without waiting for the retry interval."""
    world = World(halt())
    world.tick(100)
    world.core.attached("", world.now_ns)
    world.core.attached("a~2", world.now_ns)
    world.tick()
    assert len(world.asked) == 2


def test_a_program_does_it_where_no_component_is() -> None:
    """With a program and no component the program runs at once; with a component only when the limit has passed."""
    alone = World(halt(), attached=False, programs=frozenset({"cancel"}))
    assert (alone.asked, alone.ran) == ([], ["cancel"])
    alone.answer("cancel")
    assert alone.said[-1].completed
    both = World(halt(), programs=frozenset({"cancel"}))
    both.tick(950)
    assert both.ran == []
    both.tick(600)
    assert both.ran == ["cancel", "cancel"]


def test_lifting_ends_no_cancel() -> None:
    """Cancel and flatten go on after their halt is lifted, until nothing remains; persist and stop do not."""
    world = World(halt("h1", *MEASURES))
    world.answer("cancel", left("o-1"))
    world.latch()
    world.outputs.clear()
    world.tick(5_000)
    assert set(world.asked) == {"cancel", "flatten"}
    assert not [each for each in world.outputs if isinstance(each, StopComponent)]
    world.answer("cancel")
    world.answer("flatten")
    assert world.said[-1].completed
    world.record()
    assert world.core.kept() == ()


def test_the_same_halt_twice_is_one_run() -> None:
    """A halt that is heard again, by whichever way, asks for nothing twice."""
    world = World(halt())
    for _ in range(5):
        world.core.begin(halt())
        world.latch(halt(), halt())
    assert world.asked == ["cancel"]


def test_two_halts_are_two_runs() -> None:
    """Each halt's measures are asked for and answered under its own name."""
    world = World(halt("h1"), halt("h2"))
    assert world.asked == ["cancel", "cancel"]
    world.answer("cancel", halt_id="h2")
    assert [each.completed for each in world.core.reports(world.now_ns)] == [False, True]


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    """An answer on an unknown halt, on a measure that the halt has not, or before its turn is refused."""
    world = World(halt("h1", "cancel", "flatten"))
    assert world.answer("cancel", halt_id="h9") is None
    assert world.answer("persist") is None
    assert world.answer("flatten") is None
    assert world.states == ["asked", "asked"]


def test_done_stays_done() -> None:
    """An answer that comes after the one that said done changes nothing, whatever it says."""
    world = World(halt())
    world.answer("cancel")
    world.answer("cancel", left("o-1"))
    assert world.states == ["done"]


def test_the_arbiters_table_contradicts() -> None:
    """While the arbiter's order table shows open orders, a finished cancel is asked again, and reported unchanged."""
    world = World(halt())
    world.answer("cancel")
    world.record(complete=False)
    world.outputs.clear()
    world.tick(5_000)
    assert len(world.asked) == 2
    assert {each.n for each in world.said} == {1}
    world.answer("cancel")
    assert world.states == ["done"]
    world.record(complete=True)
    world.outputs.clear()
    world.tick(5_000)
    assert world.outputs == []


def test_a_contradicted_component_may_find_more() -> None:
    """A component that is asked again and finds an order after all is not done any more, and is retried as before."""
    world = World(halt())
    world.answer("cancel")
    world.record(complete=False)
    world.answer("cancel", left("o-9"))
    assert (world.states, world.said[-1].completed) == (["failed"], False)
    world.record(complete=False)
    world.answer("cancel")
    assert world.said[-1].completed


def test_reports_are_repeated_until_recorded() -> None:
    """A report goes out every second, as it was, until an arbiter has recorded it; an old record counts for nothing."""
    world = World(halt())
    world.answer("cancel", left("o-1"))
    world.answer("cancel", left("o-1", "o-2"))
    world.record(1)
    world.outputs.clear()
    world.tick(3_100)
    assert [each.n for each in world.said] == [2, 2, 2]
    world.record(2)
    world.outputs.clear()
    world.tick(3_000)
    assert world.said == []


def test_a_lost_count_goes_on_from_the_journals() -> None:
    """A sidecar whose disk was lost reports under a higher number than the journal has, once it is told that one."""
    world = World(halt())
    world.answer("cancel")
    world.record(57)
    assert (world.said[-1].n, world.said[-1].completed) == (58, True)


def test_a_run_that_goes_well_is_reported_once() -> None:
    """Nothing is reported while a young run has neither failed nor ended; after a second it is said to be under way."""
    world = World(halt("h1", "cancel", "flatten"))
    world.tick(300)
    world.answer("cancel")
    assert world.said == []
    world.tick(REPEAT_NS // MS - 300)
    assert [each.completed for each in world.said] == [False]


def test_a_restart_asks_for_what_is_not_done() -> None:
    """After a restart of the sidecar what was done stays so, everything else begins again, and reports count on."""
    world = World(halt("h1", "cancel", "flatten", "persist"))
    world.answer("cancel")
    world.answer("flatten", left("XYZ"))
    last = world.said[-1].n
    world.restart(halt("h1", "cancel", "flatten", "persist"))
    assert (world.asked, world.states) == (["flatten"], ["done", "asked", "asked"])
    world.answer("flatten")
    world.answer("persist")
    assert world.said[-1].completed
    assert world.said[-1].n > last


def test_a_cancel_outlives_restart_and_lifting() -> None:
    """A sidecar that restarts after its halt was lifted still has its unfinished cancel on disk, and asks on."""
    world = World(halt())
    world.answer("cancel", left("o-1"))
    world.restart()
    assert world.asked == ["cancel"]
    world.answer("cancel")
    world.record()
    assert world.core.kept() == ()


def test_changes_are_kept_before_anything_is_asked() -> None:
    """A new run, a measure that is done and a report's number are on disk before what follows from them goes out."""
    world = World(halt())
    assert isinstance(world.outputs[0], SaveRuns)
    assert world.outputs[0].runs == (KeptRun(halt=halt(), n=0),)
    world.outputs.clear()
    world.answer("cancel")
    kept = world.outputs[0]
    assert isinstance(kept, SaveRuns)
    assert (kept.runs[0].n, [each.measure for each in kept.runs[0].done]) == (1, ["cancel"])


def test_nobody_records_for_ever() -> None:
    """A finished run of a lifted halt that no arbiter records is given up in the end."""
    world = World(halt())
    world.answer("cancel")
    world.latch()
    world.tick(REPEATS_MAX * REPEAT_NS // MS + 1_000)
    assert world.core.kept() == ()


def test_runs_are_bounded() -> None:
    """Lifted runs make room for new ones, finished ones first; those in force never go."""
    world = World(*(halt(f"h{each:03}") for each in range(RUNS_MAX)))
    world.answer("cancel", halt_id="h007")
    in_force = [halt(f"h{each:03}") for each in range(RUNS_MAX) if each not in (3, 7)]
    world.latch(*in_force, halt("new"))
    names = {each.halt.halt_id for each in world.core.kept()}
    assert len(names) == RUNS_MAX
    assert "new" in names and "h007" not in names and "h003" in names


def test_names_are_bounded() -> None:
    """An outcome names as many as it has room for, and counts all of them."""
    world = World(halt())
    world.answer("cancel", left(*(f"order-{each}" for each in range(1_000))))
    outcome = world.core.reports(world.now_ns)[0].outcomes[0]
    assert (len(outcome.remaining), outcome.remaining_count) == (REMAINING_MAX, 1_000)
    assert sum(len(each.encode()) for each in names_that_fit(["\u00e9" * 300] * 50)) <= REMAINING_BYTES_MAX


def test_while_halts_overflowed_none_is_known_to_be_lifted() -> None:
    """A halt that made way for one of everything is not taken for lifted: its persist and stop go on."""
    world = World(halt("h1", "persist"))
    world.latch(halt("overflow-h1"))
    assert "persist" in world.asked
    assert world.core.reports(world.now_ns)[0].outcomes != ()


def test_a_kept_run_is_read_as_it_was_written() -> None:
    """Runs survive their encoding on disk."""
    world = World(halt("h1", *MEASURES))
    world.answer("cancel")
    assert b'"done"' in encode(world.core.kept()[0])
