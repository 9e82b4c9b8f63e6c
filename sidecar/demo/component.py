"""`python -m sidecar.demo.component`: a toy trading component as a process of its own.

Owns the life of the component: a session with its sidecar, and a new one, as a new incarnation, when it was lost. It
must never trade without one. What it does inside a session is in `component_trading.py`; a market-data component only
says how old its data is.
"""

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from sidecar.client import SessionLost, SidecarClient, SidecarError, do_measures
from sidecar.client.session import Session
from sidecar.demo.component_measures import Measuring
from sidecar.demo.component_trading import Desk, Trading
from sidecar.demo.component_venue import OrderEntry
from sidecar.demo.process import address, run_until_signalled
from sidecar.telemetry.logs import configure_logs

LOG_FORMAT_VARIABLE = "SIDECAR_TELEMETRY__LOG_FORMAT"
"""The same as for every other process; a toy component reads no configuration file."""
HEALTH_S = 0.5
"""Between health pushes; a lost or regained venue is pushed at once."""
VENUE_LOOK_S = 0.05
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
FINISH_S = 2.0
"""How long a stopping component waits for the venue's answers to what it sent."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentOptions:
    """One toy component. `socket` None takes SIDECAR_SOCKET; `desk` and `venue_address` are unset for market data."""

    name: str
    kind: Literal["execution", "market-data"]
    socket: str | None
    venue_address: tuple[str, int] | None
    desk: Desk | None


class Component:
    """Runs one incarnation after the other until `stop`. `connect` makes the client of the sidecar at that socket."""

    def __init__(
        self, options: ComponentOptions, connect: Callable[[str | None], SidecarClient] = SidecarClient
    ) -> None:
        self._options = options
        self._connect = connect
        self._stopping = asyncio.Event()
        self._backoff_s = BACKOFF_FIRST_S

    async def run(self) -> None:
        """Until `stop`: keep a session, and do the component's work inside it."""
        entry = self._entry()
        keeping = _tasks(entry.run()) if entry else []
        try:
            async with self._connect(self._options.socket) as client:
                while not self._stopping.is_set():
                    await self._venue_reached(entry)
                    await self._one_session(client, entry)
        finally:
            await _end(keeping)

    def stop(self) -> None:
        """Finish what is under way, close the session, end `run`."""
        self._stopping.set()

    def _entry(self) -> OrderEntry | None:
        if self._options.venue_address is None:
            return None
        return OrderEntry(self._options.venue_address, self._options.name, run=uuid.uuid4().hex)

    async def _venue_reached(self, entry: OrderEntry | None) -> None:
        """A component that cannot do its work attaches to no sidecar: an unready holder would lose its slot at once."""
        while entry is not None and not entry.connected and not self._stopping.is_set():
            await self._pause(VENUE_LOOK_S)

    async def _one_session(self, client: SidecarClient, entry: OrderEntry | None) -> None:
        if self._stopping.is_set():
            return
        try:
            async with client.session() as session:
                _log.info("session open", incarnation=session.incarnation)
                self._backoff_s = BACKOFF_FIRST_S
                await self._live(client, session, entry)
        except SidecarError as error:
            _log.warning("no session, not trading", why=str(error), retry_s=self._backoff_s)
            await self._pause(self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)

    async def _live(self, client: SidecarClient, session: Session, entry: OrderEntry | None) -> None:
        """Until the session is lost or we are asked to stop. Raises SessionLost."""
        desk = self._options.desk
        trading = Trading(desk, client, session, entry) if desk is not None and entry is not None else None
        measuring = Measuring(client, session, self.stop, entry, trading)
        watching = _tasks(_watch(session), self._stopping.wait())
        working = _tasks(
            self._push_health(client, entry),
            do_measures(client, session, measuring.handlers),
            *([trading.run()] if trading else []),
        )
        try:
            done, _ = await asyncio.wait((*watching, *working), return_when=asyncio.FIRST_COMPLETED)
            await _end(working)
            if trading and not session.lost:
                await trading.finish(FINISH_S)
            for each in done:
                each.result()
        finally:
            if trading:
                await trading.finish(0)
            await _end([*watching, *working])

    async def _push_health(self, client: SidecarClient, entry: OrderEntry | None) -> None:
        """For ever; the sidecar may be busy, and then the next push says it."""
        began_s = time.monotonic()
        news = entry.changed if entry is not None else asyncio.Event()
        while True:
            try:
                if entry is None:
                    # The toy feed ticks ten times a second, so that is how old its newest price can be.
                    await client.push_health(metrics={"market_data_age_s": (time.monotonic() - began_s) % 0.1})
                else:
                    why = () if entry.connected else ("no session at the venue",)
                    await client.push_health(
                        ready=entry.connected, reasons=why, metrics={"open_orders": float(len(entry.open_orders))}
                    )
            except SidecarError as error:
                _log.warning("health not taken", why=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), HEALTH_S)
            news.clear()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


async def _watch(session: Session) -> None:
    """Say each change of the gate; raises SessionLost at the session's end."""
    async for status in session.changes():
        token = max((each.token for each in status.slots), default=None)
        _log.info("gate", open=status.open, role=status.role, token=str(token or ""), reason=status.reason)
    raise SessionLost("the session ended")


def _tasks(*work: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(each) for each in work]


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def parse(arguments: Sequence[str]) -> ComponentOptions:
    """The options in a command line."""
    parser = argparse.ArgumentParser(prog="python -m sidecar.demo.component", description="A toy trading component.")
    parser.add_argument("--name", required=True, help="the component's name, for its logs and at the venue")
    parser.add_argument("--kind", choices=("execution", "market-data"), default="execution")
    parser.add_argument("--socket", help="its sidecar's Unix socket (default: $SIDECAR_SOCKET)")
    parser.add_argument("--venue", type=address, metavar="HOST:PORT", help="the simulated venue; execution only")
    parser.add_argument("--venue-name", default="SIM", help="the venue's name (default: SIM)")
    parser.add_argument("--account", default="ACC-1", help="account of its orders (default: ACC-1)")
    parser.add_argument("--rate", type=float, default=10.0, help="orders per second (default: 10)")
    parser.add_argument("--answer-timeout-ms", type=int, default=500, help="silence after which an order is UNKNOWN")
    given = parser.parse_args(arguments)
    if given.kind == "execution" and given.venue is None:
        parser.error("an execution component needs --venue HOST:PORT")
    if not 0 < given.rate <= 1000:
        parser.error("--rate must be above 0 and at most 1000")
    desk = Desk(
        venue=given.venue_name,
        account=given.account,
        rate=given.rate,
        answer_timeout_s=given.answer_timeout_ms / 1000,
    )
    trades = given.kind == "execution"
    return ComponentOptions(
        name=given.name,
        kind=given.kind,
        socket=given.socket,
        venue_address=given.venue if trades else None,
        desk=desk if trades else None,
    )


async def _run(options: ComponentOptions) -> None:
    await run_until_signalled(Component(options))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    options = parse(sys.argv[1:])
    readable = os.environ.get(LOG_FORMAT_VARIABLE) == "console"
    configure_logs("console" if readable else "json", "info", process="component", component=options.name)
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
