"""Alerts about who said what: published on `sidecar.events` and never journaled, because nothing is decided by them."""

from typing import ClassVar

from sidecar.messages.base import Message


class SenderRefused(Message, frozen=True, kw_only=True, tag="sender-refused.v1"):
    """Somebody said what his broker user may not say. It changed nothing; where it is no request it is a dead letter.

    `user` is the sender as the broker verified it, empty when he named none, and `app_id` the name he gave. `count` is
    how many were refused since the last of these alerts, this one among them: there is one a second at most.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    user: str
    app_id: str
    refused_type: str
    exchange: str
    routing_key: str
    text: str
    count: int
