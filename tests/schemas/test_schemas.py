"""What is published under schemas/ is what the code says, and its examples are valid."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from sidecar.broker import topology
from sidecar.cli.schemas import schema_files
from sidecar.messages import codec, journal
from sidecar.messages.asyncapi import CHANNELS, REPLIES
from sidecar.messages.base import Message, message_type
from sidecar.messages.export import exported_types, schemas

PUBLISHED = Path(__file__).parents[2] / "schemas"
TYPES = exported_types()
FILES = schemas()


def parsed(name: str) -> Any:
    return json.loads(FILES[name])


def test_published() -> None:
    """The files under schemas/ are exactly what the code generates."""
    found = {str(each.relative_to(PUBLISHED)): each.read_text() for each in PUBLISHED.rglob("*") if each.is_file()}
    assert found == schema_files(), "run: sidecar schemas export"


def test_deterministic() -> None:
    """Generating twice gives the same text."""
    assert schemas() == FILES


@pytest.mark.parametrize("stem", TYPES)
def test_example_fits_its_schema(stem: str) -> None:
    """Each example is valid by its schema, which is itself a valid JSON Schema."""
    schema = parsed(f"{stem}.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(parsed(f"examples/{stem}.json"))


@pytest.mark.parametrize("stem", TYPES)
def test_schema_refuses(stem: str) -> None:
    """A schema refuses an object without its required fields, and allows unknown ones."""
    schema = parsed(f"{stem}.json")
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({**parsed(f"examples/{stem}.json"), "from_the_future": 1})
    if schema["$defs"][schema["$ref"].removeprefix("#/$defs/")].get("required"):
        assert not validator.is_valid({})


@pytest.mark.parametrize("stem", sorted(codec.WIRE_TYPES))
def test_example_decodes(stem: str) -> None:
    """Each example of a wire type is read by the codec and written as it was."""
    kind = codec.WIRE_TYPES[stem]
    example = parsed(f"examples/{stem}.json")
    message = codec.decode(FILES[f"examples/{stem}.json"].encode(), stem, app_id=example[kind.SENDER], user_id="u")
    assert isinstance(message, Message), message
    assert json.loads(codec.encode(message)) == example


def test_record_decodes() -> None:
    """The example of a journal record is read by the codec."""
    assert isinstance(codec.decode_record(FILES["examples/journal-record.json"].encode()), journal.Record)


@pytest.mark.parametrize("stem", sorted(TYPES.keys() - codec.WIRE_TYPES.keys()))
def test_local_example_decodes(stem: str) -> None:
    """Each example of the local interface is read as its type."""
    assert isinstance(msgspec.json.decode(FILES[f"examples/{stem}.json"], type=TYPES[stem]), TYPES[stem])


def test_every_message_has_its_channel() -> None:
    """Each wire type travels on some channel of the AsyncAPI document, and nothing else does."""
    assert {message_type(each) for carried in CHANNELS.values() for each in carried} == set(codec.WIRE_TYPES)


def test_channels_are_the_exchanges() -> None:
    """The channels are the exchanges of the topology, of the same type; dead letters have no shape of their own."""
    declared = {each.name: each.type for each in topology.EXCHANGES if each.name != topology.DEAD_LETTER}
    document = parsed("asyncapi.json")
    bound = {name: each["bindings"]["amqp"]["exchange"]["type"] for name, each in document["channels"].items()}
    assert bound == {**declared, REPLIES: "default"}


def test_references() -> None:
    """Every reference of the AsyncAPI document leads somewhere."""
    document = parsed("asyncapi.json")
    known = document["components"]["messages"]
    for channel in document["channels"].values():
        assert {each["$ref"].removeprefix("#/components/messages/") for each in channel["messages"].values()} <= set(
            known
        )
    assert {each["payload"]["$ref"].removeprefix("./") for each in known.values()} <= set(FILES)
