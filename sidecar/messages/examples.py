"""One valid example of every message, built from its type: for other languages, for the documentation, for tests.

Owns the sample values, chosen by field name and then by type; always the same. It must not know which messages exist.
"""

from typing import Any, Final

import msgspec
from msgspec import inspect

_SAMPLES: Final[dict[str, Any]] = {
    "actor": "dana",
    "account": "ACC-1",
    "arbiter": "arbiter-1",
    "at_ns": 1_767_225_600_000_000_000,
    "AvgPx": "101.25",
    "ClOrdID": "exec-a-17",
    "cl_ord_id": "exec-a-17",
    "component": "exec-a",
    "CumQty": "40",
    "deadline_ns": 86_401_500_000_000,
    "closed_ns": 86_400_009_000_000,
    "epoch": 7,
    "ExecID": "X-9",
    "gate_path": "/dev/shm/sidecar-exec-a.gate",
    "digest": "9f2c41d07a6be813",
    "ExecType": "TRADE",
    "group": "execution",
    "halt_id": "halt-1",
    "incarnation": "exec-a-6f1c",
    "issued_ns": 1_767_225_600_000_000_000,
    "lease_left_ns": 1_200_000_000,
    "LastPx": "101.25",
    "LastQty": "40",
    "LeavesQty": "60",
    "metrics": {"market_data_age_s": 0.2},
    "mode": "active_passive",
    "ord_status": "NEW",
    "OrdStatus": "PARTIALLY_FILLED",
    "order_id": "V-1",
    "OrderID": "V-1",
    "OrderQty": "100",
    "OrigClOrdID": "exec-a-16",
    "price": "101.25",
    "qty": "100",
    "reason": "market data is stale",
    "reconciler": "reconciler-1",
    "request_id": "request-1",
    "role": "ACTIVE",
    "scopes": ["symbol:XYZ"],
    "seq": 41,
    "silent_ns": 120_000_000,
    "slot": "execution/0",
    "strategy": "maker",
    "symbol": "XYZ",
    "term": 3,
    "ttl_ns": 1_500_000_000,
    "venue": "SIM",
    "version": 12,
}


def example_of(kind: type[msgspec.Struct]) -> Any:
    """A valid value of this type, with every field set."""
    return msgspec.convert(_value(inspect.type_info(kind), ""), kind)


def _value(kind: inspect.Type, name: str) -> Any:
    if isinstance(kind, inspect.StructType):
        return _fields(kind)
    if isinstance(kind, inspect.UnionType):
        return _value(next(each for each in kind.types if not isinstance(each, inspect.NoneType)), name)
    sample = _SAMPLES.get(name)
    if sample is not None and isinstance(sample, int) is isinstance(kind, inspect.IntType):
        return sample
    match kind:
        case inspect.LiteralType():
            return kind.values[-1]
        case inspect.EnumType():
            return list(kind.cls)[-1].value
        case inspect.VarTupleType():
            return [_value(kind.item_type, "")]
        case inspect.DictType():
            return {}
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return 1
        case inspect.DecimalType():
            return "1"
        case inspect.BytesType():
            return ""
        case inspect.StrType():
            return name.replace("_", "-") or "text"
        case _:
            raise TypeError(f"there is no sample for a field {name!r} of {type(kind).__name__}: add one")


def _fields(kind: inspect.StructType) -> dict[str, Any]:
    found = {field.encode_name: _value(field.type, field.encode_name) for field in kind.fields}
    return {kind.tag_field: kind.tag, **found} if kind.tag_field else found
