"""Heartbeats, the leases that answer them, and health reports: the exchange `sidecar.health`."""

from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message, SlotToken
from sidecar.messages.control import Halt

HealthStatus = Literal["HEALTHY", "DEGRADED", "CRITICAL"]
Role = Literal["ACTIVE", "STANDBY"]


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat.v1"):
    """ "I live", sent every heartbeat interval by each sidecar; transient, expires with the lease.

    `run` is the sidecar's own run and `seq` counts within it, so that late heartbeats are told from new ones and the
    sidecar finds its own send time again. `incarnation` is the component's run, empty while none is attached. `ready`
    says the component could take a slot; `reasons` why not. `unconfirmed_halts` are latched halts that no
    `ControlState` has confirmed yet, so that a halt raised while no arbiter lived is journaled by the next one.
    """

    component: str
    incarnation: str
    seq: int
    ready: bool
    run: str = ""
    reasons: tuple[str, ...] = ()
    role: Role = "STANDBY"
    control_version: int = 0
    unconfirmed_halts: tuple[Halt, ...] = ()


class Lease(Message, frozen=True, kw_only=True, tag="lease.v1"):
    """The leader's answer to one heartbeat; a right that runs `ttl_ns` from that heartbeat's send time.

    `slots` may be empty: the sidecar is heard and stands by, for the reason in `standby_reason`. `n` counts what the
    leader had decided by then: of two answers to one heartbeat the one with the higher `n` is the later.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    term: int
    incarnation: str
    seq: int
    ttl_ns: int
    control_version: int
    slots: tuple[SlotToken, ...] = ()
    standby_reason: str = ""
    n: int = 0


class Released(Message, frozen=True, kw_only=True, tag="released.v1"):
    """The holder closed its gate first and gives these slots back: they may move at once.

    `ended` says that the incarnation itself is over, so that it is no candidate any more.
    """

    component: str
    incarnation: str
    slots: tuple[SlotToken, ...]
    reason: str
    ended: bool = False


class HealthReport(Message, frozen=True, kw_only=True, tag="health-report.v1"):
    """Slow, persistent health: a status with its reasons and named figures (SI units in the names)."""

    component: str
    incarnation: str
    status: HealthStatus
    reasons: tuple[str, ...] = ()
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
