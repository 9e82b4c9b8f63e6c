"""Errors of the local interface: each is a `Problem` with a mend.

Owns the turning of exceptions into answers. It must not know the routes.
"""

from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from sidecar.messages.local import Problem

BODY_BYTES_MAX: Final = 64 * 1024

# The rest of a refused body would be read, and an endless one for ever, if the connection were kept.
_HANG_UP: Final = {"Connection": "close"}
_CODES: Final = {404: "NO_SUCH_PATH", 405: "NO_SUCH_METHOD", 413: "TOO_LARGE"}
_MENDS: Final = {
    404: "see docs/local-interface.md for the paths",
    405: "see docs/local-interface.md for the methods",
    413: f"send at most {BODY_BYTES_MAX} bytes",
}


class Refused(Exception):
    """The request is answered with this status and problem."""

    def __init__(self, status_code: int, code: str, text: str, mend: str = "") -> None:
        super().__init__(text)
        self.status_code = status_code
        self.problem = Problem(code=code, text=text, mend=mend)


def _refused(_request: Request[Any, Any, Any], error: Refused) -> Response[Problem]:
    return Response(error.problem, status_code=error.status_code, headers=_HANG_UP)


def _http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    status_code = error.status_code
    problem = Problem(
        code=_CODES.get(status_code, "NOT_UNDERSTOOD"), text=str(error.detail)[:400], mend=_MENDS.get(status_code, "")
    )
    return Response(problem, status_code=status_code, headers=_HANG_UP)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    structlog.get_logger(__name__).error("a request failed", path=request.url.path, exc_info=error)
    problem = Problem(
        code="INTERNAL", text=f"the sidecar failed on this request ({type(error).__name__})", mend="see its log"
    )
    return Response(problem, status_code=500)


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    Refused: _refused,
    HTTPException: _http,
    Exception: _unexpected,
}
