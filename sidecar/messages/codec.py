"""Bytes to messages and back: the one place where untrusted bytes become typed values.

Owns the registry of wire types and the reasons for refusing a body. A refusal is a value (`Malformed`), because
bad input is expected; the shells turn it into a dead letter.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from sidecar.messages import (
    arbiters,
    control,
    dead_letters,
    detection,
    events,
    explain,
    groups,
    health,
    integrity,
    journal,
    limits,
    measures,
    once,
    once_queries,
    order_queries,
    orders,
    reconcile,
    security,
    state,
)
from sidecar.messages.base import WIRE_BYTES_MAX, Message, message_type

WIRE_TYPES: Final[dict[str, type[Message]]] = {
    message_type(each): each
    for each in (
        health.Heartbeat,
        health.Lease,
        health.Released,
        health.StartComponent,
        health.StartFailed,
        health.HealthReport,
        control.Halt,
        control.HaltAccepted,
        control.ControlState,
        control.ResumeRequest,
        control.FailoverRequest,
        control.PauseRequest,
        control.UnpauseRequest,
        groups.RegisterGroup,
        groups.RemoveGroup,
        control.StatusRequest,
        control.CommandResult,
        control.Probe,
        measures.MeasuresReport,
        measures.MeasuresRecorded,
        measures.MeasuresChanged,
        orders.OrderIntent,
        orders.OrderGranted,
        orders.OrderDenied,
        orders.OrderCommitted,
        orders.OrderAborted,
        orders.OrderUnknown,
        orders.ReportRecorded,
        orders.DropCopy,
        orders.Evidence,
        orders.Absence,
        orders.EvidenceWanted,
        orders.ResolveBreak,
        order_queries.OrdersQuery,
        order_queries.OrdersPage,
        order_queries.OrderQuery,
        order_queries.OrderReport,
        order_queries.BreaksQuery,
        order_queries.BreaksPage,
        once_queries.OnceQuery,
        once_queries.OncePage,
        once_queries.ResolveOnce,
        once_queries.OnceResolved,
        limits.LimitsRequest,
        limits.LimitsChanged,
        limits.LimitsQuery,
        limits.LimitsReport,
        integrity.IntegrityQuery,
        integrity.IntegrityReport,
        integrity.ResolveIntegrity,
        reconcile.ReconcilerAlive,
        reconcile.OpenOrdersSeen,
        reconcile.Statement,
        reconcile.ReconciliationChanged,
        reconcile.DifferenceChanged,
        reconcile.ResolveDifference,
        once.OnceClaim,
        once.OnceAnswer,
        once.OnceReport,
        once.OnceRecorded,
        once.OnceChanged,
        events.TermBegan,
        events.SlotMoved,
        events.SlotEmptied,
        events.StandbyStart,
        events.ControlChanged,
        events.LiftProposed,
        events.DegradationChanged,
        events.PauseChanged,
        events.OrderChanged,
        events.BreakFound,
        events.BreakResolved,
        detection.Canary,
        detection.MemberSuspected,
        detection.MemberMissing,
        detection.MemberHeard,
        detection.CorrelatedSilence,
        groups.GroupContradicted,
        dead_letters.DeadLetterDiscarded,
        dead_letters.DeadLetterRedriven,
        events.StatusReport,
        explain.ExplainRequest,
        explain.ExplainReport,
        explain.HistoryRequest,
        explain.HistoryReport,
        arbiters.CompareRequest,
        arbiters.StateDiffers,
        security.SenderRefused,
        state.StatePiece,
        state.StateWanted,
        state.StateSaved,
    )
}

WRONG_SENDER: Final = "wrong-sender"
"""The code of what somebody sent who may not, or under a name that is not his."""

_ENCODER: Final = msgspec.json.Encoder()
_DECODERS: Final = {name: msgspec.json.Decoder(each) for name, each in WIRE_TYPES.items()}
_RECORD: Final = msgspec.json.Decoder(journal.Record)


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why a body was refused. `code` is one of not-json, unknown-type, too-large, wrong-field, wrong-sender."""

    code: str
    text: str


def encode(value: msgspec.Struct) -> bytes:
    """JSON, UTF-8, with the type tag in the body."""
    return _ENCODER.encode(value)


def decode(body: bytes, type_name: str, *, app_id: str, user_id: str | None) -> Message | Malformed:
    """The message in `body`, or why there is none.

    `type_name` is the AMQP property `type`; `app_id` must equal the body's own sender field, and `user_id`, which
    the broker verifies, must be present.
    """
    known = WIRE_TYPES.get(type_name)
    bytes_max = WIRE_BYTES_MAX if known is None else known.BYTES_MAX
    if len(body) > bytes_max:
        return Malformed("too-large", f"{len(body)} bytes, at most {bytes_max} are read")
    decoder = _DECODERS.get(type_name)
    if decoder is None:
        return Malformed("unknown-type", f"type {type_name[:80]!r} is not known to this version")
    try:
        message: Message = decoder.decode(body)
    except msgspec.ValidationError as error:
        return Malformed("wrong-field", str(error)[:400])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Malformed("not-json", str(error)[:400])
    return _check_sender(message, app_id, user_id) or message


def _check_sender(message: Message, app_id: str, user_id: str | None) -> Malformed | None:
    claimed = getattr(message, message.SENDER)
    if not user_id:
        return Malformed("wrong-sender", "the property user_id is missing, so the broker verified nobody")
    if claimed != app_id:
        return Malformed("wrong-sender", f"{message.SENDER} is {claimed[:80]!r} but app_id is {app_id[:80]!r}")
    return None


class RecordHeader(msgspec.Struct, frozen=True):
    """What every version's records have in common: enough to tell whether one would count."""

    term: int
    n: int
    arbiter: str


def decode_header(body: bytes) -> RecordHeader | None:
    """The header of a record whose fact this version cannot read; None when it is no record at all."""
    try:
        return msgspec.json.decode(body, type=RecordHeader)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_record(body: bytes) -> journal.Record | Malformed:
    """The journal record in one stream entry, or why there is none."""
    try:
        return _RECORD.decode(body)
    except msgspec.ValidationError as error:
        return Malformed("wrong-field", str(error)[:400])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Malformed("not-json", str(error)[:400])
