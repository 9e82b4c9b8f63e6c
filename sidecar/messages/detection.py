"""Failure detection on the wire: the arbiters' canaries, and alerts about silence.

Alerts are published on `sidecar.events` and never journaled: no authority moves by them.
"""

from typing import ClassVar, Literal

from sidecar.messages.base import Message


class Canary(Message, frozen=True, kw_only=True, tag="canary.v1"):
    """An arbiter's heartbeat to itself, by the way that sidecars' heartbeats take. `author` is its name and run.

    For the other arbiters it says how far this one has read the journal, the digest of the last mark it folded,
    and what somebody should look at. `groups` is a digest of the groups it is configured with.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    author: str
    seq: int
    standing: str = ""
    term: int = 0
    offset: int = -1
    digest: str = ""
    digest_offset: int = -1
    warning: str = ""
    groups: str = ""


class MemberSuspected(Message, frozen=True, kw_only=True, tag="member-suspected.v1"):
    """A member fell silent for longer than its rhythm explains. It is no candidate for a slot until heard again.

    `level` is phi, or for the fixed detector the number of missed heartbeats.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    component: str
    group: str
    method: Literal["phi", "fixed"]
    level: float
    silent_ns: int


class MemberMissing(Message, frozen=True, kw_only=True, tag="member-missing.v1"):
    """A configured member was not heard once within the first-heartbeat deadline of the leader's term."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    component: str
    group: str
    waited_ns: int


class MemberHeard(Message, frozen=True, kw_only=True, tag="member-heard.v1"):
    """A member that was suspected or missing is heard."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    component: str
    group: str


class CorrelatedSilence(Message, frozen=True, kw_only=True, tag="correlated-silence.v1"):
    """Many sidecars fell silent together, so the broker or the network is the likelier patient.

    BEGAN: no slot moves for silence. OVERDUE: it lasted for the configured limit, and silence is judged again. ENDED:
    too few of them are still silent. `components` are at most the first hundred by name; `silent` counts them all.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    change: Literal["BEGAN", "OVERDUE", "ENDED"]
    components: tuple[str, ...]
    silent: int
    lasted_ns: int
