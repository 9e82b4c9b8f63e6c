"""Rung 3: what a component imports to use its sidecar."""

from sidecar.client.aio import SidecarClient, Ticket
from sidecar.client.errors import OrderRefused, SessionLost, SidecarError, SidecarProblem, SidecarUnreachable
from sidecar.client.session import Session
from sidecar.client.sync import SidecarSyncClient, SyncSession, SyncTicket
from sidecar.messages.local import CommitReport, GateStatus, HealthPush, OrderRequest
from sidecar.messages.orders import OrderDenied, OrderGranted, ReportRecorded

__all__ = [
    "CommitReport",
    "GateStatus",
    "HealthPush",
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
    "SyncSession",
    "SyncTicket",
    "Ticket",
]
