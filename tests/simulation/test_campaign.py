"""A campaign's report: the same from any number of processes, and readable."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from fleets import PAIR, SCENARIOS

from sidecar.core.timing import MS
from sidecar.messages.control import FailoverRequest
from sidecar.messages.journal import AnyFact, SlotDraining, SnapshotDigested
from sidecar.simulator.arbiter_host import ArbiterHost
from sidecar.simulator.campaign import Report, simulate
from sidecar.simulator.clocks import S
from sidecar.simulator.faults import KINDS
from sidecar.simulator.histogram import BAR_COLUMNS, as_svg, as_text, bins
from sidecar.simulator.operators import OPERATOR
from sidecar.simulator.timeline import lines, replay
from sidecar.simulator.world import World, cause_kind

TIMES_MS = [3.0, 4.0, 12.0, 2_100.0, 12_000.0]


def test_any_number_of_processes_makes_the_same_report() -> None:
    """Seeds spread over two processes are reported as if one had run them, in their order."""
    # Arbiters that wait too little break promises, so that the order of violations shows, too.
    broken = replace(PAIR, believed=replace(PAIR.timing, holder_wait_ns=700 * MS))
    alone, spread = (simulate(broken, hours=0.4, seed=5, processes=each) for each in (1, 2))
    assert alone.violations
    assert alone == spread
    assert [each.seed for each in alone.violations] == sorted(each.seed for each in alone.violations)


def test_a_report_says_what_programs_look_for() -> None:
    """The JSON has hours, failovers and a list of violations, and folds single times into percentiles."""
    plain = simulate(PAIR, hours=0.1, seed=1).as_json()
    assert plain["hours"] == pytest.approx(0.1)
    assert plain["violations"] == []
    assert plain["failovers"] == sum(plain["failovers_by_cause"].values()) > 0
    assert list(plain["failover_ms"]) == ["p50", "p90", "p99", "max"]
    assert plain["no_holder_seconds"] > 0


def test_a_campaign_needs_an_end() -> None:
    """A campaign without hours or minutes is refused."""
    with pytest.raises(ValueError, match="hours or minutes"):
        simulate(PAIR, seed=1)


def test_a_campaign_ends_by_the_clock() -> None:
    """With minutes of real time it stops after the first run past them."""
    assert simulate(PAIR, seed=1, minutes=1e-9).runs == 1


def test_progress_is_told_with_what_was_seen_so_far() -> None:
    """After each run the share that is done and the report so far are told, and it ends at all of it."""
    told: list[tuple[float, int]] = []
    simulate(PAIR, seed=1, hours=0.05, progress=lambda done, report: told.append((round(done, 3), report.runs)))
    assert told == [(0.333, 1), (0.667, 2), (1.0, 3)]


def test_a_hung_consumer_of_the_journal_is_subscribed_again() -> None:
    """An arbiter whose consumer hangs for good asks for a new one, and reads on: nothing waits for the fault's end."""
    for kind in ("leads", "stands by"):
        world = World(replace(SCENARIOS["site"], faults_per_minute=0), 11)
        world.agenda.run_until(0)
        world.agenda.after(10 * S, lambda world=world, kind=kind: world.broker.hung.add(arbiter(world, kind).name))
        still_hung: list[int] = []
        world.agenda.after(15 * S, lambda world=world, found=still_hung: found.append(len(world.broker.hung)))
        world.run()
        assert still_hung == [0], kind
        assert world.referee.violations == [], kind


def arbiter(world: World, kind: str) -> ArbiterHost:
    """One that leads, or one that does not."""
    return next(each for each in world.arbiters.values() if each.core.leading == (kind == "leads"))


def test_wall_clocks_decide_nothing() -> None:
    """A run in which two arbiters' CLOCK_REALTIME are off by an hour makes the same decisions at the same times."""
    plain, skewed = (World(PAIR, 17) for _ in range(2))
    for each, ahead_ns in zip(skewed.arbiters.values(), (3_600 * S, -3_600 * S), strict=True):
        each.wall_ahead_ns = ahead_ns
    for world in (plain, skewed):
        world.run()
    assert decided(plain) == decided(skewed)
    assert plain.referee.failover_ms == skewed.referee.failover_ms


def decided(world: World) -> list[tuple[int, int, AnyFact]]:
    """The journal without its wall clocks, and without the digests, which go over them."""
    records = (each.record for each in world.broker.journal)
    return [(each.term, each.n, each.fact) for each in records if not isinstance(each.fact, SnapshotDigested)]


def test_what_a_stopped_consumer_did_not_settle_goes_to_the_next() -> None:
    """A delivery that waits in a stopped arbiter is delivered again, to the next one, when its place is lost."""
    world = World(replace(PAIR, faults_per_minute=0), 3)
    request = FailoverRequest(request_id="moved", group="execution", actor=OPERATOR, reason="a drill")

    def stop() -> None:
        leader = arbiter(world, "leads")
        world.broker.put(request, OPERATOR)
        leader.stopped = True
        world.agenda.after(2 * S, world.broker.move_last, leader.name)
        world.agenda.after(30 * S, leader.resume)

    world.agenda.after(10 * S, stop)
    world.run()
    asked = [each.record for each in world.broker.journal if isinstance(each.record.fact, SlotDraining)]
    assert asked[0].arbiter.startswith("arbiter-2")
    assert asked[0].at_ns < 20 * S
    assert world.referee.violations == []


def test_no_failovers_have_no_percentiles() -> None:
    """A report without failovers has no times and draws nothing."""
    assert Report().failover_ms() == {}
    assert as_text([]) == []


def test_the_histogram_counts_every_time_once() -> None:
    """Bins run from the first that is used to the last, and the longest bar has its full width."""
    assert sum(count for _, count in bins(TIMES_MS)) == len(TIMES_MS)
    rows = as_text(TIMES_MS)
    assert rows[0].split() == ["<", "10", "ms", "2", "#" * BAR_COLUMNS]
    assert rows[-1].startswith(">= 10000 ms")


def test_the_picture_is_well_formed() -> None:
    """The SVG is XML with one bar for each bin, whatever the title."""
    root = ElementTree.fromstring(as_svg(TIMES_MS, "<failovers & more>"))
    bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("x")]
    assert len(bars) == len(bins(TIMES_MS))


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("released: killed", "released"),
        ("silence: the lease ran out", "silence"),
        ("a drill (by operator)", "asked for"),
    ],
)
def test_causes_have_three_kinds(cause: str, kind: str) -> None:
    """A failover was released, followed silence, or was asked for."""
    assert cause_kind(cause) == kind


def test_a_replay_is_the_run_itself() -> None:
    """The timeline of a seed shows its faults, terms, grants and gates, in order, and changes nothing in the run."""
    plain = World(SCENARIOS["site"], 3)
    plain.run()
    told = replay(SCENARIOS["site"], 3)
    assert told.broker.truth.digest() == plain.broker.truth.digest()
    shown = list(lines(told))
    for word in ("fault  ", "TermStarted", "SlotGranted", "open for", "closed by", "healed", "broken promises: none"):
        assert any(word in each for each in shown), word
    times = [float(each.split()[0]) for each in shown]
    assert times == sorted(times)


def test_every_kind_of_fault_happens() -> None:
    """Each kind can be made to happen by itself, and a world with it heals."""
    for kind in sorted(set(KINDS)):
        world = World(replace(SCENARIOS["site"], faults_per_minute=0), 11)
        for at_s in (5, 9, 13):
            world.agenda.after(at_s * 1_000 * MS, world.faults.happen, kind)
        world.run()
        assert world.faults.happened, kind
        assert world.referee.violations == [], kind
