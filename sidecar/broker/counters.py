"""What one broker connection has done so far, as plain integers that telemetry reads.

Owns the names of the figures. It must not know who shows them.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Totals since the process began.

    `reconnects` counts links that stood again after a loss; `posts_dropped` counts posts that were never handed to
    the socket, because the link went or the buffer was full. `returned` reached no queue; `refused` were never sent,
    because there was no link, an alarm, or no room. `blocked_s` is how long the broker blocked us, in seconds.
    """

    reconnects: int = 0
    published: int = 0
    publish_failures: int = 0
    posts_dropped: int = 0
    delivered: int = 0
    returned: int = 0
    refused: int = 0
    blocked_s: float = 0.0
