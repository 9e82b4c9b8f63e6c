"""What is wrong with a configuration, in plain sentences.

Owns the one error of this room and the words for each problem: the field by its dotted path, the value, the mend.
It must not read files. A value that is secret, or may hold a URL with a password, is never shown.
"""

import difflib
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sidecar.config.models import Settings

VALUE_CHARS_MAX: Final = 80
_HIDDEN: Final = "(hidden)"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds one sentence each; the text is all of them, a line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def problems_of(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> tuple[str, ...]:
    """Each problem pydantic found, as a sentence.

    `origins` says, for the beginning of a field's path, where its value really stands: another path in the file, or
    an environment variable.
    """
    found: list[str] = []
    errors = error.errors(include_url=False)
    for each in errors:
        path = tuple(str(part) for part in each["loc"])
        if each["type"] == "too_short" and _explained(each, errors):
            continue
        found.extend(f"{place_of(path, origins)}{text}" for text in _texts(path, each))
    return tuple(found)


def place_of(path: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> str:
    """The field as its author knows it, followed by what separates it from the sentence; empty for the whole file."""
    for length in range(len(path), 0, -1):
        origin = origins.get(path[:length])
        if origin is not None:
            return ".".join((origin, *path[length:])) + ": "
    return ".".join(path) + ": " if path else ""


def suggestion(name: str, known: Collection[str]) -> str:
    """The nearest known name as a mend, or all of them."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(sorted(known))}" if known else "nothing is known here"


def _explained(problem: ErrorDetails, others: Iterable[ErrorDetails]) -> bool:
    """A list whose every item is wrong is also reported as too short; the items' own problems say enough."""
    place = problem["loc"]
    return any(len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in others)


def _texts(path: tuple[str, ...], problem: ErrorDetails) -> Iterable[str]:
    """The sentences of one problem, without its place. Our own checks may put several in one error, a line each."""
    match problem["type"]:
        case "value_error":
            return str(problem["ctx"]["error"]).split("\n")
        case "extra_forbidden":
            return (f"there is no such field; {suggestion(path[-1], _fields_at(path[:-1]))}",)
        case "missing":
            return ("this field is required and missing; add it",)
        case _:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            return (f"the value {_shown(path, problem['input'])} does not fit: {message}",)


def _shown(path: tuple[str, ...], value: Any) -> str:
    if path[:1] == ("broker",) and isinstance(value, str):
        return _HIDDEN
    if isinstance(value, str | int | float | bool):
        text = repr(value)
        if "://" in text:
            return _HIDDEN
        return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}..."
    return "(a table)" if isinstance(value, dict) else "(a list)" if isinstance(value, list | tuple) else "(a value)"


def _fields_at(path: tuple[str, ...]) -> Collection[str]:
    """The names of the fields of the section at `path`; none when there is no section there."""
    current: Any = Settings
    for part in path:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        else:
            section = section_in(current)
            current = section.model_fields[part].annotation if section and part in section.model_fields else None
    return tuple(current.model_fields) if _is_section(current) else ()


def section_in(annotation: Any) -> Any:
    """The model inside an annotation: itself, in an optional, or as the values of a table; else None."""
    if _is_section(annotation):
        return annotation
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return section_in(arguments[1])
    if get_origin(annotation) in (Union, types.UnionType):
        return next((each for each in map(section_in, arguments) if each is not None), None)
    return None


def _is_section(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
