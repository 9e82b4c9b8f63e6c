"""The real cores in virtual time with faults: every promise of the simulator's referee holds.

A failure prints its seed; `World(scenario, seed).run()` shows it again.
"""

import pytest

from sidecar.core.groups import Mode, plan_group
from sidecar.simulator.campaign import simulate
from sidecar.simulator.world import Scenario, World, without_faults

PLANS = {
    "pair": (plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b")),),
    "spare": (plan_group("gateways", Mode.N_PLUS_ONE, ("x", "y", "z")),),
    "partitions": (plan_group("makers", Mode.ACTIVE_ACTIVE, ("m1", "m2", "m3"), partitions=("a", "b", "c", "d")),),
    "cluster": (plan_group("quorum", Mode.CLUSTER, ("c1", "c2", "c3")),),
}


@pytest.mark.parametrize(
    ("group", "arbiters", "faults_per_minute", "loss", "hours"),
    [
        ("pair", 2, 12, 0.02, 1.0),
        ("pair", 3, 40, 0.10, 0.5),
        ("spare", 2, 12, 0.02, 0.5),
        ("partitions", 2, 12, 0.02, 0.5),
        ("cluster", 2, 12, 0.02, 0.5),
    ],
)
def test_no_promise_is_broken(group: str, arbiters: int, faults_per_minute: int, loss: float, hours: float) -> None:
    """Under crashes, stops, cuts, losses, lag, handovers and halts no promise falls, and service returns."""
    scenario = Scenario(plans=PLANS[group], arbiters=arbiters, faults_per_minute=faults_per_minute, loss=loss)
    report = simulate(scenario, hours=hours, seed=1_000)
    assert report.violations == []
    assert report.faults > 0
    assert report.failovers > 0


@pytest.mark.parametrize("group", PLANS)
def test_a_good_day_has_no_failover(group: str) -> None:
    """Without faults every slot is taken once and never moves."""
    report = simulate(without_faults(Scenario(plans=PLANS[group])), hours=0.1, seed=1)
    assert report.violations == []
    assert report.failovers == 0


def test_the_same_seed_is_the_same_run() -> None:
    """Two runs of one seed have the same journal to the byte, and another seed another one."""
    worlds = [World(Scenario(plans=PLANS["pair"]), seed) for seed in (7, 7, 8)]
    for world in worlds:
        world.run()
    chains = [world.truth.position.chain for world in worlds]
    assert chains[0] == chains[1] != chains[2]
    assert worlds[0].faults == worlds[1].faults


def test_every_arbiter_folds_the_same_state() -> None:
    """At the end of a run each living arbiter's fold of the log has the digest of the journal itself."""
    for seed in range(20):
        world = World(Scenario(plans=PLANS["pair"]), seed)
        world.run()
        for arbiter in world.arbiters.values():
            if arbiter.read_to == len(world.journal):
                assert arbiter.core.desk.log_state.digest() == world.truth.digest(), f"seed {seed}"
