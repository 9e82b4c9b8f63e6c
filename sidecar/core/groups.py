"""Failover groups: which slots a group has, and who should take a vacant one.

Owns the plan of a group and the choice among candidates; pure functions of who is ready and who holds what. It must
not know leases, time or messages. The four modes are one mechanism with slots distributed differently (DESIGN
section 6): `active_passive` one slot, by order of preference; `n_plus_one` N slots, one each; `active_active` one slot
per partition, by rendezvous hashing (Thaler and Ravishankar 1998), so that a death moves only the dead member's
slots; `cluster` the same plus a leader slot, and nobody below quorum.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.core.marks import NOTHING, Mark


class Mode(StrEnum):
    """How a group distributes its slots."""

    ACTIVE_PASSIVE = "active_passive"
    N_PLUS_ONE = "n_plus_one"
    ACTIVE_ACTIVE = "active_active"
    CLUSTER = "cluster"


_CLUSTER: Final = Mode.CLUSTER
_SHARING: Final = frozenset({Mode.ACTIVE_ACTIVE, Mode.CLUSTER})
"""Python 3.11 looks an enumeration's members up slowly, and these are asked for every heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What restrains or hastens a group's automatic moves. Every default is off; times in nanoseconds.

    Members in `prefer` come before the others, those in `never` only when an operator names them; among equals hot ones
    come before `warm` and those before `cold`. Sharing modes ignore all but `never`: their spread must not depend on
    who else is there. A cold member may be started when no ready one can take a slot, and has `start_limit_ns` for it.
    `state_lag_ns` is how far behind in its slot's state a member may be and still count as caught up.
    """

    prefer: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    min_active: int = 0
    block_window_ns: int = 0
    backoff_ns: int = 0
    backoff_max_ns: int = 0
    unready_ns: int = 0
    warm: frozenset[str] = frozenset()
    cold: frozenset[str] = frozenset()
    start_limit_ns: int = 0
    state_lag_ns: int = 0


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A group as configured. `members` are in order of preference; `slots` are full names, `group/slot`.

    `failback_ns` is how long the preferred member must be ready before its slot goes back to it; None is never.
    """

    name: str
    mode: Mode
    members: tuple[str, ...]
    slots: tuple[str, ...]
    failback_ns: int | None = None
    policy: Policy = Policy()

    @property
    def ranked(self) -> tuple[str, ...]:
        """Who may be chosen automatically, most preferred first."""
        able = [each for each in self.members if each not in self.policy.never]
        return tuple(sorted(able, key=self.standing))

    def standing(self, member: str) -> tuple[bool, bool, bool]:
        """How willingly the group lets this member act, the lower the better; equal ones go by their state."""
        return member not in self.policy.prefer, member in self.policy.cold, member in self.policy.warm

    @property
    def quorum(self) -> int:
        """How many ready members the group needs to act at all."""
        return len(self.members) // 2 + 1 if self.mode is _CLUSTER else 1

    @property
    def shares(self) -> bool:
        """Whether one member may hold several slots."""
        return self.mode in _SHARING


def plan_group(
    name: str,
    mode: Mode,
    members: tuple[str, ...],
    *,
    active: int | None = None,
    partitions: tuple[str, ...] = (),
    failback_ns: int | None = None,
    policy: Policy | None = None,
) -> GroupPlan:
    """The plan of a configured group.

    `active` is N for `n_plus_one` (default: all members but one). `partitions` name the slots of the sharing modes
    (default: as many numbered ones as members).
    """
    numbered = tuple(str(each) for each in range(len(members)))
    match mode:
        case Mode.ACTIVE_PASSIVE:
            names: tuple[str, ...] = ("0",)
        case Mode.N_PLUS_ONE:
            names = numbered[: active or max(1, len(members) - 1)]
        case Mode.ACTIVE_ACTIVE:
            names = partitions or numbered
        case Mode.CLUSTER:
            names = ("leader", *(partitions or numbered))
    return GroupPlan(name, mode, members, tuple(f"{name}/{each}" for each in names), failback_ns, policy or Policy())


def choose(
    plan: GroupPlan,
    slot: str,
    ready: Collection[str],
    holders: Mapping[str, str],
    *,
    wanted: str = "",
    avoid: str = "",
    barred: Collection[str] = (),
    lagging: Collection[str] = (),
    marks: Mapping[str, Mark] | None = None,
) -> str | None:
    """The member that should take the vacant `slot`, or None.

    `ready` are the members that could act now, and count for the quorum; `holders` maps the group's held slots to
    members. `wanted` is an operator's choice and wins if it can act, whatever the policy says of it; `barred` may not
    be chosen otherwise; `avoid` is whoever is being moved away and loses to everybody else. `lagging` are too far
    behind in the slot's state, and `marks` how far each has got with it. The rank among who is able and not barred,
    since a state that is lost is worse than a host that is not liked:

    1. not the one who is moved away;
    2. caught up; where nobody is, only those who lack least;
    3. in the sharing modes the rendezvous weight; else `prefer`, then hot, warm, cold;
    4. the most caught up;
    5. the order of components.
    """
    able = [each for each in plan.members if each in ready]
    if len(able) < plan.quorum:
        return None
    if not plan.shares:
        taken = set(holders.values())
        able = [each for each in able if each not in taken]
    if wanted in able:
        return wanted
    able = [each for each in plan.ranked if each in able and each not in barred]
    others = [each for each in able if each != avoid] or able
    if not others:
        return None
    others = _least_lost(others, lagging, marks or {})
    if plan.shares:
        return max(others, key=lambda each: _weight(slot, each))
    if not marks:
        return others[0]
    equals = [each for each in others if plan.standing(each) == plan.standing(others[0])]
    return max(equals, key=lambda each: marks.get(each, NOTHING))  # The first of equal ones.


def _least_lost(members: list[str], lagging: Collection[str], marks: Mapping[str, Mark]) -> list[str]:
    """Those of them with whom least of the state is lost."""
    if not lagging:
        return members
    caught_up = [each for each in members if each not in lagging]
    furthest = max(marks.get(each, NOTHING) for each in members)
    return caught_up or [each for each in members if marks.get(each, NOTHING) == furthest]


def _weight(slot: str, member: str) -> bytes:
    """The rendezvous weight: the same on every arbiter, independent of the other members."""
    return hashlib.blake2b(f"{slot}\0{member}".encode(), digest_size=16).digest()
