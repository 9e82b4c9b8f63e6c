"""A channel that hands each delivery on at once, where aiormq makes a task of each.

Owns how the frames of one delivery become one call. It must not know what a delivery means. The task costs as much as
all that an arbiter then does with a heartbeat (`make bench-journal`), and two deliveries of one channel never overlap
here anyway: the callback does not wait.
"""

from collections.abc import Callable
from typing import Final

import aiormq
import structlog
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

CHANNELS_MAX: Final = 2_047
"""RabbitMQ's own bound on the channels of a connection, by default."""

OnDelivery = Callable[[Basic.Deliver, ContentHeader, bytes], None]


class StraightChannel(aiormq.Channel):
    """A channel with one consumer. What its callback raises is logged; the delivery stays unsettled."""

    on_delivery: OnDelivery | None = None

    @classmethod
    async def open_on(cls, connection: aiormq.Connection, frames_max: int) -> "StraightChannel":
        """A new channel, without confirms, under the next number that is free on this connection."""
        if connection.is_closed:
            raise aiormq.exceptions.ChannelInvalidStateError(f"{connection!r} closed")
        number = max(connection.channels, default=0) + 1
        if number > CHANNELS_MAX:
            number = next(each for each in range(1, CHANNELS_MAX + 1) if each not in connection.channels)
        channel = cls(connection, number, frame_buffer=frames_max, publisher_confirms=False)
        connection.channels[number] = channel
        await channel.open()
        return channel

    async def _on_deliver_frame(self, frame: Basic.Deliver) -> None:
        header = await self._get_frame()
        if not isinstance(header, ContentHeader):
            raise ValueError(f"a {type(header).__name__} came instead of a delivery's header")
        body = await self._body(header.body_size or 0)
        if self.on_delivery is None:
            return
        try:
            self.on_delivery(frame, header, body)
        except Exception:
            structlog.get_logger(__name__).exception("a consumer's callback failed", consumer=frame.consumer_tag)

    async def _body(self, size: int) -> bytes:
        """Of so many bytes; mostly one frame, as negotiated with the broker (128 KiB by default)."""
        body = b""
        while len(body) < size:
            content = await self._get_frame()
            if not isinstance(content, ContentBody):
                raise ValueError(f"a {type(content).__name__} came instead of a delivery's body")
            body = body + content.value if body else content.value
        return body
