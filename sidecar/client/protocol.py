"""The local interface as the clients speak it: paths, bodies and answers.

Owns the decoding that both clients share. It must not open a connection.
"""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar, get_args
from urllib.parse import quote

import httpx
import msgspec

from sidecar.client.errors import SidecarProblem, SidecarUnreachable
from sidecar.messages.base import message_type
from sidecar.messages.local import (
    TEXT_MAX,
    GateStatus,
    HaltsInForce,
    MeasureAnswer,
    MeasureAsked,
    Problem,
    SessionAlive,
    SessionEnded,
    SessionOpened,
    StateArrived,
)
from sidecar.messages.orders import OrderDenied, OrderGranted

SOCKET_VARIABLE: Final = "SIDECAR_SOCKET"
BASE_URL: Final = "http://sidecar"
SILENCE_S: Final = 5.0
"""A session says something each second; after this much silence the sidecar hangs and the session is lost."""
CHANGES_MAX: Final = 256
"""Changes a session keeps for a component that does not look; the oldest go first, the newest is always there."""
ASKED_MAX: Final = 64
"""Measures a session keeps for a component that does not look; the oldest go first, and are asked again."""
CONNECTIONS_MAX: Final = 64
"""Calls at once; more wait for one to end. Each call looks through all connections, so higher is slower."""
KEPT: Final = "NOT_RECORDED_YET"
"""The sidecar has the report and repeats it by itself."""

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
"""More than all latched halts take."""
VERSION_HEADER: Final = "State-Version"
NO_STATE: Final = "NO_STATE"

Answer = TypeVar("Answer")
SessionLine = SessionOpened | GateStatus | HaltsInForce | MeasureAsked | StateArrived | SessionAlive | SessionEnded
OrderAnswer = OrderGranted | OrderDenied

_LINE: Final = msgspec.json.Decoder(SessionLine)
_KNOWN: Final = frozenset(message_type(each) for each in get_args(SessionLine))


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The newest state of a slot that is known here: handed over by an earlier run or by another member of the group.

    `author` made it under `token` ("term.epoch"), `age_ms` ago by the two hosts' clocks. `known_version` is the newest
    version that was heard of, and `last` whether this one is known to be it: None while no arbiter has said.
    """

    version: int
    state: bytes
    slot: str = ""
    author: str = ""
    token: str = ""
    age_ms: int = 0
    known_version: int = 0
    last: bool | None = None


class _Tagged(msgspec.Struct):
    type: str


_TAG: Final = msgspec.json.Decoder(_Tagged)


def socket_path(given: str | None) -> str:
    """The Unix socket of the sidecar: as given, or from the environment variable SIDECAR_SOCKET."""
    path = given or os.environ.get(SOCKET_VARIABLE, "")
    if not path:
        raise SidecarUnreachable(f"no socket: pass one, or set {SOCKET_VARIABLE} (`sidecar run` sets it for its child)")
    return path


def measure_path(asked: MeasureAsked) -> str:
    """Where the answer to a measure goes."""
    return f"/v1/measures/{quote(asked.halt_id, safe='')}/{asked.measure}"


def measure_answer(remaining: Iterable[str], failed: str) -> MeasureAnswer:
    """The answer that names what remains, or says in a sentence what failed; with neither it is done."""
    names = tuple(remaining)
    return MeasureAnswer(outcome="failed" if failed or names else "done", remaining=names, text=failed[:TEXT_MAX])


def report_path(cl_ord_id: str) -> str:
    """Where the report on an order goes."""
    return f"/v1/orders/{quote(cl_ord_id, safe='')}/report"


class LineBuffer:
    """Cuts a stream into its lines. They end with a line feed and nothing else: JSON may hold any other separator."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now. Raises msgspec.DecodeError for one that is longer than any of ours."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            raise msgspec.DecodeError(f"a line is longer than {LINE_BYTES_MAX} bytes")
        return whole


async def lines_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a stream that is open."""
    buffer = LineBuffer()
    async for chunk in response.aiter_bytes():
        for line in buffer.feed(chunk):
            yield line


def sync_lines_of(response: httpx.Response) -> Iterator[bytes]:
    """The same, blocking."""
    buffer = LineBuffer()
    for chunk in response.iter_bytes():
        yield from buffer.feed(chunk)


def decode_line(line: bytes) -> SessionLine | None:
    """One line of a session; None for one of a type that only a newer sidecar knows.

    Raises msgspec.DecodeError on anything else.
    """
    if _TAG.decode(line).type not in _KNOWN:
        return None
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


def state_headers(version: int) -> dict[str, str]:
    """The headers of a state that is handed over."""
    return {VERSION_HEADER: str(version)}


def state_query(slot: str, replicas: int = 0, wait_ms: int | None = None) -> dict[str, str]:
    """What is said of a state beside its bytes: the slot, where it is named, and what to wait for."""
    found = {"slot": slot, "replicas": str(replicas or ""), "wait_ms": "" if wait_ms is None else str(wait_ms)}
    return {name: value for name, value in found.items() if value}


def decode_state(response: httpx.Response) -> HandedOver | None:
    """The state in an answer, None when there is none, or SidecarProblem as the sidecar put it."""
    if response.status_code == 200:
        try:
            return _handed_over(response)
        except (KeyError, ValueError) as error:
            raise SidecarProblem("NOT_UNDERSTOOD", f"a state without a {VERSION_HEADER} that is ours") from error
    try:
        decode_answer(response.status_code, response.content, Problem)
    except SidecarProblem as problem:
        if problem.code != NO_STATE:
            raise
    return None


def _handed_over(response: httpx.Response) -> HandedOver:
    """Sidecars of earlier versions say the version only."""
    headers, version = response.headers, int(response.headers[VERSION_HEADER])
    return HandedOver(
        version=version,
        state=response.content,
        slot=headers.get("State-Slot", ""),
        author=headers.get("State-Author", ""),
        token=headers.get("State-Token", ""),
        age_ms=int(headers.get("State-Age-Ms", 0)),
        known_version=int(headers.get("State-Known-Version", version)),
        last={"yes": True, "no": False}.get(headers.get("State-Last", "")),
    )


def headers_of(token: str) -> dict[str, str]:
    """What each request carries: the token where there is one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def unreachable(path: str, error: httpx.HTTPError) -> SidecarUnreachable:
    """The transport's error in the component's words."""
    return SidecarUnreachable(f"no answer from the sidecar at {path}: {error or type(error).__name__}")
