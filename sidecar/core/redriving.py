"""Which dead letters may be sent back to where they came from.

Owns the list. It must not know queues, nor who asks. The rule: a letter goes back only if it tells a fact that is as
true now as it was then, and if this version can read it. A command is asked anew by its operator, who sees today; what
was true in its moment only (a heartbeat, a lease, an absence) is repeated by its sender.
"""

from typing import Final

from sidecar.messages import control, health, orders
from sidecar.messages.asyncapi import CHANNELS
from sidecar.messages.base import Message
from sidecar.messages.codec import WIRE_TYPES, Malformed, decode

FACTS: Final[tuple[type[Message], ...]] = (
    orders.OrderCommitted,
    orders.OrderAborted,
    orders.OrderUnknown,
    orders.DropCopy,
    orders.Evidence,
    health.HealthReport,
)
COMMANDS: Final = "sidecar.commands"


def why_not_redriven(*, exchange: str, type_name: str, app_id: str, body: bytes, truncated: bool) -> str:
    """Empty when it may go back; else one sentence. The arguments are the letter's own: whence it came, and what."""
    if exchange == COMMANDS:
        return "it is an operator's request: what was right then may be wrong now, so ask it anew"
    if truncated:
        return "its body was cut when it was put away, so the whole message is gone"
    kind = WIRE_TYPES.get(type_name)
    if kind is None:
        return f"its type {type_name[:80]!r} is not known to this version; run the version that knows it"
    if kind is control.Halt:
        return "it is a halt: raise it anew with `sidecar halt`"
    if kind is orders.OrderIntent:
        return "whoever asked for this order no longer waits for an answer"
    if kind not in FACTS:
        return "it was true in its moment only; its sender repeats by itself what still holds"
    if kind not in CHANNELS.get(exchange, ()):
        return f"{type_name} does not travel on exchange {exchange!r}"
    message = decode(body, type_name, app_id=app_id, user_id="redriver")
    if isinstance(message, Malformed):
        return f"it would be refused again ({message.code}: {message.text})"
    return ""
