"""`docs/configuration.md`, written from the models so that it cannot differ from them.

Owns the words around the tables. It must not know values: only the fields, their types, defaults and descriptions.
"""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sidecar.config.environment import variable_of
from sidecar.config.errors import section_in
from sidecar.config.models import Settings

_INTRODUCTION: Final = """\
# Configuration

Generated from `sidecar/config/models.py`; do not edit.

One file, TOML or JSON, serves every process; each reads its own sections. All fields have defaults except those marked
required. What is set wins in this order: environment, file, default.

**Environment.** Each field has a variable, named in the tables; `NAME` in it is the name of a group or venue, in lower
case. Lists are JSON or separated by commas. `SIDECAR_AMQP_URL` is short for `broker.urls`, and `SIDECAR_AMQP_URL_FILE`
names a file that holds the URLs, for secrets that are mounted. Keep passwords there, not in the configuration file.

**Which way it fails.** A process with a wrong configuration does not start, and its gate stays closed. Each problem is
one sentence with the field, the value and the mend; unknown fields and misspelt variables are problems. Values that
may hold a password are never shown.

**A block from elsewhere.** A `high_availability` block is accepted as it is and becomes `groups`, `health` and
`failback`. `failover_groups` may be a list of objects with a `name`; with `enabled` false the block declares nothing.

```json
{
  "high_availability": {
    "enabled": true,
    "failover_groups": {
      "execution": {"mode": "active_passive", "components": ["exec-a", "exec-b"]}
    },
    "health_check_interval_seconds": 5,
    "auto_failback": false
  }
}
```

Groups can also be registered at run time from such a file or block: `sidecar group register`, see
[operating](operating.md).

**The smallest file of our own:**

```toml
[groups.execution]
components = ["exec-a", "exec-b"]

[component]
name = "exec-a"
```
"""


def describe() -> str:
    """The text of `docs/configuration.md`."""
    plain = [name for name, field in Settings.model_fields.items() if section_in(field.annotation) is None]
    parts = [_INTRODUCTION, "## The whole file\n\n" + _table(Settings, (), plain)]
    return "\n".join((*parts, *_sections(Settings, ())))


def _sections(parent: type[BaseModel], above: tuple[str, ...]) -> Iterator[str]:
    """The sections in a section, each followed by those in it."""
    for name, field in parent.model_fields.items():
        section = section_in(field.annotation)
        if section is None:
            continue
        many = field.annotation is not section and "dict" in str(field.annotation)
        path = (*above, name, "NAME") if many else (*above, name)
        plain = [each for each, inner in section.model_fields.items() if section_in(inner.annotation) is None]
        yield f"## [{'.'.join(path)}]\n\n{cleandoc(section.__doc__ or '')}\n\n" + _table(section, path, plain)
        yield from _sections(section, path)


def _table(section: type[BaseModel], path: tuple[str, ...], names: list[str]) -> str:
    types = section.model_json_schema()
    rows = ["| field | type | default | variable | what it does |", "|---|---|---|---|---|"]
    for name in names:
        field = section.model_fields[name]
        kind = _type(types["properties"][name], types.get("$defs", {}))
        cells = (f"`{name}`", kind, _default(field), f"`{variable_of((*path, name))}`", field.description or "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return " or ".join(_type(each, definitions) for each in schema["anyOf"] if each != {"type": "null"})
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema["type"] == "array":
        return f"list of {_type(schema['items'], definitions)}s"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f", {low} to {high}" if high is not None else f", at least {low}" if low is not None else ""
    return str(schema["type"]) + bounds


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, tuple):
        shown = ", ".join(each.get_secret_value() if isinstance(each, SecretStr) else str(each) for each in value)
        return f"`{shown}`" if shown else "none"
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
