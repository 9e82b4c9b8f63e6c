"""What the arbiter's core asks its shell to do, as values.

`Append` and `Campaign` go out at once; everything else is held back until the records it rests on were read back.
What is made for every heartbeat is a msgspec Struct, which is made several times faster than a frozen dataclass.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from sidecar.messages.base import Message
from sidecar.messages.journal import Record

if TYPE_CHECKING:
    from sidecar.core.snapshot import Taken


class Now(msgspec.Struct, frozen=True, gc=False):
    """One moment: `boot_ns` (CLOCK_BOOTTIME) decides, `wall_ns` (CLOCK_REALTIME) is only written down."""

    boot_ns: int
    wall_ns: int


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where an input came from. `handle` names a delivery of the arbiters' queue that must be settled; 0 is none."""

    user: str = ""
    reply_to: str = ""
    correlation_id: str = ""
    handle: int = 0


class Append(msgspec.Struct, frozen=True, gc=False):
    """Append this record to the journal, as these bytes; again and again until it is read back."""

    record: Record
    body: bytes


class Reply(msgspec.Struct, frozen=True, gc=False):
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
class TakeSnapshot:
    """Compute the digest of this state, write the state if it says so, and hand the digest to `Arbiter.on_digest`."""

    taken: "Taken"


@dataclass(frozen=True, slots=True)
class Settle:
    """Acknowledge a delivery, or have it delivered again."""

    handle: int
    verdict: Literal["ack", "requeue"]


@dataclass(frozen=True, slots=True)
class AskNominee:
    """Put a probe into the arbiters' queue: whoever is active there reads it."""


@dataclass(frozen=True, slots=True)
class Resubscribe:
    """Consume the journal again, from the first record that was not read: its tail may hang."""


Output = Append | Reply | Broadcast | Event | Settle | TakeSnapshot | AskNominee | Resubscribe
