"""The sidecar process: started and stopped in the right order.

Owns the life of one process. It must not decide anything about leases, halts or orders.

Which way it fails: the gate page is claimed and closed before anything else is tried; any part that fails unexpectedly
ends the process, which closes the gate, gives the slots back and exits with `FAILED_CODE`. A process that is killed
leaves a page that closes by its own deadline.
"""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from sidecar import __version__
from sidecar.agent.child import Child, ChildNotStarted
from sidecar.agent.clock import boottime_ns
from sidecar.agent.inside import Inside
from sidecar.agent.listener import bind_unix
from sidecar.agent.local_api import local_api
from sidecar.agent.loopback import TokenRequired, bind_loopback, read_token
from sidecar.agent.parts import Parts, Places
from sidecar.broker.examination import Examination
from sidecar.broker.interface import Broker
from sidecar.config.models import Settings
from sidecar.core.sidecar import WritePage
from sidecar.gate.writer import GateWriter
from sidecar.telemetry.connections import ConnectionLimits
from sidecar.telemetry.endpoint import HealthEndpoint, health_routes
from sidecar.telemetry.lag import sample_loop_lag
from sidecar.telemetry.metrics import SidecarMetrics
from sidecar.telemetry.serving import HttpServer

FAILED_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h: a part of us failed unexpectedly; the log says which."""
DRAIN_S: Final = 1.0
"""How long we stay for reports that are not recorded yet."""
STOPPING: Final = "the sidecar is stopping"


class Agent:
    """One sidecar process. `broker` is not yet started; `child` is the component's command, if we start it.

    `listening` is set once the local interface answers; `health_port` is then the TCP port of /health, and `local_port`
    that of the local interface, if any. `inside` then serves a component in this very process.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        child: Sequence[str] = (),
        examination: Examination | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self.places = Places.of(settings)
        self.metrics = SidecarMetrics(__version__)
        self.listening = asyncio.Event()
        self.health_port: int | None = None
        self.local_port: int | None = None
        self.inside: Inside | None = None
        self._examination = examination or Examination()
        self.metrics.broker.counters = lambda: asdict(broker.counters)
        self.metrics.broker.findings = lambda: self._examination.counts
        self._settings = settings
        self._broker = broker
        self._limits = limits
        self._grace_s = (settings.component.stop_grace_ms if settings.component else 0) / 1000
        self._child = self._child_of(child)
        self._stopping = asyncio.Event()
        self._stopped_by_halt = False
        self._log = structlog.get_logger(__name__)

    def stop(self) -> None:
        """Close the gate, give the slots back, stop the child, end. Safe to call twice, or before `run`."""
        self._stopping.set()

    async def run(self) -> int:
        """Run until stopped, or until the child exits; returns the exit code, the child's where there is one.

        Raises GateError, CannotListen or OSError when the gate page, the socket or the directories cannot be had.
        """
        self.places.make()
        async with contextlib.AsyncExitStack() as stack:
            writer = GateWriter(self.places.gate)
            stack.callback(writer.close)
            run = uuid.uuid4().hex[:12]
            parts = Parts(self._settings, self.places, self._broker, writer, self.metrics, run)
            self.inside = Inside(parts)
            stack.callback(parts.gatekeeper.close)
            parts.health.found = lambda: (*filter(None, (parts.roundtrip.trouble,)), *self._examination.reasons)
            if self._child is not None:
                parts.starting.close()  # We have started the component already, and end when it does.
            parts.gatekeeper.do([WritePage(parts.core.page(boottime_ns()))])  # Closed still, and it says why.
            await self._serve(parts, stack)
            return await self._live(parts)

    async def _serve(self, parts: Parts, stack: contextlib.AsyncExitStack) -> None:
        """Connect and listen; what `stack` undoes, it undoes in the opposite order."""
        listener = bind_unix(self.places.socket)
        stack.callback(self.places.socket.unlink, missing_ok=True)
        stack.callback(listener.close)
        stack.push_async_callback(self._broker.close)
        await self._broker.start()
        routes = health_routes("sidecar", parts.health.view, self.metrics.registry, parts.health.last_snapshot)
        api = local_api(parts, routes)
        await self._listen(api, listener, stack)
        await self._listen_on_loopback(api, stack)
        telemetry = self._settings.telemetry
        if telemetry.port is not None:
            endpoint = HealthEndpoint("sidecar", parts.health.view, self.metrics.registry, parts.health.last_snapshot)
            stack.push_async_callback(endpoint.stop)
            self.health_port = await endpoint.start(telemetry.host, telemetry.port)
            self._log.info("the health endpoint listens", host=telemetry.host, port=self.health_port)
        self.listening.set()
        self._log.info("the local interface listens", socket=str(self.places.socket), gate=str(self.places.gate))

    async def _listen(self, app: Any, listener: socket.socket, stack: contextlib.AsyncExitStack) -> None:
        server = HttpServer(app, listener, limits=self._limits, on_cut=self.metrics.connections_cut.inc)
        stack.push_async_callback(server.stop)
        await server.start()

    async def _listen_on_loopback(self, api: Any, stack: contextlib.AsyncExitStack) -> None:
        """The same on TCP, behind its token, where that is configured."""
        tcp = self._settings.component.tcp if self._settings.component else None
        if tcp is None:
            return
        token = read_token(Path(tcp.token_file))
        listener = bind_loopback(tcp.host, tcp.port)
        stack.callback(listener.close)
        await self._listen(TokenRequired(api, token), listener, stack)
        self.local_port = listener.getsockname()[1]
        self._log.info("the local interface listens on TCP too", host=tcp.host, port=self.local_port)

    async def _live(self, parts: Parts) -> int:
        """From the first heartbeat to the last: gate, release, child, in this order at the end."""
        works = self._begin(parts)
        try:
            code = await self._until_over(parts, works)
        except ChildNotStarted as error:
            self._log.error("the component could not be started", error=str(error))
            code = error.code
        finally:
            parts.sessions.close(STOPPING)
            await parts.measures.stop()
            await parts.starting.stop()
            stopped = await self._child.stop(self._grace_s) if self._child is not None else 0
            await parts.reports.drain(DRAIN_S)
            await parts.once.drain(DRAIN_S)
            await parts.states.drain(DRAIN_S)
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
        return stopped if code is None else code

    def _begin(self, parts: Parts) -> list[asyncio.Task[Any]]:
        def observe_lag(lag_s: float) -> None:
            self.metrics.loop_lag_seconds.observe(lag_s)
            parts.health.observe_lag(lag_s)

        works = {
            "inbox": parts.inbox.run(),
            "heartbeats": parts.heartbeats.run(),
            "reports": parts.reports.run(),
            "once": parts.once.run(),
            "states": parts.states.run(),
            "measures": parts.measures.run(),
            "health": parts.health.run(self._settings.health.report_interval_ms / 1000),
            "loop-lag": sample_loop_lag(observe_lag),
            "figures": parts.collecting.run(),
            "broker-examination": self._examination.run(),
            "roundtrip": parts.roundtrip.run(),
            "probes": parts.probes.run(),
        }
        return [asyncio.create_task(work, name=name) for name, work in works.items()]

    async def _until_over(self, parts: Parts, works: list[asyncio.Task[Any]]) -> int | None:
        """The exit code of whatever ended first; None when we were told to stop."""
        stopping = asyncio.create_task(self._stopping.wait())
        exited = await self._start_child(parts)
        try:
            await asyncio.wait({stopping, *works, *exited}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        for child in exited:
            if child.done():
                code = child.result()
                parts.sessions.detach(f"its process exited with code {code}")
                self._log.info("the component exited", code=code)
                return code
            child.cancel()
        for work in works:
            if work.done():
                self._log.critical("a part of the sidecar failed", part=work.get_name(), exc_info=work.exception())
                return FAILED_CODE
        return None

    async def _start_child(self, parts: Parts) -> set[asyncio.Task[int]]:
        child = self._child
        if child is None:
            return set()
        parts.child_pid = pid = await child.start()
        dead = asyncio.Event()
        parts.probes.on_dead = lambda reason: dead.set()
        parts.measures.stop_component = lambda reason: self._stop_by_halt(parts, child, reason)
        self._log.info("the component was started", command=child.command[0], pid=pid)
        return {asyncio.create_task(self._child_over(child, dead), name="child")}

    async def _child_over(self, child: Child, dead: asyncio.Event) -> int:
        """The child's exit code, once it has exited, or was stopped because its probes call it dead."""
        exited, called_dead = asyncio.create_task(child.wait()), asyncio.create_task(dead.wait())
        try:
            await asyncio.wait({exited, called_dead}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopped_by_halt:
                await asyncio.Event().wait()  # We live on with a closed gate, to say so and to keep the halt.
            return exited.result() if exited.done() else await child.stop(self._grace_s)
        finally:
            exited.cancel()
            called_dead.cancel()

    async def _stop_by_halt(self, parts: Parts, child: Child, reason: str) -> str:
        """End the child, and not ourselves. Its session ends with it; the gate is closed already."""
        self._stopped_by_halt = True
        code = await child.stop(self._settings.measures.stop.limit_ms / 1000)
        parts.child_pid = None
        parts.sessions.detach(reason)
        return f"its process exited with code {code}"

    def _child_of(self, command: Sequence[str]) -> Child | None:
        if not command:
            return None
        return Child(command, self.places.environment)
