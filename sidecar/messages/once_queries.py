"""Operators and execute-once: what is remembered of side effects, and an operator's word on an UNKNOWN one.

They travel on `sidecar.commands`. Asking is open to whoever the broker verified; settling is an operator's.
"""

from typing import ClassVar

import msgspec

from sidecar.messages.base import Message
from sidecar.messages.once import OnceKind, OnceState


class OnceQuery(Message, frozen=True, kw_only=True, tag="once-query.v1"):
    """Anyone asks the leader for an `OncePage`. What is empty matches everything; `after` is the `next` before."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    states: tuple[OnceState, ...] = ()
    kinds: tuple[OnceKind, ...] = ()
    component: str = ""
    key: str = ""
    limit: int = 200
    after: str = ""


class OnceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One side effect. `component` and `claim_id` are of the claim that runs, resolves or did it.

    `at_ns` is when it came to stand so (the deciding arbiter's CLOCK_REALTIME, 0 where it is not known), `ran` the
    claim under which it was to happen, `result` its JSON, cut at a thousand characters.
    """

    kind: OnceKind
    key: str
    state: OnceState
    component: str
    claim_id: str
    ran: str = ""
    incarnation: str = ""
    at_ns: int = 0
    limit_ns: int = 0
    result: str = ""
    text: str = ""


class OncePage(Message, frozen=True, kw_only=True, tag="once-page.v1"):
    """Side effects: those under way or UNKNOWN in the order of their claims, then those done, the newest first.

    `unknown_count` is of all that are UNKNOWN. A page may be short before the last one; `next` is empty behind it.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 2 * 1024 * 1024
    arbiter: str
    request_id: str
    effects: tuple[OnceLine, ...]
    unknown_count: int
    next: str = ""


class ResolveOnce(Message, frozen=True, kw_only=True, tag="resolve-once.v1"):
    """An operator has found out what became of an UNKNOWN side effect: it happened, with this JSON, or it never did."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str
    kind: OnceKind
    key: str
    happened: bool
    reason: str
    result: str = ""


class OnceResolved(Message, frozen=True, kw_only=True, tag="once-resolved.v1"):
    """An event: an operator settled an UNKNOWN side effect, as journaled."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    kind: OnceKind
    key: str
    happened: bool
    actor: str
    reason: str
