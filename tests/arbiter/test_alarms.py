"""The alert about forged messages."""

from sidecar.arbiter.alarms import ALERT_EVERY_NS, KEY, SenderAlarm
from sidecar.broker.interface import Delivery
from sidecar.messages.security import SenderRefused


def delivery(user: str) -> Delivery:
    """Something forged."""
    return Delivery(
        body=b"",
        type="resume-request.v1",
        app_id="x" * 9999,
        user_id=user,
        message_id="",
        correlation_id="",
        reply_to="",
        exchange="sidecar.commands",
        routing_key="halt",
        redelivered=False,
        headers={},
    )


def test_a_flood_is_one_alert_a_second() -> None:
    """The first is told at once, the rest with their number after a second, and then there is silence."""
    alarm = SenderAlarm("arbiter-1")
    (first,) = alarm.note(delivery("bob"), "why", 1)
    assert isinstance(first.message, SenderRefused)
    assert (first.key, first.message.user, first.message.count) == (KEY, "bob", 1)
    assert len(first.message.app_id) <= 300
    assert [alarm.note(delivery("eve"), "why", 2 + each) for each in range(5)] == [[]] * 5
    assert alarm.due(ALERT_EVERY_NS) == []
    (next_one,) = alarm.due(ALERT_EVERY_NS + 1)
    assert isinstance(next_one.message, SenderRefused)
    assert (next_one.message.user, next_one.message.count) == ("eve", 5)
    assert alarm.due(9 * ALERT_EVERY_NS) == []
