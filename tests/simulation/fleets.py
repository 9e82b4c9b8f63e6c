"""The scenarios that are run again and again, by name."""

from dataclasses import replace

from sidecar.core.groups import Mode, Policy, plan_group
from sidecar.messages.groups import GroupDeclaration
from sidecar.simulator.clocks import S
from sidecar.simulator.world import Scenario

EXECUTION = plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b"))
GATEWAYS = plan_group("gateways", Mode.N_PLUS_ONE, ("x", "y", "z"))
MAKERS = plan_group("makers", Mode.ACTIVE_ACTIVE, ("m1", "m2", "m3"), partitions=("a", "b", "c", "d"))
QUORUM = plan_group("quorum", Mode.CLUSTER, ("c1", "c2", "c3"))
RESERVE = plan_group(
    "reserve",
    Mode.N_PLUS_ONE,
    ("r1", "r2", "r3", "r4"),
    active=2,
    policy=Policy(cold=frozenset({"r3", "r4"}), start_limit_ns=4 * S, backoff_ns=S, backoff_max_ns=4 * S),
)
QUOTES = GroupDeclaration(name="quotes", components=("q1", "q2"))
TRIO = plan_group("trio", Mode.ACTIVE_PASSIVE, ("t1", "t2", "t3"))

PAIR = Scenario(plans=(EXECUTION,))
SCENARIOS = {
    "pair": PAIR,
    "stormy": replace(PAIR, arbiters=3, faults_per_minute=40, loss=0.1),
    "spare": Scenario(plans=(GATEWAYS,)),
    "partitions": Scenario(plans=(MAKERS,)),
    "cluster": Scenario(plans=(QUORUM,)),
    "site": Scenario(plans=(TRIO, GATEWAYS), arbiters=3),
    "reserve": Scenario(plans=(RESERVE,)),
    "registered": Scenario(plans=(EXECUTION,), registered=(QUOTES,)),
    "braked": Scenario(plans=(TRIO,), failovers_per_hour_max=2),
    "halted": Scenario(plans=(TRIO, GATEWAYS), halts_per_minute=30, resume_operators=2),
    "stormy-trading": replace(PAIR, arbiters=3, faults_per_minute=40, loss=0.1, orders_per_minute=40),
    "errands": Scenario(plans=(EXECUTION, TRIO), errands_per_minute=40),
    "trading": Scenario(plans=(EXECUTION, MAKERS), orders_per_minute=60),
}
