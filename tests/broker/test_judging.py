"""From what the management API said to findings, rule by rule."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.broker.finding import Finding, counts, critical
from sidecar.broker.judging import judge
from sidecar.broker.management import Survey, Unseen, management_urls, vhost_of
from sidecar.broker.rights import judge_rights
from sidecar.broker.topology import QUEUES, queue_arguments
from sidecar.broker.users import ROLES, Role, User, user_definitions

V4 = (4, 0)
NAMES = ("rabbit@a", "rabbit@b", "rabbit@c")


def node(name: str, **changes: Any) -> dict[str, Any]:
    """A node without fault."""
    well = {
        "name": name,
        "running": True,
        "partitions": [],
        "net_ticktime": 8,
        "mem_used": 1,
        "mem_limit": 100,
        "fd_used": 1,
        "fd_total": 100,
        "disk_free": 90_000_000_000,
        "disk_free_limit": 2_000_000_000,
    }
    return {**well, **changes}


def queue(name: str, **changes: Any) -> dict[str, Any]:
    """One of our queues without fault."""
    spec = next(each for each in QUEUES if each.name == name)
    well = {
        "arguments": queue_arguments(spec, V4),
        "members": list(NAMES),
        "online": list(NAMES),
        "policy": None,
        "effective_policy_definition": {},
    }
    return {**well, **changes}


def held(role: Role, user: str = "sue", name: str = "exec-a") -> dict[str, Any]:
    """What the API says of a user that has the rights of a role, and no more."""
    made = user_definitions([User(user=user, role=role, name=name)])
    (rights,), topics = made["permissions"], made["topic_permissions"]
    return {"rights": rights, "topics": topics}


def survey(**changes: Any) -> Survey:
    """A broker without fault."""
    well = Survey(
        nodes=[node(each) for each in NAMES],
        queues={each.name: queue(each.name) for each in QUEUES},
        alarms=[],
        **held("arbiter"),
        tags=["monitoring"],
        guest=False,
    )
    return replace(well, **changes)


def worst(seen: Survey | Unseen, *, strict: bool = False) -> list[tuple[str, str]]:
    """Level and subject of all that is not well."""
    return [(each.level, each.subject) for each in judge(seen, V4, strict=strict) if each.level not in ("ok", "info")]


def with_queue(name: str, **changes: Any) -> Survey:
    """A broker where one queue differs."""
    return survey(queues={**{each.name: queue(each.name) for each in QUEUES}, name: queue(name, **changes)})


def with_node(**changes: Any) -> Survey:
    """A broker where one node differs."""
    return survey(nodes=[node("rabbit@a", **changes), node("rabbit@b"), node("rabbit@c")])


def test_nothing_is_wrong() -> None:
    """A cluster of three without fault has no finding but that its partition handling cannot be seen."""
    assert worst(survey()) == []
    hidden = [each.subject for each in judge(survey(), V4, strict=True) if each.unseen]
    assert hidden == ["partition handling"]


@pytest.mark.parametrize(
    ("seen", "level", "subject"),
    [
        (survey(alarms=["memory on rabbit@a"]), "critical", "alarms"),
        (survey(nodes=[node("rabbit@a")]), "warning", "cluster"),
        (with_node(running=False), "warning", "cluster"),
        (survey(nodes=[node("rabbit@a", running=False), node("rabbit@b")]), "critical", "cluster"),
        (with_node(partitions=["rabbit@b"]), "critical", "cluster partition"),
        (with_node(net_ticktime=60), "warning", "net_ticktime"),
        (with_node(mem_used=80), "warning", "memory of rabbit@a"),
        (with_node(fd_used=95), "warning", "files of rabbit@a"),
        (with_node(disk_free=3_000_000_000), "warning", "disk of rabbit@a"),
        (with_queue("sidecar.arbiter", arguments={}), "critical", "queue sidecar.arbiter"),
        (
            with_queue("sidecar.journal", members=["rabbit@a"], online=["rabbit@a"]),
            "warning",
            "replicas of sidecar.journal",
        ),
        (with_queue("sidecar.journal", online=["rabbit@a", "rabbit@b"]), "warning", "replicas of sidecar.journal"),
        (with_queue("sidecar.journal", online=["rabbit@a"]), "critical", "replicas of sidecar.journal"),
        (
            with_queue("sidecar.arbiter", policy="ttl", effective_policy_definition={"message-ttl": 1000}),
            "critical",
            "policy ttl on sidecar.arbiter",
        ),
        (
            with_queue("sidecar.journal", policy="p", effective_policy_definition={"max-age": "1h"}),
            "critical",
            "journal retention",
        ),
        (
            with_queue("sidecar.journal", policy="p", effective_policy_definition={"max-length-bytes": 1_000_000}),
            "critical",
            "journal retention",
        ),
        (
            with_queue("sidecar.journal", policy="p", effective_policy_definition={"max-age": "a fortnight"}),
            "critical",
            "journal retention",
        ),
    ],
)
def test_each_fault_is_one_finding(seen: Survey, level: str, subject: str) -> None:
    """Each fault is found by its own rule, says what it means and how to mend it, and nothing else is found."""
    (found,) = [each for each in judge(seen, V4, strict=False) if each.level not in ("ok", "info")]
    assert (found.level, found.subject) == (level, subject)
    assert found.means
    assert found.mend


def test_long_retention_is_said() -> None:
    """A journal that is kept for a month is information, not a fault."""
    seen = with_queue("sidecar.journal", policy="p", effective_policy_definition={"max-age": "1M"})
    (found,) = [each for each in judge(seen, V4, strict=True) if each.subject == "journal retention"]
    assert (found.level, found.text) == ("info", "max-age = 1M")


@pytest.mark.parametrize("part", ["nodes", "queues", "alarms"])
def test_what_cannot_be_seen_is_said(part: str) -> None:
    """A part that cannot be seen is a warning, and critical where the configuration is strict."""
    seen = survey(**{part: Unseen("refuses the user")})
    assert ("warning", part) in worst(seen)
    assert ("critical", part) in worst(seen, strict=True)


def test_a_management_api_that_is_away_is_said() -> None:
    """Without the management API there is one finding, with what it means; strict makes it critical."""
    (found,) = judge(Unseen("does not answer"), V4, strict=False)
    assert (found.level, found.subject, found.unseen) == ("warning", "management API", True)
    assert found.means
    assert worst(Unseen("does not answer"), strict=True) == [("critical", "management API")]


def test_a_node_without_statistics_is_said() -> None:
    """A running node or a queue that gives no figures is not taken as healthy."""
    seen = survey(nodes=[{"name": each, "running": True} for each in NAMES])
    assert [each.subject for each in judge(seen, V4, strict=False) if "no statistics" in each.text] == [
        f"node {each}" for each in NAMES
    ]
    young = with_queue("sidecar.journal", effective_policy_definition=None, members=None)
    found = [each.subject for each in judge(young, V4, strict=False) if "no statistics" in each.text]
    assert found == ["replicas of sidecar.journal", "policies of sidecar.journal"]


def rights(seen: Survey, role: Any = "arbiter") -> list[tuple[str, str]]:
    """Level and text of what is said of the user."""
    return [(each.level, each.text) for each in judge_rights(seen, "sue", role, "exec-a")]


def test_the_roles_own_rights_are_right() -> None:
    """A user with the expressions of its role has neither too many nor too few rights."""
    for role in ROLES:
        assert rights(survey(**held(role)), role) == [("ok", "may do what it needs")]


def test_anothers_rights_are_wrong() -> None:
    """The rights of another user of the same role are both too many and too few: they are bound to a name."""
    for role in ("component", "operator", "reconciler"):
        found = dict(rights(survey(**held(role, "bob", "exec-b")), role))
        assert "less than the role" in found["critical"], role
    found = dict(rights(survey(**held("component", "bob", "exec-b")), "component"))
    assert "publish heartbeat.exec-a on sidecar.health" in found["critical"]


def test_missing_topic_permissions_are_found() -> None:
    """A component without topic permissions may use every routing key: a warning that names what it could do."""
    (found,) = rights(survey(**{**held("component"), "topics": []}), "component")
    assert found[0] == "warning"
    for each in ("publish heartbeat.somebody-else on sidecar.health", "publish resume on sidecar.commands"):
        assert each in found[1]
    unseen = survey(**{**held("component"), "topics": Unseen("refuses the user")})
    assert rights(unseen, "component") == [("ok", "may do what it needs")]


def test_the_default_exchange_is_for_arbiters() -> None:
    """Whoever else may write to the default exchange can write into the journal, and that is said."""
    for role in set(ROLES) - {"arbiter"}:
        mine = held(role)
        mine["rights"]["write"] = (
            mine["rights"]["write"].replace("^(", "^(amq\\.default|").replace("^$", "^amq.default$")
        )
        ((level, text),) = rights(survey(**mine), role)
        assert (level, "write amq.default" in text) == ("warning", True)


def test_too_few_rights_are_critical() -> None:
    """A right that the role needs and the user lacks is critical and named; no rights at all are the most of it."""
    ((level, text),) = rights(survey(rights={**held("arbiter")["rights"], "write": "^sidecar\\.health$"}))
    assert level == "critical"
    assert "write sidecar.journal" in text
    ((level, text),) = rights(survey(rights={}))
    assert "configure sidecar.journal" in text
    assert level == "critical"


def test_too_many_rights_are_a_warning() -> None:
    """A user that may do everything, or that may command, is a warning; so is an administrator, and guest."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    assert rights(survey(rights=everything)) == [
        ("warning", "it may configure, write, read everything in the virtual host")
    ]
    ours = dict.fromkeys(everything, "^sidecar\\.|^amq.default$")
    text = dict(rights(survey(rights=ours), "component"))["warning"]
    assert ("write amq.default" in text, "write sidecar.journal" in text) == (True, True)
    assert rights(survey(tags=["administrator"])) == [("warning", "is an administrator of the broker")]
    assert [each.subject for each in judge_rights(survey(guest=True), "sue", "arbiter")] == ["user guest"]


def test_rights_that_cannot_be_seen_are_information() -> None:
    """Only an administrator sees rights, so not seeing them is no fault; nor is an expression that we cannot read."""
    assert [level for level, _ in rights(survey(rights=Unseen("refuses the user")))] == ["info"]
    assert [level for level, _ in rights(survey(rights={"configure": "(?P<", "write": "", "read": ""}))] == ["info"]


def test_where_the_management_api_is() -> None:
    """Unless it is configured, it is looked for at each node, with the same user, encrypted where AMQP is."""
    assert management_urls(["amqp://u:p@a:5672/", "amqps://u:p@b/"], None) == [
        "http://u:p@a:15672",
        "https://u:p@b:15671",
    ]
    assert management_urls(["amqp://a/"], "http://m:1") == ["http://m:1"]
    assert [vhost_of(each) for each in ("amqp://a", "amqp://a/", "amqp://a/prod", "amqp://a/%2F")] == [
        "/",
        "/",
        "prod",
        "/",
    ]


def test_counts_and_sentences() -> None:
    """Counts name every level; only critical findings become reasons."""
    found = [Finding(level="critical", subject="alarms", text="memory"), Finding(level="ok", subject="a", text="b")]
    assert counts(found) == {"ok": 1, "info": 0, "warning": 0, "critical": 1}
    assert critical(found) == ("alarms: memory",)
