"""The local interface on loopback TCP, for components that cannot reach a Unix socket: the same routes, with a token.

Owns the token, its check and the listening socket. It must not know the routes.

Which way it fails: closed. No token file, one that others may write or read, a short token or an address that is not
loopback, and the sidecar does not start. A request without the right token gets 401 and nothing else, before any route.
"""

import hmac
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from sidecar.agent.streams import Receive, Send
from sidecar.messages.local import Problem
from sidecar.telemetry.serving import CannotListen

BACKLOG: Final = 128
TOKEN_MIN: Final = 16
TOKEN_MAX: Final = 1024
_SCHEME: Final = b"bearer "


def bind_loopback(host: str, port: int) -> socket.socket:
    """A listening TCP socket on a loopback address; port 0 takes a free one. Raises CannotListen."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise CannotListen(f"component.tcp.host {host!r} is not an address: set it to 127.0.0.1 or ::1") from None
    if not address.is_loopback:
        raise CannotListen(f"component.tcp.host {host} is not a loopback address: set it to 127.0.0.1 or ::1")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = error.strerror or error
        raise CannotListen(
            f"cannot listen on {host} port {port} ({why}): set component.tcp.port to a free one"
        ) from error


def read_token(path: Path) -> bytes:
    """The token in the file at `path`, without white space around it. Raises CannotListen, which never shows it."""
    where = f"component.tcp.token_file {path}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            token = file.read(TOKEN_MAX + 1).strip()
    except OSError as error:
        raise CannotListen(f"{where} cannot be read ({error.strerror}): correct the path") from None
    if not stat.S_ISREG(found.st_mode) or found.st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise CannotListen(f"{where} may be read or written by others: chmod 600 it")
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX or not all(0x21 <= each <= 0x7E for each in token):
        raise CannotListen(
            f"{where} does not hold {TOKEN_MIN} to {TOKEN_MAX} printable ASCII characters without spaces: "
            "make one with `head -c 32 /dev/urandom | base64`"
        )
    return token


class TokenRequired:
    """Lets only requests with `Authorization: Bearer TOKEN` through to `app`."""

    def __init__(self, app: Any, token: bytes) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and self._is_right(given[0]):
            await self._app(scope, receive, send)
            return
        body = msgspec.json.encode(_REFUSED)
        headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _is_right(self, header: bytes) -> bool:
        """Compared in a time that says nothing about where the two differ."""
        scheme, token = header[: len(_SCHEME)].lower(), header[len(_SCHEME) :].strip()
        return scheme == _SCHEME and hmac.compare_digest(token, self._token)


_REFUSED: Final = Problem(
    code="NO_TOKEN",
    text="the token is missing or wrong",
    mend="send Authorization: Bearer TOKEN, with what the file component.tcp.token_file holds",
)
_HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"connection", b"close"),
    (b"www-authenticate", b'Bearer realm="sidecar"'),
]
