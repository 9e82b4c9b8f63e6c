"""The local interface for a component in the sidecar's own process: the same calls and checks, without HTTP.

Owns the calls and the end of such a session. It must not decide: each call goes to the part that does. The component
still dies with its process and the gate closes by its own deadline, but a crash of one takes the other along.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sidecar.agent.bodies import check_cl_ord_id, check_order, check_report
from sidecar.agent.orders import Answer
from sidecar.agent.parts import Parts
from sidecar.agent.reports import report_of
from sidecar.agent.streams import AsgiMessage
from sidecar.messages.local import CommitReport, GateStatus, OrderRequest
from sidecar.messages.orders import ReportRecorded


class Inside:
    """What a component in this process asks; `Agent.inside` makes it. Errors are those of the local interface."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def gate(self) -> GateStatus:
        """The gate in words; to decide, read the gate page instead."""
        return self._parts.gatekeeper.status()

    async def precommit(self, request: OrderRequest) -> Answer:
        """Phase one. The order may be sent only after OrderGranted. Raises Refused or TooManyOrders."""
        check_order(request)
        return await self._parts.desk.ask(request)

    def report(self, cl_ord_id: str, report: CommitReport) -> "asyncio.Future[ReportRecorded]":
        """Phase two; kept and repeated until it is recorded, which the future tells. Raises Refused or OutboxFull."""
        check_cl_ord_id(cl_ord_id)
        check_report(report)
        return self._parts.reports.keep(report_of(self._parts.gatekeeper.core.component, cl_ord_id, report))

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Attach this run of the component for as long as the block lasts; its end closes the gate.

        Raises TooManySessions on entering.
        """
        opened, over = asyncio.Event(), asyncio.Event()

        async def receive() -> AsgiMessage:
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: AsgiMessage) -> None:
            opened.set()

        serving = asyncio.create_task(self._parts.sessions.serve(receive, send), name="session inside")
        attached = asyncio.create_task(opened.wait())
        try:
            await asyncio.wait({serving, attached}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            yield
        finally:
            attached.cancel()
            over.set()
            await asyncio.wait({serving})
