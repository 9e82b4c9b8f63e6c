"""What cannot be and was found: an operator's question for it and word on it, on the exchange `sidecar.commands`."""

from typing import ClassVar

import msgspec

from sidecar.messages.base import Message


class IntegrityQuery(Message, frozen=True, kw_only=True, tag="integrity-query.v1"):
    """Anyone asks the leader for an `IntegrityReport`."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str


class IntegrityFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that cannot be, and the scope that is halted for it.

    `finding` is its name, another one whenever what is wrong is another. `halts` are those in force for its scope.
    Once `resolved` by `actor` for a `reason`, it halts nothing any more.
    """

    finding: str
    scope: str
    text: str
    halts: tuple[str, ...] = ()
    resolved: bool = False
    actor: str = ""
    reason: str = ""


class IntegrityReport(Message, frozen=True, kw_only=True, tag="integrity-report.v1"):
    """What the leader found in its last whole look and since, at most `FINDINGS_MAX`; `count` is of all.

    `looked_ms_ago` says when the last whole look ended, None before the first of this leadership.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 1024 * 1024
    FINDINGS_MAX: ClassVar[int] = 200
    arbiter: str
    request_id: str
    findings: tuple[IntegrityFinding, ...]
    count: int
    looked_ms_ago: int | None = None


class ResolveIntegrity(Message, frozen=True, kw_only=True, tag="resolve-integrity.v1"):
    """An operator has looked into one finding and says why trading may go on with it as it stands."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    finding: str
    actor: str
    reason: str
