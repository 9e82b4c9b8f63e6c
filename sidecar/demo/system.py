"""The running system: every process that the demo started, by role and name.

Owns their starting and their end. It must not know why one is killed.
"""

import asyncio
import os
import signal
from dataclasses import dataclass, field

from sidecar.demo.launcher import Launcher, ProcessRole, ProcessSpec, Running


@dataclass(slots=True)
class System:
    """Processes under one launcher."""

    launcher: Launcher
    _running: dict[tuple[ProcessRole, str], Running] = field(default_factory=dict)
    _meant_to_die: set[tuple[ProcessRole, str]] = field(default_factory=set)

    async def start(self, *specs: ProcessSpec) -> None:
        """Start them, in this order."""
        for spec in specs:
            key = (spec.role, spec.name)
            self._running[key] = await self.launcher.start(spec)
            self._meant_to_die.discard(key)

    async def kill(self, role: ProcessRole, name: str) -> None:
        """kill -9."""
        self._meant_to_die.add((role, name))
        await self._running[role, name].kill()

    def signal(self, role: ProcessRole, name: str, number: signal.Signals) -> None:
        """Send it a signal, SIGSTOP or SIGCONT for example. ProcessLookupError when it is no process, or gone."""
        pid = self._running[role, name].pid
        if pid is None or not self.alive(role, name):
            raise ProcessLookupError(f"{role} {name} is no process that runs")
        os.kill(pid, number)

    def alive(self, role: ProcessRole, name: str) -> bool:
        """Whether it runs now."""
        running = self._running.get((role, name))
        return running is not None and running.alive

    def unexpectedly_ended(self) -> list[str]:
        """Processes that ended although nobody killed or stopped them, each with how."""
        return [
            f"{role} {name}: {running.ended}"
            for (role, name), running in self._running.items()
            if not running.alive and (role, name) not in self._meant_to_die
        ]

    async def stop(self, *roles: ProcessRole) -> None:
        """Stop everything of these roles at once; of all roles when none is named."""
        chosen = {key: each for key, each in self._running.items() if not roles or key[0] in roles}
        self._meant_to_die |= set(chosen)
        await asyncio.gather(*(each.stop() for each in chosen.values()))
