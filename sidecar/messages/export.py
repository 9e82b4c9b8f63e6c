"""What is published under `schemas/`, as text: a JSON Schema and an example per type, and the AsyncAPI document.

Owns the choice of types and the names of the files. It must not write them: `sidecar schemas export` does, and a test
compares. The description of the gate page stands there too and comes from `gate/description.py`.
"""

import json
from inspect import cleandoc
from typing import Any, Final

import msgspec

from sidecar.messages import journal, local
from sidecar.messages.asyncapi import asyncapi
from sidecar.messages.codec import WIRE_TYPES
from sidecar.messages.examples import example_of

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def exported_types() -> dict[str, type[msgspec.Struct]]:
    """Every published type by the stem of its files: all wire types, the journal record, the local interface."""
    found: dict[str, type[msgspec.Struct]] = {**WIRE_TYPES, "journal-record": journal.Record}
    for each in vars(local).values():
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == local.__name__:
            found[str(each.__struct_config__.tag or _kebab(each.__name__))] = each
    return dict(sorted(found.items()))


def schemas() -> dict[str, str]:
    """The text of each file by its path below `schemas/`."""
    files = {"asyncapi.json": _text(asyncapi())}
    for stem, kind in exported_types().items():
        files[f"{stem}.json"] = _text(schema_of(kind))
        files[f"examples/{stem}.json"] = _text(msgspec.to_builtins(example_of(kind)))
    return files


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one type. Unknown fields are allowed, because receivers ignore them."""
    schema = msgspec.json.schema(kind)
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = cleandoc(definition["description"])
    return {"$schema": _DIALECT, **schema}


def _kebab(name: str) -> str:
    return "".join(f"-{each.lower()}" if each.isupper() else each for each in name).lstrip("-")


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
