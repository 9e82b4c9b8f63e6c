"""From what the management API said to findings: the rules, their levels, and what each means for trading.

Owns the thresholds. Pure: it asks nobody. What was not seen is a finding too. The partition handling of a cluster is
told by no API, so it is always unseen here.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidecar.broker.finding import Finding, Level
from sidecar.broker.management import Json, Survey, Unseen
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES, QueueSpec, queue_arguments

TICKTIME_S_MAX: Final = 15
"""Seconds until a hung node is given up. Higher stalls the journal for longer (docs/broker.md)."""
HEADROOM: Final = 0.8
DISK_LIMITS: Final = 2
DISK_LIMIT_BYTES_MIN: Final = 1_000_000_000
REPLICAS_WANTED: Final = 3
RETENTION_S_MIN: Final = 86_400
RETENTION_BYTES_MIN: Final = 1_000_000_000
"""A journal that keeps less than a day or a gigabyte may lose what an arbiter or an auditor still has to read."""

MEND_MANAGEMENT: Final = "set broker.management_url to the management API with a user of tag monitoring"
_LOSSY: Final = {
    "max-length": "may drop messages",
    "max-length-bytes": "may drop messages",
    "message-ttl": "drops messages by age",
    "expires": "may delete the queue",
    "delivery-limit": "drops messages that were delivered too often",
}
_UNITS_S: Final = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3_600, "m": 60, "s": 1}


def judge(seen: Survey | Unseen, version: tuple[int, int], *, strict: bool) -> list[Finding]:
    """Every finding on nodes, alarms, queues and policies. `strict` makes what cannot be seen critical."""
    if isinstance(seen, Unseen):
        return [unseen("management API", seen.why, strict=strict)]
    nodes = [] if isinstance(seen.nodes, Unseen) else seen.nodes
    return [
        *_alarms(seen.alarms, strict),
        *(_cluster(seen.nodes, version) if not isinstance(seen.nodes, Unseen) else ()),
        *(each for node in nodes for each in _headroom(node)),
        *(_unseen_part("nodes", seen.nodes, strict)),
        *(_queues(seen.queues, len(nodes), version) if not isinstance(seen.queues, Unseen) else ()),
        *(_unseen_part("queues", seen.queues, strict)),
    ]


def unseen(subject: str, why: str, *, strict: bool, level: Level = "warning") -> Finding:
    """The finding that something could not be looked at."""
    return Finding(
        level="critical" if strict else level,
        subject=subject,
        text=f"cannot see: {why}",
        means="alarms, lost replicas or a policy that deletes the journal would go unnoticed here",
        mend=MEND_MANAGEMENT,
        unseen=True,
    )


def _unseen_part(subject: str, part: object, strict: bool) -> Iterator[Finding]:
    if isinstance(part, Unseen):
        yield unseen(subject, part.why, strict=strict)


def _alarms(alarms: Sequence[str] | Unseen, strict: bool) -> Iterator[Finding]:
    if isinstance(alarms, Unseen):
        yield unseen("alarms", alarms.why, strict=strict)
    elif alarms:
        yield Finding(
            level="critical",
            subject="alarms",
            text=f"in force: {', '.join(alarms)}",
            means="nobody can publish: no heartbeat, no lease, no order and no halt passes; gates close by themselves",
            mend="free memory or disk on that node, or raise its limit",
        )
    else:
        yield Finding(level="ok", subject="alarms", text="none")


def _cluster(nodes: Sequence[Json], version: tuple[int, int]) -> Iterator[Finding]:
    names = [str(each.get("name", "?")) for each in nodes]
    down = [str(each.get("name", "?")) for each in nodes if each.get("running") is not True]
    if down:
        yield Finding(
            level="critical" if len(down) * 2 >= len(nodes) else "warning",
            subject="cluster",
            text=f"{len(down)} of {len(nodes)} nodes are down: {', '.join(down)}",
            means="without a majority nothing is journaled, and so nothing is granted; one more loss may be enough",
            mend="start them again",
        )
    elif len(nodes) < REPLICAS_WANTED:
        yield Finding(
            level="warning",
            subject="cluster",
            text=f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}: {', '.join(names)}",
            means="the loss of one node stops trading, and its disk may be the journal's only copy",
            mend="run three nodes (deploy/rabbitmq/cluster.conf)",
        )
    else:
        yield Finding(level="ok", subject="cluster", text=f"{len(nodes)} nodes run: {', '.join(names)}")
    yield from _partitions(nodes)
    if len(nodes) > 1:
        yield from _ticktime(nodes)
        if version < (4, 3):
            yield _partition_handling()


def _partitions(nodes: Sequence[Json]) -> Iterator[Finding]:
    cut = {str(each.get("name")): each["partitions"] for each in nodes if each.get("partitions")}
    if cut:
        yield Finding(
            level="critical",
            subject="cluster partition",
            text="; ".join(f"{name} lost {', '.join(map(str, others))}" for name, others in sorted(cut.items())),
            means="the sides may have gone on separately: exchanges, bindings and users differ",
            mend="restart the nodes of the side you trust less, set cluster_partition_handling = pause_minority, and "
            "run deploy/rabbitmq/rejoin.sh beside the cluster",
        )


def _ticktime(nodes: Sequence[Json]) -> Iterator[Finding]:
    ticks = [each["net_ticktime"] for each in nodes if isinstance(each.get("net_ticktime"), int)]
    if ticks and max(ticks) > TICKTIME_S_MAX:
        yield Finding(
            level="warning",
            subject="net_ticktime",
            text=f"{max(ticks)} s",
            means=f"a node that hangs stalls the journal for up to {max(ticks) * 5 // 4} s; gates close meanwhile",
            mend="set net_ticktime = 8 on every node",
        )
    elif ticks:
        yield Finding(level="ok", subject="net_ticktime", text=f"{max(ticks)} s")


def _partition_handling() -> Finding:
    return Finding(
        level="info",
        subject="partition handling",
        text="cannot see: RabbitMQ tells cluster_partition_handling through no API",
        means="with ignore or autoheal, a cut network may leave two sides that both accept clients",
        mend="see that `rabbitmq-diagnostics environment` says cluster_partition_handling pause_minority on each node",
        unseen=True,
    )


def _headroom(node: Json) -> Iterator[Finding]:
    name = str(node.get("name", "?"))
    if node.get("running") is True and "mem_used" not in node:
        yield _no_statistics(f"node {name}")
    for what, used, limit in (("memory", "mem_used", "mem_limit"), ("files", "fd_used", "fd_total")):
        share = _share(node, used, limit)
        if share is not None and share >= HEADROOM:
            yield _tight(name, what, f"{share:.0%} of its limit is used")
    free, limit_bytes = node.get("disk_free"), node.get("disk_free_limit")
    if isinstance(free, int) and isinstance(limit_bytes, int):
        if free < limit_bytes * DISK_LIMITS:
            yield _tight(name, "disk", f"{free // 1_000_000} MB free, the alarm comes at {limit_bytes // 1_000_000} MB")
        elif limit_bytes < DISK_LIMIT_BYTES_MIN:
            yield Finding(
                level="info",
                subject=f"disk of {name}",
                text=f"the alarm comes only at {limit_bytes // 1_000_000} MB free",
                means="a disk that fills fast is full before publishers are stopped, and the node crashes",
                mend="raise disk_free_limit to some gigabytes",
            )


def _no_statistics(subject: str) -> Finding:
    return Finding(
        level="info",
        subject=subject,
        text="cannot see: no statistics; they come seconds after its start, unless they are turned off",
        mend="look again; see management_agent.disable_metrics_collector",
        unseen=True,
    )


def _share(node: Json, used: str, limit: str) -> float | None:
    one, all_of_it = node.get(used), node.get(limit)
    if isinstance(one, int) and isinstance(all_of_it, int) and all_of_it > 0:
        return one / all_of_it
    return None


def _tight(name: str, what: str, text: str) -> Finding:
    return Finding(
        level="warning",
        subject=f"{what} of {name}",
        text=text,
        means="at the limit an alarm stops all publishing, and gates close",
        mend="free some, or raise the limit",
    )


def _queues(queues: dict[str, Json] | Any, nodes: int, version: tuple[int, int]) -> Iterator[Finding]:
    for spec in QUEUES:
        queue = queues.get(spec.name)
        if queue is not None:  # A missing one is a finding of the check over AMQP.
            yield from _arguments(spec, queue, version)
            yield from _replicas(spec, queue, nodes)
            yield from _policy(spec, queue)


def _arguments(spec: QueueSpec, queue: Json, version: tuple[int, int]) -> Iterator[Finding]:
    wanted, there = queue_arguments(spec, version), queue.get("arguments", {})
    differ = [
        f"{name} is {there.get(name)!r}, not {value!r}" for name, value in wanted.items() if there.get(name) != value
    ]
    if differ:
        yield Finding(
            level="critical",
            subject=f"queue {spec.name}",
            text=f"has other arguments: {'; '.join(differ)}",
            means="processes cannot declare it and do not start, or what it must keep may be lost",
            mend="delete it when it is empty, then run `sidecar topology apply`",
        )


def _replicas(spec: QueueSpec, queue: Json, nodes: int) -> Iterator[Finding]:
    members, online = queue.get("members"), queue.get("online")
    if not isinstance(members, list) or not isinstance(online, list):
        yield _no_statistics(f"replicas of {spec.name}")
        return
    subject = f"replicas of {spec.name}"
    if len(online) * 2 <= len(members):
        yield Finding(
            level="critical",
            subject=subject,
            text=f"{len(online)} of {len(members)} are up",
            means="it has no majority and takes nothing",
            mend="start the other nodes",
        )
    elif len(online) < len(members):
        yield Finding(
            level="warning",
            subject=subject,
            text=f"{len(online)} of {len(members)} are up",
            means="it has less than it needs to lose another node",
            mend="start the other nodes",
        )
    elif len(members) < min(nodes, REPLICAS_WANTED):
        tool = "rabbitmq-streams add_replica" if spec.kind == "stream" else "rabbitmq-queues grow NODE all"
        yield Finding(
            level="warning",
            subject=subject,
            text=f"{len(members)} on {nodes} nodes: it was declared before they had joined",
            means="the loss of one node may lose what was acknowledged",
            mend=f"add replicas: {tool}",
        )
    else:
        yield Finding(level="ok", subject=subject, text=f"{len(members)}, all up")


def _policy(spec: QueueSpec, queue: Json) -> Iterator[Finding]:
    applied = queue.get("effective_policy_definition")
    if not isinstance(applied, dict | list):
        yield _no_statistics(f"policies of {spec.name}")
        return
    applied = applied if isinstance(applied, dict) else {}  # No policy at all was an empty list once.
    names = ", ".join(str(queue[each]) for each in ("policy", "operator_policy") if queue.get(each)) or "?"
    if spec.kind == "stream":
        yield from _retention(spec, {**applied, **_kept(queue.get("arguments", {}))})
        return
    lossy = {name: why for name, why in _LOSSY.items() if name in applied}
    if lossy:
        yield Finding(
            level="critical",
            subject=f"policy {names} on {spec.name}",
            text="; ".join(f"{name} = {applied[name]} {why}" for name, why in lossy.items()),
            means="orders, reports, commands or dead letters may vanish without a word",
            mend="change the policy's pattern so that it leaves out ^sidecar\\.",
        )


def _kept(arguments: Json) -> dict[str, Any]:
    return {name.removeprefix("x-"): value for name, value in arguments.items()}


def _retention(spec: QueueSpec, rules: Json) -> Iterator[Finding]:
    age_s, size = _age_s(rules.get("max-age")), rules.get("max-length-bytes")
    kept = [f"{name} = {rules[name]}" for name in ("max-age", "max-length-bytes") if name in rules]
    if spec.name != JOURNAL_STREAM:
        return
    if not kept:
        yield Finding(level="ok", subject="journal retention", text="everything is kept")
    elif (age_s is not None and age_s < RETENTION_S_MIN) or (isinstance(size, int) and size < RETENTION_BYTES_MIN):
        yield Finding(
            level="critical",
            subject="journal retention",
            text=", ".join(kept),
            means="decided facts may be deleted before an arbiter or an auditor has read them; then nothing is granted",
            mend="keep at least a day and a gigabyte, or better weeks",
        )
    else:
        yield Finding(
            level="info",
            subject="journal retention",
            text=", ".join(kept),
            means="what is older is deleted; it must be in a snapshot for arbiters and in the archive for auditors",
        )


def _age_s(text: object) -> int | None:
    """Seconds of RabbitMQ's `7D`; 0 for what cannot be read, None for nothing."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})([YMDhms])", str(text))
    return int(match[1]) * _UNITS_S[match[2]] if match else 0
