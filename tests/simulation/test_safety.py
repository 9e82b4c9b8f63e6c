"""The real cores in virtual time with faults: every promise of the simulator's referee holds.

A failure prints its seed; `World(SCENARIOS[name], seed).run()` shows it again.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fleets import SCENARIOS

from sidecar.simulator.campaign import simulate
from sidecar.simulator.world import World, without_faults

HOURS = {
    "pair": 25.0,
    "stormy": 6.0,
    "spare": 6.0,
    "partitions": 4.0,
    "cluster": 3.0,
    "site": 3.0,
    "braked": 4.0,
    "reserve": 2.0,
    "registered": 2.0,
    "halted": 3.0,
    "stormy-trading": 0.6,
    "errands": 0.8,
    "trading": 1.0,
}
"""More than sixty virtual hours in all, of which none is idle."""
CORPUS = [
    line.split(maxsplit=2)
    for line in (Path(__file__).parent / "corpus" / "seeds.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_promise_is_broken(name: str) -> None:
    """Under crashes, stops, cuts, losses, alarms, lag, handovers and halts no promise falls, and service returns."""
    report = simulate(SCENARIOS[name], hours=HOURS[name], seed=1_000, processes=os.cpu_count() or 1)
    assert report.violations == []
    assert report.faults >= 4 * 60 * report.hours
    assert report.failovers > 0
    assert report.halts >= 60 * report.hours
    assert report.orders >= 10 * SCENARIOS[name].orders_per_minute * report.hours


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_good_day_has_no_failover(name: str) -> None:
    """Without faults every slot is taken once and never moves."""
    report = simulate(without_faults(SCENARIOS[name]), hours=0.1, seed=1)
    assert report.violations == []
    assert report.failovers == 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_halts_alone_move_nothing_and_end(name: str) -> None:
    """Under halts and resumes, right and wrong ones, but no faults, no slot moves, and in the end all gates open."""
    peaceful = replace(without_faults(SCENARIOS[name]), halts_per_minute=20)
    report = simulate(peaceful, hours=0.1, seed=1)
    assert report.violations == []
    assert report.failovers == 0


def test_arbiters_start_from_snapshots() -> None:
    """An arbiter that starts again mostly stands on a snapshot, and folds the rest of the journal to the same state."""
    stood = 0
    for seed in range(10):
        world = World(SCENARIOS["site"], seed)
        world.run()
        for arbiter in world.arbiters.values():
            stood += arbiter.stood_on >= 0
            if arbiter.read_to == len(world.broker.journal):
                assert arbiter.core.desk.log_state.digest() == world.broker.truth.digest(), f"seed {seed}"
    assert stood > 0


@pytest.mark.parametrize(("name", "seed", "found"), CORPUS, ids=[f"{name}-{seed}" for name, seed, _ in CORPUS])
def test_what_was_broken_once_is_mended(name: str, seed: str, found: str) -> None:
    """A run that once broke a promise breaks none."""
    world = World(SCENARIOS[name], int(seed))
    world.run()
    assert world.referee.violations == [], found


def test_the_same_seed_is_the_same_run() -> None:
    """Two runs of one seed have the same journal to the byte, and another seed another one."""
    worlds = [World(SCENARIOS["pair"], seed) for seed in (7, 7, 8)]
    for world in worlds:
        world.run()
    chains = [world.broker.truth.position.chain for world in worlds]
    assert chains[0] == chains[1] != chains[2]
    assert worlds[0].faults.happened == worlds[1].faults.happened


def test_every_arbiter_folds_the_same_state() -> None:
    """At the end of a run each living arbiter's fold of the log has the digest of the journal itself."""
    for seed in range(20):
        world = World(SCENARIOS["pair"], seed)
        world.run()
        for arbiter in world.arbiters.values():
            if arbiter.read_to == len(world.broker.journal):
                assert arbiter.core.desk.log_state.digest() == world.broker.truth.digest(), f"seed {seed}"
