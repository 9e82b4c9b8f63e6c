"""The Unix socket of the local interface.

Owns the rule for a socket that is there already. It must not know what is served.
"""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from sidecar.telemetry.serving import CannotListen

SOCKET_PATH_BYTES_MAX: Final = 107
"""What sockaddr_un holds (unix(7)), less the closing zero."""
BACKLOG: Final = 1024
"""Connections not accepted yet. A full backlog makes clients spin: connect(2) on a Unix socket does not wait."""
_ANSWER_TIMEOUT_S: Final = 0.5


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0600 at `path`. Raises CannotListen.

    A socket that is there already is removed only when nobody answers on it.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise CannotListen(
            f"the socket path {path} is longer than {SOCKET_PATH_BYTES_MAX} bytes: set component.socket or run_dir"
        )
    if _answers(path):
        raise CannotListen(f"somebody answers on {path} already: stop the other sidecar or set component.socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {path} ({error.strerror or error}): set component.socket") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def _answers(path: Path) -> bool:
    """Whether a process listens at `path`; a socket that nobody listens on is removed."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(_ANSWER_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            if path.is_socket():
                path.unlink(missing_ok=True)
            return False
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True
