"""Execute-once: claims, their answers, and what became of them. They travel on `sidecar.orders`, as intents do.

A side effect is named by its kind and a key that the caller chooses; the same name is the same side effect, on every
host and after every restart. Results are JSON texts, opaque to us.
"""

import enum
from typing import ClassVar, Literal

from sidecar.messages.base import Message

OnceKind = Literal["place", "cancel", "amend", "close_position", "transfer"]
OnceOutcome = Literal["DONE", "NOT_DONE", "UNKNOWN"]

KEY_MAX = 128
"""Characters of a key, a claim's id and a fingerprint."""
RESULT_BYTES_MAX = 8 * 1024
"""UTF-8 bytes of one result. Raising it lets one effect fill more of the journal and of every arbiter's memory."""
LIMIT_MAX_NS = 3_600 * 1_000_000_000
"""A claim may run for an hour at most; whatever takes longer is UNKNOWN before it ends."""


class OnceState(enum.StrEnum):
    """Where a side effect stands. FREE: nothing is known of it, and it may be claimed."""

    FREE = "FREE"
    RUNNING = "RUNNING"
    UNKNOWN = "UNKNOWN"
    RESOLVING = "RESOLVING"
    DONE = "DONE"


class OnceVerdict(enum.StrEnum):
    """The answer to a claim; docs/execute-once.md has the table."""

    RUN = "RUN"
    RESOLVE = "RESOLVE"
    DONE = "DONE"
    BUSY = "BUSY"
    UNKNOWN = "UNKNOWN"
    REFUSED = "REFUSED"


class OnceClaim(Message, frozen=True, kw_only=True, tag="once-claim.v1"):
    """May I do this now? `claim_id` begins with the component's name and a dot, and is used for one claim only.

    `fingerprint` stands for the arguments: the same key with another one is refused. `limit_ns` is how long the caller
    may take before nobody knows what became of it. `resolves` says that the caller can find out what became of an
    UNKNOWN one, and asks to be the only one who does.
    """

    component: str
    incarnation: str
    claim_id: str
    kind: OnceKind
    key: str
    limit_ns: int
    fingerprint: str = ""
    resolves: bool = False


class OnceAnswer(Message, frozen=True, kw_only=True, tag="once-answer.v1"):
    """The answer to a claim, journaled where it changed anything. `by` is who runs it or ran it.

    `result` is the JSON of a DONE one; empty where none could be kept, and `text` then says why.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    claim_id: str
    kind: OnceKind
    key: str
    verdict: OnceVerdict
    by: str = ""
    result: str = ""
    text: str = ""


class OnceReport(Message, frozen=True, kw_only=True, tag="once-report.v1"):
    """What became of a claim. NOT_DONE only if it certainly did not happen: then anybody may claim it again."""

    component: str
    claim_id: str
    kind: OnceKind
    key: str
    outcome: OnceOutcome
    result: str = ""
    text: str = ""


class OnceRecorded(Message, frozen=True, kw_only=True, tag="once-recorded.v1"):
    """The report is journaled; the side effect now stands in `state`."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    claim_id: str
    kind: OnceKind
    key: str
    state: OnceState
    text: str = ""


class OnceChanged(Message, frozen=True, kw_only=True, tag="once-changed.v1"):
    """An alert: nobody knows whether it was done (UNKNOWN), or two say that they did it (CONTRADICTED)."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    kind: OnceKind
    key: str
    component: str
    change: Literal["UNKNOWN", "CONTRADICTED"]
    text: str
