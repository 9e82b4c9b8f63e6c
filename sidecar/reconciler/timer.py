"""Keeps one account's timer at its venue armed: the shell around `core/venue_timer.py`.

Owns the calls and the wait for the last one. It must not decide. Cancelling `run` is a forced stop: it leaves the timer
armed, and the venue cancels when it runs out.
"""

import asyncio
import contextlib
import time
from typing import Final

import structlog

from sidecar.core.venue_timer import TimerState, VenueTimer
from sidecar.reconciler.adapter import NoAnswer, VenueAdapter

MS: Final = 1_000_000
LOOKS: Final = 30
"""How often within the timer's time we look whether something is due."""
DISARM_S: Final = 10.0
"""How long a stop waits for the timer to be disarmed; after that it is left armed, and said so."""

_log = structlog.get_logger(__name__)


class TimerKeeper:
    """The timer of `after_s` of one account at one venue."""

    def __init__(self, venue: str, adapter: VenueAdapter, after_s: int) -> None:
        self._venue = venue
        self._adapter = adapter
        self._look_s = after_s / LOOKS
        self._core = VenueTimer(after_s * 1_000 * MS)
        self._stopped = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Why the timer is not as it should be; empty while it is."""
        return self._core.trouble(_now_ns())

    async def run(self) -> None:
        """Keep it armed until `stop`, then disarm it; returns when that is confirmed."""
        due, asked = self._core.tick(_now_ns()), False
        while True:
            if due is not None:
                due = await self._tell(due)
            elif self._stopped.is_set() and not asked:
                asked, due = True, self._core.stop(_now_ns())  # Nothing is under way: what was has been waited for.
            elif self._core.state is TimerState.OFF:
                return
            else:
                await self._pause(asked)
                due = self._core.tick(_now_ns())

    def stop(self) -> None:
        """Have `run` disarm it and end."""
        self._stopped.set()

    async def _pause(self, asked: bool) -> None:
        if asked:
            await asyncio.sleep(self._look_s)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self._look_s)

    async def _tell(self, after_ns: int) -> int | None:
        try:
            await self._adapter.arm_timer(after_ns // MS)
        except NoAnswer as error:
            _log.warning("the venue's timer was not told", venue=self._venue, after_ms=after_ns // MS, why=str(error))
            return self._core.ended(confirmed=False, now_ns=_now_ns())
        return self._core.ended(confirmed=True, now_ns=_now_ns())


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
