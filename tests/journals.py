"""Random journals of every kind of fact there is, for the tests of what is folded.

Facts are made from their types' examples with names from small pools, so that they concern each other; a kind that is
added later is in them by itself. Whether a leader would decide such facts does not matter: the fold takes any.
"""

import random
from typing import Any, get_args

import msgspec

from sidecar.messages.examples import example_of
from sidecar.messages.journal import AnyFact, BreakOpened, Fact, OrderNeverSent, Record, TermStarted

KINDS: tuple[type[Fact], ...] = tuple(each for each in get_args(AnyFact) if each is not TermStarted)
_ORDERS = [f"order-{each}" for each in range(400)]
_ORDER_KINDS = ["NEW", "NEW", "NEW", "CANCEL", "REPLACE", "MASS_CANCEL", "CLOSE_POSITION", "TRANSFER"]
_POOLS: dict[str, list[Any]] = {
    "slot": ["execution/0", "makers/0", "makers/1"],
    "component": [f"exec-{each}" for each in range(12)],
    "incarnation": ["exec-a~1", "exec-b~1", "exec-c~1"],
    "group": [f"group-{each}" for each in range(12)],
    "name": [f"group-{each}" for each in range(12)],
    "halt_id": [f"halt-{each}" for each in range(30)],
    "cl_ord_id": _ORDERS,
    "ClOrdID": _ORDERS,
    "key": [f"key-{each}" for each in range(400)],
    "claim_id": [f"exec-a.{each}" for each in range(4)],
    "query_id": ["query-1", "query-2", "query-3"],
    "ExecID": [f"X-{each}" for each in range(5)],
    "OrdStatus": ["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED"],
    "ord_status": ["NEW", "FILLED"],
    "CumQty": ["0", "40", "100"],
    "LastQty": ["0", "40", "60"],
    "LastPx": ["100", "101.25"],
    "AvgPx": ["0", "100.5"],
    "ExecType": ["NEW", "TRADE", "TRADE", "TRADE_CORRECT", "TRADE_CANCEL", "ORDER_STATUS"],
    "ExecRefID": ["", *(f"X-{each}" for each in range(5))],
    "OrigClOrdID": _ORDERS,
    "OrderID": ["", *(f"V-{each}" for each in range(50))],
    "side": ["BUY", "SELL"],
    "scope": ["all", "symbol:XYZ", "account:ACC-1"],
    "actor": ["", "dana"],
    "epoch": [1, 2, 3],
    "last_heard_ms_ago": [None, 12],
}


def journal(seed: int, length: int) -> list[Record]:
    """Valid records of a few terms, the same for the same seed."""
    dice = random.Random(seed)
    found: list[Record] = []
    term, n = 0, 0
    for at in range(length):
        if not found or dice.random() < 0.01:
            term, n, fact = term + dice.randint(1, 2), 0, TermStarted(reason="a test")
        else:
            n, fact = n + 1, _fact(dice)  # type: ignore[assignment]  # Any kind of fact.
        found.append(Record(term=term, n=n, arbiter=f"arbiter-{term}#1", at_ns=10**18 + at, fact=fact))
    return found


def _fact(dice: random.Random) -> Fact:
    kind = dice.choice(KINDS)
    if kind is BreakOpened and dice.random() < 0.8:
        kind = OrderNeverSent  # Else nearly every order would be broken before it is finished.
    return msgspec.convert(_varied(msgspec.to_builtins(example_of(kind)), dice), kind)


def _varied(value: Any, dice: random.Random) -> Any:
    if isinstance(value, list):
        return [_varied(each, dice) for each in value]
    if not isinstance(value, dict):
        return value
    told = {key: dice.choice(_POOLS[key]) if _known(key, each) else _varied(each, dice) for key, each in value.items()}
    return {**told, "kind": dice.choice(_ORDER_KINDS)} if "OrigClOrdID" in told and "kind" in told else told


def _known(key: str, value: Any) -> bool:
    return key in _POOLS and not isinstance(value, dict | list)
