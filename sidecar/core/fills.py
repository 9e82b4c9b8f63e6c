"""The fills of one order: how much of it was traded, at what value, and which executions still stand.

Owns the arithmetic of fills, busts and corrections. It must not know orders, books or positions.

| ExecType      | names in ExecRefID       | what stands afterwards                                              |
|---------------|--------------------------|---------------------------------------------------------------------|
| TRADE         |                          | itself, once, unless a bust or correction of it came before         |
| TRADE_CANCEL  | the execution taken back | neither of the two, nor any correction of that one                  |
| TRADE_CORRECT | the execution replaced   | itself, instead of that one and of earlier corrections of it        |
| others        |                          | nothing more                                                        |

A venue says how much was traded in two ways: CumQty, and the LastQty of each execution. `quantity` is the larger one,
never their sum: a fill that was inferred from CumQty is replaced by the real one when that comes. CumQty goes down by a
bust or a correction only; after one, a late report of the time before cannot raise it again.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from sidecar.core.exact import ZERO, add, multiply, subtract
from sidecar.messages.orders import ExecutionReport

REVISIONS = ("TRADE_CORRECT", "TRADE_CANCEL")
Known = Callable[[str], ExecutionReport | None]
VOIDED_MAX = 1_000
"""Busted and corrected executions of one order that are remembered, so that a late original does not count."""


class Fills(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was traded of one order. `voided` names executions that do not stand, each with what replaced it.

    `trades` and `value` are the sums of LastQty and of LastQty times LastPx of those that stand, `cum_qty` the venue's
    CumQty, `carried` how much of that was traded under earlier ClOrdIDs of the same venue order. `least` is the lowest
    CumQty that any bust or correction told of: beyond it only what is known by its executions counts.
    """

    cum_qty: Decimal = ZERO
    trades: Decimal = ZERO
    value: Decimal = ZERO
    carried: Decimal = ZERO
    price: Decimal = ZERO
    uncounted: bool = False
    voided: dict[str, str] = {}  # msgspec copies an empty default for each value.
    least: Decimal | None = None

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


def filled(fills: Fills, report: ExecutionReport, known: Known, *, counted: bool, elsewhere: bool = False) -> Fills:
    """The fills after one more report. `known` finds an execution by its ExecID.

    `counted` says that this one was seen before, here or under another ClOrdID of the chain, so that only its CumQty
    and prices can say something new. `elsewhere` says that what a revision revises is counted under another one.
    """
    price = report.avg_px or report.last_px or fills.price
    if report.exec_type in REVISIONS and report.exec_ref_id:
        return (
            fills if counted else _bounded(_revised(fills, report, known, price, elsewhere=elsewhere), report.cum_qty)
        )
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
    return Fills(cum_qty, trades, value, fills.carried, price, fills.uncounted, fills.voided, fills.least)


def revised_elsewhere(fills: Fills, report: ExecutionReport, known: Known, *, since: Decimal | None) -> Fills:
    """The fills after an execution was revised under a later ClOrdID of the chain.

    It is one of theirs where `since` is None; else it may be, and was not told yet: of the CumQty after it, which is of
    the whole chain, `since` was traded later, and what remains bounds what was only inferred here.
    """
    if since is None:
        gone = msgspec.structs.replace(report, exec_type="TRADE_CANCEL")
        return _revised(fills, gone, known, fills.price, elsewhere=False)
    if report.exec_type == "TRADE_CORRECT":
        since = add(since, report.last_qty)
    gone = msgspec.structs.replace(report, exec_type="TRADE_CANCEL", cum_qty=subtract(report.cum_qty, since))
    return _revised(fills, gone, lambda _: None, fills.price, elsewhere=False)


def carrying(fills: Fills, before: Fills) -> Fills:
    """These fills, behind those of the ClOrdID that was replaced and whose CumQty goes on here.

    What those have lost since was in the CumQty here, too.
    """
    carried = add(before.carried, before.quantity)
    return fills if carried == fills.carried else _carrying(fills, carried)


def carrying_nothing(fills: Fills) -> Fills:
    """These fills of an order that turns out to be the first of its own."""
    return _carrying(fills, ZERO) if _explained(fills) else msgspec.structs.replace(fills, carried=ZERO)


def _carrying(fills: Fills, carried: Decimal) -> Fills:
    cum_qty = fills.cum_qty
    if _explained(fills):
        cum_qty = add(fills.trades, carried)
    elif carried < fills.carried:
        cum_qty = max(subtract(cum_qty, subtract(fills.carried, carried)), add(fills.trades, carried), ZERO)
    return msgspec.structs.replace(fills, cum_qty=cum_qty, carried=carried)


def _explained(fills: Fills) -> bool:
    """Whether the CumQty is what is known of single executions, and nothing more."""
    return fills.cum_qty == add(fills.trades, fills.carried)


def without_trades(fills: Fills) -> Fills:
    """These fills once executions were forgotten: from now on CumQty alone counts."""
    if fills.uncounted:
        return fills
    cum_qty, trades, value = fills.cum_qty, fills.trades, fills.value
    return Fills(cum_qty, trades, value, fills.carried, fills.price, True, fills.voided, fills.least)


def stood(report: ExecutionReport, voided: dict[str, str]) -> bool:
    """Whether this execution counts among the trades that stand; a correction that names nothing is none."""
    traded = report.exec_type == "TRADE" or (report.exec_type == "TRADE_CORRECT" and bool(report.exec_ref_id))
    return traded and report.exec_id not in voided


def _revised(fills: Fills, report: ExecutionReport, known: Known, price: Decimal, *, elsewhere: bool) -> Fills:
    """The fills after a bust or a correction, whenever it comes.

    Its CumQty is of the moment in which it was made, which others of the same order may have overtaken. Where what it
    revises is known CumQty falls by that; only where it is not yet, the report's own CumQty bounds it.
    """
    family = _family(fills.voided, report.exec_ref_id)
    busted = fills.voided.get(family[-1]) == ""
    corrects = report.exec_type == "TRADE_CORRECT"
    stands = corrects and not busted and report.exec_id not in fills.voided
    if corrects and busted:  # Its bust came before it, and before what corrects it.
        family = _family(fills.voided, report.exec_id)
    trades, value, voided = fills.trades, fills.value, dict(fills.voided)
    found = elsewhere
    for gone in family:
        original = known(gone) if not (elsewhere and gone == report.exec_ref_id) else None
        found = found or original is not None
        if original is not None and stood(original, fills.voided):
            trades = subtract(trades, original.last_qty)
            value = subtract(value, multiply(original.last_qty, original.last_px))
    if family[-1] != report.exec_id or busted:
        voided[family[-1]] = report.exec_id if corrects and not busted else ""
    if len(voided) > VOIDED_MAX:
        del voided[next(iter(voided))]
    if stands:
        trades, value = add(trades, report.last_qty), add(value, multiply(report.last_qty, report.last_px))
    told = add(fills.cum_qty, subtract(trades, fills.trades)) if found else min(fills.cum_qty, report.cum_qty)
    cum_qty = max(told, add(trades, fills.carried), ZERO)
    return Fills(cum_qty, trades, value, fills.carried, price, fills.uncounted, voided, fills.least)


def _family(voided: dict[str, str], exec_id: str) -> list[str]:
    """This execution and what has replaced it, one after the other."""
    found = {exec_id: None}
    following = voided.get(exec_id)
    while following and following not in found:
        found[following] = None
        following = voided.get(following)
    return list(found)


def _bounded(fills: Fills, cum_qty: Decimal) -> Fills:
    """The fills after a revision that told of this CumQty.

    Of revisions that overtake each other each has the CumQty of its own moment, and fills that they overtook have one
    that counts what they revise. The lowest of them is no more than what stands once everything has arrived, so that
    then the executions alone decide, in whatever order they came.
    """
    least = cum_qty if fills.least is None else min(cum_qty, fills.least)
    found = max(min(fills.cum_qty, least), add(fills.trades, fills.carried))
    return msgspec.structs.replace(fills, cum_qty=found, least=least)
