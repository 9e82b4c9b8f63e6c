"""What every message has in common.

Owns the base class, the sender rule and the small value types (`Token`, `SlotToken`) that travel inside
messages. It must not know who sends or receives anything.

Evolution (the rules of msgspec's schema evolution): new fields have defaults, types of fields never change,
unknown fields are ignored, and a new major version is a new type (`heartbeat.v2`).
"""

from typing import ClassVar

import msgspec

WIRE_BYTES_MAX = 64 * 1024
"""A larger body is dead-lettered unread. Raising it lets one sender hold the arbiter's loop for longer."""


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """A frozen fact or request. It is a tree, never a ring, so the collector of rings need not look at it.

    `SENDER` names the field that must equal the AMQP property `app_id`; `BYTES_MAX` bounds the body.
    """

    SENDER: ClassVar[str] = "component"
    BYTES_MAX: ClassVar[int] = WIRE_BYTES_MAX


class Token(msgspec.Struct, frozen=True, order=True, gc=False):
    """The fencing token of a slot, compared by `term`, then `epoch`.

    `term` counts arbiter leaderships, `epoch` counts the holders of the slot. A holder keeps its token for as
    long as it holds the slot, across arbiter takeovers.
    """

    term: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.term}.{self.epoch}"


class SlotToken(msgspec.Struct, frozen=True, order=True, gc=False):
    """A slot and the token under which it is held. Slot names are `group/slot`, for example `execution/0`."""

    slot: str
    token: Token


def message_type(message: Message | type[Message]) -> str:
    """The wire type, for example `heartbeat.v1`."""
    return str(message.__struct_config__.tag)
