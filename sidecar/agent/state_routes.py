"""The routes of state hand-over on the local interface: PUT /v1/state and GET /v1/state.

Owns who may hand a state over, and its size. It must not know how it is kept; `state_keep.py` does.
"""

import time
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, put
from litestar.di import NamedDependency

from sidecar.agent.clock import boottime_ns
from sidecar.agent.openapi import described
from sidecar.agent.parts import Parts
from sidecar.agent.problems import Refused
from sidecar.agent.state_keep import StaleVersion
from sidecar.messages.base import Token
from sidecar.messages.local import StateKept

VERSION_HEADER: Final = "State-Version"
VERSION_MAX: Final = 2**63 - 1
Version = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)]
_HEADERS: Final = {VERSION_HEADER: Version, "State-Token": str, "State-Incarnation": str, "State-At": int}


@put(
    "/v1/state",
    status_code=200,
    request_max_body_size=None,  # Ours to bound, by component.state_bytes_max.
    opt=described(
        takes=bytes,
        headers={VERSION_HEADER: Version},
        refuses={
            400: "NO_VERSION: the header State-Version is missing or no whole number from 1.",
            409: "NOT_ACTIVE, STALE_VERSION: only the active hands over, and versions only grow.",
            413: "TOO_LARGE: more than component.state_bytes_max bytes.",
            507: "NOT_KEPT: the disk refused it; the state before it stays.",
        },
    ),
)
async def put_state(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> StateKept:
    """Hand over the state that the next run of this component shall begin with; answered once it is on disk."""
    version = _version(request.headers.get(VERSION_HEADER, ""))
    token = _active_token(parts)
    body = await _bytes(request, parts.state_bytes_max)
    try:
        return await parts.states.keep(body, version, token, parts.core.incarnation, time.time_ns())
    except StaleVersion as error:
        raise Refused(409, "STALE_VERSION", str(error), "count on from the version of GET /v1/state") from error
    except OSError as error:
        text = f"version {version} could not be written ({error.strerror}): the one before it stays"
        raise Refused(507, "NOT_KEPT", text, "make room in component.state_dir, and hand it over again") from error


@get(
    "/v1/state",
    opt=described(gives=bytes, answers=_HEADERS, refuses={404: "NO_STATE: none was handed over, or it is damaged."}),
)
async def get_state(parts: NamedDependency[Parts]) -> Response[bytes]:
    """The state that was last handed over here, with its version, and by whom and when."""
    latest = parts.states.latest
    if latest is None:
        text = parts.states.trouble or "no state was handed over to this sidecar"
        raise Refused(404, "NO_STATE", text, "begin without one")
    kept = latest.kept
    values = (kept.version, kept.token, kept.incarnation, kept.at_ns)
    headers = {name: str(value) for name, value in zip(_HEADERS, values, strict=True)}
    return Response(latest.body, media_type="application/octet-stream", headers=headers)


def _version(text: str) -> int:
    version = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(VERSION_MAX)) else 0
    if not 1 <= version <= VERSION_MAX:
        given = f"{VERSION_HEADER} {text[:40]!r} is no whole number from 1 to {VERSION_MAX}"
        raise Refused(400, "NO_VERSION", given, f"send {VERSION_HEADER}, and count it up with each state")
    return version


def _active_token(parts: Parts) -> Token:
    """The token under which we act. A halt does not forbid handing over: that is when it is needed."""
    now_ns = boottime_ns()
    token = parts.core.page(now_ns).token if parts.core.holding(now_ns) else None
    if token is None:
        why = parts.core.why_closed(now_ns)
        raise Refused(409, "NOT_ACTIVE", f"only the active hands over its state: {why}", "wait until you are active")
    return token


async def _bytes(request: Request[Any, Any, Any], most: int) -> bytes:
    """The body. Raises Refused as soon as it is too large."""
    found = bytearray()
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isascii() and announced.isdigit() else 0
    if size <= most:
        async for chunk in request.stream():
            found += chunk
            size = len(found)
            if size > most:
                break
    if size > most:
        text = f"the state has {size} bytes or more, and {most} are allowed"
        raise Refused(413, "TOO_LARGE", text, "hand over less, or raise component.state_bytes_max")
    return bytes(found)
