"""Groups as somebody declared them, in the configuration or at run time: what is wrong with one, and its plan.

Owns the checks that both ways share, and the bounds that the configuration has in its fields and the wire has not. It
must not know who declares a group, nor which others there are.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

import msgspec

from sidecar.core.groups import GroupPlan, Mode, Policy, plan_group
from sidecar.core.sanity import INT_MAX, clip
from sidecar.core.timing import MS
from sidecar.messages.groups import GroupDeclaration

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What groups, components and partitions may be called; slot names and routing keys are made of it."""
MEMBERS_MAX: Final = 256
PARTITIONS_MAX: Final = 1024
RANGES: Final[dict[str, tuple[int, int | None]]] = {
    "active": (1, None),
    "failback_delay_ms": (1_000, None),
    "min_active": (0, None),
    "block_window_ms": (0, 86_400_000),
    "promotion_backoff_ms": (0, 3_600_000),
    "promotion_backoff_max_ms": (0, 86_400_000),
    "unready_failover_ms": (0, 3_600_000),
    "start_limit_ms": (100, 3_600_000),
    "state_lag_max_ms": (0, 3_600_000),
}
"""Least and greatest value of each number; a test holds them to the configuration's own."""
NUMBER_MAX: Final = INT_MAX // MS
"""Where the configuration sets no greatest value: so many milliseconds fit into 64 bits of nanoseconds."""
SIDE_MAX: Final = 80
"""Characters of one side of one difference, for people."""


def plan_declared(group: GroupDeclaration) -> GroupPlan:
    """The plan of a group without problems."""
    return plan_group(
        group.name,
        Mode(group.mode),
        group.components,
        active=group.active,
        partitions=group.partitions,
        failback_ns=group.failback_delay_ms * MS if group.failback == "delayed" else None,
        policy=Policy(
            prefer=frozenset(each for each, said in group.preference.items() if said == "prefer"),
            never=frozenset(each for each, said in group.preference.items() if said == "never"),
            min_active=group.min_active,
            block_window_ns=group.block_window_ms * MS,
            backoff_ns=group.promotion_backoff_ms * MS,
            backoff_max_ns=max(group.promotion_backoff_ms, group.promotion_backoff_max_ms) * MS,
            unready_ns=group.unready_failover_ms * MS,
            warm=frozenset(each for each, said in group.standby.items() if said == "warm"),
            cold=frozenset(each for each, said in group.standby.items() if said == "cold"),
            start_limit_ns=group.start_limit_ms * MS,
            state_lag_ns=group.state_lag_max_ms * MS,
        ),
    )


def declaration_problem(group: GroupDeclaration) -> str:
    """Why a group cannot be registered, as a sentence; empty when it can, as far as it alone can tell."""
    return _bounds_problem(group) or contradiction_within(group)


def contradiction_within(group: GroupDeclaration) -> str:
    """What in a declaration contradicts the rest of it, as a sentence with the mend; empty when nothing does."""
    if len(set(group.components)) != len(group.components):
        return "components lists a name twice: remove the repetition"
    if len(set(group.partitions)) != len(group.partitions):
        return "partitions lists a name twice: remove the repetition"
    if group.active is not None and group.active > len(group.components):
        return f"active is {group.active} but there are {len(group.components)} components: lower it"
    slots = len(plan_declared(group).slots)
    if group.min_active > slots:
        return f"min_active is {group.min_active} but there are {slots} slots, so it never holds: lower it"
    for name in group.preference:
        if name not in group.components:
            return f"preference names {clip(name)!r}, which is not in components: add it there or remove it here"
    for name in group.standby:
        if name not in group.components:
            return f"standby names {clip(name)!r}, which is not in components: add it there or remove it here"
    if all(group.preference.get(each) == "never" for each in group.components):
        return "preference says never for every component, so nobody could act: take it from one"
    return ""


def difference(one: GroupPlan, other: GroupPlan) -> str:
    """In what two plans differ, each with both sides; empty when they are the same."""
    found = [*_differing(one, other, skip=("policy", "slots")), *_differing(one.policy, other.policy)]
    return "; ".join(found or _differing(one, other, skip=("policy",)))


def plans_digest(plans: Iterable[GroupPlan]) -> str:
    """A hash over groups, equal wherever the same groups are configured, in whatever order."""
    parts = [
        [
            [each.name, _plain(getattr(part, each.name))]
            for part in (plan, plan.policy)
            for each in fields(part)
            if each.name != "policy"
        ]
        for plan in sorted(plans, key=lambda each: each.name)
    ]
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def _differing(one: Any, other: Any, *, skip: tuple[str, ...] = ()) -> list[str]:
    names = [each.name for each in fields(one) if each.name not in skip]
    return [
        f"{name} {_side(getattr(one, name))} against {_side(getattr(other, name))}"
        for name in names
        if getattr(one, name) != getattr(other, name)
    ]


def _side(value: object) -> str:
    if isinstance(value, tuple | frozenset):
        value = ", ".join(sorted(value) if isinstance(value, frozenset) else value) or "none"
    return str(value)[:SIDE_MAX]


def _bounds_problem(group: GroupDeclaration) -> str:
    if not 1 <= len(group.components) <= MEMBERS_MAX:
        return f"components has {len(group.components)} names: give 1 to {MEMBERS_MAX}"
    if len(group.partitions) > PARTITIONS_MAX:
        return f"partitions has {len(group.partitions)} names: give at most {PARTITIONS_MAX}"
    for name in _names(group):
        if not NAME.fullmatch(name):
            return f"{clip(name)!r} is no name: take letters, digits, - and _, at most 64, a letter or digit first"
    for field, (least, most) in RANGES.items():
        value = getattr(group, field)
        if value is not None and not least <= value <= (NUMBER_MAX if most is None else most):
            return f"{field} is out of range: give {least} to {NUMBER_MAX if most is None else most}"
    return ""


def _names(group: GroupDeclaration) -> Iterator[str]:
    yield group.name
    yield from group.components
    yield from group.partitions
