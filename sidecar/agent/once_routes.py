"""The routes of execute-once on the local interface: POST /v1/once/claim and POST /v1/once/report.

Owns what makes their bodies unacceptable and the waits of their callers. It must not decide; `once.py` asks.
"""

import asyncio
from typing import Any, Final

from litestar import Request, post
from litestar.di import NamedDependency

from sidecar.agent.bodies import read_body
from sidecar.agent.once import OnceFull, OnceUnanswered
from sidecar.agent.openapi import described
from sidecar.agent.parts import Parts
from sidecar.agent.problems import Refused
from sidecar.core.timing import MS
from sidecar.messages.local import TEXT_MAX, OncePush, OnceRequest
from sidecar.messages.once import KEY_MAX, LIMIT_MAX_NS, RESULT_BYTES_MAX, OnceAnswer, OnceRecorded

RECORD_WAIT_S: Final = 2.0
"""How long a caller waits for the record of a report; it is kept and repeated all the same."""


@post(
    "/v1/once/claim",
    status_code=200,
    opt=described(
        takes=OnceRequest,
        refuses={
            400: "NOT_JSON, WRONG_FIELD: the body is not a claim.",
            503: "TOO_MANY_CLAIMS: too many wait for an answer.",
            504: "NO_ANSWER, NO_BROKER: no arbiter answered; nothing may be run.",
        },
    ),
)
async def claim_once(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> OnceAnswer:
    """May it be done?"""
    asked = await read_body(request, OnceRequest)
    _check_key(asked.key)
    if len(asked.fingerprint) > KEY_MAX:
        raise _wrong("fingerprint", f"is longer than {KEY_MAX} characters")
    if not 0 < asked.limit_ms <= LIMIT_MAX_NS // MS:
        raise _wrong("limit_ms", f"is not within 1 and {LIMIT_MAX_NS // MS}")
    try:
        return await parts.once.claim(asked)
    except OnceFull as error:
        raise Refused(503, "TOO_MANY_CLAIMS", str(error), "nothing may be run: claim again later") from error
    except OnceUnanswered as error:
        raise Refused(504, error.code, str(error), "nothing may be run: claim again later") from error


@post(
    "/v1/once/report",
    status_code=200,
    opt=described(
        takes=OncePush,
        refuses={
            400: "NOT_JSON, WRONG_FIELD: the body is not a report on a claim.",
            503: "TOO_MANY_REPORTS: too many wait to be journaled.",
            504: "NOT_RECORDED_YET: kept, and repeated; do not report again.",
        },
    ),
)
async def report_once(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> OnceRecorded:
    """What became of it."""
    push = await read_body(request, OncePush)
    _check_key(push.key)
    if not push.claim_id.startswith(f"{parts.core.component}.") or len(push.claim_id) > KEY_MAX:
        raise _wrong("claim_id", "is none of this sidecar's")
    if len(push.result.encode()) > RESULT_BYTES_MAX:
        raise _wrong("result", f"is longer than {RESULT_BYTES_MAX} bytes")
    if len(push.text) > TEXT_MAX:
        raise _wrong("text", f"is longer than {TEXT_MAX} characters")
    try:
        recorded = parts.once.keep(push)
    except OnceFull as error:
        raise Refused(503, "TOO_MANY_REPORTS", str(error), "report again when an arbiter answers") from error
    await asyncio.wait({recorded}, timeout=RECORD_WAIT_S)
    if not recorded.done():
        text = f"no arbiter recorded the report within {RECORD_WAIT_S:g} s; it is kept and repeated"
        raise Refused(504, "NOT_RECORDED_YET", text, "nothing: do not report again")
    return recorded.result()


def _check_key(key: str) -> None:
    if not 0 < len(key) <= KEY_MAX:
        raise _wrong("key", f"has not 1 to {KEY_MAX} characters")


def _wrong(field: str, what: str) -> Refused:
    return Refused(400, "WRONG_FIELD", f"{field} {what}", f"correct {field}")
