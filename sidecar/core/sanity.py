"""What no journal may carry: values that a type allows and arithmetic, memory or readers do not survive.

Owns the bounds of texts and numbers from the wire. A NaN compares unequal to itself, so a leader would not recognise
its own record, and a signalling one raises where it is compared (Python's `decimal`, from IEEE 754); a refused value
must therefore never reach the book. It must not know what the values mean.
"""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Rounded
from typing import Final

import msgspec

from sidecar.messages.orders import ExecutionReport, OrderIntent

TEXT_MAX = 256
"""Characters of one name or reason. FIX sets no bound on ClOrdID; venues accept 20 to 64."""
DIGITS_MAX = 40
"""Digits of one price or quantity."""
EXPONENT_MAX = 30
"""A number lies within 10 to the power of plus or minus this."""
INT_MAX = 2**63 - 1
_DIGITS: Final = Context(prec=DIGITS_MAX, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Rounded])
"""Takes a number over unchanged, or raises; counting its digits one by one takes twenty times as long."""
OURS = "~"
"""What the names begin with that we give to orders of others which have none; no order of ours may."""


def intent_problem(intent: OrderIntent) -> str:
    """Why an intent cannot be journaled, as a sentence; empty when it can."""
    if not intent.cl_ord_id:
        return "ClOrdID is empty"
    if intent.cl_ord_id.startswith(OURS):
        return f"ClOrdID begins with {OURS}, as the names do that orders of others are given"
    if not (0 <= intent.token.term <= INT_MAX and 0 <= intent.token.epoch <= INT_MAX):
        return "the token is no pair of 64-bit counts"
    return _field_problem(intent)


def report_problem(report: ExecutionReport) -> str:
    """Why an execution report cannot be journaled, as a sentence; empty when it can."""
    if not report.cl_ord_id:
        return "ClOrdID is empty"
    problem = _field_problem(report)
    if not problem and (report.order_qty < 0 or report.cum_qty < 0 or report.last_qty < 0):
        return "a quantity is negative"  # Prices may be, and LeavesQty is after an overfill.
    return problem


def bounded(number: Decimal) -> bool:
    """Whether a number is finite and of a size that prices and quantities have."""
    if not number.is_finite() or abs(number.adjusted()) > EXPONENT_MAX:
        return False
    try:
        _DIGITS.plus(number)
    except Rounded:
        return False
    return True


def reason_problem(what: str, reason: str) -> str:
    """Why this is no reason for doing `what`, as a sentence; empty when it is one."""
    if reason.strip() and len(reason) <= TEXT_MAX:
        return ""
    return f"{what} needs a reason of 1 to {TEXT_MAX} characters"


def clip(text: str) -> str:
    """A text for people, cut to what a record carries."""
    return text[:TEXT_MAX]


def _field_problem(value: msgspec.Struct) -> str:
    for at, each in enumerate(msgspec.structs.astuple(value)):
        if isinstance(each, str):
            if len(each) > TEXT_MAX:
                return f"{value.__struct_fields__[at]} is longer than {TEXT_MAX} characters"
        elif isinstance(each, Decimal) and not bounded(each):
            name = value.__struct_fields__[at]
            return f"{name} is no finite number of at most {DIGITS_MAX} digits within 1e{EXPONENT_MAX}"
    return ""
