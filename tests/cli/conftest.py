"""Commands set up the logs of their process; tests put them back."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Every test leaves logging as it found it."""
    root, aiormq = logging.getLogger(), logging.getLogger("aiormq")
    handlers, level, raising, quiet = list(root.handlers), root.level, logging.raiseExceptions, aiormq.level
    yield
    aiormq.setLevel(quiet)
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    structlog.reset_defaults()
