"""The order in which an arbiter takes what has arrived."""

from sidecar.arbiter.inbox import Inbox, Source
from sidecar.broker.interface import Delivery


def delivery(name: str) -> Delivery:
    """A message that is known by its id."""
    return Delivery(
        body=b"",
        type="",
        app_id="",
        user_id=None,
        message_id=name,
        correlation_id="",
        reply_to="",
        exchange="",
        routing_key="",
        redelivered=False,
        headers={},
    )


def taken(inbox: Inbox) -> list[tuple[Source, str]]:
    """Everything, in the order in which it is given out."""
    found = []
    while (each := inbox.take()) is not None:
        found.append((each[0], each[1].message_id))
    return found


def test_heartbeats_do_not_wait_behind_orders() -> None:
    """The journal is taken first, then heartbeats, then orders; each in the order in which it came."""
    inbox = Inbox()
    for at, source in enumerate([Source.QUEUE, Source.QUEUE, Source.HEALTH, Source.JOURNAL, Source.HEALTH]):
        inbox.put(source, delivery(str(at)))
    assert taken(inbox) == [
        (Source.JOURNAL, "3"),
        (Source.HEALTH, "2"),
        (Source.HEALTH, "4"),
        (Source.QUEUE, "0"),
        (Source.QUEUE, "1"),
    ]


def test_orders_wait_while_enough_is_unread() -> None:
    """While orders are held, heartbeats and the journal are still taken, and the orders come afterwards."""
    inbox = Inbox()
    for at, source in enumerate([Source.QUEUE, Source.HEALTH, Source.JOURNAL]):
        inbox.put(source, delivery(str(at)))
    assert [inbox.take(held=True) for _ in range(3)][2] is None
    assert taken(inbox) == [(Source.QUEUE, "0")]
