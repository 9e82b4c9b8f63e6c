"""Where archives are kept in tests: SQLite files, and a real PostgreSQL server started once for the run.

These fixtures are imported into tests/conftest.py, where pytest finds them.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import PostgresServer, ServerNotFound

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server. Where there is none to run the test is skipped, but never in CI, which has to install it."""
    server = PostgresServer()
    try:
        server.begin()
    except ServerNotFound as error:
        server.end()
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL: {error}")
    except BaseException:
        server.end()
        raise
    yield server
    server.end()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database of the test's own."""
    name = f"archive_{os.getpid()}_{next(_NUMBERS)}"
    postgres.database(name)
    return postgres.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An archive that does not exist yet, in a file and in a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'archive.db'}"
    return str(request.getfixturevalue("postgres_url"))
