"""The bodies that a component sends us, read and judged.

Owns what makes a body unacceptable beyond the bounds of its type (`messages/local.py`): a refusal names the field. It
must not know what is done with a good one.
"""

import re
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request

from sidecar.agent.problems import Refused
from sidecar.core.component_figures import OURS
from sidecar.messages.local import CommitReport, HealthPush, OrderRequest

CL_ORD_ID: Final = re.compile(r"[!-.0-~]{1,128}")
"""As `messages.local.ClOrdID`, which stops at a line's end where this one does not."""

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
    mass = request.kind == "MASS_CANCEL"
    if not request.qty.is_finite() or request.qty < 0 or (request.qty == 0 and not mass):
        raise _wrong("qty", "is not a number above zero")
    if request.price is not None and not request.price.is_finite():
        raise _wrong("price", "is not a finite number")
    texts = {"account": request.account, "venue": request.venue, "symbol": request.symbol}
    for name, text in texts.items():
        if not text and not (mass and name == "symbol"):
            raise _wrong(name, "is empty")
    names_another = request.kind in ("CANCEL", "REPLACE") or request.orig_cl_ord_id != ""
    if names_another and not CL_ORD_ID.fullmatch(request.orig_cl_ord_id):
        raise _wrong("OrigClOrdID", "does not name the order to cancel or replace")
    if request.kind == "TRANSFER" and request.to_account in ("", request.account):
        raise _wrong("to_account", "does not name another account than the one to transfer from")


def check_report(report: CommitReport) -> None:
    """Raise Refused for a report that lacks what its outcome needs."""
    if report.outcome == "committed" and not report.order_id:
        raise _wrong("OrderID", "is missing: a committed order has the venue's OrderID")
    if report.outcome != "committed" and not report.reason:
        raise _wrong("reason", f"is missing: outcome {report.outcome} needs one")


def check_health(push: HealthPush) -> None:
    """Raise Refused for figures under names that are ours."""
    if ours := [each for each in push.metrics if each.startswith(OURS)]:
        raise _wrong("metrics", f"has {ours[0]}: names that begin with {', '.join(OURS)} are the sidecar's own")


def _wrong(field: str, what: str) -> Refused:
    return Refused(400, "WRONG_FIELD", f"{field} {what}", f"correct {field}")
