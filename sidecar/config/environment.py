"""`SIDECAR_*` environment variables as a table shaped like the configuration file.

Owns the names: `SIDECAR_` and the path of the field, joined by `__` (`SIDECAR_TIMING__TICK_MS`), and the short
`SIDECAR_AMQP_URL` for `broker.urls`, with `SIDECAR_AMQP_URL_FILE` for a file that holds it. Lists are JSON or
separated by commas. Other variables that begin with SIDECAR_ are left alone, unless they look like a misspelt field:
a setting that is silently ignored is worse than one that is refused.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from sidecar.config.errors import ConfigError, suggestion
from sidecar.config.models import Settings

PREFIX: Final = "SIDECAR_"
DELIMITER: Final = "__"
AMQP_URL: Final = f"{PREFIX}AMQP_URL"
AMQP_URL_FILE: Final = f"{AMQP_URL}_FILE"
BROKER_URLS: Final = f"{PREFIX}BROKER{DELIMITER}URLS"


SECRETS: Final = (
    AMQP_URL,
    BROKER_URLS,
    f"{PREFIX}BROKER{DELIMITER}PASSWORD",
    f"{PREFIX}BROKER{DELIMITER}MANAGEMENT_URL",
    f"{PREFIX}ARCHIVE{DELIMITER}URL",
)
"""Variables whose values open something."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that we start and that is not one of ours: it gets none of our secrets."""
    return {name: value for name, value in environ.items() if name not in SECRETS}


class _Shape(Settings, BaseSettings):
    """The settings' shape, for pydantic-settings to take names and types from; never instantiated."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=DELIMITER, extra="forbid")


class _Environ(EnvSettingsSource):
    """Reads from the mapping it is given instead of the process's own environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(_Shape)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON where it is JSON, else a list separated by commas; the models then judge what came out."""
        if not str(value).lstrip().startswith(("[", "{")):
            return _listed(str(value))
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            names = " or ".join(sorted(name for name, each in self._environ.items() if each == value))
            raise ConfigError(
                f"{names}: this is not JSON at character {error.pos + 1} ({error.msg}); mend it"
            ) from None


def variable_of(path: tuple[str, ...]) -> str:
    """The environment variable of the field at `path`."""
    return PREFIX + DELIMITER.join(path).upper()


def read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """What the variables set, as nested tables, and for each path which variable set it.

    Raises ConfigError for an unknown variable, for JSON that cannot be read and for a secret's file that is not there.
    """
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    urls, source = _urls(ours)
    fields = {name: value for name, value in ours.items() if _is_field(name)}
    table = _Environ(fields)()
    origins = {tuple(name[len(PREFIX) :].lower().split(DELIMITER)): name for name in fields}
    if urls:
        table.setdefault("broker", {})["urls"] = urls
        origins["broker", "urls"] = source
    return table, origins


def _is_field(name: str) -> bool:
    """Whether the variable sets a field. One that can only be a mistake raises ConfigError."""
    first, *rest = name[len(PREFIX) :].lower().split(DELIMITER)
    known = tuple(Settings.model_fields)
    if first in known:
        return True
    if rest:
        raise ConfigError(f"{name}: there is no section {first!r}; {suggestion(first, known)}")
    short = (AMQP_URL, AMQP_URL_FILE)
    near = difflib.get_close_matches(name, (*short, *map(variable_of, ((each,) for each in known))), n=1, cutoff=0.9)
    if near and name not in short:
        raise ConfigError(f"{name}: there is no such variable; did you mean {near[0]}?")
    return False


def _urls(ours: Mapping[str, str]) -> tuple[list[str], str]:
    given = [name for name in (AMQP_URL, AMQP_URL_FILE, BROKER_URLS) if ours.get(name)]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are set, and both name the broker; unset all but one")
    if not given or given == [BROKER_URLS]:
        return [], ""
    text = _from_file(ours[AMQP_URL_FILE]) if given == [AMQP_URL_FILE] else ours[AMQP_URL]
    return _listed(text), given[0]


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{AMQP_URL_FILE}: the file {path} cannot be read ({why}); correct the path") from None


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.replace("\n", ",").split(",") if each.strip()]
