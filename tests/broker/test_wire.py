"""The frames of a publish."""

from datetime import UTC, datetime
from typing import Any

from aiormq.abc import ChannelFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from sidecar.broker.interface import Outgoing
from sidecar.broker.topology import EXCHANGES
from sidecar.broker.wire import publish

NAMES = st.text(max_size=60)
GIVEN = st.text(min_size=1, max_size=60)
HEADERS = st.dictionaries(GIVEN, st.integers(-(2**62), 2**62) | NAMES, max_size=4)


def by_the_library(out: Outgoing, *, channel: int, message_id: str, at_s: int, user: str, content_max: int) -> bytes:
    """The same message as pamqp makes it."""
    properties = Basic.Properties(
        content_type="application/json",
        headers=dict(out.headers) if out.headers else None,
        delivery_mode=2 if out.persistent else 1,
        correlation_id=out.correlation_id or None,
        reply_to=out.reply_to or None,
        expiration=None if out.expiration_ms is None else str(out.expiration_ms),
        message_id=message_id,
        timestamp=datetime.fromtimestamp(at_s, UTC),
        message_type=out.type,
        user_id=user,
        app_id=out.app_id,
    )
    bodies = [ContentBody(out.body[at : at + content_max]) for at in range(0, len(out.body), content_max)]
    method = Basic.Publish(exchange=out.exchange, routing_key=out.routing_key, mandatory=True)
    return ChannelFrame.marshall(
        channel, [method, ContentHeader(properties=properties, body_size=len(out.body)), *bodies]
    ).payload


@settings(max_examples=100, deadline=None)
@given(
    out=st.builds(
        Outgoing,
        exchange=st.sampled_from(["", *(each.name for each in EXCHANGES)]),
        routing_key=NAMES,
        body=st.binary(max_size=300),
        type=GIVEN,
        app_id=GIVEN,
        correlation_id=NAMES,
        reply_to=NAMES,
        expiration_ms=st.none() | st.integers(0, 10**9),
        persistent=st.booleans(),
        headers=HEADERS,
    ),
    channel=st.integers(1, 2_047),
    message_id=GIVEN,
    at_s=st.integers(1, 2**32 - 1),
    content_max=st.integers(1, 200),
)
def test_a_publish_is_what_the_library_makes_of_it(out: Outgoing, **given: Any) -> None:
    """The frames of a publish are those that pamqp makes, byte for byte."""
    assert publish(out, mandatory=True, user="guest", **given) == by_the_library(out, user="guest", **given)


def test_only_what_must_reach_a_queue_says_so() -> None:
    """A message that need not reach a queue differs in one bit."""
    out = Outgoing(exchange="", routing_key="somebody", body=b"{}", type="probe.v1", app_id="arbiter-1")
    told = [
        publish(out, channel=1, mandatory=each, message_id="m", at_s=1, user="guest", content_max=100)
        for each in (False, True)
    ]
    assert [at for at, (one, other) in enumerate(zip(*told, strict=True)) if one != other] == [told[0].index(0xCE) - 1]
