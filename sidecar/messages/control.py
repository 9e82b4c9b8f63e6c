"""Halts and operators' requests: the exchanges `sidecar.control` (fanout) and `sidecar.commands`."""

import enum
from typing import ClassVar

from sidecar.messages.base import Message
from sidecar.messages.measures import Measure


class TradingState(enum.IntEnum):
    """How strict a scope is; each value is stricter than the one before."""

    ACTIVE = 0
    REDUCING = 1
    CANCEL_ONLY = 2
    HALTED = 3


class Halt(Message, frozen=True, kw_only=True, tag="halt.v1"):
    """Raise the level of these scopes. Latched until an operator's resume names `halt_id`.

    `scopes` are `all` or `kind:name` with kind one of group, component, venue, account, symbol, strategy.
    `issued_ns` is the issuer's CLOCK_REALTIME in nanoseconds, for people; no decision reads it. Under HALTED,
    orders that only reduce risk pass unless `reducing_allowed` is false; cancels always pass. `measures` are what
    components in scope do beside closing their gates: a kill is HALTED with `cancel`, a flatten REDUCING with
    `flatten`.
    """

    SENDER: ClassVar[str] = "actor"
    halt_id: str
    scopes: tuple[str, ...]
    level: TradingState
    reason: str
    actor: str
    issued_ns: int = 0
    reducing_allowed: bool = True
    measures: tuple[Measure, ...] = ()


class HaltAccepted(Message, frozen=True, kw_only=True, tag="halt-accepted.v1"):
    """One sidecar's word to the issuer: the gate is closed to this level.

    `closed_ns` is CLOCK_BOOTTIME of the sidecar's host when the gate page was written. `in_scope` is false
    when the halt does not concern this component; it then closed nothing and says so.
    """

    component: str
    incarnation: str
    halt_id: str
    closed_ns: int
    in_scope: bool
    trading_state: TradingState


class ControlState(Message, frozen=True, kw_only=True, tag="control-state.v1"):
    """All halts in force, as journaled, at `version`; sent to everyone after each change, and to those behind.

    `lifted` names halts that were lifted, for receivers that hold one which this arbiter never confirmed to them.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    term: int
    version: int
    halts: tuple[Halt, ...]
    lifted: tuple[str, ...] = ()


class ResumeRequest(Message, frozen=True, kw_only=True, tag="resume-request.v1"):
    """An operator lifts one halt, by name, with a reason.

    Where two operators are needed the first request is answered PROPOSED, and one of another user LIFTED.
    """

    SENDER: ClassVar[str] = "actor"
    request_id: str
    halt_id: str
    actor: str
    reason: str


class FailoverRequest(Message, frozen=True, kw_only=True, tag="failover-request.v1"):
    """An operator moves a group's slots away from their holders, to `to` where it is named.

    Vacant slots are granted at once, past pauses, windows and the brake. With `dry_run` the answer (code DRY_RUN) says
    what would happen, and nothing does. With `holder` only the slots of that component move.
    """

    SENDER: ClassVar[str] = "actor"
    request_id: str
    group: str
    actor: str
    reason: str
    to: str = ""
    dry_run: bool = False
    holder: str = ""


class PauseRequest(Message, frozen=True, kw_only=True, tag="pause-request.v1"):
    """An operator stops automatic failovers of a group for `duration_ns`, at most a day; a repeated one starts anew."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    group: str
    actor: str
    reason: str
    duration_ns: int


class UnpauseRequest(Message, frozen=True, kw_only=True, tag="unpause-request.v1"):
    """An operator ends a group's pause before its time."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    group: str
    actor: str
    reason: str


class StatusRequest(Message, frozen=True, kw_only=True, tag="status-request.v1"):
    """Anyone asks the leader for a `StatusReport`."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str


class CommandResult(Message, frozen=True, kw_only=True, tag="command-result.v1"):
    """The leader's answer to a request. What it says was done is in the journal."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    request_id: str
    ok: bool
    code: str
    text: str


class Probe(Message, frozen=True, kw_only=True, tag="probe.v1"):
    """A standby that misses the leader's ticks asks, through the arbiters' queue, who is nominated."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
