"""Structured logs of a process: one JSON line per event on stderr, or readable lines for people.

Owns the one place where logging is configured, for our own loggers and for those of the libraries we use. It must
not know what is logged. A password inside a URL is masked before a line is rendered, and a log line that cannot be
written is dropped: logging never fails its caller.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import Processor

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS: Final[dict[LogLevel, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# These narrate each connection attempt and each HTTP request; our own events say what an operator needs.
_CHATTY: Final = ("aio_pika", "aiormq", "asyncio", "httpcore", "httpx", "litestar", "uvicorn")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]*@")


def configure_logs(log_format: LogFormat, level: LogLevel, *, stream: TextIO | None = None, **bound: str) -> None:
    """Send every log event of this process to `stream` (default stderr) from now on.

    `bound` is added to each line, for example `process="sidecar", component="exec-a"`. Calling it again replaces the
    earlier configuration. Source of the arrangement: structlog documentation, "Standard Library Logging".
    """
    shared = _shared_processors(bound)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # A closed stderr must not turn a log call into an exception, nor into a second write to the same stderr.
    logging.raiseExceptions = False
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.WARNING))


def mask_credentials(text: str) -> str:
    """`text` with the user and password of every URL in it replaced by `***`."""
    return _CREDENTIALS.sub("***@", text)


def _shared_processors(bound: dict[str, str]) -> list[Processor]:
    def add_bound(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in bound.items():
            event.setdefault(key, value)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_bound,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderers(log_format: LogFormat) -> list[Processor]:
    if log_format == "console":
        return [_mask, structlog.dev.ConsoleRenderer(colors=False)]
    return [structlog.processors.format_exc_info, _mask, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    match value:
        case str():
            return mask_credentials(value)
        case bool() | int() | float() | None:
            return value
        case dict():
            return {key: _masked(each) for key, each in value.items()}
        case list() | tuple():
            return [_masked(each) for each in value]
        case _:
            return mask_credentials(repr(value))
