"""What a caller of `submit` holds until the broker confirms.

Owns the translation of aiormq's outcomes into ours, and "settled at most once". It must not know how anything is sent.
"""

import asyncio

import aiormq

from sidecar.broker.interface import Outgoing, PublishFailed, Unroutable
from sidecar.broker.standing import describe


class Receipt(asyncio.Future[None]):
    """A future that aiormq resolves as if it were one of its own confirmations.

    It takes the first outcome and ignores later ones: a confirm may come after our timeout, and a caller may have
    cancelled it. aiormq itself would break its reader on the second.
    """

    def __init__(self, out: Outgoing, deadline_s: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.out = out
        self.deadline_s = deadline_s
        self.returned = False

    def set_result(self, result: object) -> None:
        """Confirmed; the confirm frame itself says nothing more."""
        if not self.done():
            super().set_result(None)

    def set_exception(self, exception: type | BaseException) -> None:
        """Refused or returned."""
        if not self.done():
            super().set_exception(self._failed(exception))

    def fail(self, why: str) -> None:
        """Not confirmed, for this reason."""
        self.set_exception(PublishFailed(f"{target(self.out)}: {why}"))

    def _failed(self, exception: type | BaseException) -> PublishFailed:
        if isinstance(exception, PublishFailed):
            return exception
        if isinstance(exception, aiormq.PublishError):
            self.returned = True
            return Unroutable(f"{target(self.out)} reaches no queue: {exception.args[0]}")
        if isinstance(exception, aiormq.DeliveryError):
            return PublishFailed(f"{target(self.out)} was refused by its queue (basic.nack)")
        why = describe(exception) if isinstance(exception, BaseException) else exception.__name__
        return PublishFailed(f"{target(self.out)}: {why}")


def target(out: Outgoing) -> str:
    """What was being sent where, for people."""
    return f"{out.type} to exchange {out.exchange!r} with key {out.routing_key!r}"
