"""An operator's questions about orders, breaks, limits and side effects, and his word on the last two.

Owns the requests. How one is sent and its answer found is the operator's (`operator.py`).
"""

import uuid
from typing import TypeVar

from msgspec.structs import replace

from sidecar.messages.base import Message
from sidecar.messages.control import CommandResult
from sidecar.messages.limits import LimitSet, LimitsQuery, LimitsReport, LimitsRequest
from sidecar.messages.once import OnceKind
from sidecar.messages.once_queries import OncePage, OnceQuery, ResolveOnce
from sidecar.messages.order_queries import (
    BreaksPage,
    BreaksQuery,
    OrderQuery,
    OrderReport,
    OrdersPage,
    OrdersQuery,
)

Wanted = TypeVar("Wanted", bound=Message)


class Inquiries:
    """Every method raises NoAnswer when no arbiter answers in time."""

    _actor: str

    async def orders(self, query: OrdersQuery, *, timeout_s: float = 5.0) -> OrdersPage:
        """One page of orders; `request_id` and `actor` of the query are filled in."""
        asked = replace(query, request_id=uuid.uuid4().hex, actor=self._actor)
        return await self._inquire(asked, "orders", asked.request_id, OrdersPage, timeout_s)

    async def order(self, name: str, *, timeout_s: float = 5.0) -> OrderReport:
        """What the leader has in memory of one order, by ClOrdID or as VENUE/OrderID."""
        query = OrderQuery(request_id=uuid.uuid4().hex, actor=self._actor, order=name)
        return await self._inquire(query, "order", query.request_id, OrderReport, timeout_s)

    async def breaks(self, after: str = "", *, timeout_s: float = 5.0) -> BreaksPage:
        """One page of open breaks, the first one with the open differences."""
        query = BreaksQuery(request_id=uuid.uuid4().hex, actor=self._actor, after=after)
        return await self._inquire(query, "breaks", query.request_id, BreaksPage, timeout_s)

    async def limits(self, *, timeout_s: float = 5.0) -> LimitsReport:
        """All limits in force, where their figures stand, and the open positions."""
        query = LimitsQuery(request_id=uuid.uuid4().hex, actor=self._actor)
        return await self._inquire(query, "limits", query.request_id, LimitsReport, timeout_s)

    async def set_limits(
        self,
        scope: str,
        limits: LimitSet | None,
        reason: str,
        *,
        degraded: LimitSet | None = None,
        dry_run: bool = False,
        timeout_s: float = 5.0,
    ) -> CommandResult:
        """Set the limits of one scope in full; None gives it back to the configuration. A refusal has `ok` false."""
        request = LimitsRequest(
            request_id=uuid.uuid4().hex,
            scope=scope,
            limits=limits,
            degraded=degraded or LimitSet(),
            actor=self._actor,
            reason=reason,
            dry_run=dry_run,
        )
        return await self._command(request, "set-limits", request.request_id, timeout_s)

    async def once(self, query: OnceQuery, *, timeout_s: float = 5.0) -> OncePage:
        """One page of side effects; `request_id` and `actor` of the query are filled in."""
        asked = replace(query, request_id=uuid.uuid4().hex, actor=self._actor)
        return await self._inquire(asked, "once", asked.request_id, OncePage, timeout_s)

    async def resolve_once(
        self, kind: OnceKind, key: str, reason: str, *, result: str | None, timeout_s: float = 5.0
    ) -> CommandResult:
        """Settle an UNKNOWN side effect: it happened with this JSON, or with None never. A refusal has `ok` false."""
        request = ResolveOnce(
            request_id=uuid.uuid4().hex,
            actor=self._actor,
            kind=kind,
            key=key,
            happened=result is not None,
            reason=reason,
            result=result or "",
        )
        return await self._command(request, "resolve-once", request.request_id, timeout_s)

    async def _inquire(self, query: Message, key: str, request_id: str, kind: type[Wanted], timeout_s: float) -> Wanted:
        raise NotImplementedError

    async def _command(self, request: Message, key: str, request_id: str, timeout_s: float) -> CommandResult:
        raise NotImplementedError
