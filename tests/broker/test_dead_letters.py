"""Dead letters say what came, from whom and why it was refused."""

from sidecar.broker.dead_letters import BODY_BYTES_MAX, dead_letter
from sidecar.broker.interface import Delivery
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import DEAD_LETTERS_QUEUE


def came(body: bytes = b"not json", type_name: str = "heartbeat.v1") -> Delivery:
    """A delivery that somebody will refuse."""
    return Delivery(
        body=body,
        type=type_name,
        app_id="pricing",
        user_id="mallory",
        message_id="m1",
        correlation_id="",
        reply_to="",
        exchange="sidecar.health",
        routing_key="heartbeat.pricing",
        redelivered=False,
        headers={},
    )


def test_carries_what_came_and_why() -> None:
    """A dead letter holds the body, where it came from, who sent it and the reason as code and text."""
    out = dead_letter(came(), "not-json", "expected value at line 1", app_id="arbiter-1")
    assert (out.exchange, out.body, out.app_id, out.persistent) == (
        "sidecar.dead-letter",
        b"not json",
        "arbiter-1",
        True,
    )
    assert dict(out.headers) == {
        "reason-code": "not-json",
        "reason-text": "expected value at line 1",
        "original-exchange": "sidecar.health",
        "original-routing-key": "heartbeat.pricing",
        "original-type": "heartbeat.v1",
        "original-app-id": "pricing",
        "original-user-id": "mallory",
        "original-message-id": "m1",
        "original-body-bytes": 8,
    }


def test_is_bounded() -> None:
    """A huge body, type and reason are cut, and the letter says that and how large the body was."""
    out = dead_letter(came(b"x" * 10_000_000, type_name="t" * 5_000), "too-large", "r" * 5_000)
    assert len(out.body) == BODY_BYTES_MAX
    assert (out.headers["body-truncated"], out.headers["original-body-bytes"]) == (1, 10_000_000)
    assert sum(len(str(each)) for each in out.headers.values()) < 2_000


async def test_reaches_the_dead_letter_queue() -> None:
    """A dead letter posted to the embedded broker waits in the dead-letter queue."""
    hub = MemoryHub()
    broker = MemoryBroker(hub, name="a")
    await broker.start()
    await broker.publish(dead_letter(came(), "not-json", "why"))
    assert hub.length(DEAD_LETTERS_QUEUE) == 1
    await broker.close()
