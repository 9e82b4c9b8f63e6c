"""What arbiters say of each other's folded state, and what a snapshot carries in front of its bytes."""

from typing import ClassVar

import msgspec

from sidecar.messages.base import Message


class StateDiffers(Message, frozen=True, kw_only=True, tag="state-differs.v1"):
    """An arbiter folded another state from the same journal than the journal says. It stops; somebody must look.

    `ours` and `journaled` are digests of the state behind the record at `offset`.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    author: str
    offset: int
    ours: str
    journaled: str


class ArbiterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One arbiter as the leader last heard it.

    `behind` are records that the leader had read and it had not, `lag_ns` for how long; both when it was last heard,
    `silent_ns` ago. `digest` is that of the state behind the record at `digest_offset`, the last mark it folded.
    """

    arbiter: str
    standing: str
    term: int
    offset: int
    behind: int
    lag_ns: int
    silent_ns: int
    digest: str = ""
    digest_offset: int = -1
    warning: str = ""


class CompareRequest(Message, frozen=True, kw_only=True, tag="compare-request.v1"):
    """An operator has all arbiters hash the state behind one record, now, and compare."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str


class SnapshotHead(msgspec.Struct, frozen=True, kw_only=True):
    """In front of each part of a snapshot in `sidecar.snapshots`, as one line of JSON.

    `offset` is where in the journal the last record folded stands; `term`, `author`, `n` and `chain` are that record's
    place in the log. `digest` is over the folded state, `sum` (BLAKE2b, hexadecimal) over the `size` compressed bytes
    of all `parts`, of which this is the one at `part`.
    """

    format: int
    snapshot: str
    part: int
    parts: int
    size: int
    sum: str
    digest: str
    offset: int
    term: int
    author: str
    n: int
    chain: str
    at_ns: int
