"""The bodies that a component sends us, read and judged.

Owns what makes a body unacceptable: a refusal names the field. It must not know what is done with a good one.
"""

import re
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request

from sidecar.agent.problems import Refused
from sidecar.messages.local import CommitReport, HealthPush, OrderRequest

CL_ORD_ID: Final = re.compile(r"[!-.0-~]{1,128}")
"""Printable ASCII without space and slash: it is a path here and a correlation id (255 bytes at most) on the wire."""
TEXT_MAX: Final = 256
REASONS_MAX: Final = 16
METRICS_MAX: Final = 64

Body = TypeVar("Body", bound=msgspec.Struct)


async def read_body(request: Request[Any, Any, Any], wanted: type[Body]) -> Body:
    """The body as `wanted`, whatever Content-Type says. Raises Refused, naming the field."""
    try:
        return msgspec.json.decode(await request.body(), type=wanted)
    except msgspec.ValidationError as error:
        raise Refused(400, "WRONG_FIELD", str(error)[:400], "compare with docs/local-interface.md") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "NOT_JSON", str(error)[:400], "send one JSON object in UTF-8") from error


def check_cl_ord_id(cl_ord_id: str) -> None:
    """Raise Refused unless it can be an order's name."""
    if not CL_ORD_ID.fullmatch(cl_ord_id):
        raise _wrong("ClOrdID", "is not 1 to 128 printable ASCII characters without space and slash")


def check_order(request: OrderRequest) -> None:
    """Raise Refused for numbers and names that no arbiter would take."""
    check_cl_ord_id(request.cl_ord_id)
    if not request.qty.is_finite() or request.qty <= 0:
        raise _wrong("qty", "is not a number above zero")
    if request.price is not None and not request.price.is_finite():
        raise _wrong("price", "is not a finite number")
    texts = {"account": request.account, "venue": request.venue, "symbol": request.symbol}
    for name, text in texts.items():
        if not text:
            raise _wrong(name, "is empty")
    for name, text in {**texts, "strategy": request.strategy, "slot": request.slot}.items():
        if len(text) > TEXT_MAX:
            raise _wrong(name, f"is longer than {TEXT_MAX} characters")
    names_another = request.kind == "CANCEL" or request.orig_cl_ord_id != ""
    if names_another and not CL_ORD_ID.fullmatch(request.orig_cl_ord_id):
        raise _wrong("OrigClOrdID", "does not name the order to cancel")


def check_report(report: CommitReport) -> None:
    """Raise Refused for a report that lacks what its outcome needs."""
    if report.outcome == "committed" and not report.order_id:
        raise _wrong("OrderID", "is missing: a committed order has the venue's OrderID")
    if report.outcome != "committed" and not report.reason:
        raise _wrong("reason", f"is missing: outcome {report.outcome} needs one")
    if len(report.order_id) > TEXT_MAX or len(report.reason) > TEXT_MAX:
        raise _wrong("OrderID or reason", f"is longer than {TEXT_MAX} characters")


def check_health(push: HealthPush) -> None:
    """Raise Refused for more than a heartbeat and a report should carry."""
    if len(push.reasons) > REASONS_MAX or any(len(each) > TEXT_MAX for each in push.reasons):
        raise _wrong("reasons", f"has more than {REASONS_MAX} entries, or one above {TEXT_MAX} characters")
    if len(push.metrics) > METRICS_MAX or any(len(each) > TEXT_MAX for each in push.metrics):
        raise _wrong("metrics", f"has more than {METRICS_MAX} entries, or a name above {TEXT_MAX} characters")


def _wrong(field: str, what: str) -> Refused:
    return Refused(400, "WRONG_FIELD", f"{field} {what}", f"correct {field}")
