"""The AsyncAPI document: which message travels on which exchange, for other languages and for tools.

Owns the map from channels to messages (DESIGN section 5) and the document's shape (source: AsyncAPI 3.0.0, AMQP
bindings 0.3.0). It must not know queues; the exchanges' names are held to `broker/topology.py` by a test.
"""

from inspect import cleandoc
from typing import Any, Final

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
from sidecar.messages.base import Message, message_type

REPLIES: Final = "replies"
CHANNELS: Final[dict[str, tuple[type[Message], ...]]] = {
    "sidecar.health": (health.Heartbeat, health.Released, health.StartFailed, health.HealthReport, detection.Canary),
    "sidecar.control": (control.Halt, control.ControlState),
    "sidecar.orders": (
        orders.OrderIntent,
        orders.OrderCommitted,
        orders.OrderAborted,
        orders.OrderUnknown,
        orders.DropCopy,
        orders.Evidence,
        orders.Absence,
        once.OnceClaim,
        once.OnceReport,
        reconcile.ReconcilerAlive,
        reconcile.OpenOrdersSeen,
        reconcile.Statement,
        measures.MeasuresReport,
    ),
    "sidecar.commands": (
        control.ResumeRequest,
        control.FailoverRequest,
        control.PauseRequest,
        control.UnpauseRequest,
        reconcile.ResolveDifference,
        groups.RegisterGroup,
        groups.RemoveGroup,
        control.StatusRequest,
        arbiters.CompareRequest,
        explain.ExplainRequest,
        explain.HistoryRequest,
        limits.LimitsRequest,
        limits.LimitsQuery,
        integrity.IntegrityQuery,
        integrity.ResolveIntegrity,
        orders.ResolveBreak,
        order_queries.OrdersQuery,
        order_queries.OrderQuery,
        order_queries.BreaksQuery,
        once_queries.OnceQuery,
        once_queries.ResolveOnce,
    ),
    "sidecar.events": (
        events.TermBegan,
        events.SlotMoved,
        events.SlotEmptied,
        events.StandbyStart,
        events.ControlChanged,
        events.LiftProposed,
        measures.MeasuresChanged,
        events.DegradationChanged,
        events.PauseChanged,
        events.OrderChanged,
        events.BreakFound,
        events.BreakResolved,
        detection.MemberSuspected,
        detection.MemberMissing,
        detection.MemberHeard,
        detection.CorrelatedSilence,
        groups.GroupContradicted,
        dead_letters.DeadLetterDiscarded,
        dead_letters.DeadLetterRedriven,
        orders.EvidenceWanted,
        limits.LimitsChanged,
        once.OnceChanged,
        once_queries.OnceResolved,
        reconcile.ReconciliationChanged,
        reconcile.DifferenceChanged,
        arbiters.StateDiffers,
        security.SenderRefused,
    ),
    "sidecar.state": (state.StatePiece, state.StateWanted, state.StateSaved),
    "sidecar.answers": (control.HaltAccepted, measures.MeasuresReport),
    REPLIES: (
        health.Lease,
        health.StartComponent,
        control.ControlState,
        measures.MeasuresRecorded,
        control.CommandResult,
        control.Probe,
        events.StatusReport,
        explain.ExplainReport,
        explain.HistoryReport,
        orders.OrderGranted,
        orders.OrderDenied,
        orders.ReportRecorded,
        limits.LimitsReport,
        integrity.IntegrityReport,
        order_queries.OrdersPage,
        order_queries.OrderReport,
        order_queries.BreaksPage,
        once_queries.OncePage,
        once.OnceAnswer,
        once.OnceRecorded,
    ),
}
_FANOUT: Final = ("sidecar.control",)


def asyncapi() -> dict[str, Any]:
    """The whole document, as JSON can hold it; payloads are references to the schemas beside it."""
    kinds = {message_type(each): each for carried in CHANNELS.values() for each in carried}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Trading Sidecar",
            "version": "1",
            "description": "JSON on durable RabbitMQ exchanges. The AMQP property type names the message, app_id its "
            "sender, user_id the broker's user. New fields have defaults, and unknown fields are ignored.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, carried) for name, carried in CHANNELS.items()},
        "components": {"messages": {name: _message(name, kinds[name]) for name in sorted(kinds)}},
    }


def _channel(name: str, carried: tuple[type[Message], ...]) -> dict[str, Any]:
    names = map(message_type, carried)
    channel: dict[str, Any] = {
        "address": None if name == REPLIES else name,
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in names},
        "bindings": {"amqp": _binding(name)},
    }
    if name == REPLIES:
        channel["description"] = (
            "From arbiters straight to one queue, through the default exchange; the request names it in reply_to."
        )
    return channel


def _binding(name: str) -> dict[str, Any]:
    if name == REPLIES:
        exchange: dict[str, Any] = {"name": "", "type": "default"}
    else:
        kind = "fanout" if name in _FANOUT else "topic"
        exchange = {"name": name, "type": kind, "durable": True, "autoDelete": False}
    return {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}


def _message(name: str, kind: type[Message]) -> dict[str, Any]:
    return {
        "name": name,
        "title": kind.__name__,
        "summary": cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        "contentType": "application/json",
        "payload": {"$ref": f"./{name}.json"},
    }
