"""The OpenAPI document of the local interface, made from its handlers and from the messages they take and give.

Owns the document's shape (source: OpenAPI 3.1.0). It must not know single routes: what cannot be read off a handler
stands beside it, in its `opt`, as `described(...)`; the handlers that every process has say `also` there.
"""

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Any, Final

import msgspec
from litestar import Response
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler

from sidecar.messages.local import Problem

DESCRIBED: Final = "described"
LINES: Final = "application/x-ndjson"
BYTES: Final = "application/octet-stream"
_REFUSALS: Final = {
    400: "NOT_HTTP: the request is not HTTP.",
    401: "NO_TOKEN: on TCP, the token is missing or wrong.",
    408: "REQUEST_TOO_SLOW: the request did not arrive whole in time.",
    413: "TOO_LARGE: the body is larger than we take.",
    500: "INTERNAL: the sidecar failed on this request; its log says why.",
    503: "TOO_MANY_CONNECTIONS: too many connections are open.",
}
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_REFERENCE: Final = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a handler's signature does not say.

    `takes` is the type of the JSON body, or bytes; `gives` that of the answer, where the annotation does not name it;
    `lines` are those of a stream; `path` the types of path parameters; `headers` those of the request, by name;
    `query` its optional parameters; `answers` the headers of the answer; `also` other good answers; `refuses` the
    refusals of this route alone.
    """

    takes: Any = None
    gives: Any = None
    lines: tuple[Any, ...] = ()
    path: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[int, str] = field(default_factory=dict)
    refuses: Mapping[int, str] = field(default_factory=dict)


def described(**words: Any) -> dict[str, Described]:
    """A handler's `opt`; the words are the fields of `Described`."""
    return {DESCRIBED: Described(**words)}


def openapi(handlers: Iterable[BaseRouteHandler]) -> dict[str, Any]:
    """The whole document, as JSON can hold it."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for handler in handlers:
        for path in sorted(handler.paths):
            for method in _methods(handler):
                operation = _operation(handler, path, schemas)
                paths.setdefault(_PARAMETER.sub(r"{\1}", path), {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trading Sidecar: the local interface",
            "version": "1",
            "description": "HTTP on a Unix socket, and on loopback TCP where it is configured, there with a token. "
            "Every answer of 400 and above is a Problem and closes the connection. Unknown fields are ignored.",
        },
        "servers": [{"url": "http://sidecar", "description": "The Unix socket; the host's name is not looked at."}],
        "security": [{"token": []}, {}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "responses": {name: _refusal(text, schemas) for name, text in map(_named, _REFUSALS.items())},
            "schemas": schemas.components(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "Needed on TCP only."}},
        },
    }


class _Schemas:
    """The schemas of all types that were asked for."""

    def __init__(self) -> None:
        self._kinds: list[Any] = [Problem]

    def of(self, kind: Any) -> dict[str, Any]:
        if kind not in self._kinds:
            self._kinds.append(kind)
        (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
        return dict(schema)

    def components(self) -> dict[str, Any]:
        _, found = msgspec.json.schema_components(self._kinds, ref_template=_REFERENCE)
        for each in found.values():
            if "description" in each:
                each["description"] = cleandoc(each["description"])
        return dict(sorted(found.items()))


def _methods(handler: BaseRouteHandler) -> list[str]:
    if isinstance(handler, HTTPRouteHandler):
        return sorted(str(each).lower() for each in handler.http_methods)
    return ["get"]


def _operation(handler: BaseRouteHandler, path: str, schemas: _Schemas) -> dict[str, Any]:
    words: Described = handler.opt.get(DESCRIBED) or Described(also=handler.opt.get("also", {}))
    operation: dict[str, Any] = {
        "operationId": handler.fn.__name__,
        "summary": cleandoc(handler.fn.__doc__ or "").split("\n\n")[0].replace("\n", " "),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schemas.of(words.path.get(name, str))}
        for name in _PARAMETER.findall(path)
    ] + [
        {"name": name, "in": "header", "required": True, "schema": schemas.of(kind)}
        for name, kind in words.headers.items()
    ]
    parameters += [{"name": name, "in": "query", "schema": schemas.of(kind)} for name, kind in words.query.items()]
    if parameters:
        operation["parameters"] = parameters
    if words.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(words.takes, schemas)}
    operation["responses"] = _responses(handler, words, schemas)
    return operation


def _responses(handler: BaseRouteHandler, words: Described, schemas: _Schemas) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if words.lines:
        lines = [schemas.of(each) for each in words.lines]
        good = {
            "description": "A stream of lines, each one JSON object.",
            "content": {LINES: {"schema": {"anyOf": lines}}},
        }
    elif (gives := words.gives or _returned(handler)) is not None:
        good["content"] = _content(gives, schemas)
    if words.answers:
        good["headers"] = {name: {"required": True, "schema": schemas.of(kind)} for name, kind in words.answers.items()}
    status_code = 200 if isinstance(handler, ASGIRouteHandler) else handler.status_code  # type: ignore[attr-defined]  # The rest are HTTP handlers.
    found = {str(status_code): good}
    for refused in _REFUSALS:
        found[str(refused)] = {"$ref": f"#/components/responses/refused-{refused}"}
    for refused, text in words.refuses.items():
        always = f" {_REFUSALS[refused]}" if refused in _REFUSALS else ""
        found[str(refused)] = _refusal(text + always, schemas)
    for also, text in words.also.items():
        found[str(also)] = {**good, "description": text}
    return dict(sorted(found.items()))


def _named(refusal: tuple[int, str]) -> tuple[str, str]:
    return f"refused-{refusal[0]}", refusal[1]


def _refusal(text: str, schemas: _Schemas) -> dict[str, Any]:
    return {"description": text, "content": _content(Problem, schemas)}


def _returned(handler: BaseRouteHandler) -> Any:
    """The type that the handler gives back, without the `Response` around it."""
    kind = typing.get_type_hints(handler.fn).get("return")
    if typing.get_origin(kind) is Response:
        (kind,) = typing.get_args(kind)
    return None if kind is type(None) else kind


def _content(kind: Any, schemas: _Schemas) -> dict[str, Any]:
    if kind in (bytes, str):
        return {BYTES if kind is bytes else "text/plain": {}}
    return {"application/json": {"schema": schemas.of(kind)}}
