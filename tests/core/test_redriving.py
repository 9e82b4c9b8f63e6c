"""Which dead letters may go back."""

import pytest

from sidecar.core.redriving import FACTS, why_not_redriven
from sidecar.messages.asyncapi import CHANNELS
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import WIRE_TYPES, encode
from sidecar.messages.examples import example_of


def refusal(kind: type[Message], exchange: str, *, truncated: bool = False, body: bytes | None = None) -> str:
    """What is said of an example of this kind that was sent to this exchange."""
    message = example_of(kind)
    return why_not_redriven(
        exchange=exchange,
        type_name=message_type(kind),
        app_id=getattr(message, kind.SENDER),
        body=encode(message) if body is None else body,
        truncated=truncated,
    )


def exchange_of(kind: type[Message]) -> str:
    """Where this kind travels."""
    return next(name for name, kinds in CHANNELS.items() if kind in kinds)


@pytest.mark.parametrize("kind", FACTS, ids=lambda each: each.__name__)
def test_facts_go_back(kind: type[Message]) -> None:
    """A fact that this version can read goes back to its exchange, and to no other."""
    assert refusal(kind, exchange_of(kind)) == ""
    assert "does not travel" in refusal(kind, "sidecar.events")
    assert "does not travel" in refusal(kind, "")


@pytest.mark.parametrize("name", sorted(set(WIRE_TYPES) - {message_type(each) for each in FACTS}))
def test_nothing_else_goes_back(name: str) -> None:
    """Whatever is not such a fact stays, wherever it claims to come from: a resume above all."""
    for exchange in (*CHANNELS, ""):
        assert refusal(WIRE_TYPES[name], exchange)


def test_whatever_was_asked_of_arbiters_is_asked_anew() -> None:
    """A request stays, even under the name of a fact."""
    assert "ask it anew" in refusal(FACTS[0], "sidecar.commands")


def test_what_would_be_refused_again_stays() -> None:
    """A body that is cut, or that this version cannot read, or of an unknown type, stays, with the reason."""
    kind = FACTS[0]
    assert "was cut" in refusal(kind, exchange_of(kind), truncated=True)
    assert "not-json" in refusal(kind, exchange_of(kind), body=b"{")
    unknown = why_not_redriven(exchange="sidecar.orders", type_name="x.v9", app_id="a", body=b"{}", truncated=False)
    assert "'x.v9' is not known" in unknown
