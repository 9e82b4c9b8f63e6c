"""The local interface as the clients speak it: paths, bodies and answers.

Owns the decoding that both clients share. It must not open a connection.
"""

import os
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from sidecar.client.errors import SidecarProblem, SidecarUnreachable
from sidecar.messages.local import GateStatus, Problem, SessionAlive, SessionEnded, SessionOpened
from sidecar.messages.orders import OrderDenied, OrderGranted

SOCKET_VARIABLE: Final = "SIDECAR_SOCKET"
BASE_URL: Final = "http://sidecar"
SILENCE_S: Final = 5.0
"""A session says something each second; after this much silence the sidecar hangs and the session is lost."""
CHANGES_MAX: Final = 256
"""Changes a session keeps for a component that does not look; the oldest go first, the newest is always there."""
CONNECTIONS_MAX: Final = 64
"""Calls at once; more wait for one to end. Each call looks through all connections, so higher is slower."""
KEPT: Final = "NOT_RECORDED_YET"
"""The sidecar has the report and repeats it by itself."""

Answer = TypeVar("Answer")
SessionLine = SessionOpened | GateStatus | SessionAlive | SessionEnded
OrderAnswer = OrderGranted | OrderDenied

_LINE: Final = msgspec.json.Decoder(SessionLine)


def socket_path(given: str | None) -> str:
    """The Unix socket of the sidecar: as given, or from the environment variable SIDECAR_SOCKET."""
    path = given or os.environ.get(SOCKET_VARIABLE, "")
    if not path:
        raise SidecarUnreachable(f"no socket: pass one, or set {SOCKET_VARIABLE} (`sidecar run` sets it for its child)")
    return path


def report_path(cl_ord_id: str) -> str:
    """Where the report on an order goes."""
    return f"/v1/orders/{quote(cl_ord_id, safe='')}/report"


def decode_line(line: str) -> SessionLine:
    """One line of a session. Raises msgspec.DecodeError on anything else."""
    message: SessionLine = _LINE.decode(line)
    return message


def decode_answer(status_code: int, body: bytes, wanted: type[Answer]) -> Answer:
    """The answer in a body, or SidecarProblem as the sidecar put it."""
    try:
        if status_code < 400:
            return msgspec.json.decode(body, type=wanted)
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError as error:
        raise SidecarProblem("NOT_UNDERSTOOD", f"HTTP {status_code} with a body that is not ours: {error}") from error
    raise SidecarProblem(problem.code, problem.text, problem.mend)


def unreachable(path: str, error: httpx.HTTPError) -> SidecarUnreachable:
    """The transport's error in the component's words."""
    return SidecarUnreachable(f"no answer from the sidecar at {path}: {error or type(error).__name__}")
