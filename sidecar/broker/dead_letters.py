"""Dead letters: making one from what could not be understood. Those that wait are letters.py's.

Owns what a dead letter carries. It must not know why something was refused; the shells say so.
"""

from sidecar.broker.interface import Delivery, Outgoing
from sidecar.broker.topology import DEAD_LETTER

BODY_BYTES_MAX = 16 * 1024
"""More of a refused body is cut off. Raising it lets one bad sender fill the broker's disk faster."""

TEXT_MAX = 500
NAME_MAX = 255

REASON_CODE = "reason-code"
REASON_TEXT = "reason-text"
BODY_BYTES = "original-body-bytes"
TRUNCATED = "body-truncated"

REDRIVEN_TIMES = "redriven-times"
REDRIVEN_BY = "redriven-by"
REDRIVEN_REASON = "redriven-reason"
"""On what was sent back (letters.py), and kept when it is refused again."""


def dead_letter(delivery: Delivery, code: str, text: str, *, app_id: str = "") -> Outgoing:
    """The message for `sidecar.dead-letter` that says what came, from whom, and why it was refused.

    Its own `user_id` is ours, set by the broker connection; the sender's, as the broker verified it, is in the header
    `original-user-id`, empty when the sender set none.
    """
    body = delivery.body[:BODY_BYTES_MAX]
    headers: dict[str, str | int] = {
        REASON_CODE: code[:NAME_MAX],
        REASON_TEXT: text[:TEXT_MAX],
        "original-exchange": delivery.exchange[:NAME_MAX],
        "original-routing-key": delivery.routing_key[:NAME_MAX],
        "original-type": delivery.type[:NAME_MAX],
        "original-app-id": delivery.app_id[:NAME_MAX],
        "original-user-id": (delivery.user_id or "")[:NAME_MAX],
        "original-message-id": delivery.message_id[:NAME_MAX],
        BODY_BYTES: len(delivery.body),
    }
    if len(body) < len(delivery.body):
        headers[TRUNCATED] = 1
    headers |= _redriven(delivery)
    return Outgoing(
        exchange=DEAD_LETTER, routing_key="", body=body, type="dead-letter.v1", app_id=app_id, headers=headers
    )


def _redriven(delivery: Delivery) -> dict[str, str | int]:
    times = delivery.headers.get(REDRIVEN_TIMES)
    if not isinstance(times, int):
        return {}
    return {
        REDRIVEN_TIMES: times,
        REDRIVEN_BY: str(delivery.headers.get(REDRIVEN_BY, ""))[:NAME_MAX],
        REDRIVEN_REASON: str(delivery.headers.get(REDRIVEN_REASON, ""))[:TEXT_MAX],
    }
