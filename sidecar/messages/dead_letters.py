"""What operators did with dead letters, told on `sidecar.events` for whoever keeps records.

Nothing is decided by them, and they are not journaled. Each is published before the deed, so that no deed goes untold:
a deed that then failed, or was repeated, was told all the same.
"""

from typing import ClassVar

from sidecar.messages.base import Message


class DeadLetterDiscarded(Message, frozen=True, kw_only=True, tag="dead-letter-discarded.v1"):
    """An operator puts a dead letter away for good.

    `letter_id` is the id that `sidecar dead-letters` shows; `body_sha256` the hash of its body, in hexadecimal.
    """

    SENDER: ClassVar[str] = "actor"
    actor: str
    reason: str
    letter_id: str
    body_sha256: str
    code: str
    original_exchange: str
    original_routing_key: str
    original_type: str
    original_app_id: str


class DeadLetterRedriven(Message, frozen=True, kw_only=True, tag="dead-letter-redriven.v1"):
    """An operator sends a dead letter back to where it came from, for the `times`-th time. Fields as of discarded."""

    SENDER: ClassVar[str] = "actor"
    actor: str
    reason: str
    letter_id: str
    body_sha256: str
    code: str
    original_exchange: str
    original_routing_key: str
    original_type: str
    original_app_id: str
    times: int
