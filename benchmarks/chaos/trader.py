"""`python -m benchmarks.chaos.trader --ledger FILE ...`: the demo's toy component, which notes every answer it gets.

Owns the noting: between the answer's arrival and its use. It must not trade differently from `sidecar.demo.component`,
whose other options it takes.
"""

import argparse
import asyncio
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.chaos.ledger import Entry, Ledger, Told
from sidecar.client import OrderDenied, OrderRequest, SidecarClient
from sidecar.client.protocol import OrderAnswer
from sidecar.demo.component import Component, parse
from sidecar.demo.process import run_until_signalled
from sidecar.messages.local import CommitReport
from sidecar.messages.orders import ReportRecorded
from sidecar.telemetry.logs import configure_logs


class NotingClient(SidecarClient):
    """A client that notes grants and recorded reports. A denial promises nothing, so it is not noted."""

    def __init__(self, socket: str | None, *, name: str, ledger: Ledger) -> None:
        super().__init__(socket)
        self._name = name
        self._ledger = ledger

    async def precommit(self, request: OrderRequest) -> OrderAnswer:
        """Phase one."""
        answer = await super().precommit(request)
        if not isinstance(answer, OrderDenied):
            self._note("granted", answer.cl_ord_id, f"{answer.term}.{answer.n}")
        return answer

    async def report(self, cl_ord_id: str, report: CommitReport) -> ReportRecorded:
        """Phase two."""
        recorded = await super().report(cl_ord_id, report)
        self._note(report.outcome, cl_ord_id, recorded.phase.value)
        return recorded

    def _note(self, told: Told, key: str, mark: str) -> None:
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._ledger.note(Entry(at_ns=at_ns, by=self._name, told=told, key=key, mark=mark))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--ledger", type=Path, required=True)
    given, rest = own.parse_known_args(sys.argv[1:])
    options = parse(rest)
    configure_logs("json", "info", process="component", component=options.name)
    connect = partial(NotingClient, name=options.name, ledger=Ledger(given.ledger))
    asyncio.run(run_until_signalled(Component(options, connect)))


if __name__ == "__main__":
    main()
