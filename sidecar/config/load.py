"""Reads the configuration: one file, then the environment over it, then every check.

Owns the order of precedence (environment, file, defaults) and the checks that need more than one section. It must
not know what the settings are used for. Everything that is wrong comes out as one `ConfigError` in plain sentences.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sidecar.config.credentials import with_credentials
from sidecar.config.environment import read_environment
from sidecar.config.errors import ConfigError, problems_of, suggestion
from sidecar.config.high_availability import BLOCK, fold_high_availability
from sidecar.config.models import Settings
from sidecar.messages.groups import GroupDeclaration

FILE_BYTES_MAX: Final = 1024 * 1024

__all__ = ["ConfigError", "load_groups", "load_settings"]


def load_settings(path: Path | None, *, environ: Mapping[str, str]) -> Settings:
    """The settings from the file at `path` (.toml or .json; None for no file) and from `environ`.

    Raises ConfigError naming each wrong field by its dotted path, with its value and the mend.
    """
    from_file, origins = fold_high_availability(_read_file(path) if path is not None else {})
    _check_no_password(from_file)
    from_environment, variables = read_environment(environ)
    try:
        settings = Settings.model_validate(_merged(from_file, from_environment))
    except ValidationError as error:
        # Without the cause: its text shows the values, and some of them are secret.
        raise ConfigError(*problems_of(error, origins | variables)) from None
    _check_component(settings)
    return with_credentials(settings)


def load_groups(path: Path) -> tuple[tuple[GroupDeclaration, ...], tuple[str, ...]]:
    """The groups in a file that holds nothing else, by name, as `groups` or as the `high_availability` block.

    Beside them, in sentences, what of the file is not about groups and so is not used. Raises ConfigError as above.
    """
    raw = _read_file(path)
    for name in raw:
        if name not in ("groups", BLOCK):
            raise ConfigError(f"{path}: {name} is not about groups; a file to register from holds groups or {BLOCK}")
    table, origins = fold_high_availability(raw)
    try:
        groups = Settings.model_validate({"groups": table.get("groups", {})}).groups
    except ValidationError as error:
        raise ConfigError(*problems_of(error, origins)) from None
    if not groups:
        raise ConfigError(f'{path}: no group is declared; add [groups.NAME] with components = ["..."]')
    unused = "health" in table
    note = f"{BLOCK}.health_check_interval_seconds is the sidecars' own and not registered: configure it with them"
    return tuple(each.declared(name) for name, each in sorted(groups.items())), (note,) if unused else ()


def _read_file(path: Path) -> dict[str, Any]:
    if path.suffix not in (".toml", ".json"):
        raise ConfigError(f"{path}: a configuration file must end in .toml or .json; rename it")
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: the file is larger than {FILE_BYTES_MAX} bytes; is it a configuration file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read ({error.strerror}); correct the path or its mode") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    table = _parsed(path, text)
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: the file holds a {type(table).__name__}, but it must hold a table of sections")
    return table


def _parsed(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}; mend that line") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}: this is not JSON: {error.msg} (at line {error.lineno}, column {error.colno}); mend that line"
        ) from None


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`under` with every value of `over` put over it, table by table; lists are replaced whole."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _check_no_password(from_file: dict[str, Any]) -> None:
    """The archive's password may come from the environment or a file of its own: it opens all that ever happened."""
    broker = from_file.get("broker")
    if isinstance(broker, dict) and "password" in broker:
        raise ConfigError(
            "broker.password: a password must not stand in the configuration file; set SIDECAR_BROKER__PASSWORD, or "
            "name in broker.password_file a file that holds it"
        )
    archive = from_file.get("archive")
    url = archive.get("url") if isinstance(archive, dict) else None
    if isinstance(url, str) and re.match(r"[^/]+://[^/@]*:[^/@]+@", url):
        raise ConfigError(
            "archive.url: a password must not stand in the configuration file; set SIDECAR_ARCHIVE__URL, or name in "
            "archive.url_file a file that holds the URL"
        )


def _check_component(settings: Settings) -> None:
    component = settings.component
    if component is None or component.group_registered or settings.group_of(component.name):
        return
    name = component.name
    members = [each for group in settings.groups.values() for each in group.components]
    if not members:
        raise ConfigError(
            f"component.name: {name!r} is in no group, because no group is declared; "
            f'add [groups.NAME] with components = ["{name}"], '
            f"or set component.group_registered if its group is registered at run time"
        )
    raise ConfigError(
        f"component.name: {name!r} is in no group (groups: {', '.join(sorted(settings.groups))}); "
        f"add it to the components of one, or {suggestion(name, members)}"
    )
