"""Logs: JSON lines on one stream, without secrets, that never fail their caller."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sidecar.telemetry.logs import configure_logs, mask_credentials


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line() -> None:
    """Each event is one JSON object with its process, component, level, logger and time."""
    stream = io.StringIO()
    configure_logs("json", "info", stream=stream, process="sidecar", component="exec-a")
    structlog.get_logger("gate").info("gate opened", slot="execution/0", deadline_ns=17)
    (line,) = lines(stream)
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {
        "event": "gate opened",
        "slot": "execution/0",
        "deadline_ns": 17,
        "process": "sidecar",
        "component": "exec-a",
        "level": "info",
        "logger": "gate",
    }


def test_libraries_use_the_same_form() -> None:
    """A line of the standard library's logging comes out in the same form, with its arguments in place."""
    stream = io.StringIO()
    configure_logs("json", "info", stream=stream, process="arbiter")
    logging.getLogger("some.library").warning("lost %d of %d", 1, 3)
    (line,) = lines(stream)
    assert (line["event"], line["process"], line["level"]) == ("lost 1 of 3", "arbiter", "warning")


def test_credentials_are_masked_everywhere() -> None:
    """A password in a URL never reaches the stream, wherever in the event it stands."""
    stream = io.StringIO()
    configure_logs("json", "debug", stream=stream)
    url = "amqp://trader:hunter2@broker:5672/"
    log = structlog.get_logger("broker")
    log.info(f"connecting to {url}", url=url, urls=[url], deep={"url": url}, odd=ValueError(url))
    try:
        raise ConnectionError(url)
    except ConnectionError:
        log.exception("lost")
    logging.getLogger("some.library").error("at %s", url)
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("amqp://***@broker:5672/") >= 6


def test_mask_keeps_urls_without_credentials() -> None:
    """A URL without credentials, and an address with an @ in its path, stay as they are."""
    assert mask_credentials("http://host/a@b amqp://host") == "http://host/a@b amqp://host"


def test_level() -> None:
    """Events under the level are dropped."""
    stream = io.StringIO()
    configure_logs("json", "warning", stream=stream)
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_console() -> None:
    """The console form is a line for people."""
    stream = io.StringIO()
    configure_logs("console", "info", stream=stream, process="sidecar")
    structlog.get_logger("x").info("gate opened")
    assert "gate opened" in stream.getvalue() and not stream.getvalue().startswith("{")


def test_closed_stream() -> None:
    """A stream that cannot be written to loses the line and nothing else."""
    stream = io.StringIO()
    configure_logs("json", "info", stream=stream)
    stream.close()
    structlog.get_logger("x").info("lost")
