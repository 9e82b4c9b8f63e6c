"""What the arbiter's core asks its shell to do, as values.

`Append` and `Campaign` go out at once; everything else is held back until the records it rests on were read back.
"""

from dataclasses import dataclass
from typing import Literal

from sidecar.messages.base import Message
from sidecar.messages.journal import Record


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: `boot_ns` (CLOCK_BOOTTIME) decides, `wall_ns` (CLOCK_REALTIME) is only written down."""

    boot_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an input came from. `handle` names a delivery of the arbiters' queue that must be settled; 0 is none."""

    user: str = ""
    reply_to: str = ""
    correlation_id: str = ""
    handle: int = 0


@dataclass(frozen=True, slots=True)
class Append:
    """Append this record to the journal; again and again until it is read back."""

    record: Record


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message to one queue; nothing happens when nobody waits there."""

    message: Message
    origin: Origin


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send this message to every sidecar."""

    message: Message


@dataclass(frozen=True, slots=True)
class Event:
    """Tell everyone else a decided fact under a routing key."""

    message: Message
    key: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Acknowledge a delivery, or have it delivered again."""

    handle: int
    verdict: Literal["ack", "requeue"]


@dataclass(frozen=True, slots=True)
class AskNominee:
    """Put a probe into the arbiters' queue: whoever is active there reads it."""


Output = Append | Reply | Broadcast | Event | Settle | AskNominee
