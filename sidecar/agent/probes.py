"""Runs the component's probes when they are due, and acts on what they amount to.

Owns the loop and the runs that are under way. It must not know thresholds (`core/probing.py`) or how a probe is run
(`probe_runs.py`).

Which way it fails: a dead component's gate is closed before anything else, its slots are given back and its session is
ended, as if it had ended itself; a child of ours is then stopped too. To act again it opens a new session.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NoReturn

import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.health import Health
from sidecar.agent.probe_runs import ProbeRun, bounded
from sidecar.agent.sessions import Sessions
from sidecar.config.probes import ProbeSettings
from sidecar.core.probing import Probing, Verdict

IDLE_S = 3_600.0
"""The longest sleep of a loop that has nothing due; whatever changes wakes it."""


class Probes:
    """The probes of the component of the moment. `on_dead` is told why it counts as dead, once a run of it."""

    def __init__(
        self,
        settings: Mapping[str, ProbeSettings],
        runs: Mapping[str, ProbeRun],
        sessions: Sessions,
        health: Health,
    ) -> None:
        self.on_dead: Callable[[str], None] = lambda reason: None
        self._timeouts_s = {name: each.timeout_ms / 1000 for name, each in settings.items()}
        self._runs = runs
        self._probing = Probing(each.to_core(name) for name, each in settings.items())
        self._sessions = sessions
        self._health = health
        self._incarnation = ""
        self._told = Verdict()
        self._under_way: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._log = structlog.get_logger(__name__)

    def notice(self, incarnation: str) -> None:
        """Which run of the component is attached now; told at each change of the gate."""
        if incarnation == self._incarnation:
            return
        self._incarnation = incarnation
        self._stop_runs()
        if incarnation:
            self._probing.begin(boottime_ns())
        else:
            self._probing.end()
        self._judge()
        self._wake.set()

    def pushed(self) -> None:
        """The component pushed its health."""
        self._probing.pushed(boottime_ns())

    async def run(self) -> NoReturn:
        """Probe for ever."""
        try:
            while True:
                self._wake.clear()
                for name in self._probing.due(boottime_ns()):
                    task = asyncio.create_task(self._probe(name, self._probing.generation), name=f"probe {name}")
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
                self._judge()
                await self._wait()
        finally:
            self._stop_runs()

    # --- inside ---

    async def _wait(self) -> None:
        next_ns = self._probing.next_ns()
        left_s = IDLE_S if next_ns is None else max(0.0, (next_ns - boottime_ns()) / 1e9)
        try:
            async with asyncio.timeout(left_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _probe(self, name: str, generation: int) -> None:
        problem = await bounded(self._runs[name], self._timeouts_s[name])
        self._probing.result(name, generation, problem)
        self._wake.set()

    def _judge(self) -> None:
        verdict = self._probing.verdict()
        if verdict == self._told:
            return
        self._told = verdict
        self._health.probed(verdict.reasons)
        if verdict.dead:
            self._log.error("the component counts as dead", reason=verdict.dead, incarnation=self._incarnation)
            self._sessions.detach(verdict.dead)
            self.on_dead(verdict.dead)
        elif self._incarnation:
            self._log.info("the component's probes", ready=verdict.ready, reasons=verdict.reasons)

    def _stop_runs(self) -> None:
        for task in self._under_way:
            task.cancel()
