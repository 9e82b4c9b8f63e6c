"""The Unix socket of the local interface."""

import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sidecar.agent.listener import bind_unix
from sidecar.telemetry.serving import CannotListen


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path, whatever the test's name is."""
    with TemporaryDirectory(prefix="sc-") as directory:
        yield Path(directory) / "a.sock"


def test_socket_is_for_this_user_only(path: Path) -> None:
    """The socket has mode 0600 from its first moment."""
    with closing(bind_unix(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_stale_socket_is_replaced(path: Path) -> None:
    """A socket on which nobody answers is replaced."""
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    with closing(bind_unix(path)), closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.connect(str(path))


def test_living_socket_is_left_alone(path: Path) -> None:
    """A socket on which somebody answers is refused and left alone."""
    with closing(bind_unix(path)), closing(socket.socket(socket.AF_UNIX)) as peer:
        with pytest.raises(CannotListen, match="stop the other sidecar"):
            bind_unix(path)
        peer.connect(str(path))


def test_other_file_is_left_alone(path: Path) -> None:
    """A file that is no socket is refused and left alone."""
    path.write_text("mine")
    with pytest.raises(CannotListen, match=r"set component\.socket"):
        bind_unix(path)
    assert path.read_text() == "mine"


def test_long_path_is_refused(path: Path) -> None:
    """A path that no socket can have is refused with the mend."""
    with pytest.raises(CannotListen, match="107 bytes"):
        bind_unix(path.with_name("x" * 120))
