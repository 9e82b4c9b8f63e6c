"""Why things are as they are: questions to the leader about one group and about past failovers, and its answers.

Asked under `sidecar.commands` by anyone whom the broker verified; nothing is decided by asking.
"""

from typing import ClassVar

import msgspec

from sidecar.messages.base import Message, Token

LAST_DEFAULT = 20
"""Failovers that a history answers with unless it is asked for more."""


class ExplainRequest(Message, frozen=True, kw_only=True, tag="explain-request.v1"):
    """Anyone asks the leader for an `ExplainReport` of one group."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    group: str


class SlotExplained(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a slot, until when, and who would take it if the holder went now.

    `lease_left_ns` is the leader's upper bound, as in `SlotStatus`; it grows again with each heartbeat. `stepping_down`
    says in words who asked the holder to step down and for whom, or is empty. `line` are the candidates, next first.
    """

    slot: str
    component: str = ""
    incarnation: str = ""
    token: Token | None = None
    lease_left_ns: int = 0
    stepping_down: str = ""
    line: tuple[str, ...] = ()


class MemberExplained(msgspec.Struct, frozen=True, kw_only=True):
    """One member of the group: what it holds, and whether it could take a slot now.

    `obstacles` says why it is no candidate, one sentence each; a candidate has none. `notes` is what else is to know.
    `silent_ns` is the age of its last heartbeat, None when it was never heard by this arbiter.
    """

    component: str
    candidate: bool
    incarnation: str = ""
    holds: tuple[str, ...] = ()
    silent_ns: int | None = None
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ExplainReport(Message, frozen=True, kw_only=True, tag="explain-report.v1"):
    """One group as the leader sees it now. Members are in order of preference.

    `waits` says what keeps vacant slots from being granted whoever is a candidate, one sentence each.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 4 * 1024 * 1024
    arbiter: str
    request_id: str
    term: int
    group: str
    mode: str
    slots: tuple[SlotExplained, ...]
    members: tuple[MemberExplained, ...]
    waits: tuple[str, ...] = ()


class HistoryRequest(Message, frozen=True, kw_only=True, tag="history-request.v1"):
    """Anyone asks the leader for the `last` failovers, of one group or (`group` empty) of all."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    group: str = ""
    last: int = LAST_DEFAULT


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a slot's holder, from the journal.

    Times are the deciding arbiters' CLOCK_REALTIME in nanoseconds, 0 where that did not happen (yet). `asked_ns` is
    when an operator, failback or health asked for it: `asked_by` and `cause` say who and why. `heard_ns` is when the
    old holder was last heard, `suspected_ns` when its silence was suspected, `vacated_ns` when it gave the slot back or
    its lease was over. `taken_ns` is when the new holder's gate was first heard to be open: its sidecar
    says so at once, and again with each heartbeat.
    """

    slot: str
    cause: str
    asked_by: str = ""
    previous: str = ""
    component: str = ""
    token: Token | None = None
    asked_ns: int = 0
    heard_ns: int = 0
    suspected_ns: int = 0
    vacated_ns: int = 0
    granted_ns: int = 0
    taken_ns: int = 0


class HistoryReport(Message, frozen=True, kw_only=True, tag="history-report.v1"):
    """Failovers, oldest first. The table is bounded; what is older is in the journal itself."""

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 4 * 1024 * 1024
    arbiter: str
    request_id: str
    failovers: tuple[Failover, ...]
