"""The fills of one order: how much of it was traded, at what value, and which executions still stand.

Owns the arithmetic of fills, busts and corrections. It must not know orders, books or positions.

| ExecType      | names in ExecRefID       | what stands afterwards                                              |
|---------------|--------------------------|---------------------------------------------------------------------|
| TRADE         |                          | itself, once, unless a bust or correction of it came before         |
| TRADE_CANCEL  | the execution taken back | neither of the two                                                  |
| TRADE_CORRECT | the execution replaced   | itself, instead of that one and of an earlier correction of it      |
| others        |                          | nothing more                                                        |

A venue says how much was traded in two ways: CumQty, and the LastQty of each execution. `quantity` is the larger one,
never their sum: a fill that was inferred from CumQty is replaced by the real one when that comes. CumQty goes down by a
bust or a correction only; after one, a late report of the time before cannot raise it again.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from sidecar.core.exact import ZERO, add, multiply, subtract, total
from sidecar.messages.orders import ExecutionReport

REVISIONS = ("TRADE_CORRECT", "TRADE_CANCEL")
Known = Callable[[str], ExecutionReport | None]
VOIDED_MAX = 1_000
"""Busted and corrected executions of one order that are remembered, so that a late original does not count."""


class Fills(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was traded of one order. `voided` names executions that do not stand, each with what replaced it.

    `trades` and `value` are the sums of LastQty and of LastQty times LastPx of those that stand, `cum_qty` the venue's
    CumQty, `carried` how much of that was traded under earlier ClOrdIDs of the same venue order.
    """

    cum_qty: Decimal = ZERO
    trades: Decimal = ZERO
    value: Decimal = ZERO
    carried: Decimal = ZERO
    price: Decimal = ZERO
    uncounted: bool = False
    voided: dict[str, str] = {}  # msgspec copies an empty default for each value.

    @property
    def quantity(self) -> Decimal:
        """How much was traded under this ClOrdID."""
        told = subtract(self.cum_qty, self.carried)
        return max(told, ZERO) if self.uncounted else max(told, self.trades)

    @property
    def worth(self) -> Decimal:
        """What that cost: executions at their own prices, what was only inferred at the last price known."""
        if self.uncounted:
            return multiply(self.quantity, self.price)
        return add(self.value, multiply(subtract(self.quantity, self.trades), self.price))


NONE = Fills()


def filled(fills: Fills, report: ExecutionReport, known: Known, *, counted: bool) -> Fills:
    """The fills after one more report. `known` finds an execution by its ExecID.

    `counted` says that this one was seen before, here or under another ClOrdID of the chain, so that only its CumQty
    and prices can say something new.
    """
    price = report.avg_px or report.last_px or fills.price
    if report.exec_type in REVISIONS and report.exec_ref_id:
        return fills if counted else _revised(fills, report, known, report.cum_qty, price)
    trades, value = fills.trades, fills.value
    if report.exec_type == "TRADE" and not counted and report.exec_id not in fills.voided:
        trades, value = add(trades, report.last_qty), add(value, multiply(report.last_qty, report.last_px))
    if fills.voided:
        told = report.cum_qty if report.exec_type == "TRADE" and not report.last_qty else ZERO
        cum_qty = max(fills.cum_qty, add(trades, fills.carried), told)
    else:
        cum_qty = max(fills.cum_qty, report.cum_qty)
    if trades is fills.trades and cum_qty == fills.cum_qty and price == fills.price:
        return fills  # As it is for most reports: an acknowledgement fills nothing.
    return Fills(cum_qty, trades, value, fills.carried, price, fills.uncounted, fills.voided)


def revised_elsewhere(fills: Fills, report: ExecutionReport, known: Known) -> Fills:
    """The fills after an execution of theirs was revised under a later ClOrdID of the chain."""
    lost = [known(report.exec_ref_id), known(fills.voided.get(report.exec_ref_id, ""))]
    standing = total(each.last_qty for each in lost if each is not None and stood(each, fills.voided))
    gone = msgspec.structs.replace(report, exec_type="TRADE_CANCEL")
    return _revised(fills, gone, known, max(subtract(fills.cum_qty, standing), ZERO), fills.price)


def carrying(fills: Fills, before: Fills) -> Fills:
    """These fills, behind those of the ClOrdID that was replaced and whose CumQty goes on here."""
    carried = add(before.carried, before.quantity)
    if carried == fills.carried:
        return fills
    return Fills(fills.cum_qty, fills.trades, fills.value, carried, fills.price, fills.uncounted, fills.voided)


def without_trades(fills: Fills) -> Fills:
    """These fills once executions were forgotten: from now on CumQty alone counts."""
    if fills.uncounted:
        return fills
    return Fills(fills.cum_qty, fills.trades, fills.value, fills.carried, fills.price, True, fills.voided)


def stood(report: ExecutionReport, voided: dict[str, str]) -> bool:
    """Whether this execution counts among the trades that stand."""
    return report.exec_type in ("TRADE", "TRADE_CORRECT") and report.exec_id not in voided


def _revised(fills: Fills, report: ExecutionReport, known: Known, cum_qty: Decimal, price: Decimal) -> Fills:
    stands = report.exec_type == "TRADE_CORRECT" and report.exec_id not in fills.voided
    successor = report.exec_id if stands else ""
    trades, value, voided = fills.trades, fills.value, dict(fills.voided)
    for gone in (report.exec_ref_id, fills.voided.get(report.exec_ref_id, "")):
        original = known(gone) if gone else None
        if original is not None and stood(original, fills.voided):
            trades = subtract(trades, original.last_qty)
            value = subtract(value, multiply(original.last_qty, original.last_px))
        if gone:
            voided[gone] = successor
    if len(voided) > VOIDED_MAX:
        del voided[next(iter(voided))]
    if stands:
        trades, value = add(trades, report.last_qty), add(value, multiply(report.last_qty, report.last_px))
    return Fills(cum_qty, trades, value, fills.carried, price, fills.uncounted, voided)
