"""Heartbeats, the leases that answer them, and health reports: the exchange `sidecar.health`."""

from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message, SlotToken, Token
from sidecar.messages.control import Halt
from sidecar.messages.state import SlotState, SlotWord

HealthStatus = Literal["HEALTHY", "DEGRADED", "CRITICAL"]
Role = Literal["ACTIVE", "STANDBY"]


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat.v1"):
    """ "I live", sent every heartbeat interval by each sidecar; transient, expires with the lease.

    `run` is the sidecar's own run and `seq` counts within it, so that late heartbeats are told from new ones and the
    sidecar finds its own send time again. `incarnation` is the component's run, empty while none is attached. `ready`
    says the component could take a slot; `reasons` why not. `unconfirmed_halts` are latched halts that no
    `ControlState` has confirmed yet, so that a halt raised while no arbiter lived is journaled by the next one.
    `answered` is the highest `seq` of this run whose answer came within a lease, 0 before the first: who hears nothing
    cannot hold a slot. None is said by versions before it. `startable` says that nothing is attached and that this
    sidecar has a start action which it could run now. `states` are those that it keeps, of STATES_MAX slots at most;
    `doubts` are slots of which it wants to know the holder's token and the newest version (`Lease.words`).
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
    answered: int | None = None
    startable: bool = False
    states: tuple[SlotState, ...] = ()
    doubts: tuple[str, ...] = ()


class Lease(Message, frozen=True, kw_only=True, tag="lease.v1"):
    """The leader's answer to one heartbeat; a right that runs `ttl_ns` from that heartbeat's send time.

    `slots` may be empty: the sidecar is heard and stands by, for the reason in `standby_reason`. `n` counts what the
    leader had decided by then: of two answers to one heartbeat the one with the higher `n` is the later. `group` is
    the component's failover group as the leader knows it, empty while it is in none. `words` are of the slots that the
    heartbeat doubted, and of those whose newest state it lacks; an answer for them alone has no incarnation.
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
    group: str = ""
    words: tuple[SlotWord, ...] = ()


class Released(Message, frozen=True, kw_only=True, tag="released.v1"):
    """The holder closed its gate first and gives these slots back: they may move at once.

    `ended` says that the incarnation itself is over, so that it is no candidate any more.
    """

    component: str
    incarnation: str
    slots: tuple[SlotToken, ...]
    reason: str
    ended: bool = False


class StartComponent(Message, frozen=True, kw_only=True, tag="start-component.v1"):
    """The leader asks a cold standby's sidecar, in its run `run`, to run its own configured start action.

    Nothing in it says what is run. `order` is the journal's (term, n) of this decision: a repeated or an older one does
    nothing. It is sent again with each heartbeat until the component is attached or the start has failed.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    component: str
    run: str
    order: Token


class StartFailed(Message, frozen=True, kw_only=True, tag="start-failed.v1"):
    """The start action that `order` asked for brought no component up, for this reason."""

    component: str
    run: str
    order: Token
    reason: str


class HealthReport(Message, frozen=True, kw_only=True, tag="health-report.v1"):
    """Slow, persistent health: a status with its reasons and named figures (SI units in the names)."""

    component: str
    incarnation: str
    status: HealthStatus
    reasons: tuple[str, ...] = ()
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
