"""Rung 3: what a component imports to use its sidecar."""

from sidecar.client.aio import SidecarClient, Ticket
from sidecar.client.errors import OrderRefused, SessionLost, SidecarError, SidecarProblem, SidecarUnreachable
from sidecar.client.measures import do_measures
from sidecar.client.protocol import HandedOver
from sidecar.client.session import Session
from sidecar.client.sync import SidecarSyncClient, SyncSession, SyncTicket
from sidecar.messages.local import CommitReport, GateStatus, HealthPush, MeasureAsked, OrderRequest, StateKept
from sidecar.messages.orders import OrderDenied, OrderGranted, ReportRecorded

__all__ = [
    "CommitReport",
    "GateStatus",
    "HandedOver",
    "HealthPush",
    "MeasureAsked",
    "OrderDenied",
    "OrderGranted",
    "OrderRefused",
    "OrderRequest",
    "ReportRecorded",
    "Session",
    "SessionLost",
    "SidecarClient",
    "SidecarError",
    "SidecarProblem",
    "SidecarSyncClient",
    "SidecarUnreachable",
    "StateKept",
    "SyncSession",
    "SyncTicket",
    "Ticket",
    "do_measures",
]
