"""Failover groups that are registered at run time: their declaration on the wire, and operators' requests about them.

The fields of `GroupDeclaration` are those of the configuration's `groups.NAME`, by the same names, units and defaults;
what they mean stands in docs/configuration.md, and a test holds the two together.
"""

from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message

GroupMode = Literal["active_passive", "n_plus_one", "active_active", "cluster"]
Preference = Literal["prefer", "neutral", "never"]
Standby = Literal["hot", "warm", "cold"]


class GroupDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """One failover group, in full. `components` are in order of preference; times are milliseconds."""

    name: str
    components: tuple[str, ...]
    mode: GroupMode = "active_passive"
    active: int | None = None
    partitions: tuple[str, ...] = ()
    failback: Literal["manual", "delayed"] = "manual"
    failback_delay_ms: int = 60_000
    preference: dict[str, Preference] = msgspec.field(default_factory=dict)
    min_active: int = 0
    block_window_ms: int = 10_000
    promotion_backoff_ms: int = 1_000
    promotion_backoff_max_ms: int = 8_000
    unready_failover_ms: int = 2_000
    standby: dict[str, Standby] = msgspec.field(default_factory=dict)
    start_limit_ms: int = 60_000
    state_lag_max_ms: int = 1_000


class RegisterGroup(Message, frozen=True, kw_only=True, tag="register-group.v1"):
    """An operator registers a group at run time; the same one again changes nothing.

    With `dry_run` the answer (code DRY_RUN) says what would happen, and nothing does.
    """

    SENDER: ClassVar[str] = "actor"
    request_id: str
    group: GroupDeclaration
    actor: str
    reason: str
    dry_run: bool = False


class RemoveGroup(Message, frozen=True, kw_only=True, tag="remove-group.v1"):
    """An operator removes a group that was registered at run time and whose slots nobody holds. `dry_run` as above."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    group: str
    actor: str
    reason: str
    dry_run: bool = False


class GroupContradicted(Message, frozen=True, kw_only=True, tag="group-contradicted.v1"):
    """An alert: what is registered and what this leader is configured with differ about a group.

    Holders keep their slots, and nothing of the group is granted or moved until the two agree; `text` says what differs
    and is empty once it has ENDED.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    change: Literal["BEGAN", "ENDED"]
    group: str
    text: str = ""
