"""The routes of state hand-over on the local interface: PUT /v1/state and GET /v1/state.

Owns who may hand a state over, which slot is meant, its size and the waits of its callers. It must not know how it is
kept or sent; `state_desk.py` does.
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
from sidecar.agent.state_keep import HandedOver, StaleVersion
from sidecar.messages.base import Token
from sidecar.messages.local import StateKept

VERSION_HEADER: Final = "State-Version"
VERSION_MAX: Final = 2**63 - 1
REPLICAS_MAX: Final = 16
WAIT_MS_MAX: Final = 10_000
"""How long a caller may wait. Higher keeps connections of components that hang."""
WAIT_MS: Final = 1_000
"""How long a caller who wants replicas waits if it does not say."""
Version = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)]
_HEADERS: Final = {
    VERSION_HEADER: Version,
    "State-Token": str,
    "State-Incarnation": str,
    "State-At": int,
    "State-Slot": str,
    "State-Author": str,
    "State-Age-Ms": int,
    "State-Known-Version": int,
    "State-Last": str,
}
_SLOT: Final = {"slot": str}
_WAIT: Final = {"wait_ms": Annotated[int, msgspec.Meta(ge=0, le=WAIT_MS_MAX)]}
_LAST: Final = {True: "yes", False: "no", None: "unknown"}


@put(
    "/v1/state",
    status_code=200,
    request_max_body_size=None,  # Ours to bound, by component.state_bytes_max.
    opt=described(
        takes=bytes,
        headers={VERSION_HEADER: Version},
        query={**_SLOT, "replicas": Annotated[int, msgspec.Meta(ge=0, le=REPLICAS_MAX)], **_WAIT},
        refuses={
            400: "NO_VERSION: the header State-Version is missing or no whole number from 1. WRONG_FIELD, WHICH_SLOT.",
            409: "NOT_ACTIVE, STALE_VERSION: only the active hands over, and versions only grow.",
            413: "TOO_LARGE: more than component.state_bytes_max bytes.",
            504: "NOT_REPLICATED: it is kept here, and not yet on as many standbys as were asked for.",
            507: "NOT_KEPT: the disk refused it; the state before it stays.",
        },
    ),
)
async def put_state(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> StateKept:
    """Hand over the state that the next to hold this slot shall begin with; answered once it is on disk here."""
    version = _version(request.headers.get(VERSION_HEADER, ""))
    replicas = _number(request, "replicas", 0, REPLICAS_MAX)
    wait_ms = _number(request, "wait_ms", WAIT_MS, WAIT_MS_MAX)
    slot, token = _held(parts, request.query_params.get("slot", ""))
    body = await _bytes(request, parts.state_bytes_max)
    try:
        kept = await parts.states.put(slot, body, version, token)
    except StaleVersion as error:
        raise Refused(409, "STALE_VERSION", str(error), "count on from the version of GET /v1/state") from error
    except OSError as error:
        text = f"version {version} could not be written ({error.strerror}): the one before it stays"
        raise Refused(507, "NOT_KEPT", text, "make room in component.state_dir, and hand it over again") from error
    if replicas and not await parts.states.replicated(kept, replicas, wait_ms / 1000):
        have = ", ".join(parts.states.replicas(kept)) or "none"
        text = f"version {version} is on disk here, and after {wait_ms} ms on {have} of the {replicas} standbys wanted"
        raise Refused(504, "NOT_REPLICATED", text, "it goes on being sent: hand the same over again to wait for longer")
    return parts.states.told(kept)


@get(
    "/v1/state",
    opt=described(
        gives=bytes,
        query={**_SLOT, **_WAIT},
        answers=_HEADERS,
        refuses={
            400: "WRONG_FIELD, WHICH_SLOT: states of several slots are kept here.",
            404: "NO_STATE: none was handed over, or it is damaged.",
        },
    ),
)
async def get_state(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> Response[bytes]:
    """The newest state of a slot that is known here, whoever made it, with its version, and by whom and when."""
    wait_ms = _number(request, "wait_ms", 0, WAIT_MS_MAX)
    slot = _kept(parts, request.query_params.get("slot", ""))
    found = await parts.states.get(slot, wait_ms / 1000) if slot is not None else None
    if slot is None or found is None:
        text = parts.states.trouble or "no state was handed over to this sidecar"
        raise Refused(404, "NO_STATE", text, "begin without one")
    headers = {name: str(value) for name, value in zip(_HEADERS, _values(parts, slot, found), strict=True)}
    return Response(found.body, media_type="application/octet-stream", headers=headers)


def _values(parts: Parts, slot: str, found: HandedOver) -> tuple[object, ...]:
    """Of `_HEADERS`, in their order."""
    kept, core = found.kept, parts.states.core
    return (
        kept.version,
        kept.token,
        kept.incarnation,
        kept.at_ns,
        slot,
        kept.component,
        max(0, time.time_ns() - kept.at_ns) // 1_000_000,
        max(kept.version, core.known(slot).version),
        _LAST[core.is_last(slot)],
    )


def _version(text: str) -> int:
    version = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(VERSION_MAX)) else 0
    if not 1 <= version <= VERSION_MAX:
        given = f"{VERSION_HEADER} {text[:40]!r} is no whole number from 1 to {VERSION_MAX}"
        raise Refused(400, "NO_VERSION", given, f"send {VERSION_HEADER}, and count it up with each state")
    return version


def _number(request: Request[Any, Any, Any], name: str, otherwise: int, most: int) -> int:
    text = str(request.query_params.get(name, otherwise))
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else -1
    if not 0 <= number <= most:
        raise Refused(400, "WRONG_FIELD", f"{name} {text[:40]!r} is no whole number from 0 to {most}", "correct it")
    return number


def _held(parts: Parts, named: str) -> tuple[str, Token]:
    """The slot that is meant and the token under which it is held. A halt does not forbid handing over: that is when it
    is needed."""
    now_ns = boottime_ns()
    held = {each.slot: each.token for each in parts.core.slots} if parts.core.holding(now_ns) else {}
    if not held or (named and named not in held):
        why = parts.core.why_closed(now_ns) if not held else f"{named[:200]!r} is not held here"
        raise Refused(409, "NOT_ACTIVE", f"only the active hands over its state: {why}", "wait until you are active")
    if not named and len(held) > 1:
        raise _which(held)
    slot = named or next(iter(held))
    return slot, held[slot]


def _kept(parts: Parts, named: str) -> str | None:
    """The slot that is meant: the one named, or held, or kept. None when there is nothing to choose from."""
    if named:
        return named
    held = [each.slot for each in parts.core.slots]
    slots = held or sorted(parts.states.kept)
    if len(slots) > 1:
        raise _which(slots)
    return slots[0] if slots else None


def _which(slots: Any) -> Refused:
    return Refused(400, "WHICH_SLOT", f"there are several: {', '.join(sorted(slots))}", "name one with ?slot=")


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
        text = f"the state has {size} bytes or more, and component.state_bytes_max allows {most}"
        mend = "hand over less, or raise component.state_bytes_max on every member of the group, to 64 MiB at most"
        raise Refused(413, "TOO_LARGE", text, mend)
    return bytes(found)
